//! The two error context callbacks that carry an error whole through Rust.
//!
//! 1. *Capture.* While one of our functions runs, [`Capture::callback`] is on
//!    `error_context_stack`. `errfinish` calls it for every report raised below
//!    us, before control leaves the place of the error. It copies the error
//!    data as core sees it at that moment: all fields, and the CONTEXT lines of
//!    the frames inside ours. Which of the copies is that of the error which
//!    arrives in the end, pgrx's data tell.
//! 2. *Finish.* When the panic that pgrx made of the error has unwound our
//!    frames, we raise a bare pgrx report in its place, with
//!    [`finish`] left on `error_context_stack`. It fires inside the final
//!    `errfinish`, before the callbacks of the frames outside ours, and sets
//!    every field anew. Nothing jumps over a Rust frame.
use super::ffi;
use super::report::Report;
use super::workers::{self, ActiveCapture};
use crate::text;
use pgrx::PgSqlErrorCode;
use pgrx::pg_sys;
use pgrx::pg_sys::panic::{CaughtError, ErrorReport, ErrorReportWithLevel};
use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr;

/// What is caught of an error on its way out: to be raised again with
/// [`resume_unwind`], inside the [`with_error_capture`] that it was on its way to.
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

/// Runs the body of an SQL function. Errors that leave it keep all their
/// fields, whoever raised them.
pub fn with_error_capture<R>(body: impl FnOnce() -> R) -> R {
    run(Capture::default(), body)
}

/// Runs the body of a procedure that commits, so that errors are kept apart from
/// transactions. It calls [`discard_swallowed_errors`] after commits, unless an error that it has
/// caught is still to be raised.
pub fn with_error_capture_across_commits<R>(body: impl FnOnce() -> R) -> R {
    run(Capture::across_commits(), body)
}

thread_local! {
    /// That of the innermost [`with_error_capture_across_commits`].
    static ACROSS_COMMITS: Cell<*mut Capture> = const { Cell::new(ptr::null_mut()) };
}

/// Forgets the errors that were raised and swallowed in the transaction that was just
/// committed.
pub fn discard_swallowed_errors() {
    let capture = ACROSS_COMMITS.get();
    // SAFETY: null, or that of a capture that is in force, which alone refers to it now.
    if let Some(capture) = unsafe { capture.as_mut() } {
        capture.copies.clear();
        // SAFETY: made by `across_commits`, and not handed over while that runs; all that was in
        // it were the copies, which nobody refers to any more.
        unsafe { pg_sys::MemoryContextReset(capture.memory) };
    }
}

fn run<R>(mut capture: Capture, body: impl FnOnce() -> R) -> R {
    let outer = ACROSS_COMMITS.get();
    if !capture.memory.is_null() {
        ACROSS_COMMITS.set(&raw mut capture);
    }
    let mut frame = pg_sys::ErrorContextCallback {
        // SAFETY: a read of a backend-local pointer; the backend is single-threaded.
        previous: unsafe { pg_sys::error_context_stack },
        callback: Some(Capture::callback),
        arg: (&raw mut capture).cast::<c_void>(),
    };
    let active = ActiveCapture {
        callback: Capture::callback,
        argument: frame.arg,
    };
    // SAFETY: frame and capture live in this function, and are taken off again below, on both
    // ways out of `body`. The callback takes a capture.
    let around = unsafe {
        pg_sys::error_context_stack = &raw mut frame;
        workers::set_active(Some(active))
    };
    let result = catch_unwind(AssertUnwindSafe(body));
    // SAFETY: what was there before is of a function that is still running further out.
    unsafe {
        workers::set_active(around);
        pg_sys::error_context_stack = frame.previous;
    }
    ACROSS_COMMITS.set(outer);

    let payload = match result {
        Ok(value) => return value,
        Err(payload) => payload,
    };
    let payload = match payload.downcast::<Report>() {
        Ok(report) => raise(PendingError::Ours(PreparedReport::new(*report))),
        Err(payload) => payload,
    };
    if let Some(CaughtError::PostgresError(error)) = payload.downcast_ref() {
        match capture.take(error) {
            Some(copy) => raise(PendingError::Native(copy, capture.release_memory())),
            // See `workers`: what pgrx has kept of it, without a backtrace.
            None => raise(PendingError::Ours(PreparedReport::of_pgrx(error))),
        }
    }
    // A panic of our own making: a bug, which pgrx reports as XX000.
    resume_unwind(payload)
}

/// Runs something that may raise a report of ours, and gives that back.
///
/// What `work` does must be pure looking at what is at hand: nothing is rolled
/// back. Errors of the server go on.
pub fn catch_report<R>(work: impl FnOnce() -> R) -> Result<R, Box<Report>> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|payload| match payload.downcast::<Report>() {
        Ok(report) => report,
        Err(other) => resume_unwind(other),
    })
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

/// The errors that were raised below a [`with_error_capture`], the newest last.
///
/// The one that leaves is not always the newest: a PL/pgSQL handler may catch
/// an error, run into others that it swallows, and raise the first again, which
/// does not pass `errfinish` a second time.
struct Capture {
    copies: Vec<*mut pg_sys::ErrorData>,
    /// What the copies are in, if it is theirs alone; null for the transaction's, which
    /// outlives the error's way out.
    memory: pg_sys::MemoryContext,
}

impl Default for Capture {
    fn default() -> Self {
        Self {
            copies: Vec::new(),
            memory: ptr::null_mut(),
        }
    }
}

/// So many errors are kept: a loop that swallows one in every turn keeps flat
/// memory.
const MAX_CAPTURED: usize = 32;

impl Capture {
    fn across_commits() -> Self {
        // SAFETY: a constant name; deleted with us, or by whoever gets it.
        let memory = unsafe {
            pg_sys::AllocSetContextCreateInternal(
                pg_sys::TopMemoryContext,
                c"pg_idempotent errors".as_ptr(),
                pg_sys::ALLOCSET_SMALL_MINSIZE as usize,
                pg_sys::ALLOCSET_SMALL_INITSIZE as usize,
                pg_sys::ALLOCSET_DEFAULT_MAXSIZE as usize,
            )
        };
        Self {
            copies: Vec::new(),
            memory,
        }
    }

    /// Hands the memory over with a copy that was taken.
    fn release_memory(&mut self) -> pg_sys::MemoryContext {
        if !self.memory.is_null() {
            self.copies.clear();
        }
        std::mem::replace(&mut self.memory, ptr::null_mut())
    }

    /// Called by `errfinish`; `arg` is the active `Capture`.
    unsafe extern "C-unwind" fn callback(arg: *mut c_void) {
        // SAFETY: `arg` points to the live `Capture` of a frame further out.
        // CopyErrorData must not allocate in ErrorContext, where errfinish
        // runs us.
        unsafe {
            let capture = &mut *arg.cast::<Capture>();
            let caller = pg_sys::CurrentMemoryContext;
            pg_sys::CurrentMemoryContext = if capture.memory.is_null() {
                pg_sys::TopTransactionContext
            } else {
                capture.memory
            };
            let copy = ffi::CopyErrorData();
            if (*copy).elevel >= pg_sys::PGERROR as c_int {
                if capture.copies.len() >= MAX_CAPTURED {
                    ffi::FreeErrorData(capture.copies.remove(0));
                }
                capture.copies.push(copy);
            } else {
                ffi::FreeErrorData(copy);
            }
            pg_sys::CurrentMemoryContext = caller;
        }
    }

    /// The newest copy of the error that arrived, as far as pgrx tells it.
    fn take(&mut self, error: &ErrorReportWithLevel) -> Option<*mut pg_sys::ErrorData> {
        let at = self.copies.iter().rposition(|copy| {
            // SAFETY: copies are live until we are dropped; their texts are
            // null or C strings.
            unsafe {
                let copy = &**copy;
                copy.lineno as u32 == error.line_number()
                    && same_text(copy.filename, Some(error.file()))
                    && same_text(copy.message, Some(error.message()))
                    && same_text(copy.detail, error.detail())
            }
        })?;
        Some(self.copies.swap_remove(at))
    }
}

/// # Safety
/// `text` is null or a C string.
unsafe fn same_text(text: *const c_char, other: Option<&str>) -> bool {
    if text.is_null() {
        return other.is_none();
    }
    // SAFETY: the caller's promise. pgrx has its texts in this lossy form.
    let text = unsafe { CStr::from_ptr(text) }.to_string_lossy();
    other == Some(&*text)
}

impl Drop for Capture {
    fn drop(&mut self) {
        if !self.memory.is_null() {
            // SAFETY: made by `across_commits`, and not handed over; no copy in it is used any
            // more.
            unsafe { ffi::MemoryContextDelete(self.memory) };
            return;
        }
        for copy in self.copies.drain(..) {
            // SAFETY: made by CopyErrorData, freed once.
            unsafe { ffi::FreeErrorData(copy) };
        }
    }
}

/// The error that is about to leave us.
enum PendingError {
    /// A report of ours.
    Ours(PreparedReport),
    /// Core's, as captured, and the memory that is its own, if it has some.
    Native(*mut pg_sys::ErrorData, pg_sys::MemoryContext),
}

/// A report of ours, ready to be handed over: inside `errfinish` nothing may
/// fail any more, as a conversion of encodings could.
struct PreparedReport {
    sqlstate: c_int,
    message: CString,
    detail: Option<CString>,
    hint: Option<CString>,
    /// Diagnostic fields, each with its name's code.
    fields: Vec<(u8, Option<CString>)>,
}

impl PreparedReport {
    fn new(report: Report) -> Self {
        let ready = |text: &Option<String>| text.as_deref().map(text::to_server);
        Self {
            sqlstate: report.sqlstate.packed(),
            message: text::to_server(&report.message),
            detail: ready(&report.detail),
            hint: ready(&report.hint),
            fields: vec![
                (pg_sys::PG_DIAG_SCHEMA_NAME, ready(&report.schema)),
                (pg_sys::PG_DIAG_TABLE_NAME, ready(&report.table)),
                (pg_sys::PG_DIAG_COLUMN_NAME, ready(&report.column)),
                (pg_sys::PG_DIAG_CONSTRAINT_NAME, ready(&report.constraint)),
            ],
        }
    }

    fn of_pgrx(error: &ErrorReportWithLevel) -> Self {
        Self {
            sqlstate: error.sql_error_code() as c_int,
            message: text::to_server(error.message()),
            detail: error.detail().map(text::to_server),
            hint: error.hint().map(text::to_server),
            fields: Vec::new(),
        }
    }
}

struct FinishFrame {
    frame: pg_sys::ErrorContextCallback,
    pending: Option<PendingError>,
}

thread_local! {
    /// One is enough: between filling it and its use nothing else can run.
    static FINISH_FRAME: UnsafeCell<FinishFrame> = const {
        UnsafeCell::new(FinishFrame {
            frame: pg_sys::ErrorContextCallback {
                previous: ptr::null_mut(),
                callback: Some(finish),
                arg: ptr::null_mut(),
            },
            pending: None,
        })
    };
}

/// Raises a bare error whose fields [`finish`] then sets.
fn raise(pending: PendingError) -> ! {
    arm_finish(pending);
    placeholder_report(PgSqlErrorCode::ERRCODE_INTERNAL_ERROR).report(pgrx::PgLogLevel::ERROR);
    unreachable!("an ERROR does not return")
}

/// Sends a report of ours as a WARNING, and goes on.
pub fn warn(report: Report) {
    // SAFETY: reads and restores a backend-local pointer.
    let previous = unsafe { pg_sys::error_context_stack };
    arm_finish(PendingError::Ours(PreparedReport::new(report)));
    placeholder_report(PgSqlErrorCode::ERRCODE_WARNING).report(pgrx::PgLogLevel::WARNING);
    // SAFETY: a write of a backend-local pointer, of what it was before: its frames are
    // further out, and live.
    unsafe { pg_sys::error_context_stack = previous };
}

fn placeholder_report(code: PgSqlErrorCode) -> ErrorReport {
    ErrorReport::new(code, "report in flight", "pg_idempotent")
}

/// Makes [`finish`] set the fields of the next report.
fn arm_finish(pending: PendingError) {
    FINISH_FRAME.with(|cell| {
        // SAFETY: the backend is single-threaded and `finish` is not running.
        // Whoever catches the ERROR resets error_context_stack, so the frame,
        // which lives as long as the thread, is never left behind on it.
        unsafe {
            let slot = &mut *cell.get();
            slot.pending = Some(pending);
            slot.frame.previous = pg_sys::error_context_stack;
            pg_sys::error_context_stack = &raw mut slot.frame;
        }
    });
}

/// Called by the final `errfinish`: sets every field of the error that is
/// leaving us.
unsafe extern "C-unwind" fn finish(_arg: *mut c_void) {
    let pending = FINISH_FRAME.with(|cell| {
        // SAFETY: single-threaded; `raise` has finished with it.
        unsafe { (*cell.get()).pending.take() }
    });
    match pending {
        Some(PendingError::Ours(report)) => finish_ours(&report),
        // SAFETY: the copy was made by CopyErrorData in its own memory, or in the
        // transaction's context, which lives until the abort that this error leads to.
        Some(PendingError::Native(copy, memory)) => unsafe {
            finish_native(&*copy);
            if memory.is_null() {
                ffi::FreeErrorData(copy);
            } else {
                ffi::MemoryContextDelete(memory);
            }
        },
        None => {}
    }
}

const TEXT: *const c_char = c"%s".as_ptr();

fn finish_ours(report: &PreparedReport) {
    // SAFETY: errfinish is running; the strings outlive the calls, which copy.
    unsafe {
        ffi::errcode(report.sqlstate);
        ffi::errmsg_internal(TEXT, report.message.as_ptr());
        if let Some(detail) = &report.detail {
            ffi::errdetail_internal(TEXT, detail.as_ptr());
        }
        if let Some(hint) = &report.hint {
            ffi::errhint(TEXT, hint.as_ptr());
        }
        for (field, value) in &report.fields {
            if let Some(value) = value {
                ffi::err_generic_string(c_int::from(*field), value.as_ptr());
            }
        }
    }
}

/// # Safety
/// `data` is error data copied by core, and `errfinish` is running.
unsafe fn finish_native(data: &pg_sys::ErrorData) {
    let set = |field: u8, value: *mut c_char| {
        if !value.is_null() {
            // SAFETY: errfinish is running, by the function's own promise; a C string of the
            // error data, which is copied.
            unsafe { ffi::err_generic_string(c_int::from(field), value) };
        }
    };
    // SAFETY: the strings are core's own, NUL-terminated, and live on.
    unsafe {
        ffi::errcode(data.sqlerrcode);
        if !data.message.is_null() {
            ffi::errmsg_internal(TEXT, data.message);
        }
        if !data.detail.is_null() {
            ffi::errdetail_internal(TEXT, data.detail);
        }
        if !data.detail_log.is_null() {
            ffi::errdetail_log(TEXT, data.detail_log);
        }
        if !data.hint.is_null() {
            ffi::errhint(TEXT, data.hint);
        }
        if !data.context.is_null() {
            ffi::errcontext_msg(TEXT, data.context);
        }
        if data.cursorpos > 0 {
            ffi::errposition(data.cursorpos);
        }
        if !data.internalquery.is_null() {
            ffi::internalerrposition(data.internalpos);
            ffi::internalerrquery(data.internalquery);
        }
    }
    set(pg_sys::PG_DIAG_SCHEMA_NAME, data.schema_name);
    set(pg_sys::PG_DIAG_TABLE_NAME, data.table_name);
    set(pg_sys::PG_DIAG_COLUMN_NAME, data.column_name);
    set(pg_sys::PG_DIAG_DATATYPE_NAME, data.datatype_name);
    set(pg_sys::PG_DIAG_CONSTRAINT_NAME, data.constraint_name);
}
