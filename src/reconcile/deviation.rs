//! A deviation, and how it is told.
use crate::compare::{Arriving, Differences};
use crate::enum_text;
use crate::payload::shape::Shape;
use crate::pg::memory::Memory;
use crate::pg::rows::Slot;
use crate::pg::value::document::JsonbDatum;
use crate::pg::value::sql_value::SqlValue;
use crate::pg::value::value_type::JsonForm;
use crate::target::{StoredRow, Target, UniqueIndex, VisibleColumns};
use pgrx::pg_sys;
use serde::Serialize;

/// How a row deviates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It is in the source only.
    Missing,
    /// It is in the target only.
    Unexpected,
    /// It is in both, with other values.
    Different,
}

/// A row that deviates.
pub struct Deviation<'r> {
    pub status: Status,
    /// The row of the target.
    pub stored: Option<&'r Slot>,
    /// The row of the source.
    pub expected: Option<&'r Slot>,
    /// The columns in which the two differ.
    pub columns: &'r [usize],
}

/// Makes rows of the result.
pub struct Teller<'a> {
    target: &'a Target,
    arbiter: &'a UniqueIndex,
    shape: &'a Shape,
    key: Vec<usize>,
    /// Where the columns are in working rows.
    numbers: Vec<pg_sys::AttrNumber>,
    /// Reset for every row.
    scratch: Memory,
}

impl<'a> Teller<'a> {
    /// Of deviations of rows of this shape.
    pub fn new(target: &'a Target, arbiter: &'a UniqueIndex, shape: &'a Shape) -> Self {
        Self {
            target,
            arbiter,
            shape,
            key: arbiter.keys.iter().map(|key| key.column).collect(),
            numbers: target.attnums_in_order(),
            scratch: Memory::in_current(c"pg_idempotent told deviation"),
        }
    }

    /// Hands `status text, key, stored, expected, differences jsonb` over, which go when `take`
    /// returns.
    pub fn tell(&mut self, deviation: &Deviation<'_>, take: impl FnOnce([SqlValue<'_>; 5])) {
        self.scratch.reset();
        self.scratch.scope(|| {
            let Deviation {
                stored, expected, ..
            } = *deviation;
            let object = |row: Option<&Slot>, columns: &[usize]| {
                let object = row.map(|row| self.object(row, columns));
                SqlValue::optional_jsonb(object)
            };
            let named = &self.shape.named;
            take([
                SqlValue::text(enum_text::name(deviation.status)),
                object(stored.or(expected), &self.key),
                object(stored, named),
                object(expected, named),
                SqlValue::optional_jsonb(self.differences(deviation)),
            ]);
        });
    }

    fn differences(&self, deviation: &Deviation<'_>) -> Option<JsonbDatum> {
        let (stored, expected) = (deviation.stored?, deviation.expected?);
        let everything = VisibleColumns::everything();
        let differences = Differences {
            target: self.target,
            arbiter: self.arbiter,
            stored: &StoredRow::returned(stored, &self.numbers),
            payload: |c| expected.value(c),
            columns: deviation.columns,
            against_original: false,
            readable: &everything,
            sent: &everything,
        };
        Some(differences.to_jsonb(Arriving::Expected))
    }

    /// Columns of a row as a JSON object, in the current context.
    fn object(&self, row: &Slot, columns: &[usize]) -> JsonbDatum {
        let columns = columns.iter().copied();
        self.target
            .object(columns, JsonForm::Shown, |c| row.value(c))
    }
}
