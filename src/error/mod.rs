//! Errors: our own reports, and native errors passed through whole.
//!
//! Every SQL function of the extension runs inside [`with_error_capture`]. What leaves it
//! as an error is either a [`Report`] of ours or an error that core (or a
//! user's trigger) raised while we called it; in both cases the client gets
//! every field.
//!
//! # Why this is more than a panic
//! pgrx turns a longjmp from core into a Rust panic, so that destructors run,
//! and at the outermost frame turns the panic into an ERROR again. On that way
//! it keeps SQLSTATE (only those its enum knows), message, detail and hint;
//! schema, table, column, data type and constraint names, the inner CONTEXT and
//! every SQLSTATE that is not core's are lost, and with `RUST_BACKTRACE` set a
//! backtrace is put into DETAIL. Error context callbacks are core's own hook
//! into that moment, so we use two of them, see [`native`].
//!
//! # Where the server is met
//! In three files: [`context_stack`] calls and is called, [`executor`] looks at the run of a
//! statement, and [`ffi`] declares core's functions, and copies what core has of an error.
#[forbid(unsafe_code)]
mod captured;
#[forbid(unsafe_code)]
mod caught;
mod context_stack;
mod executor;
mod ffi;
#[forbid(unsafe_code)]
mod fields;
#[forbid(unsafe_code)]
mod line;
#[forbid(unsafe_code)]
mod native;
#[forbid(unsafe_code)]
mod position;
#[forbid(unsafe_code)]
mod report;
#[forbid(unsafe_code)]
mod row;
#[forbid(unsafe_code)]
mod row_error;
#[forbid(unsafe_code)]
mod row_origin;

pub use caught::{
    Caught, is_of_sqlstate_class, is_server_error, map_internal_error, map_lock_timeout,
    message_of, problem_of, redact_errors, unless_it_failed,
};
pub use executor::install_executor_hook;
pub use ffi::{log, notice, refuse_json_unguarded, refuse_unguarded};
pub use line::Line;
pub use native::{warn, with_error_capture};
pub use position::{PayloadPosition, StatementPosition};
pub use report::{OrRaise, Report, SqlState};
pub use row::RowPosition;
pub use row_error::{RowError, catch_row_error};
pub use row_origin::{NumberedRow, RowOrigin};
