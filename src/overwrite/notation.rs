//! How a slice is written: a JSON object, whose fields are columns. The value of a field is the
//! column's value, or a range: an object with the bounds `from` and `to`, or one of them.
//!
//! For a column whose type takes JSON objects as values, an object is a value.
use super::slice::{RangeColumn, Slice, may_have_range};
use crate::compare::Order;
use crate::error::{Report, SqlState};
use crate::payload::json::JsonPayloads;
use crate::payload::source::Source;
use crate::pg::catalog::types;
use crate::pg::memory::Scratch;
use crate::pg::rows::Slot;
use crate::pg::value::jsonb::{Container, Kind, Value, with_object};
use crate::pg::value::reading::has_cast_to_json;
use crate::pg::value::text;
use crate::target::{Column, Target};
use pgrx::pg_sys;

/// A field of a JSON object.
type Field<'d> = (&'d [u8], Value<'d>);

/// What the fields of a slice say.
#[derive(Default)]
struct Fields<'d> {
    columns: Vec<usize>,
    ranges: Vec<RangeColumn>,
    /// The values, and the lower bounds.
    values: Vec<Field<'d>>,
    /// The upper bounds.
    ends: Vec<Field<'d>>,
}

impl<'t> Slice<'t> {
    /// That of a JSON object, whose fields are columns of target and source.
    ///
    /// # Errors
    /// 22023 for what is no object, or names a column whose type has no equality, or a range that
    /// is none; 22004 for a bound that is null; 42703 for a field that is no column, or none of the
    /// source's; what the types' input functions raise.
    pub fn read(target: &'t Target, source: &Source<'_>, slice: Container<'t>) -> Self {
        if slice.kind() != Kind::Object {
            Report::new(
                SqlState::InvalidParameterValue,
                "argument \"slice\" must be a JSON object",
            )
            .hint("For example: {\"day\": \"2013-01-31\"}.")
            .raise()
        }
        let document = JsonPayloads::one(target, slice);
        let mut fields = Fields::default();
        let named = &document.shapes[0].named;
        for ((name, value), c) in slice.names().zip(slice.values()).zip(named) {
            fields.add(target, source, *c, name, value);
        }
        fields.columns.sort_unstable();
        fields.ranges.sort_unstable_by_key(|range| range.column);
        let this = Self {
            target,
            columns: fields.columns,
            ranges: fields.ranges,
            values: row_of(target, &fields.values),
            ends: row_of(target, &fields.ends),
        };
        for range in &this.ranges {
            this.refuse_empty(*range);
        }
        this
    }

    fn refuse_empty(&self, range: RangeColumn) {
        let (c, column) = (range.column, &self.target.columns[range.column]);
        let (from, to) = (self.values.value(c), self.ends.value(c));
        if !from.is_null() && !to.is_null() && range.order.compare(column, from, to).is_ge() {
            let what = format!(
                "bound \"from\" of column \"{}\" in \"slice\" must be less than bound \"to\"",
                column.name
            );
            refuse(self.target, column, SqlState::InvalidParameterValue, what).raise()
        }
    }
}

impl<'d> Fields<'d> {
    fn add(
        &mut self,
        target: &Target,
        source: &Source<'_>,
        c: usize,
        name: &'d [u8],
        value: Value<'d>,
    ) {
        let column = &target.columns[c];
        if !source.columns().contains(&c) {
            let what = format!(
                "column \"{}\" of \"slice\" is not in the source",
                column.name
            );
            refuse(target, column, SqlState::UndefinedColumn, what).raise()
        }
        match value {
            Value::Container(range, _)
                if range.kind() == Kind::Object && !takes_objects(column) =>
            {
                self.add_range(target, c, name, range)
            }
            _ => {
                if column.equality_operator() == pg_sys::InvalidOid {
                    let what = format!(
                        "column \"{}\" cannot be in \"slice\": its type has no equality",
                        column.name
                    );
                    refuse(target, column, SqlState::InvalidParameterValue, what).raise()
                }
                refuse_rounded(target, column, value);
                self.columns.push(c);
                self.values.push((name, value));
            }
        }
    }

    fn add_range(&mut self, target: &Target, c: usize, name: &'d [u8], range: Container<'d>) {
        let column = &target.columns[c];
        let invalid = SqlState::InvalidParameterValue;
        let bounds = "A range has the bounds \"from\" and \"to\", or one of them.";
        if !may_have_range(column) {
            let what = format!(
                "column \"{}\" cannot have a range in \"slice\": its type has no order",
                column.name
            );
            refuse(target, column, invalid, what).raise()
        }
        if range.len() == 0 {
            let what = format!(
                "range of column \"{}\" in \"slice\" has no bound",
                column.name
            );
            refuse(target, column, invalid, what).hint(bounds).raise()
        }
        for (bound, value) in range.names().zip(range.values()) {
            let list = match bound {
                b"from" => &mut self.values,
                b"to" => &mut self.ends,
                _ => {
                    let bound = text::from_server_bytes(bound);
                    let what = format!(
                        "unrecognized bound \"{}\" of column \"{}\" in \"slice\"",
                        text::abbreviated(&bound),
                        column.name
                    );
                    refuse(target, column, invalid, what).hint(bounds).raise()
                }
            };
            if let Value::Null = value {
                let what = format!(
                    "bound \"{}\" of column \"{}\" in \"slice\" must not be null",
                    text::from_server_bytes(bound),
                    column.name
                );
                refuse(target, column, SqlState::NullValueNotAllowed, what)
                    .hint("Leave a bound out where the range has none.")
                    .raise()
            }
            refuse_rounded(target, column, value);
            list.push((name, value));
        }
        let order = Order::of(column);
        self.ranges.push(RangeColumn { column: c, order });
    }
}

/// A working row with these values.
fn row_of(target: &Target, fields: &[Field<'_>]) -> Slot {
    with_object(fields, |object| {
        let document = JsonPayloads::one(target, object);
        let mut row = None;
        let memory = Scratch::in_current(c"pg_idempotent slice");
        document.read(None, None, &memory, &mut |slot| {
            row = Some(slot.to_stored())
        });
        let row = row.expect("one document gives one row");
        row.deform();
        row
    })
}

/// Whether an object is a value of the column, and no range.
fn takes_objects(column: &Column) -> bool {
    let base = column.base_type();
    [pg_sys::JSONOID, pg_sys::JSONBOID].contains(&base)
        || types::kind(base) == pg_sys::TYPTYPE_COMPOSITE
        || has_cast_to_json(base)
}

/// What is to be replaced is never another slice than the one that is named: an integer
/// column has no row at 1.5, though an INSERT of that would be rounded to 2.
///
/// # Errors
/// 22P02, in core's words.
fn refuse_rounded(target: &Target, column: &Column, value: Value<'_>) {
    if let Some(number) = column.values.rounded(value) {
        let what = format!(
            "invalid input syntax for type {}: \"{}\"",
            types::name(column.base_type()),
            number.to_string_lossy()
        );
        refuse(target, column, SqlState::InvalidTextRepresentation, what).raise()
    }
}

fn refuse(target: &Target, column: &Column, state: SqlState, what: String) -> Report {
    Report::new(state, what)
        .table(&target.schema, &target.name)
        .column(column.name.clone())
}
