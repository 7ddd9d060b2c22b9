//! What the guards of one statement share while it runs, see
//! [`scoped_state`](crate::pg::statement::scoped_state).
//!
//! A statement that ends gives its key lock back: its rows are in, and it is dropped under the
//! resource owner that the lock was taken under. After an error the abort gives the lock back,
//! before or after that.
use super::observed::Observations;
use crate::pg::transaction::locks::{HeldLock, LockSubject};
use pgrx::pg_sys;
use std::cell::Cell;

/// A running statement with guarded tables.
pub struct StatementState {
    /// The key lock of the last row that was let through. The row before is in by the time that
    /// it is exchanged, so a statement holds one at most.
    pub key_lock: HeldLock,
    /// What guards that only observe have seen.
    pub observed: Observations,
    /// The partition that the row which an UPDATE has at hand may leave.
    moving_from: Cell<Option<pg_sys::Oid>>,
}

impl Default for StatementState {
    fn default() -> Self {
        Self {
            key_lock: HeldLock::on(LockSubject::RowKey),
            observed: Observations::default(),
            moving_from: Cell::new(None),
        }
    }
}

impl StatementState {
    /// An UPDATE has a row at hand; `moving_from` is the partition that it may leave.
    pub fn note_update(&self, moving_from: Option<pg_sys::Oid>) {
        self.moving_from.set(moving_from);
    }

    /// Whether a row that comes to this partition is the one that an UPDATE has
    /// just had at hand. The executor deletes it where it was, and inserts it next.
    pub fn is_moving_to(&self, partition: pg_sys::Oid) -> bool {
        self.moving_from
            .take()
            .is_some_and(|moving_from| moving_from != partition)
    }
}
