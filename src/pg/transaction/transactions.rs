//! Work that is a transaction of its own, or part of one: what may fail and is then undone, and
//! what is committed from inside a procedure, as PL/pgSQL's COMMIT does.
use crate::error::Caught;
use pgrx::pg_sys;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

/// Runs `work` in a subtransaction. If it fails, all that it did is rolled back, and the
/// transaction is as it was before.
///
/// SPI connections that `work` needs it has to open itself.
pub fn in_subtransaction<R>(work: impl FnOnce() -> R) -> Result<R, Caught> {
    // SAFETY: what PL/pgSQL does for a block with EXCEPTION. Memory and resource owner are
    // those of before, whichever way it ends.
    unsafe {
        let memory = pg_sys::CurrentMemoryContext;
        let owner = pg_sys::CurrentResourceOwner;
        pg_sys::BeginInternalSubTransaction(ptr::null());
        pg_sys::CurrentMemoryContext = memory;
        let result = catch_unwind(AssertUnwindSafe(work));
        pg_sys::CurrentMemoryContext = memory;
        if result.is_ok() {
            pg_sys::ReleaseCurrentSubTransaction();
        } else {
            pg_sys::RollbackAndReleaseCurrentSubTransaction();
        }
        pg_sys::CurrentMemoryContext = memory;
        pg_sys::CurrentResourceOwner = owner;
        result
    }
}

/// A procedure that commits as it goes. Its memory context is current while it lives, outlives the
/// commits, and goes with it.
///
/// Nothing of a transaction may be held over a commit: no relation, snapshot, SPI
/// connection, changed setting or user.
pub struct NonAtomicProcedure(());

impl NonAtomicProcedure {
    /// Connects, in a call that may commit ([`SqlCall::may_commit`](crate::pg::call::entry::SqlCall::may_commit)).
    pub fn open() -> Self {
        // SAFETY: closed below, or by the abort after an error.
        let code = unsafe { pg_sys::SPI_connect_ext(pg_sys::SPI_OPT_NONATOMIC as i32) };
        assert_eq!(code, pg_sys::SPI_OK_CONNECT as i32);
        Self(())
    }

    /// Does a piece of work, and commits it. If it fails, or if the commit does, it is
    /// rolled back, and the procedure may go on in a transaction that is in order.
    ///
    /// What `work` made and dropped while it failed has left its server memory to this
    /// procedure's.
    pub fn step<R>(&self, work: impl FnOnce() -> R) -> Result<R, Caught> {
        // SAFETY: a procedure runs in a portal, whose snapshot went with the last
        // commit.
        unsafe { pg_sys::EnsurePortalSnapshotExists() };
        let result = in_subtransaction(work)?;
        // SAFETY: in the procedure's memory, with nothing held; after a commit that
        // failed, SPI has begun another transaction.
        catch_unwind(|| unsafe { pg_sys::SPI_commit() })?;
        Ok(result)
    }
}

impl Drop for NonAtomicProcedure {
    fn drop(&mut self) {
        if !crate::pg::unwinding() {
            // SAFETY: `open` has connected, and every connection that was opened since is a
            // variable of the work that has ended: what is closed is ours.
            unsafe { pg_sys::SPI_finish() };
        }
    }
}
