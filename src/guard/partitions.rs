//! Guards on the partitions of a guarded table.
use super::config::GuardConfig;
use super::options::GuardOptions;
use crate::error::{Report, SqlState, catch_report};
use crate::pg::ffi;
use crate::pg::value::text;
use crate::target::{OpenRelation, Target, TriggerInfo, Triggers};
use pgrx::pg_sys;
use std::rc::Rc;

/// Where a trigger's options are to be understood: on its own table, or, for the
/// clone on a partition, on the root that it came from.
pub fn resolve_definition(table: &OpenRelation, trigger: TriggerInfo) -> (Rc<Target>, TriggerInfo) {
    if !table.is_partition() {
        return (Target::open(table.oid()).0, trigger);
    }
    // SAFETY: an existing table.
    let root = unsafe { ffi::partition_root(table.oid()) };
    let (target, _relation) = Target::open(root);
    let original = target
        .guards
        .iter()
        .find(|guard| trigger.is_clone && !guard.is_clone && guard.name == trigger.name);
    match original {
        Some(original) => {
            let original = original.clone();
            (target, original)
        }
        None => not_from_root(&target, table, &trigger).raise(),
    }
}

/// Refuses a guard of a partition alone, as it does when a row arrives.
///
/// # Errors
/// 55000
pub fn check_inherited_from_root(table: &OpenRelation, trigger: &TriggerInfo) {
    if table.is_partition() && !trigger.is_clone {
        // SAFETY: an existing table.
        let root = unsafe { ffi::partition_root(table.oid()) };
        // Nothing is open when it is raised: the report may be caught.
        let report =
            Target::open_briefly(root).map(|(root, _)| not_from_root(&root, table, trigger));
        if let Some(report) = report {
            report.raise()
        }
    }
}

/// 55000: a guard on a partition alone could not tell a row that an UPDATE moves
/// there from a payload.
fn not_from_root(root: &Target, table: &OpenRelation, trigger: &TriggerInfo) -> Report {
    let partition = table_name(table);
    Report::new(
        SqlState::ObjectNotInPrerequisiteState,
        format!(
            "the guard of partition \"{partition}\" is not part of the guard of its \
             partitioned table"
        ),
    )
    .detail(
        "A guard on a partition alone cannot distinguish a payload from a row that an UPDATE \
         moves there.",
    )
    .hint(replacement_hint(root, table, trigger))
    .table(&root.schema, &root.name)
}

/// How the guard of a partition gives way to that of its partitioned table: with its
/// options, where they fit that.
fn replacement_hint(root: &Target, table: &OpenRelation, trigger: &TriggerInfo) -> String {
    let drop = format!(
        "DROP TRIGGER {} ON {};",
        text::quote_identifier(&trigger.name),
        trigger_table(table, trigger)
    );
    if !root.guards.is_empty() {
        return format!("Drop the partition's trigger: {drop}");
    }
    let options = catch_report(|| {
        let options = GuardOptions::of_trigger(&trigger.arguments);
        GuardConfig::resolve(root, &options);
        options
    });
    match options {
        Ok(options) => format!(
            "Drop the partition's trigger, and guard its partitioned table: {drop} {}",
            options.to_call(&root.qualified())
        ),
        Err(_) => format!(
            "Drop the partition's trigger, and guard the partitioned table \"{}\" by a key that it \
             has: {drop}",
            root.name
        ),
    }
}

/// The qualified name of the table that a trigger was made on: the partition, or a
/// partitioned table above it.
fn trigger_table(table: &OpenRelation, trigger: &TriggerInfo) -> String {
    let qualified = |table: &OpenRelation| {
        // SAFETY: the schema of an open relation.
        let schema = unsafe {
            let schema = (*(*table.raw()).rd_rel).relnamespace;
            text::from_server(pg_sys::get_namespace_name(schema))
        };
        let name = text::quote_identifier(&table_name(table));
        format!("{}.{name}", text::quote_identifier(&schema))
    };
    if !trigger.is_clone {
        return qualified(table);
    }
    // SAFETY: an existing partition.
    let above = unsafe { ffi::partition_ancestors(table.oid()) };
    let above = above.into_iter().filter_map(OpenRelation::try_open_briefly);
    let mut made = above.filter(|table| {
        // SAFETY: an open relation, of which triggers are copied before the next look-up.
        let triggers = unsafe { Triggers::of(table.raw()) };
        let mut triggers = triggers.iter().map(|trigger| {
            // SAFETY: as above.
            unsafe { TriggerInfo::of(trigger) }
        });
        triggers.any(|other| other.name == trigger.name && !other.is_clone)
    });
    let made = made.next();
    qualified(made.as_ref().unwrap_or(table))
}

fn table_name(table: &OpenRelation) -> String {
    // SAFETY: an open relation has a name.
    unsafe { text::from_name(&(*(*table.raw()).rd_rel).relname) }
}

/// The name of a leaf partition on which a guard is not enabled as on the one at hand.
pub fn partition_enabled_differently(root: pg_sys::Oid, guard: &TriggerInfo) -> Option<String> {
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
            let same_enabling = Triggers::of(relation)
                .iter()
                .map(|trigger| TriggerInfo::of(trigger))
                .any(|other| other.name == guard.name && other.enabled == guard.enabled);
            let name = text::from_name(&(*(*relation).rd_rel).relname);
            pg_sys::RelationClose(relation);
            if leaf && !same_enabling {
                return Some(name);
            }
        }
    }
    None
}

/// Demands that a guard of a partitioned table is enabled alike on every partition.
///
/// # Errors
/// 55000
pub fn check_enabled_on_partitions(target: &Target, guard: &TriggerInfo) {
    let Some(partition) = partition_enabled_differently(target.oid, guard) else {
        return;
    };
    Report::new(
        SqlState::ObjectNotInPrerequisiteState,
        format!(
            "the guard of table \"{}\" is not enabled on partition \"{partition}\" in \
             the same way as on the others",
            target.name
        ),
    )
    .detail("The guard cannot distinguish a payload from a row that an UPDATE moves out of that \
         partition.",
    )
    .hint("Enable or disable the trigger on the partitioned table, which changes it on all partitions.")
    .table(&target.schema, &target.name)
    .raise()
}

/// Whether a BEFORE UPDATE row trigger fires after the one with this name.
///
/// # Safety
/// The relation is open, and a trigger of it is firing.
pub unsafe fn has_later_update_trigger(relation: pg_sys::Relation, name: &str) -> bool {
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
