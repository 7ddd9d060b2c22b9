//! Errors that are caught on their way out: what they are, and what is raised in their place.
use super::report::Report;
use pgrx::PgSqlErrorCode;
use pgrx::pg_sys::panic::CaughtError;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// What is caught of an error on its way out: to be raised again with
/// [`resume_unwind`], inside the [`with_error_capture`](super::with_error_capture) that it was on its way to.
pub type Caught = Box<dyn Any + Send>;

/// Whether an error that was caught is the server's with this code.
pub fn is_server_error(caught: &Caught, code: PgSqlErrorCode) -> bool {
    match caught.downcast_ref() {
        Some(CaughtError::PostgresError(error)) => error.sql_error_code() == code,
        _ => false,
    }
}

/// Whether an error that was caught is the server's, with a code of this class.
pub fn is_of_sqlstate_class(caught: &Caught, class: &str) -> bool {
    /// `ERRCODE_TO_CATEGORY` of `elog.h`: six bits a character, the first one lowest.
    const BITS: i32 = 6;
    let packed = class.bytes().rev().fold(0, |packed, c| {
        packed << BITS | i32::from(c.wrapping_sub(b'0') & 0x3f)
    });
    match caught.downcast_ref() {
        Some(CaughtError::PostgresError(error)) => {
            error.sql_error_code() as i32 & ((1 << (2 * BITS)) - 1) == packed
        }
        _ => false,
    }
}

/// The primary message of an error that was caught.
pub fn message_of(caught: &Caught) -> String {
    if let Some(report) = caught.downcast_ref::<Report>() {
        return report.message.clone();
    }
    match caught.downcast_ref() {
        Some(
            CaughtError::PostgresError(error)
            | CaughtError::ErrorReport(error)
            | CaughtError::RustPanic { ereport: error, .. },
        ) => error.message().to_owned(),
        None => "internal error".to_owned(),
    }
}

/// Runs something that waits for a lock. If `lock_timeout` ends the wait, the report
/// is raised in place of the server's.
pub fn map_lock_timeout<R>(work: impl FnOnce() -> R, report: impl FnOnce() -> Report) -> R {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|caught| {
        if is_server_error(&caught, PgSqlErrorCode::ERRCODE_LOCK_NOT_AVAILABLE) {
            report().raise()
        }
        resume_unwind(caught)
    })
}

/// Runs something for which the server may raise an internal error with this message. Then the report is raised in
/// its place. The server translates none of these messages.
pub fn map_internal_error<R>(
    message: &str,
    work: impl FnOnce() -> R,
    report: impl FnOnce() -> Report,
) -> R {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|caught| {
        let internal = is_server_error(&caught, PgSqlErrorCode::ERRCODE_INTERNAL_ERROR);
        if internal && message_of(&caught) == message {
            report().raise()
        }
        resume_unwind(caught)
    })
}

/// Runs something whose errors may quote what the caller may not see. Then the report is
/// raised in place of the error, if there is one for it.
///
/// What is no answer to the work itself goes on: cancellation, a lock or memory that is not
/// to be had, a conflict between transactions.
pub fn redact_errors<R>(work: impl FnOnce() -> R, report: impl FnOnce() -> Option<Report>) -> R {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|caught| {
        if may_reveal_values(&caught)
            && let Some(report) = report()
        {
            report.raise()
        }
        resume_unwind(caught)
    })
}

/// The result of work in a subtransaction; None if it failed with an error that is about the work
/// itself. Others go on, as in [`redact_errors`].
pub fn unless_it_failed<R>(result: Result<R, Caught>) -> Option<R> {
    match result {
        Ok(result) => Some(result),
        Err(caught) if may_reveal_values(&caught) => None,
        Err(caught) => resume_unwind(caught),
    }
}

/// The result of a look in a subtransaction; if it failed with an error that is about what was looked at, its
/// message. That also is one whose definition is too deeply nested.
pub fn problem_of<R>(result: Result<R, Caught>) -> Result<R, String> {
    result.map_err(|caught| {
        let too_complex = PgSqlErrorCode::ERRCODE_STATEMENT_TOO_COMPLEX;
        if may_reveal_values(&caught) || is_server_error(&caught, too_complex) {
            message_of(&caught)
        } else {
            resume_unwind(caught)
        }
    })
}

/// Whether an error that was caught is about what was worked on.
fn may_reveal_values(caught: &Caught) -> bool {
    use PgSqlErrorCode::*;
    match caught.downcast_ref() {
        Some(CaughtError::PostgresError(error)) => !matches!(
            error.sql_error_code(),
            ERRCODE_QUERY_CANCELED
                | ERRCODE_ADMIN_SHUTDOWN
                | ERRCODE_CRASH_SHUTDOWN
                | ERRCODE_DATABASE_DROPPED
                | ERRCODE_LOCK_NOT_AVAILABLE
                | ERRCODE_OUT_OF_MEMORY
                | ERRCODE_DISK_FULL
                | ERRCODE_INSUFFICIENT_RESOURCES
                | ERRCODE_STATEMENT_TOO_COMPLEX
                | ERRCODE_T_R_DEADLOCK_DETECTED
                | ERRCODE_T_R_SERIALIZATION_FAILURE
        ),
        Some(_) => false,
        None => caught.is::<Report>(),
    }
}
