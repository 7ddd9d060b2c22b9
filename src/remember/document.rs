//! Remembering in a jsonb: the kept columns, by name.
use crate::error::{PayloadPosition, Report, RowOrigin, SqlState, redact_errors};
use crate::payload::nested::NestedColumns;
use crate::pg::rows::{NewRow, RowBuilder, Slot};
use crate::pg::value::jsonb::{Kind, Value};
use crate::pg::value::sql_value::SqlValue;
use crate::pg::value::value_type::JsonForm;
use crate::target::Target;

/// The kept columns of a row, as an object.
pub fn write<'t>(
    target: &'t Target,
    kept: &[usize],
    row: impl Fn(usize) -> SqlValue<'t>,
) -> SqlValue<'t> {
    SqlValue::jsonb(target.object(kept.iter().copied(), JsonForm::Lossless, row))
}

/// A copy of the row that a document tells, with all columns of the target in their order.
/// A column that it does not have (it was added, or is compared, since) is that of
/// the row `otherwise`; a field that is no kept column (any more) is passed over.
///
/// # Errors
/// What input functions raise where a column's type was changed since, with the
/// column in CONTEXT; 55000 in its place where a value may not be shown.
pub fn read<'v>(
    target: &Target,
    column: usize,
    kept: &[usize],
    document: SqlValue<'v>,
    otherwise: &dyn Fn(usize) -> SqlValue<'v>,
    may_show: &dyn Fn(usize) -> bool,
) -> Slot {
    let document = document.to_container().expect("the column is a jsonb");
    let mut builder = RowBuilder::new(target.row_desc());
    let mut row = builder.start();
    for c in 0..target.columns.len() {
        row.set(c, otherwise(c));
    }
    if document.kind() == Kind::Object {
        let position = PayloadPosition::watch(RowOrigin::Payload);
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
    let row = row.finish().to_stored();
    row.deform();
    row
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
        match kept.values.read_lossless(value) {
            Some(value) => row.set(c, value),
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
            "the payload remembered in column \"{name}\" of table \"{}\" no longer fits the table",
            target.name
        ),
    )
    .detail("The type of a column has changed since.")
    .hint("Ask the owner of the table to change it back, or to guard the table again.")
    .table(&target.schema, &target.name)
    .column(name.clone())
}
