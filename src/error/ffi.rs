//! Functions of `elog.c` that pgrx keeps to itself, and what is made of them: copies of errors, and
//! reports from inside an inner loop of the server.
//!
//! They are called from an error context callback, that is from inside `errfinish`,
//! where they may be used without an `errstart` of our own; or between the two, for a
//! report of ours. Some others are not of `elog.c`, and are here because they must not be guarded.
//! Those that pgrx binds are checked against its bindings; those of `utils/elog.h` in the last
//! block it does not bind.
use super::fields::{ContextLine, ErrorFields};
use super::line::Line;
use super::report::SqlState;
use pgrx::pg_sys;
use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;
use std::ffi::{CStr, c_char, c_int};
use std::ptr;

unsafe extern "C-unwind" {
    pub fn errmsg_internal(fmt: *const c_char, ...) -> c_int;
    pub fn errdetail_internal(fmt: *const c_char, ...) -> c_int;
    pub fn errdetail_log(fmt: *const c_char, ...) -> c_int;
    pub fn err_generic_string(field: c_int, value: *const c_char) -> c_int;
    pub fn geterrcode() -> c_int;
    pub fn geterrposition() -> c_int;
    pub fn errposition(position: c_int) -> c_int;
    pub fn internalerrposition(position: c_int) -> c_int;
    pub fn internalerrquery(query: *const c_char) -> c_int;
    /// Unguarded, unlike pgrx's binding, so that an error passes as it would without us.
    #[cfg(not(feature = "pg18"))]
    pub fn standard_ExecutorRun(
        query: *mut pg_sys::QueryDesc,
        direction: pg_sys::ScanDirection::Type,
        count: u64,
        once: bool,
    );
    /// Likewise.
    #[cfg(feature = "pg18")]
    pub fn standard_ExecutorRun(
        query: *mut pg_sys::QueryDesc,
        direction: pg_sys::ScanDirection::Type,
        count: u64,
    );
    /// Unguarded, unlike pgrx's binding: it runs while an error is under way.
    pub fn CopyErrorData() -> *mut pg_sys::ErrorData;
    /// Likewise.
    pub fn MemoryContextDelete(context: pg_sys::MemoryContext);
    /// Likewise.
    pub fn AllocSetContextCreateInternal(
        parent: pg_sys::MemoryContext,
        name: *const c_char,
        min_context_size: usize,
        initial_block_size: usize,
        max_block_size: usize,
    ) -> pg_sys::MemoryContext;
}

/// What takes a format and its arguments.
pub type Format = unsafe extern "C-unwind" fn(*const c_char, ...) -> c_int;
const _: [Format; 3] = [
    pg_sys::errmsg_internal,
    pg_sys::errdetail_internal,
    pg_sys::errdetail_log,
];
const _: unsafe fn(c_int, *const c_char) -> c_int = pg_sys::err_generic_string;
const _: [unsafe fn() -> c_int; 2] = [pg_sys::geterrcode, pg_sys::geterrposition];
const _: [unsafe fn(c_int) -> c_int; 2] = [pg_sys::errposition, pg_sys::internalerrposition];
const _: unsafe fn(*const c_char) -> c_int = pg_sys::internalerrquery;
const _: unsafe fn() -> *mut pg_sys::ErrorData = pg_sys::CopyErrorData;
const _: unsafe fn(pg_sys::MemoryContext) = pg_sys::MemoryContextDelete;
const _: unsafe fn(
    pg_sys::MemoryContext,
    *const c_char,
    usize,
    usize,
    usize,
) -> pg_sys::MemoryContext = pg_sys::AllocSetContextCreateInternal;
#[cfg(not(feature = "pg18"))]
const _: unsafe fn(*mut pg_sys::QueryDesc, pg_sys::ScanDirection::Type, u64, bool) =
    pg_sys::standard_ExecutorRun;
#[cfg(feature = "pg18")]
const _: unsafe fn(*mut pg_sys::QueryDesc, pg_sys::ScanDirection::Type, u64) =
    pg_sys::standard_ExecutorRun;

// utils/elog.h
unsafe extern "C-unwind" {
    pub fn errstart(level: c_int, domain: *const c_char) -> bool;
    pub fn errfinish(file: *const c_char, line: c_int, function: *const c_char);
    pub fn errcode(sqlerrcode: c_int) -> c_int;
    pub fn errhint(fmt: *const c_char, ...) -> c_int;
    pub fn errcontext_msg(fmt: *const c_char, ...) -> c_int;
}

/// A copy of an error, in memory of its own: a function of ours may commit between the error and
/// its way out.
pub struct ErrorCopy {
    data: *mut pg_sys::ErrorData,
    memory: pg_sys::MemoryContext,
}

impl ErrorCopy {
    /// That of the report which is being raised; None if it is no error.
    ///
    /// # Safety
    /// Called from inside `errfinish`.
    pub(super) unsafe fn of_report() -> Option<Self> {
        // SAFETY: the caller's promise. The parent lives as long as the process. CopyErrorData must
        // not allocate in ErrorContext, where errfinish runs us. Nothing is owned until the copy
        // is there.
        unsafe {
            let memory = AllocSetContextCreateInternal(
                pg_sys::TopMemoryContext,
                c"pg_idempotent errors".as_ptr(),
                pg_sys::ALLOCSET_SMALL_MINSIZE as usize,
                pg_sys::ALLOCSET_SMALL_INITSIZE as usize,
                pg_sys::ALLOCSET_DEFAULT_MAXSIZE as usize,
            );
            let caller = pg_sys::CurrentMemoryContext;
            pg_sys::CurrentMemoryContext = memory;
            let data = CopyErrorData();
            pg_sys::CurrentMemoryContext = caller;
            let copy = Self { data, memory };
            ((*data).elevel >= pg_sys::PGERROR as c_int).then_some(copy)
        }
    }

    /// Where in the server's source it was raised: the file, and the line.
    pub fn place(&self) -> (Option<&CStr>, c_int) {
        // SAFETY: made by CopyErrorData in our memory; the name of the file is constant.
        unsafe { (text((*self.data).filename), (*self.data).lineno) }
    }

    /// What it says.
    pub fn fields(&self) -> ErrorFields<'_> {
        // SAFETY: made by CopyErrorData in our memory, where its texts are null or C strings.
        unsafe {
            let data = &*self.data;
            ErrorFields {
                sqlstate: Some(data.sqlerrcode),
                message: text(data.message),
                detail: text(data.detail),
                detail_log: text(data.detail_log),
                hint: text(data.hint),
                line: None,
                context: text(data.context).map(ContextLine::Text),
                position: (data.cursorpos > 0).then_some(data.cursorpos),
                internal: text(data.internalquery).map(|query| (query, data.internalpos)),
                schema: text(data.schema_name),
                table: text(data.table_name),
                column: text(data.column_name),
                data_type: text(data.datatype_name),
                constraint: text(data.constraint_name),
            }
        }
    }
}

impl Drop for ErrorCopy {
    fn drop(&mut self) {
        // SAFETY: made with this, and deleted once, with the copy in it.
        unsafe { MemoryContextDelete(self.memory) };
    }
}

/// # Safety
/// `text` is null or a C string, which outlives `'t`.
unsafe fn text<'t>(text: *const c_char) -> Option<&'t CStr> {
    // SAFETY: the caller's promise.
    (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) })
}

const TEXT: *const c_char = c"%s".as_ptr();

/// Where these reports come from, for whoever asks for the place in the source.
const FILE: *const c_char = c"error/ffi.rs".as_ptr();

/// Sends a NOTICE, without CONTEXT: it is not about the place where it is sent.
///
/// # Safety
/// Runs inside `pg::ffi::guard`.
pub unsafe fn notice_unguarded(line: &Line) {
    // SAFETY: what ereport() does. The error context is put back, or by whoever catches an
    // error.
    unsafe {
        let context = pg_sys::error_context_stack;
        pg_sys::error_context_stack = ptr::null_mut();
        if errstart(pg_sys::NOTICE as i32, ptr::null()) {
            errmsg_internal(TEXT, line.as_c_str().as_ptr());
            errfinish(FILE, 0, c"notice".as_ptr());
        }
        pg_sys::error_context_stack = context;
    }
}

/// Sends a NOTICE, as [`notice_unguarded`] does, from outside of `pg::ffi::guard`.
pub fn notice(line: &Line) {
    // SAFETY: the guard holds nothing that needs dropping.
    unsafe { pg_guard_ffi_boundary(|| notice_unguarded(line)) };
}

/// Sends a LOG, without CONTEXT. Texts are in the server's encoding. Also while a transaction is
/// being aborted.
pub fn log(message: &CStr, detail: Option<&CStr>) {
    // SAFETY: what ereport() does, as in `notice_unguarded`; the guard holds nothing that needs
    // dropping. The texts are copied.
    unsafe {
        pg_guard_ffi_boundary(|| {
            let context = pg_sys::error_context_stack;
            pg_sys::error_context_stack = ptr::null_mut();
            if errstart(pg_sys::LOG as i32, ptr::null()) {
                errmsg_internal(TEXT, message.as_ptr());
                if let Some(detail) = detail {
                    errdetail_internal(TEXT, detail.as_ptr());
                }
                errfinish(FILE, 0, c"log".as_ptr());
            }
            pg_sys::error_context_stack = context;
        });
    }
}

/// Raises an error of these words; the texts are copied.
///
/// # Safety
/// Runs inside `pg::ffi::guard`, out of which it jumps.
pub unsafe fn refuse_unguarded(
    state: SqlState,
    message: &CStr,
    detail: Option<&CStr>,
    hint: Option<&CStr>,
) -> ! {
    // SAFETY: what ereport() does. An ERROR is always started, and does not return from
    // errfinish.
    unsafe {
        errstart(pg_sys::PGERROR as i32, ptr::null());
        errcode(state.packed());
        errmsg_internal(TEXT, message.as_ptr());
        if let Some(detail) = detail {
            errdetail_internal(TEXT, detail.as_ptr());
        }
        if let Some(hint) = hint {
            errhint(TEXT, hint.as_ptr());
        }
        errfinish(FILE, 0, c"refuse".as_ptr());
        std::hint::unreachable_unchecked()
    }
}

/// 22P02, in core's words, for a JSON value that a type does not take.
///
/// # Safety
/// As [`refuse_unguarded`].
pub unsafe fn refuse_json_unguarded(type_name: &CStr, json: &CStr) -> ! {
    // SAFETY: what ereport() does. An ERROR is always started, and does not return from
    // errfinish; the texts are C strings, which are copied.
    unsafe {
        errstart(pg_sys::PGERROR as i32, ptr::null());
        errcode(SqlState::InvalidTextRepresentation.packed());
        let format = c"invalid input syntax for type %s: \"%s\"".as_ptr();
        errmsg_internal(format, type_name.as_ptr(), json.as_ptr());
        let detail = c"An hstore takes a JSON object whose values are strings, numbers, booleans \
            or null, or its own notation in a string.";
        errdetail_internal(TEXT, detail.as_ptr());
        errfinish(FILE, 0, c"refuse_json".as_ptr());
        std::hint::unreachable_unchecked()
    }
}
