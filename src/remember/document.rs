//! Remembering in a jsonb: the kept columns, by name.
use crate::error::{PayloadPosition, Report, SqlState, redact_errors};
use crate::payload::nested::NestedColumns;
use crate::pg::ffi;
use crate::pg::rows::{NewRow, RowBuilder, Slot};
use crate::pg::value::jsonb::{Container, Kind, Value};
use crate::pg::value::sql_value::SqlValue;
use crate::target::{JsonForm, Target};
use pgrx::pg_sys;

/// The kept columns of a row, as an object.
pub fn write<'t>(
    target: &'t Target,
    kept: &[usize],
    row: impl Fn(usize) -> Option<pg_sys::Datum>,
) -> SqlValue<'t> {
    let value = |c: usize| {
        // SAFETY: the row's value of the column, which lives as long as the row.
        unsafe { SqlValue::of_datum(target.columns[c].typid, row(c)) }
    };
    SqlValue::jsonb(target.object(kept.iter().copied(), JsonForm::Lossless, value))
}

/// The row that a document tells, with all columns of the target in their order.
/// A column that it does not have (it was added, or is compared, since) is that of
/// the row `otherwise`; a field that is no kept column (any more) is passed over.
///
/// # Errors
/// What input functions raise where a column's type was changed since, with the
/// column in CONTEXT; 55000 in its place where a value may not be shown.
pub fn read(
    target: &Target,
    column: usize,
    kept: &[usize],
    document: pg_sys::Datum,
    otherwise: &dyn Fn(usize) -> Option<pg_sys::Datum>,
    may_show: &dyn Fn(usize) -> bool,
) -> Slot {
    let mut builder = RowBuilder::new(target.row_desc());
    let mut row = builder.start();
    for c in 0..target.columns.len() {
        // SAFETY: one of the target's columns, with its value in a row that is stored.
        unsafe { row.set_unguarded(c, otherwise(c)) };
    }
    // SAFETY: the column is a jsonb; the current context is that of the row.
    let document = unsafe { Container::of_datum(document) };
    if document.kind() == Kind::Object {
        let position = PayloadPosition::watch();
        position.remembered(&target.columns[column].c_name);
        let fields: Vec<(usize, Value<'_>)> = document
            .names()
            .zip(document.values())
            .filter_map(|(name, value)| Some((target.column_by_bytes(name)?, value)))
            .filter(|(c, _)| kept.contains(c))
            .collect();
        let all_shown = || fields.iter().all(|(c, _)| may_show(*c));
        let put = || put_fields(target, &fields, &position, &mut row);
        redact_errors(put, || (!all_shown()).then(|| does_not_fit(target, column)));
    }
    row.finish();
    // SAFETY: finished just now; the values are in the current memory, or those of a row that
    // outlives what is compared with it.
    unsafe { builder.into_row() }
}

/// Coerces the fields of a document into a row.
fn put_fields<'t, 'd>(
    target: &'t Target,
    fields: &[(usize, Value<'d>)],
    position: &PayloadPosition<'t>,
    row: &mut NewRow<'d>,
) {
    let mut in_json = Vec::new();
    for field in fields {
        let (c, value) = *field;
        let kept = &target.columns[c];
        position.column(&kept.c_name);
        // SAFETY: the guard holds nothing.
        match unsafe { ffi::guard(|| kept.values.read_lossless(value)) } {
            // SAFETY: read as a value of the column, in the memory of the row.
            Some(value) => unsafe { row.set_unguarded(c, value) },
            None => in_json.push((c, value)),
        }
    }
    let named: Vec<usize> = in_json.iter().map(|(c, _)| *c).collect();
    if let Some(nested) = NestedColumns::of_shape(target, &named) {
        let fields = in_json.into_iter();
        nested.read(target, fields, position, row);
    }
}

/// 55000, in place of an error that quotes what is remembered.
fn does_not_fit(target: &Target, column: usize) -> Report {
    let name = &target.columns[column].name;
    Report::new(
        SqlState::ObjectNotInPrerequisiteState,
        format!(
            "what column \"{name}\" of table \"{}\" remembers no longer fits the table",
            target.name
        ),
    )
    .detail("The type of a column has changed since.")
    .hint("Ask the owner of the table to change it back, or to guard the table again.")
    .table(&target.schema, &target.name)
    .column(name.clone())
}
