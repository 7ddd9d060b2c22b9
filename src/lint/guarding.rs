//! Rules about the guard: whether it does what its owner thinks it does.
use super::finding::{Finding, Rule, Severity};
use super::subject::LintedTable;
use crate::guard::{
    GuardOptions, call_verifying, own_guard_of_partition, partition_enabled_differently,
};
use crate::own_function::own_function;
use crate::pg::statement::spi::Connection;
use crate::pg::value::sql_value::SqlValue;
use crate::pg::value::text;
use crate::secret;
use crate::settings;
use pgrx::pg_sys;

/// The guard does not fit its table any more (a column was renamed, its index dropped), or
/// was made wrong by hand, or is enabled otherwise on a partition. Then every INSERT fails,
/// and it is better to hear of it before a client does.
pub fn guard_problem(subject: &LintedTable, findings: &mut Vec<Finding>) {
    let target = &subject.target;
    let Some(guard) = &subject.guard else {
        // A table that was guarded before it became a partition.
        if let Some((name, report)) = own_guard_of_partition(target) {
            let hint = report.hint_text().unwrap_or_default().to_owned();
            findings.push(problem(&name, report.to_text(), hint));
        }
        return;
    };
    let name = &guard.trigger.name;
    if guard.config.is_ok()
        && !GuardOptions::observes(&guard.trigger.arguments)
        && let Some(report) = secret::problem()
    {
        let hint = report.hint_text().unwrap_or_default().to_owned();
        findings.push(problem(name, report.to_text(), hint));
        return;
    }
    let (message, hint) = match &guard.config {
        Err(report) => (
            format!(
                "guard \"{name}\" does not fit the table: {}",
                report.to_text()
            ),
            report
                .hint_text()
                .map(str::to_owned)
                .unwrap_or_else(|| format!("Call {} again.", own_function("idempotent_guard"))),
        ),
        Ok(_) if target.partitioned => {
            if let Some((_, report)) = own_guard_of_partition(target) {
                let hint = report.hint_text().unwrap_or_default().to_owned();
                findings.push(problem(name, report.to_text(), hint));
                return;
            }
            match partition_enabled_differently(target.oid, &guard.trigger) {
                Some(partition) => (
                    format!(
                        "guard \"{name}\" is not enabled on partition \"{partition}\" in the same \
                     way as on table \"{}\"",
                        target.name
                    ),
                    format!(
                        "ALTER TABLE {} {};",
                        target.qualified(),
                        enable(guard.trigger.enabled, name)
                    ),
                ),
                None => return,
            }
        }
        Ok(_) => return,
    };
    findings.push(problem(name, message, hint));
}

fn problem(guard: &str, message: String, hint: String) -> Finding {
    Finding {
        severity: Severity::Error,
        rule: Rule::GuardProblem,
        object: guard.to_owned(),
        message,
        hint,
    }
}

/// How a trigger comes to be enabled so.
fn enable(enabled: u8, trigger: &str) -> String {
    let trigger = text::quote_identifier(trigger);
    match enabled {
        pg_sys::TRIGGER_DISABLED => format!("DISABLE TRIGGER {trigger}"),
        pg_sys::TRIGGER_FIRES_ALWAYS => format!("ENABLE ALWAYS TRIGGER {trigger}"),
        pg_sys::TRIGGER_FIRES_ON_REPLICA => format!("ENABLE REPLICA TRIGGER {trigger}"),
        _ => format!("ENABLE TRIGGER {trigger}"),
    }
}

/// The guard is there and does not fire: it was disabled for a migration, say, and not
/// enabled again. Its users rely on it, but retries fail or, under another key, go in twice.
pub fn guard_disabled(subject: &LintedTable, findings: &mut Vec<Finding>) {
    let Some(guard) = &subject.guard else {
        return;
    };
    let name = &guard.trigger.name;
    let mut tell = |severity, message: String, hint| {
        findings.push(Finding {
            severity,
            rule: Rule::GuardDisabled,
            object: name.clone(),
            message,
            hint,
        });
    };
    let again = || {
        format!(
            "ALTER TABLE {} ENABLE TRIGGER {};",
            subject.target.qualified(),
            text::quote_identifier(name)
        )
    };
    match guard.trigger.enabled {
        pg_sys::TRIGGER_DISABLED => tell(
            Severity::Error,
            format!("guard \"{name}\" is disabled, so rows are inserted without verification"),
            again(),
        ),
        pg_sys::TRIGGER_FIRES_ON_REPLICA => tell(
            Severity::Warning,
            format!(
                "guard \"{name}\" is enabled for replication only, so rows of clients are \
                 inserted without verification"
            ),
            again(),
        ),
        _ if !settings::guard() => tell(
            Severity::Warning,
            format!(
                "guard \"{name}\" lets all rows pass, because pg_idempotent.guard is off in \
                 this session"
            ),
            "RESET pg_idempotent.guard; If it stays off, look for it in postgresql.conf, ALTER \
             DATABASE and ALTER ROLE."
                .to_owned(),
        ),
        _ => {}
    }
}

/// The guard only observes: it is there to find out what it would do, and retries fail, or go in
/// twice, as before.
pub fn guard_observes(subject: &LintedTable, findings: &mut Vec<Finding>) {
    let Some(guard) = &subject.guard else {
        return;
    };
    let verifying = match &guard.config {
        Ok(_) => call_verifying(&subject.guarded_table(), &guard.trigger.arguments),
        Err(_) => return,
    };
    let Some(hint) = verifying else { return };
    let name = &guard.trigger.name;
    findings.push(Finding {
        severity: Severity::Info,
        rule: Rule::GuardObserves,
        object: name.clone(),
        message: format!(
            "guard \"{name}\" only observes, so duplicates and conflicts are inserted, or fail, as \
             without a guard"
        ),
        hint,
    });
}

/// A BEFORE INSERT row trigger fires after the guard, and so changes rows that were judged
/// already: what is stored is not what the next attempt is compared with.
pub fn trigger_after_guard(subject: &LintedTable, findings: &mut Vec<Finding>) {
    let Some(guard) = &subject.guard else {
        return;
    };
    for trigger in subject.before_insert() {
        let name = &trigger.trigger.name;
        let touches = trigger.body.unclear || !trigger.body.assignments.is_empty();
        if *name <= guard.trigger.name || !touches {
            continue;
        }
        let earlier = format!("a_{name}");
        findings.push(Finding {
            severity: Severity::Warning,
            rule: Rule::TriggerAfterGuard,
            object: name.clone(),
            message: format!(
                "trigger \"{name}\" fires after guard \"{}\", which does not see its changes",
                guard.trigger.name
            ),
            hint: format!(
                "Rename it so that it sorts before the guard: ALTER TRIGGER {} ON {} RENAME TO {};",
                text::quote_identifier(name),
                trigger.table(&subject.target),
                text::quote_identifier(&earlier)
            ),
        });
    }
}

/// A column of two or four bytes that is filled from a sequence. Defaults are filled in
/// before a guard judges the row, so every duplicate draws a number: a client that sends the
/// same rows again and again uses the numbers up, and then fails with 2200H or 22003, though
/// not one row is new.
pub fn small_sequence(subject: &LintedTable, findings: &mut Vec<Finding>) {
    let Some(resolved_guard) = subject.resolved_guard() else {
        return;
    };
    let target = &subject.target;
    let key = &target.indexes[resolved_guard.arbiter];
    for (c, column) in target.columns.iter().enumerate() {
        let (kind, most) = match column.base_type() {
            pg_sys::INT2OID => ("a smallint", i64::from(i16::MAX)),
            pg_sys::INT4OID => ("an integer", i64::from(i32::MAX)),
            _ => continue,
        };
        let drawn = subject.server_filled[c]
            .as_ref()
            .is_some_and(|made| made.by_sequence);
        if key.has_column(c) || !drawn {
            continue;
        }
        let name = &column.name;
        let quoted = text::quote_identifier(name);
        let mut hint = format!(
            "ALTER TABLE {} ALTER COLUMN {quoted} TYPE bigint;",
            subject.guarded_table()
        );
        if let Some(sequence) = sequence_of(&target.qualified(), name) {
            hint.push_str(&format!(" ALTER SEQUENCE {sequence} AS bigint;"));
        }
        findings.push(Finding {
            severity: Severity::Warning,
            rule: Rule::SmallSequence,
            object: name.clone(),
            message: format!(
                "column \"{name}\" is {kind}, and duplicates use values of its sequence, too: \
                 after {most} attempts even a pure retry fails"
            ),
            hint,
        });
    }
}

/// The quoted, qualified name of the sequence that a column owns, unless that is part of its
/// identity and changes its type with the column.
fn sequence_of(table: &str, column: &str) -> Option<String> {
    let connection = Connection::open();
    let found = connection.query(
        "SELECT pg_catalog.pg_get_serial_sequence($1, $2)
          WHERE EXISTS (SELECT FROM pg_catalog.pg_attribute AS a
                         WHERE a.attrelid OPERATOR(pg_catalog.=) $1::pg_catalog.regclass
                           AND a.attname OPERATOR(pg_catalog.=) $2::pg_catalog.name
                           AND a.attidentity OPERATOR(pg_catalog.=) '')",
        &[SqlValue::text(table), SqlValue::text(column)],
    );
    if found == 0 {
        return None;
    }
    connection.first_text(1)
}
