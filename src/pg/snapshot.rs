//! The snapshots that keys are looked up under.
use super::unwinding;
use pgrx::pg_sys;

/// An active snapshot, taken when pushed.
pub struct FreshSnapshot(());

impl FreshSnapshot {
    /// Makes what our own transaction did so far visible and, under READ
    /// COMMITTED, what others have committed. Under REPEATABLE READ and
    /// SERIALIZABLE it is the transaction's.
    pub fn push() -> Self {
        // SAFETY: popped below, or by the abort after an error.
        unsafe {
            pg_sys::CommandCounterIncrement();
            pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
        }
        Self(())
    }
}

impl Drop for FreshSnapshot {
    fn drop(&mut self) {
        if !unwinding() {
            // SAFETY: pushed by us, and nothing is above it.
            unsafe { pg_sys::PopActiveSnapshot() };
        }
    }
}

/// An active snapshot of what is committed now, whatever the isolation level, and
/// of all that our own transaction did, the running command included.
pub struct LatestSnapshot(());

impl LatestSnapshot {
    /// Taken when pushed.
    pub fn push() -> Self {
        // SAFETY: popped below, or by the abort after an error; the copy is ours
        // to change.
        unsafe {
            pg_sys::PushCopiedSnapshot(pg_sys::GetLatestSnapshot());
            (*pg_sys::GetActiveSnapshot()).curcid = pg_sys::InvalidCommandId - 1;
        }
        Self(())
    }
}

impl Drop for LatestSnapshot {
    fn drop(&mut self) {
        if !unwinding() {
            // SAFETY: pushed by us, and nothing is above it.
            unsafe { pg_sys::PopActiveSnapshot() };
        }
    }
}
