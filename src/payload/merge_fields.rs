//! The fields of JSON payloads that a merge reads beside the columns of their names: what decides
//! which payload is the latest, and whether it deletes. The target need not have them as columns.
use super::latest_by::Decider;
use super::row::RowLayout;
use crate::error::{PayloadPosition, Report, SqlState};
use crate::pg::memory::Memory;
use crate::pg::rows::{NewRow, RowColumn, RowDesc};
use crate::pg::value::jsonb::{Container, Value};
use crate::pg::value::reading::{Reader, ResultDetail};
use crate::pg::value::text;
use crate::target::Target;
use pgrx::pg_sys;
use std::ffi::CString;

/// Where a field has no column.
const NOWHERE: usize = usize::MAX;

/// What a merge reads of its payloads.
pub struct MergeFields {
    deciders: Vec<Decider>,
    /// Readers of columns that keep a decider under another name, by decider.
    readers: Vec<Option<Reader>>,
    /// The field that says that a payload deletes, with its reader.
    delete_when: Option<(CString, Reader)>,
    /// Reads what is not stored.
    jsonb: Reader,
    /// The columns of what is not stored, behind a working row's own.
    pub unstored: Vec<pg_sys::FormData_pg_attribute>,
    /// By shape.
    shapes: Vec<FieldPlaces>,
    /// What the readers have.
    _memory: Memory,
}

/// Where the fields of payloads of one shape go.
struct FieldPlaces {
    /// The fields, as they tell the shape from others.
    fields: Vec<usize>,
    /// By field, in jsonb's order: the position of its column, or one that no column has.
    columns: Vec<usize>,
    /// The same, of payloads that delete: all but the key and `latest_by` go nowhere.
    of_deletes: Vec<usize>,
    /// Fields that go to another column as well, with their decider.
    again: Vec<(usize, usize)>,
    /// The fields that are not stored, in the order of the columns behind a row's own.
    unstored: Vec<usize>,
    delete_when: Option<usize>,
}

impl MergeFields {
    /// For these deciders and this field.
    pub fn new(target: &Target, deciders: Vec<Decider>, delete_when: Option<&str>) -> Self {
        let memory = Memory::in_current(c"pg_idempotent merge");
        let reader = |typid| {
            let wanted = ResultDetail {
                name: c"latest_by",
                typid,
                typmod: -1,
                dimensions: 0,
            };
            Reader::of(wanted, &memory)
        };
        let of_column = |decider: &Decider| match decider {
            Decider::StoredAs(column, _) => {
                Some(Reader::of(target.columns[*column].wanted(), &memory))
            }
            _ => None,
        };
        let jsonb = RowDesc::of(&[RowColumn::of_type(c"unstored", pg_sys::JSONBOID)]);
        let unstored = deciders.iter().filter(|d| d.column().is_none());
        Self {
            readers: deciders.iter().map(of_column).collect(),
            delete_when: delete_when.map(|name| (text::to_server(name), reader(pg_sys::BOOLOID))),
            jsonb: reader(pg_sys::JSONBOID),
            unstored: unstored.flat_map(|_| jsonb.attributes().copied()).collect(),
            shapes: Vec::new(),
            deciders,
            _memory: memory,
        }
    }

    /// What decides which payload is the latest.
    pub fn deciders(&self) -> &[Decider] {
        &self.deciders
    }

    /// What a field is that is no column by its name: a number beyond the positions of columns. None
    /// if it is none of these, either.
    pub fn field(&self, target: &Target, name: &[u8]) -> Option<usize> {
        let is_named = |other: &str| text::to_server(other).to_bytes() == name;
        let decider = self.deciders.iter().position(|decider| match decider {
            Decider::StoredAs(_, field) | Decider::Unstored(field) => is_named(field),
            Decider::Stored(_) => false,
        });
        let deletes = self.delete_when.as_ref();
        let deletes = deletes.filter(|(field, _)| field.to_bytes() == name);
        let number = decider.or(deletes.map(|_| self.deciders.len()))?;
        Some(target.columns.len() + number)
    }

    /// The fields of the first shape that was added.
    pub fn first_fields(&self) -> &[usize] {
        &self.shapes[0].fields
    }

    /// Adds the shape of a payload with these fields: positions of columns, and what
    /// [`MergeFields::field`] gave. Gives the columns that it names.
    ///
    /// # Errors
    /// 23502 if it lacks what decides; 42701 if two fields are one column.
    pub fn add_shape(
        &mut self,
        target: &Target,
        fields: Vec<usize>,
        payload: Container<'_>,
        ordinal: i64,
    ) -> Vec<usize> {
        let names: Vec<&[u8]> = payload.names().collect();
        let field = |name: &str| {
            let name = text::to_server(name);
            names.iter().position(|other| *other == name.to_bytes())
        };
        let is_column = |c: usize| c < target.columns.len();
        let place = |c: &usize| if is_column(*c) { *c } else { NOWHERE };
        let mut columns: Vec<usize> = fields.iter().map(place).collect();
        let (mut again, mut unstored) = (Vec::new(), Vec::new());
        for (i, decider) in self.deciders.iter().enumerate() {
            let found = match decider {
                Decider::Stored(column) => columns.iter().position(|c| c == column),
                Decider::StoredAs(_, name) | Decider::Unstored(name) => field(name),
            };
            let found = found.unwrap_or_else(|| missing(target, decider, ordinal).raise());
            match decider {
                Decider::Stored(_) => {}
                Decider::Unstored(_) => unstored.push(found),
                Decider::StoredAs(column, name) => {
                    if columns.contains(column) {
                        two_fields(target, *column, name, ordinal).raise()
                    }
                    if columns[found] == NOWHERE {
                        columns[found] = *column;
                    } else {
                        again.push((found, i));
                    }
                }
            }
        }
        let flag = self.delete_when.as_ref();
        let delete_when =
            flag.and_then(|(name, _)| names.iter().position(|n| *n == name.to_bytes()));
        let stored = columns.iter().copied().filter(|c| is_column(*c));
        let copied = again.iter().filter_map(|(_, i)| self.deciders[*i].column());
        let named = stored.chain(copied).collect();
        self.shapes.push(FieldPlaces {
            fields,
            of_deletes: Vec::new(),
            columns,
            again,
            unstored,
            delete_when,
        });
        named
    }

    /// Of a payload that deletes, only these columns are read.
    pub fn read_of_deletes(&mut self, read: &[usize]) {
        for shape in &mut self.shapes {
            let of_deletes = shape.columns.iter();
            shape.of_deletes = of_deletes
                .map(|c| if read.contains(c) { *c } else { NOWHERE })
                .collect();
        }
    }

    /// Whether a payload of this shape deletes.
    ///
    /// # Errors
    /// 22P02 if the field is no boolean.
    pub fn deletes<'n>(
        &'n self,
        payload: Container<'_>,
        shape: usize,
        position: &PayloadPosition<'n>,
    ) -> bool {
        let (Some((name, reader)), Some(field)) =
            (&self.delete_when, self.shapes[shape].delete_when)
        else {
            return false;
        };
        position.column(name);
        let value = payload.values().nth(field).map(|v| reader.read_value(v));
        value
            .and_then(|v| v.to_datum())
            .is_some_and(|d| d.value() != 0)
    }

    /// The position of the column of each field; one that no column has, where a field is not read.
    pub fn columns(&self, shape: usize, deletes: bool) -> &[usize] {
        let places = &self.shapes[shape];
        if deletes {
            &places.of_deletes
        } else {
            &places.columns
        }
    }

    /// Reads what goes to another column as well, and what is not stored.
    ///
    /// # Errors
    /// What the input functions raise.
    pub fn read<'d>(
        &self,
        target: &Target,
        payload: Container<'d>,
        shape: usize,
        position: &PayloadPosition<'_>,
        row: &mut NewRow<'d>,
    ) {
        position.no_column();
        let places = &self.shapes[shape];
        let value = |field: usize| payload.values().nth(field).unwrap_or(Value::Null);
        for (field, decider) in &places.again {
            if let (Some(column), Some(reader)) =
                (self.deciders[*decider].column(), &self.readers[*decider])
            {
                row.set(column, reader.read_value(value(*field)));
            }
        }
        let first = RowLayout::of(target).first_unstored();
        for (i, field) in places.unstored.iter().enumerate() {
            row.set(first + i, self.jsonb.read_value(value(*field)));
        }
    }
}

/// 23502 for what decides which payload is the latest.
fn missing(target: &Target, decider: &Decider, ordinal: i64) -> Report {
    let name = match decider {
        Decider::Stored(column) => &target.columns[*column].name,
        Decider::StoredAs(_, name) | Decider::Unstored(name) => name,
    };
    Report::new(
        SqlState::NotNullViolation,
        format!("column \"{name}\" of \"latest_by\" is missing from payload {ordinal}"),
    )
    .detail("Without it, nothing says which of two payloads is the later.")
    .table(&target.schema, &target.name)
    .column(name.clone())
}

/// 42701 for two fields that are one column.
fn two_fields(target: &Target, column: usize, name: &str, ordinal: i64) -> Report {
    let column = &target.columns[column].name;
    Report::new(
        SqlState::DuplicateColumn,
        format!("payload {ordinal} has two fields for \"{column}\""),
    )
    .detail(format!(
        "It has a field of that name, and \"{name}\", which \"latest_by\" stores as \"{column}\"."
    ))
    .table(&target.schema, &target.name)
    .column(column.clone())
}
