//! Guards on the partitions of a guarded table.
use crate::error::{Report, SqlState};
use crate::pg::{ffi, text};
use crate::target::{GuardTrigger, OpenRelation, Target, Triggers};
use pgrx::pg_sys;
use std::rc::Rc;

/// Where a trigger's options are to be understood: on its own table, or, for the
/// clone on a partition, on the root that it came from.
pub fn definition(table: &OpenRelation, trigger: GuardTrigger) -> (Rc<Target>, GuardTrigger) {
    if !table.is_partition() {
        return (Target::open(table.oid()).0, trigger);
    }
    // SAFETY: an existing table.
    let root = unsafe { ffi::partition_root(table.oid()) };
    let (target, _relation) = Target::open(root);
    let original = target
        .guards
        .iter()
        .find(|guard| trigger.clone && !guard.clone && guard.name == trigger.name);
    match original {
        Some(original) => {
            let original = original.clone();
            (target, original)
        }
        None => only_roots(&target, &table_name(table)).raise(),
    }
}

/// 55000: a guard on a partition alone could not tell a row that an UPDATE moves
/// there from a payload.
fn only_roots(root: &Target, partition: &str) -> Report {
    Report::new(
        SqlState::ObjectNotInPrerequisiteState,
        format!("the guard of partition \"{partition}\" is not that of its partitioned table"),
    )
    .detail(
        "A guard on a partition alone cannot tell a row that an UPDATE moves there from a payload.",
    )
    .hint(format!(
        "Drop the partition's trigger, and call idempotent_guard('{}').",
        root.qualified()
    ))
    .table(&root.schema, &root.name)
}

fn table_name(table: &OpenRelation) -> String {
    // SAFETY: an open relation has a name.
    unsafe { text::from_name(&(*(*table.raw()).rd_rel).relname) }
}

/// The name of a leaf partition on which a guard is not enabled as on the one at hand.
pub fn partition_unlike(root: pg_sys::Oid, guard: &GuardTrigger) -> Option<String> {
    // SAFETY: partitions may go meanwhile, then there is no entry; one that is open
    // has a form and, if any, triggers.
    unsafe {
        for table in ffi::partitions(root) {
            pgrx::check_for_interrupts!();
            let relation = pg_sys::RelationIdGetRelation(table);
            if relation.is_null() {
                continue;
            }
            let leaf = (*(*relation).rd_rel).relkind as u8 == pg_sys::RELKIND_RELATION;
            let alike = Triggers::of(relation)
                .iter()
                .map(|trigger| GuardTrigger::of(trigger))
                .any(|other| other.name == guard.name && other.enabled == guard.enabled);
            let name = text::from_name(&(*(*relation).rd_rel).relname);
            pg_sys::RelationClose(relation);
            if leaf && !alike {
                return Some(name);
            }
        }
    }
    None
}

/// Whether a BEFORE UPDATE row trigger fires after the one with this name.
///
/// # Safety
/// The relation is open, and a trigger of it is firing.
pub unsafe fn is_updated_behind(relation: pg_sys::Relation, name: &str) -> bool {
    let wanted =
        pg_sys::TRIGGER_TYPE_ROW | pg_sys::TRIGGER_TYPE_BEFORE | pg_sys::TRIGGER_TYPE_UPDATE;
    // SAFETY: the caller's promise.
    unsafe {
        Triggers::of(relation)
            .iter()
            .filter(|trigger| trigger.tgtype as u32 & wanted == wanted)
            .any(|trigger| text::from_server(trigger.tgname).as_str() > name)
    }
}
