//! Rules about the values that are compared: whether a retry has the same ones.
use super::body::ValueSource;
use super::finding::{Finding, Rule, Severity, column_words};
use super::loading::{LOADED, is_time};
use super::subject::{LintedTable, ResolvedGuard, ServerFilled};
use super::words::has_word;
use crate::guard::call_ignoring;
use crate::pg::value::text;

/// The guard compares a column that is filled with another value in every attempt: a
/// trigger puts the time into it, or it was named in `compare` though it has a volatile
/// default; or, by its name, it says when the row was loaded. A retry is a conflict.
///
/// Without a guard there is nothing to tell: functions compare what a payload names. And a
/// guard leaves columns with volatile defaults out by itself; those with stable ones it
/// compares where a payload brings them, which is told as such.
pub fn changing_value(subject: &LintedTable, findings: &mut Vec<Finding>) {
    let Some(resolved_guard) = subject.resolved_guard() else {
        return;
    };
    let compared = resolved_guard.compared.iter();
    findings
        .extend(compared.filter_map(|column| changing_column(subject, resolved_guard, *column)));
}

/// What makes the values of a compared column differ between attempts, if something does.
fn changing_column(subject: &LintedTable, guard: &ResolvedGuard, column: usize) -> Option<Finding> {
    let facts = &subject.target.columns[column];
    let (name, if_supplied) = (&facts.name, guard.compared_if_supplied.contains(&column));
    let (severity, message) = match &subject.server_filled[column] {
        Some(made) if made.overwritten && !is_same_clock(guard, column, made) => (
            Severity::Error,
            format!(
                "compared column \"{name}\" has another value in every attempt: it is filled by {}",
                made.by
            ),
        ),
        // What the trigger fills in is what the default gives in the same statement.
        Some(made) if if_supplied => {
            let sent = || compared_if_sent(subject, column, &made.by);
            return (!made.overwritten).then(sent);
        }
        Some(made) => (
            Severity::Warning,
            format!(
                "compared column \"{name}\" has another value in every attempt that omits it: it \
                 is filled by {}",
                made.by
            ),
        ),
        None if is_time(facts.base_type()) && has_word(name, &LOADED) => (
            Severity::Warning,
            format!("compared column \"{name}\" has a name that suggests the time of the attempt"),
        ),
        None if is_time(facts.base_type()) && has_word(name, &TOUCHED) => {
            return Some(filled_by_clients(subject, column));
        }
        None if if_supplied => {
            let by = match facts.stable_default {
                Some(_) => "a default that depends on the session",
                // Of a partition, which has another one itself.
                None => "a default of its partitioned table",
            };
            return Some(compared_if_sent(subject, column, by));
        }
        None => return None,
    };
    Some(Finding {
        severity,
        rule: Rule::ClockColumn,
        object: name.clone(),
        message,
        hint: format!("Leave it out of the comparison{}", without(subject, name)),
    })
}

/// Words of columns that many an ORM fills in the client, anew with every attempt.
const TOUCHED: [&str; 4] = ["created", "updated", "modified", "changed"];

/// Whether a trigger puts the same time into a column that its default would: to the guard
/// that is as if it had been left out.
fn is_same_clock(resolved_guard: &ResolvedGuard, column: usize, made: &ServerFilled) -> bool {
    made.value_source == ValueSource::Clock && resolved_guard.compared_if_supplied.contains(&column)
}

/// A column with a default that is one value in a statement, and another later: it is
/// compared where a payload brings it, and not where it is left out.
fn compared_if_sent(subject: &LintedTable, column: usize, by: &str) -> Finding {
    let facts = &subject.target.columns[column];
    if is_time(facts.base_type()) && has_word(&facts.name, &TOUCHED) {
        return filled_by_clients(subject, column);
    }
    let name = &facts.name;
    Finding {
        severity: Severity::Info,
        rule: Rule::ClockColumn,
        object: name.clone(),
        message: format!(
            "compared column \"{name}\" is filled by {by} when clients omit it, and compared \
             only when they send it"
        ),
        hint: format!(
            "If clients send another value with every attempt, leave it out of the \
             comparison{}",
            without(subject, name)
        ),
    }
}

/// A column that is, by its name, the time at which a client made or changed the object that
/// it sends. Many an ORM fills it in itself, and with every attempt anew: then a retry is a
/// conflict.
fn filled_by_clients(subject: &LintedTable, column: usize) -> Finding {
    let name = &subject.target.columns[column].name;
    Finding {
        severity: Severity::Warning,
        rule: Rule::ClockColumn,
        object: name.clone(),
        message: format!(
            "compared column \"{name}\" has a name that suggests a time, which many clients \
             set anew in every attempt"
        ),
        hint: format!(
            "Unless clients send the same time again, leave it out of the comparison{}",
            without(subject, name)
        ),
    }
}

/// The guard compares a column that a trigger changes with every UPDATE, such as
/// `updated_at`. Once the row was updated, a late retry is a conflict, though nothing
/// that it says has changed. A column that remembers the original payload ends that.
pub fn changed_on_update(subject: &LintedTable, findings: &mut Vec<Finding>) {
    let Some(resolved_guard) = subject
        .resolved_guard()
        .filter(|resolved_guard| !resolved_guard.remembers)
    else {
        return;
    };
    for column in &resolved_guard.compared {
        let name = &subject.target.columns[*column].name;
        // That every retry is a conflict is told already.
        if subject.server_filled[*column]
            .as_ref()
            .is_some_and(|made| made.overwritten)
        {
            continue;
        }
        let changes = subject.before_update().find(|trigger| {
            let on_insert = subject
                .before_insert()
                .any(|other| std::ptr::eq(other, *trigger));
            trigger.body.assignments.iter().any(|assignment| {
                // What is computed from the row alike in both cases stays as it is.
                let alike = assignment.value_source == ValueSource::Payload
                    && on_insert
                    && assignment.on_insert();
                let fills =
                    assignment.value_source != ValueSource::Payload && assignment.depends_on_itself;
                assignment.column == *name && assignment.on_update() && !alike && !fills
            })
        });
        let Some(trigger) = changes else {
            continue;
        };
        findings.push(Finding {
            severity: Severity::Warning,
            rule: Rule::ChangedOnUpdate,
            object: name.clone(),
            message: format!(
                "compared column \"{name}\" is changed by trigger \"{}\" on update, so a late \
                 retry is a conflict",
                trigger.trigger.name
            ),
            hint: format!(
                "Make the guard remember the original payload, or leave the column out of the \
                 comparison{}",
                without(subject, name)
            ),
        });
    }
}

/// A BEFORE INSERT trigger rewrites what a payload brings (`NEW.email := lower(NEW.email)`).
/// Functions compare the payload with the stored row before the trigger sees it, so the
/// retry of a payload is a conflict with its own row. The guard judges what the trigger
/// left, and is not affected.
///
/// A trigger that assigns other columns, or fills in for NULL, is not told. What a
/// function in another language does cannot be read; that is told as such.
pub fn before_trigger(subject: &LintedTable, findings: &mut Vec<Finding>) {
    for trigger in subject.before_insert() {
        let name = &trigger.trigger.name;
        let mut rewritten: Vec<&str> = trigger
            .body
            .assignments
            .iter()
            .filter(|assignment| assignment.rewritten && assignment.on_insert())
            .map(|assignment| assignment.column.as_str())
            .collect();
        rewritten.sort_unstable();
        rewritten.dedup();
        let (severity, message) = if !rewritten.is_empty() {
            let severity = match subject.guard {
                Some(_) => Severity::Info,
                None => Severity::Warning,
            };
            let message = format!(
                "trigger \"{name}\" rewrites {} before a row is inserted, so functions may find a \
                 payload different from its own stored row",
                column_words("column", &rewritten)
            );
            (severity, message)
        } else if trigger.body.unclear {
            let message = format!(
                "trigger \"{name}\" may rewrite rows before they are inserted, so functions \
                 may find a payload different from its own stored row"
            );
            (Severity::Info, message)
        } else {
            continue;
        };
        let guard = match subject.guard {
            Some(_) => "use plain INSERT or COPY, where the guard verifies the row as the \
                        trigger returns it."
                .to_owned(),
            None => guard_the_table(subject),
        };
        findings.push(Finding {
            severity,
            rule: Rule::BeforeTrigger,
            object: name.clone(),
            message,
            hint: format!("Send values as they are to be stored, or {guard}"),
        });
    }
}

/// The end of a sentence: how the table comes to be guarded, with the SQL if the key is
/// known.
fn guard_the_table(subject: &LintedTable) -> String {
    let words = "guard the table, since a guard verifies rows as the trigger returns them";
    match subject.keys().as_slice() {
        [_] if !subject.is_partition() => format!(
            "{words}: SELECT idempotent_guard({});",
            text::quote_literal(&subject.target.qualified())
        ),
        _ => format!("{words}."),
    }
}

/// The end of a sentence: the call that takes a column out of the guard's comparison.
fn without(subject: &LintedTable, column: &str) -> String {
    let call = subject.guard.as_ref().and_then(|guard| {
        call_ignoring(&subject.guarded_table(), &guard.trigger.arguments, column)
    });
    match call {
        Some(call) => format!(": {call}"),
        None => ", with ignore in place of compare.".to_owned(),
    }
}
