//! Whether a guard's trigger is made as it has to be. `idempotent_guard` makes it
//! so; by hand it can be made wrong.
use crate::error::{Report, SqlState};
use crate::target::{Target, TriggerInfo};
use pgrx::pg_sys;

/// Refuses a trigger that is made wrong.
///
/// # Errors
/// 39P01
pub fn check_definition(trigger: &TriggerInfo, on_partition: bool) -> Result<(), Box<Report>> {
    let kind = trigger.kind as u32;
    let insert =
        pg_sys::TRIGGER_TYPE_ROW | pg_sys::TRIGGER_TYPE_BEFORE | pg_sys::TRIGGER_TYPE_INSERT;
    let both = insert | pg_sys::TRIGGER_TYPE_UPDATE;
    if kind != insert && kind != both {
        let report = protocol_violation("the guard must fire BEFORE INSERT FOR EACH ROW");
        return Err(Box::new(report));
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
    Err(Box::new(report.detail(why)))
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
        .hint("Call idempotent_guard, which creates the trigger correctly.")
}
