//! Arrays and composites inside a JSON payload.
//!
//! What they consist of may change without the table's being told, so that their readers are
//! made for every call.
use crate::error::PayloadPosition;
use crate::pg::memory::Memory;
use crate::pg::rows::NewRow;
use crate::pg::value::jsonb::Value;
use crate::pg::value::reading::Reader;
use crate::target::Target;

/// Fills the nested columns of one shape.
pub struct NestedColumns {
    /// By place among the named columns; None for those that are not nested.
    readers: Vec<Option<Reader>>,
    /// What the readers have.
    _memory: Memory,
}

impl NestedColumns {
    /// For the nested ones among `named`, some of which may be no columns; None if there are none.
    pub fn of_shape(target: &Target, named: &[usize]) -> Option<Self> {
        let nested = |c: &usize| target.columns.get(*c).filter(|column| column.nested);
        if !named.iter().any(|c| nested(c).is_some()) {
            return None;
        }
        let memory = Memory::in_current(c"pg_idempotent nested columns");
        let reader = |c: &usize| nested(c).map(|column| Reader::of(column.wanted(), &memory));
        Some(Self {
            readers: named.iter().map(reader).collect(),
            _memory: memory,
        })
    }

    /// Reads the nested ones of a payload's fields (position and value, in the order of the
    /// named columns) into a row.
    ///
    /// # Errors
    /// As [`Reader::read`], with the column in CONTEXT.
    pub fn read<'t, 'd>(
        &self,
        target: &'t Target,
        fields: impl Iterator<Item = (usize, Value<'d>)>,
        position: &PayloadPosition<'t>,
        row: &mut NewRow<'d>,
    ) {
        for (reader, (c, value)) in self.readers.iter().zip(fields) {
            if let (Some(reader), Some(column)) = (reader, target.columns.get(c)) {
                position.column(&column.c_name);
                row.set(c, reader.read_value(value));
            }
        }
    }
}
