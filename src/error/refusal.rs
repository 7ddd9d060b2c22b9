//! Refusals of a JSON value, raised from inside an inner loop of the server.
use super::ffi;
use super::report::SqlState;
use pgrx::pg_sys;
use std::ffi::CStr;
use std::ptr;

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
        ffi::errstart(pg_sys::PGERROR as i32, ptr::null());
        ffi::errcode(state.packed());
        ffi::errmsg_internal(c"%s".as_ptr(), message.as_ptr());
        if let Some(detail) = detail {
            ffi::errdetail_internal(c"%s".as_ptr(), detail.as_ptr());
        }
        if let Some(hint) = hint {
            ffi::errhint(c"%s".as_ptr(), hint.as_ptr());
        }
        ffi::errfinish(c"refusal.rs".as_ptr(), 0, c"refuse".as_ptr());
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
        ffi::errstart(pg_sys::PGERROR as i32, ptr::null());
        ffi::errcode(SqlState::InvalidTextRepresentation.packed());
        let format = c"invalid input syntax for type %s: \"%s\"".as_ptr();
        ffi::errmsg_internal(format, type_name.as_ptr(), json.as_ptr());
        let detail = c"An hstore takes a JSON object whose values are strings, numbers, booleans \
            or null, or its own notation in a string.";
        ffi::errdetail_internal(c"%s".as_ptr(), detail.as_ptr());
        ffi::errfinish(c"refusal.rs".as_ptr(), 0, c"refuse_json".as_ptr());
        std::hint::unreachable_unchecked()
    }
}
