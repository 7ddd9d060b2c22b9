//! The rule about keys of local time.
use super::subject::LintedTable;
use super::{Finding, LOADED, Rule, Severity, column_words, has_word};
use crate::pg::value::text;
use crate::target::Target;
use pgrx::pg_sys;

/// A key of local time: a timestamp without time zone, or an hour (or a time) beside a
/// day. When clocks go back, an hour happens twice, and two events have one key: the
/// second is a conflict, or lost where ON CONFLICT DO NOTHING is used. And a payload
/// that brings an offset loses it.
///
/// A key that tells the two hours apart is none of those: with an instant or an offset in
/// it, with a uuid, or with columns that say that they are UTC.
pub fn local_time_key(subject: &LintedTable, findings: &mut Vec<Finding>) {
    let target = &subject.target;
    for index in subject.keys() {
        let columns: Vec<usize> = index.columns().collect();
        let parts: Vec<TimePart> = columns.iter().map(|c| TimePart::of(target, *c)).collect();
        let has = |part: TimePart| parts.contains(&part);
        let local = if has(TimePart::Resolved) {
            continue;
        } else if has(TimePart::Timestamp) {
            vec![TimePart::Timestamp]
        } else if has(TimePart::Day) && has(TimePart::Hour) {
            vec![
                TimePart::Day,
                TimePart::Hour,
                TimePart::Calendar,
                TimePart::Finer,
            ]
        } else {
            continue;
        };
        let of_time = |c: &usize| local.contains(&TimePart::of(target, *c));
        let named: Vec<&str> = columns
            .iter()
            .filter(|c| of_time(c))
            .map(|c| target.columns[*c].name.as_str())
            .collect();
        findings.push(Finding {
            severity: Severity::Warning,
            rule: Rule::LocalTimeKey,
            object: index.name.clone(),
            message: format!(
                "{} of index \"{}\" {} local time, in which an hour occurs twice when clocks \
                 go back",
                column_words("key column", &named),
                index.name,
                if named.len() == 1 { "is" } else { "are" }
            ),
            hint: as_instant(subject, &columns, &of_time, &named),
        });
    }
}

/// What a key column says of the time.
#[derive(Clone, Copy, PartialEq, Eq)]
enum TimePart {
    /// A timestamp (or a range of them) without time zone.
    Timestamp,
    /// A day of the calendar, or of a month.
    Day,
    /// Year, month, week: part of a date.
    Calendar,
    /// An hour, or a time of day.
    Hour,
    /// Minutes and seconds.
    Finer,
    /// Something that tells two equal local times apart.
    Resolved,
    /// Nothing.
    Other,
}

impl TimePart {
    fn of(target: &Target, column: usize) -> Self {
        let column = &target.columns[column];
        let base = column.base_type();
        let integer = [
            pg_sys::INT2OID,
            pg_sys::INT4OID,
            pg_sys::INT8OID,
            pg_sys::NUMERICOID,
        ]
        .contains(&base);
        let text = [pg_sys::TEXTOID, pg_sys::VARCHAROID, pg_sys::BPCHAROID].contains(&base);
        let named = |wanted: &[&str]| has_word(&column.name, wanted);
        match base {
            _ if named(&["utc", "gmt", "zulu", "offset", "utcoffset", "dst", "fold"]) => {
                Self::Resolved
            }
            pg_sys::TIMESTAMPTZOID | pg_sys::TIMETZOID | pg_sys::TSTZRANGEOID | pg_sys::UUIDOID => {
                Self::Resolved
            }
            pg_sys::TIMESTAMPOID | pg_sys::TSRANGEOID => Self::Timestamp,
            pg_sys::DATEOID => Self::Day,
            pg_sys::TIMEOID => Self::Hour,
            _ if (integer || text) && named(&["date", "yyyymmdd"]) => Self::Day,
            _ if !integer => Self::Other,
            // A day of the week is none of the calendar: such an hour is on a timetable.
            _ if named(&["week", "weekday", "dow"]) => Self::Calendar,
            _ if named(&["hour", "hr", "hh", "hhmm"]) => Self::Hour,
            _ if named(&["day", "dd", "yday", "doy"]) => Self::Day,
            _ if named(&["year", "month", "quarter", "yyyy"]) => Self::Calendar,
            _ if named(&["minute", "second"]) => Self::Finer,
            _ => Self::Other,
        }
    }
}

/// A key of an instant in place of local time.
fn as_instant(
    subject: &LintedTable,
    columns: &[usize],
    of_time: &dyn Fn(&usize) -> bool,
    named: &[&str],
) -> String {
    let target = &subject.target;
    if columns
        .iter()
        .any(|c| of_time(c) && subject.has_fixed_type(*c))
    {
        return "Partition the table by an instant, a column of type timestamptz, and put that into \
                the key in place of local time."
            .to_owned();
    }
    let instants: Vec<usize> = (0..target.columns.len())
        .filter(|c| {
            let column = &target.columns[*c];
            column.base_type() == pg_sys::TIMESTAMPTZOID
                && column.generated == 0
                && subject.server_filled[*c].is_none()
                && !has_word(&column.name, &LOADED)
                && !has_word(&column.name, &["created", "updated", "modified", "changed"])
        })
        .collect();
    if let [instant] = instants.as_slice() {
        let others = columns.iter().filter(|c| !of_time(c)).copied();
        let key = others.chain([*instant]);
        let lead = format!("Column \"{}\" is an instant", target.columns[*instant].name);
        return target.create_index(&lead, &key.collect::<Vec<_>>());
    }
    match named {
        [only] if type_of(target, only) == pg_sys::TIMESTAMPOID => {
            let name = text::quote_identifier(only);
            let table = target.qualified_root();
            format!(
                "Name the zone that its values are in: ALTER TABLE {table} ALTER COLUMN {name} TYPE \
                 timestamptz USING {name} AT TIME ZONE 'UTC';"
            )
        }
        _ => "Add a column of type timestamptz, and put it into the key in place of local time."
            .to_owned(),
    }
}

fn type_of(target: &Target, name: &str) -> pg_sys::Oid {
    target.columns[target.column_by_name(name)].base_type()
}
