//! The rule about keys of local time.
use super::finding::{Finding, Rule, Severity, column_words};
use super::loading::LOADED;
use super::subject::LintedTable;
use super::time_part::{ColumnKind, TimePart, local_parts};
use super::words::has_word;
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
        let part_of = |c: usize| {
            let column = &target.columns[c];
            TimePart::of(kind_of(column.base_type()), &column.name)
        };
        let parts: Vec<TimePart> = columns.iter().map(|c| part_of(*c)).collect();
        let local = local_parts(&parts);
        if local.is_empty() {
            continue;
        }
        let of_time = |c: &usize| local.contains(&part_of(*c));
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

fn kind_of(base: pg_sys::Oid) -> ColumnKind {
    match base {
        pg_sys::TIMESTAMPTZOID | pg_sys::TIMETZOID | pg_sys::TSTZRANGEOID | pg_sys::UUIDOID => {
            ColumnKind::Resolved
        }
        pg_sys::TIMESTAMPOID | pg_sys::TSRANGEOID => ColumnKind::Timestamp,
        pg_sys::DATEOID => ColumnKind::Date,
        pg_sys::TIMEOID => ColumnKind::Time,
        pg_sys::INT2OID | pg_sys::INT4OID | pg_sys::INT8OID | pg_sys::NUMERICOID => {
            ColumnKind::Number
        }
        pg_sys::TEXTOID | pg_sys::VARCHAROID | pg_sys::BPCHAROID => ColumnKind::Text,
        _ => ColumnKind::Other,
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
