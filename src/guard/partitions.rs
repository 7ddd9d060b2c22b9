//! Guards on the partitions of a guarded table.
use super::config::GuardConfig;
use super::options::GuardOptions;
use crate::error::{Report, SqlState};
use crate::pg::ffi;
use crate::pg::value::text;
use crate::target::{OpenRelation, Target, TriggerInfo, is_guard_function};
use pgrx::pg_sys;
use std::rc::Rc;

/// Where a trigger's options are to be understood: on its own table, or, for the
/// clone on a partition, on the root that it came from.
pub fn resolve_definition(table: &OpenRelation, trigger: TriggerInfo) -> (Rc<Target>, TriggerInfo) {
    if !table.is_partition() {
        return (Target::open(table.oid()).0, trigger);
    }
    let root = table.partition_root();
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
pub fn check_inherited_from_root(
    table: &OpenRelation,
    trigger: &TriggerInfo,
) -> Result<(), Box<Report>> {
    if !table.is_partition() || trigger.is_clone {
        return Ok(());
    }
    match Target::open_briefly(table.partition_root()) {
        Some((root, _relation)) => Err(Box::new(not_from_root(&root, table, trigger))),
        None => Ok(()),
    }
}

/// 55000: a guard on a partition alone could not tell a row that an UPDATE moves
/// there from a payload.
fn not_from_root(root: &Target, table: &OpenRelation, trigger: &TriggerInfo) -> Report {
    let partition = table.name();
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
    let drop = drop_trigger(table, trigger);
    if !root.guards.is_empty() {
        return format!("Drop the partition's trigger: {drop}");
    }
    let options = GuardOptions::of_trigger(&trigger.arguments)
        .and_then(|options| GuardConfig::resolve(root, &options).map(|_| options));
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

/// The statement that drops a trigger of this table, where it was made.
pub fn drop_trigger(table: &OpenRelation, trigger: &TriggerInfo) -> String {
    format!(
        "DROP TRIGGER {} ON {};",
        text::quote_identifier(&trigger.name),
        trigger_table(table, trigger)
    )
}

/// The qualified name of the table that a trigger was made on: the partition, or a
/// partitioned table above it.
fn trigger_table(table: &OpenRelation, trigger: &TriggerInfo) -> String {
    let qualified = |table: &OpenRelation| {
        let (schema, name) = (table.schema(), table.name());
        format!(
            "{}.{}",
            text::quote_identifier(&schema),
            text::quote_identifier(&name)
        )
    };
    if !trigger.is_clone {
        return qualified(table);
    }
    let above = table.partition_ancestors().into_iter();
    let above = above.filter_map(OpenRelation::try_open_briefly);
    let mut made = above.filter(|table| {
        let mut triggers = table.triggers().into_iter();
        triggers.any(|other| other.name == trigger.name && !other.is_clone)
    });
    let made = made.next();
    qualified(made.as_ref().unwrap_or(table))
}

/// The guard of a partition alone, at any level below a table, whether that is guarded or not: its
/// name, and 55000, at which every row fails that lands there. None if no partition has one that
/// fires.
pub fn own_guard_of_partition(root: &Target) -> Option<(String, Report)> {
    if !root.partitioned {
        return None;
    }
    let below = ffi::partitions(root.oid).into_iter();
    below.filter(|table| *table != root.oid).find_map(|table| {
        pgrx::check_for_interrupts!();
        let relation = OpenRelation::try_open_unlocked(table)?;
        let triggers = relation.triggers();
        let own = triggers.iter().find(|one| {
            let fires = one.enabled != pg_sys::TRIGGER_DISABLED;
            fires && !one.is_clone && is_guard_function(one.function)
        });
        own.map(|one| (one.name.clone(), not_from_root(root, &relation, one)))
    })
}

/// The name of a leaf partition on which a guard is not enabled as on the one at hand.
pub fn partition_enabled_differently(root: pg_sys::Oid, guard: &TriggerInfo) -> Option<String> {
    ffi::partitions(root).into_iter().find_map(|table| {
        pgrx::check_for_interrupts!();
        // One that is gone meanwhile has no guard that could be enabled differently.
        let relation = OpenRelation::try_open_unlocked(table)?;
        let same_enabling = relation
            .triggers()
            .iter()
            .any(|other| other.name == guard.name && other.enabled == guard.enabled);
        let leaf = relation.kind() == pg_sys::RELKIND_RELATION;
        (leaf && !same_enabling).then(|| relation.name())
    })
}

/// Demands that a guard of a partitioned table is enabled alike on every partition.
///
/// # Errors
/// 55000
pub fn check_enabled_on_partitions(
    target: &Target,
    guard: &TriggerInfo,
) -> Result<(), Box<Report>> {
    let Some(partition) = partition_enabled_differently(target.oid, guard) else {
        return Ok(());
    };
    let report = Report::new(
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
    .table(&target.schema, &target.name);
    Err(Box::new(report))
}

/// Whether one of a table's triggers fires BEFORE UPDATE of a row, after the one with this name.
pub fn has_later_update_trigger(triggers: &[TriggerInfo], name: &str) -> bool {
    let wanted =
        pg_sys::TRIGGER_TYPE_ROW | pg_sys::TRIGGER_TYPE_BEFORE | pg_sys::TRIGGER_TYPE_UPDATE;
    triggers
        .iter()
        .filter(|trigger| trigger.kind as u32 & wanted == wanted)
        .any(|trigger| trigger.name.as_str() > name)
}
