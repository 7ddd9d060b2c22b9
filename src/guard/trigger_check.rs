//! Whether a guard's trigger is made as it has to be. `idempotent_guard` makes it
//! so; by hand it can be made wrong.
use super::options::GuardOptions;
use super::partitions::drop_trigger;
use crate::error::{Report, SqlState};
use crate::own_function::own_function;
use crate::pg::catalog::name::qualified_name;
use crate::pg::catalog::relation::partition_root;
use crate::target::{OpenRelation, Target, TriggerInfo};
use pgrx::pg_sys;

/// Refuses a trigger of a table that is made wrong.
///
/// # Errors
/// 39P01
pub fn check_definition(
    table: pg_sys::Oid,
    trigger: &TriggerInfo,
    on_partition: bool,
) -> Result<(), Box<Report>> {
    let kind = trigger.kind as u32;
    let insert =
        pg_sys::TRIGGER_TYPE_ROW | pg_sys::TRIGGER_TYPE_BEFORE | pg_sys::TRIGGER_TYPE_INSERT;
    let both = insert | pg_sys::TRIGGER_TYPE_UPDATE;
    if kind != insert && kind != both {
        let report = protocol_violation("the guard must fire BEFORE INSERT FOR EACH ROW");
        return Err(Box::new(report.hint(replacement_hint(table, trigger))));
    }
    let remembers = trigger
        .arguments
        .iter()
        .any(|argument| argument.trim_start().starts_with("remember"));
    if !remembers && !on_partition {
        return Ok(());
    }
    let (what, why) = if remembers {
        (
            "a guard with remember",
            "An UPDATE must not change the column that remembers.",
        )
    } else {
        (
            "the guard of a partitioned table",
            "An UPDATE that moves a row to another partition arrives as an INSERT.",
        )
    };
    let how = if kind != both {
        "BEFORE INSERT OR UPDATE FOR EACH ROW"
    } else if !trigger.unconditional {
        "on every UPDATE, without a list of columns or a WHEN condition"
    } else {
        return Ok(());
    };
    let report = protocol_violation(&format!("{what} must fire {how}"));
    let hint = replacement_hint(table, trigger);
    Err(Box::new(report.detail(why).hint(hint)))
}

/// How the trigger gives way to one that is made right: with its options, where they can be read.
fn replacement_hint(table: pg_sys::Oid, trigger: &TriggerInfo) -> String {
    let guard = own_function("idempotent_guard");
    let Some(opened) = OpenRelation::try_open_briefly(table) else {
        return format!("Drop the trigger, and call {guard}.");
    };
    let drop = drop_trigger(&opened, trigger);
    if opened.kind() == pg_sys::RELKIND_VIEW {
        return format!("Only a table can have a guard: {drop}");
    }
    let guarded = qualified_name(partition_root(table));
    match (GuardOptions::of_trigger(&trigger.arguments), guarded) {
        (Ok(options), Some(guarded)) => {
            format!("Replace the trigger: {drop} {}", options.to_call(&guarded))
        }
        _ => format!("Drop the trigger, and call {guard}: {drop}"),
    }
}

/// Refuses a second guard: between the two, one would give back the key lock of the
/// other before the row is in.
///
/// # Errors
/// 39P01
pub fn check_single_guard(target: &Target) -> Result<(), Box<Report>> {
    let mut enabled = target
        .guards
        .iter()
        .filter(|guard| guard.enabled != pg_sys::TRIGGER_DISABLED);
    let (Some(first), Some(second)) = (enabled.next(), enabled.next()) else {
        return Ok(());
    };
    let report = protocol_violation(&format!("table \"{}\" has two guards", target.name))
        .detail(format!(
            "They are the triggers \"{}\" and \"{}\".",
            first.name, second.name
        ))
        .hint("Drop one of them.")
        .table(&target.schema, &target.name);
    Err(Box::new(report))
}

fn protocol_violation(message: &str) -> Report {
    Report::new(SqlState::TriggerProtocolViolated, message)
}
