//! How an error is carried whole through Rust.
//!
//! 1. *Capture.* While one of our functions runs, [`CapturedErrors`] are on the
//!    [`context_stack`]. They copy every report raised below us, before control leaves the place
//!    of the error. Which of the copies is that of the error which arrives in the end, pgrx's
//!    data tell.
//! 2. *Last word.* When the panic that pgrx made of the error has unwound our
//!    frames, we raise a bare pgrx report in its place, and have the [`LastWord`] on it: inside
//!    the final `errfinish`, before the frames outside ours, every field is set anew. Nothing
//!    jumps over a Rust frame.
use super::captured::CapturedErrors;
use super::context_stack::{self, LastWord};
use super::fields::ErrorFields;
use super::report::Report;
use crate::text;
use pgrx::PgSqlErrorCode;
use pgrx::pg_sys::panic::{CaughtError, ErrorReport, ErrorReportWithLevel};
use std::ffi::{CString, c_int};
use std::panic::resume_unwind;

/// Runs the body of an SQL function. Errors that leave it keep all their
/// fields, whether the server or this library raised them.
pub fn with_error_capture<R>(body: impl FnOnce() -> R) -> R {
    let captured = CapturedErrors::default();
    let payload = match context_stack::capture(&captured, body) {
        Ok(value) => return value,
        Err(payload) => payload,
    };
    let payload = match payload.downcast::<Report>() {
        Ok(report) => raise(PreparedReport::new(*report)),
        Err(payload) => payload,
    };
    if let Some(CaughtError::PostgresError(error)) = payload.downcast_ref() {
        match captured.take(error) {
            Some(native) => raise(native),
            // See `context_stack`: what pgrx has kept of it, without a backtrace.
            None => raise(PreparedReport::of_pgrx(error)),
        }
    }
    // A panic of our own making: a bug, which pgrx reports as XX000.
    resume_unwind(payload)
}

/// A report of ours, ready to be handed over: inside `errfinish` nothing may
/// fail any more, as a conversion of encodings could.
#[derive(Default)]
pub(super) struct PreparedReport {
    sqlstate: c_int,
    message: CString,
    detail: Option<CString>,
    hint: Option<CString>,
    schema: Option<CString>,
    table: Option<CString>,
    column: Option<CString>,
    constraint: Option<CString>,
}

impl PreparedReport {
    pub(super) fn new(report: Report) -> Self {
        let ready = |text: &Option<String>| text.as_deref().map(text::to_server);
        Self {
            sqlstate: report.sqlstate.packed(),
            message: text::to_server(&report.message),
            detail: ready(&report.detail),
            hint: ready(&report.hint),
            schema: ready(&report.schema),
            table: ready(&report.table),
            column: ready(&report.column),
            constraint: ready(&report.constraint),
        }
    }

    pub(super) fn of_pgrx(error: &ErrorReportWithLevel) -> Self {
        Self {
            sqlstate: error.sql_error_code() as c_int,
            message: text::to_server(error.message()),
            detail: error.detail().map(text::to_server),
            hint: error.hint().map(text::to_server),
            ..Self::default()
        }
    }
}

impl LastWord for PreparedReport {
    fn fields(&self) -> ErrorFields<'_> {
        ErrorFields {
            sqlstate: Some(self.sqlstate),
            message: Some(&self.message),
            detail: self.detail.as_deref(),
            hint: self.hint.as_deref(),
            schema: self.schema.as_deref(),
            table: self.table.as_deref(),
            column: self.column.as_deref(),
            constraint: self.constraint.as_deref(),
            ..ErrorFields::default()
        }
    }
}

/// Raises a bare error, which gets these fields.
fn raise(word: impl LastWord + 'static) -> ! {
    let bare = bare_report(PgSqlErrorCode::ERRCODE_INTERNAL_ERROR);
    context_stack::with_last_word(Box::new(word), || bare.report(pgrx::PgLogLevel::ERROR));
    unreachable!("an ERROR does not return")
}

/// Sends a report of ours as a WARNING, and goes on.
pub fn warn(report: Report) {
    let bare = bare_report(PgSqlErrorCode::ERRCODE_WARNING);
    let word = Box::new(PreparedReport::new(report));
    context_stack::with_last_word(word, || bare.report(pgrx::PgLogLevel::WARNING));
}

fn bare_report(code: PgSqlErrorCode) -> ErrorReport {
    ErrorReport::new(code, "report in flight", "pg_idempotent")
}
