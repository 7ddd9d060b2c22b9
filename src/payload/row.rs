//! Working rows.
//!
//! A working row has every column of the target in the order of
//! `Target::columns` (NULL where the payload does not name it), then three of
//! its own: the payload's ordinal, its shape, and its [`Mark`].
use crate::pg::rows::Slot;
use crate::target::{Target, UniqueIndex};
use pgrx::pg_sys;

/// How far a payload has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Not looked at yet.
    Fresh,
    /// Handed to INSERT this many times, and at least one row of that statement
    /// did not go in.
    Sent(i64),
    /// Went in.
    Inserted,
    /// Has the key of an earlier payload of the call, the one with this
    /// ordinal, which was handed to INSERT.
    Follows(i64),
}

impl Mark {
    fn to_int(self) -> i64 {
        match self {
            Self::Fresh => 0,
            Self::Follows(ordinal) => ordinal,
            Self::Inserted => -1,
            Self::Sent(times) => -1 - times,
        }
    }

    fn from_int(value: i64) -> Self {
        match value {
            0 => Self::Fresh,
            -1 => Self::Inserted,
            ordinal if ordinal > 0 => Self::Follows(ordinal),
            sent => Self::Sent(-1 - sent),
        }
    }
}

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

    /// Sets the row's own columns.
    pub fn set(self, slot: &mut Slot, ordinal: i64, shape: usize, mark: Mark) {
        slot.set(self.columns, Some(pg_sys::Datum::from(ordinal)));
        slot.set(self.columns + 1, Some(pg_sys::Datum::from(shape as i32)));
        self.set_mark(slot, mark);
    }

    /// Sets the mark alone.
    pub fn set_mark(self, slot: &mut Slot, mark: Mark) {
        slot.set(self.columns + 2, Some(pg_sys::Datum::from(mark.to_int())));
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

    /// The mark.
    pub fn mark(self, slot: &Slot) -> Mark {
        Mark::from_int(slot.get(self.columns + 2).map_or(0, |d| d.value() as i64))
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
