//! Working rows.
//!
//! A working row has every column of the target in the order of
//! `Target::columns` (NULL where the payload does not name it), then three of
//! its own: the payload's ordinal, its shape, and whom it follows.
use crate::pg::rows::Slot;
use crate::target::{Target, UniqueIndex};
use pgrx::pg_sys;

/// Where a working row's own columns are.
#[derive(Clone, Copy)]
pub struct Layout {
    columns: usize,
}

impl Layout {
    /// That of a target's working rows.
    pub fn of(target: &Target) -> Self {
        Self {
            columns: target.columns.len(),
        }
    }

    /// The position of the ordinal, by which equal keys are sorted.
    pub fn ordinal_column(self) -> usize {
        self.columns
    }

    /// The position of the ordinal of the payload that the row follows.
    pub fn follows_column(self) -> usize {
        self.columns + 2
    }

    /// Sets the row's own columns. A row follows an earlier payload of the call
    /// that has its key and was handed to INSERT.
    pub fn set(self, slot: &mut Slot, ordinal: i64, shape: usize, follows: Option<i64>) {
        slot.set(self.columns, Some(pg_sys::Datum::from(ordinal)));
        slot.set(self.columns + 1, Some(pg_sys::Datum::from(shape as i32)));
        slot.set(self.follows_column(), follows.map(pg_sys::Datum::from));
    }

    /// The ordinal.
    pub fn ordinal(self, slot: &Slot) -> i64 {
        slot.get(self.columns).map_or(0, |d| d.value() as i64)
    }

    /// The shape.
    pub fn shape(self, slot: &Slot) -> usize {
        slot.get(self.columns + 1)
            .map_or(0, |d| d.value() as i32 as usize)
    }

    /// The ordinal of the payload that the row follows.
    pub fn follows(self, slot: &Slot) -> Option<i64> {
        slot.get(self.follows_column()).map(|d| d.value() as i64)
    }
}

/// Whether two working rows have the same key, as the arbiter sees it.
pub fn same_key(arbiter: &UniqueIndex, a: &Slot, b: &Slot) -> bool {
    arbiter
        .keys
        .iter()
        .all(|key| match (a.get(key.column), b.get(key.column)) {
            (None, None) => true,
            // SAFETY: non-null values of the key column, its index's equality.
            (Some(a), Some(b)) => unsafe {
                pg_sys::FunctionCall2Coll(key.equality, key.collation, a, b).value() != 0
            },
            _ => false,
        })
}
