//! A row of a source that is no row of the target: one of its values is refused.
use crate::pg::memory::Memory;
use crate::pg::rows::Slot;
use crate::pg::value::document::JsonbDatum;
use crate::pg::value::value_type::{JsonForm, ValueType, object_of_values};
use crate::target::{OpenRelation, attribute_name};
use pgrx::pg_sys;
use std::cell::OnceCell;
use std::ffi::CString;

/// The columns of a source, set up when the first of its rows is refused.
pub struct RefusedTypes<'r> {
    relation: &'r OpenRelation,
    /// In the order of the rows.
    numbers: &'r [pg_sys::AttrNumber],
    columns: OnceCell<Vec<(CString, ValueType)>>,
    /// What their functions are in.
    memory: Memory,
}

impl<'r> RefusedTypes<'r> {
    /// For rows with these columns of a relation; lives in the current memory.
    pub fn new(relation: &'r OpenRelation, numbers: &'r [pg_sys::AttrNumber]) -> Self {
        Self {
            relation,
            numbers,
            columns: OnceCell::new(),
            memory: Memory::in_current(c"pg_idempotent source"),
        }
    }

    fn columns(&self) -> &[(CString, ValueType)] {
        let column = |number: &pg_sys::AttrNumber| {
            let attribute = self.relation.attribute(*number);
            let of = || ValueType::of(attribute, &self.memory);
            (attribute_name(attribute), self.memory.scope(of))
        };
        self.columns
            .get_or_init(|| self.numbers.iter().map(column).collect())
    }
}

/// A row as the source has it.
pub struct RefusedRow<'r> {
    /// Its position, from 1.
    pub ordinal: i64,
    row: &'r Slot,
    types: &'r RefusedTypes<'r>,
}

impl<'r> RefusedRow<'r> {
    /// A row with the columns of the source.
    pub fn new(ordinal: i64, row: &'r Slot, types: &'r RefusedTypes<'r>) -> Self {
        Self {
            ordinal,
            row,
            types,
        }
    }

    /// As a JSON object, in the current memory.
    pub fn to_json(&self) -> JsonbDatum {
        let columns = self.types.columns().iter().enumerate();
        let fields = columns.map(|(i, (name, of))| (name.as_c_str(), of, self.row.value(i)));
        object_of_values(JsonForm::Recorded, fields)
    }
}
