//! Functions of `elog.c` that pgrx keeps to itself.
//!
//! They are called from an error context callback, that is from inside `errfinish`,
//! where they may be used without an `errstart` of our own; or between the two, for a
//! NOTICE. Two others are not of `elog.c`, and are here because they must not be guarded.
//! Those that pgrx binds are checked against its bindings; those of `utils/elog.h` in the last
//! block it does not bind.
use pgrx::pg_sys;
use std::ffi::{c_char, c_int};

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
    pub fn FreeErrorData(data: *mut pg_sys::ErrorData);
    /// Likewise.
    pub fn MemoryContextDelete(context: pg_sys::MemoryContext);
}

type Format = unsafe extern "C-unwind" fn(*const c_char, ...) -> c_int;
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
const _: unsafe fn(*mut pg_sys::ErrorData) = pg_sys::FreeErrorData;
const _: unsafe fn(pg_sys::MemoryContext) = pg_sys::MemoryContextDelete;
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
