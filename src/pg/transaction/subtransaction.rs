//! Work that may fail and is then undone, so that the transaction goes on.
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
