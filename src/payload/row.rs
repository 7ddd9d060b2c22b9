//! Working rows.
//!
//! A working row has every column of the target in the order of
//! `Target::columns` (NULL where the payload does not name it), then the
//! expressions in the keys of its indexes (NULL but for those of the arbiter), then
//! three of its own: the payload's ordinal, its shape, and its [`Mark`]. In a merge, columns
//! that only the source has may be behind these.
use crate::pg::rows::{NewRow, RowBuilder, Slot};
use crate::pg::value::sql_value::SqlValue;
use crate::target::{Target, UniqueIndex};
use pgrx::pg_sys;
use std::cmp::Ordering;

/// What is known of a row from the round before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Nothing: it is handed to INSERT as long as its key is not found.
    Pending,
    /// INSERT returned it.
    Inserted,
    /// An earlier payload of the call, the one with this ordinal, has its key
    /// and was handed to INSERT.
    SameKeyAs(i64),
    /// It is outside of the arbiter's condition, and has no key: it is handed to INSERT, whatever
    /// is stored.
    Outside,
    /// It is never inserted: in a merge, it deletes the stored row.
    Delete,
    /// Likewise, but it is outside of the arbiter's condition, and has no key: it does nothing.
    DeleteOutside,
}

impl Mark {
    /// The mark of the same row, if it deletes.
    pub fn of_delete(self) -> Self {
        match self {
            Self::Outside | Self::DeleteOutside => Self::DeleteOutside,
            _ => Self::Delete,
        }
    }
}

/// The mark of a row that is [`Mark::Outside`], as the only one below 0.
const OUTSIDE: i64 = -1;

/// Those of rows that delete: no ordinals.
const DELETE: i64 = i64::MAX;
const DELETE_OUTSIDE: i64 = i64::MAX - 1;

/// Where a working row's own columns are.
#[derive(Clone, Copy)]
pub struct RowLayout {
    columns: usize,
}

impl RowLayout {
    /// The layout of a target's working rows.
    pub fn of(target: &Target) -> Self {
        Self {
            columns: target.working_columns(),
        }
    }

    /// The position of the ordinal, by which equal keys are sorted.
    pub fn ordinal_column(self) -> usize {
        self.columns
    }

    /// The position of the mark, which is NULL for a plain row, and below 0 for one without a key.
    pub fn mark_column(self) -> usize {
        self.columns + 2
    }

    /// The position of the first column behind the row's own: what decides which row is the
    /// latest, and is not stored.
    pub fn first_unstored(self) -> usize {
        self.columns + 3
    }

    /// Sets the row's own columns.
    pub fn set(self, row: &mut NewRow<'_>, ordinal: i64, shape: usize, mark: Mark) {
        let mark = match mark {
            Mark::Pending => None,
            Mark::Inserted => Some(0),
            Mark::SameKeyAs(ordinal) => Some(ordinal),
            Mark::Outside => Some(OUTSIDE),
            Mark::Delete => Some(DELETE),
            Mark::DeleteOutside => Some(DELETE_OUTSIDE),
        };
        let mark = mark.map_or(SqlValue::null(pg_sys::INT8OID), SqlValue::bigint);
        row.set(self.columns, SqlValue::bigint(ordinal));
        row.set(self.columns + 1, SqlValue::int(shape as i32));
        row.set(self.mark_column(), mark);
    }

    /// Calls `take` with the row under another mark.
    pub fn with_mark(self, row: &Slot, mark: Mark, take: impl FnOnce(&Slot)) {
        let mut builder = RowBuilder::new(row.desc());
        let mut marked = builder.start();
        marked.copy_all(row);
        self.set(&mut marked, self.ordinal(row), self.shape(row), mark);
        take(marked.finish());
    }

    /// The payload's ordinal, from 1.
    pub fn ordinal(self, slot: &Slot) -> i64 {
        slot.get(self.columns).map_or(0, |d| d.value() as i64)
    }

    /// The payload's shape, as an index into the shapes of the call.
    pub fn shape(self, slot: &Slot) -> usize {
        slot.get(self.columns + 1)
            .map_or(0, |d| d.value() as i32 as usize)
    }

    pub fn mark(self, slot: &Slot) -> Mark {
        match slot.get(self.mark_column()).map(|d| d.value() as i64) {
            None => Mark::Pending,
            Some(0) => Mark::Inserted,
            Some(OUTSIDE) => Mark::Outside,
            Some(DELETE) => Mark::Delete,
            Some(DELETE_OUTSIDE) => Mark::DeleteOutside,
            Some(ordinal) => Mark::SameKeyAs(ordinal),
        }
    }
}

impl RowLayout {
    /// Whether a row of a merge deletes what is stored under its key.
    pub fn deletes(self, row: &Slot) -> bool {
        matches!(self.mark(row), Mark::Delete | Mark::DeleteOutside)
    }
}

/// Whether two working rows have the same key, as the arbiter sees it.
pub fn same_key(arbiter: &UniqueIndex, a: &Slot, b: &Slot) -> bool {
    arbiter
        .keys
        .iter()
        .all(|key| key.agrees(a.value(key.column), b.value(key.column)))
}

/// The arbiter's order of the keys of two rows, NULL last.
pub fn order_of_keys(arbiter: &UniqueIndex, a: &Slot, b: &Slot) -> Ordering {
    let mut orders = arbiter
        .keys
        .iter()
        .map(|key| key.compare(a.value(key.column), b.value(key.column)));
    let differing = orders.find(|order| order.is_ne());
    differing.unwrap_or(Ordering::Equal)
}

/// Whether a working row has this key, a row of the columns of [`UniqueIndex::key_desc`], which for
/// an arbiter on columns alone are those of the key.
pub fn has_key(arbiter: &UniqueIndex, row: &Slot, key: &Slot) -> bool {
    let parts = arbiter.keys.iter().enumerate();
    parts
        .into_iter()
        .all(|(i, part)| part.agrees(row.value(part.column), key.value(i)))
}

/// The first part of a working row's key that is NULL, by position, where the row cannot be
/// identified because of it.
#[inline]
pub fn null_in_key(target: &Target, arbiter: &UniqueIndex, row: &Slot) -> Option<usize> {
    if arbiter.nulls_equal {
        return None;
    }
    let null = arbiter
        .keys
        .iter()
        .find(|key| row.get(key.column).is_none())?;
    let outside = arbiter.condition.is_some()
        && matches!(
            RowLayout::of(target).mark(row),
            Mark::Outside | Mark::DeleteOutside
        );
    (!outside).then_some(null.column)
}
