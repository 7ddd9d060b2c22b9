//! How a slice is written: a JSON object, whose fields are columns. The value of a field is the
//! column's value, or a range: an object with the bounds `from` and `to`, or one of them.
//!
//! For a column whose type takes JSON objects as values, an object is a value.
use super::slice::{RangeColumn, Slice, may_have_range};
use crate::compare::{Order, differing, show_value};
use crate::error::{Report, SqlState};
use crate::payload::json::JsonPayloads;
use crate::payload::source::Source;
use crate::pg::catalog::types;
use crate::pg::memory::Scratch;
use crate::pg::rows::Slot;
use crate::pg::value::document::JsonbDatum;
use crate::pg::value::jsonb::{Container, Kind, Value, with_object};
use crate::pg::value::reading::has_cast_to_json;
use crate::pg::value::text;
use crate::pg::value::value_type::JsonForm;
use crate::settings;
use crate::target::{Column, StoredRow, Target};
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
        let document = JsonPayloads::slice(target, slice);
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

    /// The object of a slice of values, which [`Slice::read`] reads as the same slice. Where it would
    /// take what JSON has for a value as another one (an array that does not begin with 1, or with a
    /// JSON null in it), the field is the value's text.
    ///
    /// # Errors
    /// 0A000 for a value that is read from neither: a jsonb that is JSON null.
    pub fn to_object(&self) -> JsonbDatum {
        let target = self.target;
        let columns = self.columns.iter().copied();
        let object = target.object(columns, JsonForm::Readable, |c| self.values.value(c));
        let surely_read = |c: &usize| READ_AS_SHOWN.contains(&target.columns[*c].base_type());
        if self.columns.iter().all(surely_read) {
            return object;
        }
        let container = object.container();
        let mut fields: Vec<Field<'_>> = container.names().zip(container.values()).collect();
        let others = self.read_otherwise(&fields);
        if others.is_empty() {
            return object;
        }
        for c in others {
            let column = &target.columns[c];
            let name = column.c_name.to_bytes();
            let shown = column.values.show_value(self.values.value(c));
            let field = fields.iter_mut().find(|field| field.0 == name);
            if let (Some(field), Some(shown)) = (field, shown) {
                field.1 = Value::String(shown.to_bytes());
            }
        }
        if let Some(c) = self.read_otherwise(&fields).first() {
            self.refuse_nameless(*c)
        }
        JsonbDatum::of_fields(&fields)
    }

    /// The columns whose values are others when they are read from these fields.
    fn read_otherwise(&self, fields: &[Field<'_>]) -> Vec<usize> {
        let read = row_of(self.target, fields);
        let numbers = self.target.attnums_in_order();
        let values = StoredRow::returned(&self.values, &numbers);
        let columns = &self.target.columns;
        differing(columns, &self.columns, &values, |c| read.value(c))
    }

    /// 0A000 for a column whose value no slice names.
    fn refuse_nameless(&self, c: usize) -> ! {
        let column = &self.target.columns[c];
        let what = format!(
            "column \"{}\" has a value that \"slice\" cannot name",
            column.name
        );
        let value = if settings::show_values() {
            format!("value {}", show_value(column, self.values.value(c)))
        } else {
            "value".to_owned()
        };
        refuse(self.target, column, SqlState::FeatureNotSupported, what)
            .detail(format!(
                "In JSON, the {value} would be read as another one."
            ))
            .hint("Leave the column out of \"by\", or write another value in the source.")
            .raise()
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

/// Types whose values JSON tells from each other, whatever the session's settings are; they are not
/// read to see it.
const READ_AS_SHOWN: [pg_sys::Oid; 12] = [
    pg_sys::BOOLOID,
    pg_sys::INT2OID,
    pg_sys::INT4OID,
    pg_sys::INT8OID,
    pg_sys::NUMERICOID,
    pg_sys::DATEOID,
    pg_sys::TIMESTAMPOID,
    pg_sys::TIMESTAMPTZOID,
    pg_sys::UUIDOID,
    pg_sys::TEXTOID,
    pg_sys::VARCHAROID,
    pg_sys::BPCHAROID,
];

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
        let document = JsonPayloads::slice(target, object);
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
