//! Committing from inside a procedure, as PL/pgSQL's COMMIT does.
use crate::error::Caught;
use pgrx::pg_sys;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

/// Whether the running call may commit: it is a CALL, and neither it nor what calls it is
/// part of a transaction block, a function or a savepoint.
///
/// # Safety
/// `fcinfo` is that of the running call.
pub unsafe fn may_commit(fcinfo: pg_sys::FunctionCallInfo) -> bool {
    // SAFETY: the caller's promise; CALL hands a CallContext over, and its tag says so.
    unsafe {
        let context = (*fcinfo).context;
        !context.is_null()
            && (*context).type_ == pg_sys::NodeTag::T_CallContext
            && !(*context.cast::<pg_sys::CallContext>()).atomic
            && !pg_sys::IsSubTransaction()
    }
}

/// A procedure that commits as it goes, inside of
/// [`boundary_across_commits`](crate::error::boundary_across_commits). Its memory context is current while it lives,
/// outlives the commits, and goes with it.
///
/// Nothing of a transaction may be held over a commit: no relation, snapshot, SPI
/// connection, changed setting or user.
pub struct Procedure(());

impl Procedure {
    /// Connects, where [`may_commit`] says so.
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
        let result = subtransaction(work)?;
        // SAFETY: in the procedure's memory, with nothing held; after a commit that
        // failed, SPI has begun another transaction.
        catch_unwind(|| unsafe { pg_sys::SPI_commit() })?;
        Ok(result)
    }
}

impl Drop for Procedure {
    fn drop(&mut self) {
        if !super::unwinding() {
            // SAFETY: opened by us.
            unsafe { pg_sys::SPI_finish() };
        }
    }
}

/// Runs `work` in a subtransaction, which an error rolls back.
fn subtransaction<R>(work: impl FnOnce() -> R) -> Result<R, Caught> {
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
