//! Work that may fail and is then undone, so that the transaction goes on.
use pgrx::PgSqlErrorCode;
use pgrx::pg_sys;
use pgrx::pg_sys::panic::CaughtError;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// An error that ended some work; `std::panic::resume_unwind` lets it go on its way.
pub struct Failure(pub Box<dyn Any + Send>);

impl Failure {
    /// Whether it is the server's error with this code.
    pub fn is(&self, code: PgSqlErrorCode) -> bool {
        match self.0.downcast_ref() {
            Some(CaughtError::PostgresError(error)) => error.sql_error_code() == code,
            _ => false,
        }
    }
}

/// Runs `work` in a subtransaction. If it fails, all that it did is rolled back, and the
/// transaction is as it was before.
///
/// SPI connections that `work` needs it has to open itself.
pub fn undone_on_failure<R>(work: impl FnOnce() -> R) -> Result<R, Failure> {
    // SAFETY: as PL/pgSQL runs a block with an EXCEPTION clause; memory and resource
    // owner are those of the caller, inside and afterwards.
    unsafe {
        let memory = pg_sys::CurrentMemoryContext;
        let owner = pg_sys::CurrentResourceOwner;
        pg_sys::BeginInternalSubTransaction(std::ptr::null());
        pg_sys::CurrentMemoryContext = memory;
        let result = catch_unwind(AssertUnwindSafe(work));
        match result {
            Ok(_) => pg_sys::ReleaseCurrentSubTransaction(),
            Err(_) => pg_sys::RollbackAndReleaseCurrentSubTransaction(),
        }
        pg_sys::CurrentMemoryContext = memory;
        pg_sys::CurrentResourceOwner = owner;
        result.map_err(Failure)
    }
}
