//! The snapshots that keys are looked up under.
use crate::pg::unwinding;
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

    /// For core's functions.
    pub fn raw(&self) -> pg_sys::Snapshot {
        // SAFETY: there is an active snapshot while one that `push` has pushed is not popped.
        // It is ours where those who push another meanwhile drop it before: a variable of a
        // block further in.
        unsafe { pg_sys::GetActiveSnapshot() }
    }
}

impl Drop for FreshSnapshot {
    fn drop(&mut self) {
        if !unwinding() {
            // SAFETY: `push` has pushed a snapshot for this pop, so there is one; which one it is
            // that goes first changes no memory that anybody holds.
            unsafe { pg_sys::PopActiveSnapshot() };
        }
    }
}

/// An active snapshot of what is committed now, whatever the isolation level, and
/// of all that our own transaction did, the running command included.
pub struct LatestSnapshot(());

impl LatestSnapshot {
    /// Taken when pushed.
    ///
    /// # Errors
    /// 25000 in a parallel operation, where the server takes no such snapshot, and says so in
    /// words of its own: somebody has wrapped a call in a function that they called safe.
    pub fn push() -> Self {
        // SAFETY: popped below, or by the abort after an error; the copy is ours
        // to change.
        unsafe {
            let what = c"a function that is PARALLEL UNSAFE";
            pg_sys::PreventCommandIfParallelMode(what.as_ptr());
            pg_sys::PushCopiedSnapshot(pg_sys::GetLatestSnapshot());
            (*pg_sys::GetActiveSnapshot()).curcid = pg_sys::InvalidCommandId - 1;
        }
        Self(())
    }
}

impl Drop for LatestSnapshot {
    fn drop(&mut self) {
        if !unwinding() {
            // SAFETY: `push` has pushed a snapshot for this pop, so there is one; which one it is
            // that goes first changes no memory that anybody holds.
            unsafe { pg_sys::PopActiveSnapshot() };
        }
    }
}

/// The command id that the next statement will have.
pub fn next_command() -> pg_sys::CommandId {
    // SAFETY: counters of the backend; what was done so far becomes visible.
    unsafe {
        pg_sys::CommandCounterIncrement();
        pg_sys::GetCurrentCommandId(false)
    }
}

/// The command id that the active snapshot looks from; None if no snapshot is active.
pub fn active_command() -> Option<pg_sys::CommandId> {
    // SAFETY: there is an active snapshot, which is read at once.
    unsafe { pg_sys::ActiveSnapshotSet().then(|| (*pg_sys::GetActiveSnapshot()).curcid) }
}

/// Whether the transaction reads under one snapshot (`IsolationUsesXactSnapshot`).
pub fn uses_transaction_snapshot() -> bool {
    // SAFETY: reads a backend-local variable.
    unsafe { pg_sys::XactIsoLevel >= pg_sys::XACT_REPEATABLE_READ as i32 }
}

/// A snapshot that shows rows of transactions in progress, and says whose they are.
/// Scans write into it, so it is kept as a pointer.
pub struct DirtySnapshot(*mut pg_sys::SnapshotData);

/// Who is writing the row at hand; `InvalidTransactionId` and 0 for nobody.
#[derive(Clone, Copy)]
pub struct Writers {
    /// The transaction in progress that inserts it.
    pub inserter: pg_sys::TransactionId,
    /// The transaction in progress that deletes or replaces it.
    pub deleter: pg_sys::TransactionId,
    /// Of the inserter's speculative insertion.
    pub token: u32,
}

impl DirtySnapshot {
    /// For a scan that it outlives.
    pub fn new() -> Self {
        Self(Box::into_raw(Box::new(pg_sys::SnapshotData {
            snapshot_type: pg_sys::SnapshotType::SNAPSHOT_DIRTY,
            ..Default::default()
        })))
    }

    /// For core's functions.
    pub fn raw(&self) -> pg_sys::Snapshot {
        self.0
    }

    /// Who is writing the row that a scan has found.
    pub fn writers(&self) -> Writers {
        // SAFETY: a box that `new` made and `drop` frees; a scan writes to it only while it
        // runs, which is not now.
        let seen = unsafe { &*self.0 };
        Writers {
            inserter: seen.xmin,
            deleter: seen.xmax,
            token: seen.speculativeToken,
        }
    }
}

impl Default for DirtySnapshot {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for DirtySnapshot {
    fn drop(&mut self) {
        // SAFETY: made by `new`, freed once.
        drop(unsafe { Box::from_raw(self.0) });
    }
}
