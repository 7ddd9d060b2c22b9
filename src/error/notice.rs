//! What is reported from inside an inner loop of the server: NOTICEs that tell people how far
//! a long call has come.
use super::ffi;
use pgrx::pg_sys;
use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;
use std::ffi::CStr;
use std::fmt;
use std::ptr;

/// A line of text that is put together without allocating, so that it can be written from
/// inside an inner loop of the server. What does not fit is cut off.
pub struct Line {
    bytes: [u8; Self::LENGTH],
    length: usize,
}

impl Line {
    const LENGTH: usize = 512;

    /// Empty.
    pub fn new() -> Self {
        Self {
            bytes: [0; Self::LENGTH],
            length: 0,
        }
    }

    /// Adds text in the server's encoding.
    pub fn push(&mut self, text: &[u8]) {
        // The last byte stays NUL.
        let free = &mut self.bytes[self.length..Self::LENGTH - 1];
        let length = text.len().min(free.len());
        free[..length].copy_from_slice(&text[..length]);
        self.length += length;
    }

    /// As a C string.
    pub fn as_c_str(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.bytes).unwrap_or_default()
    }
}

impl Default for Line {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text.as_bytes());
        Ok(())
    }
}

/// Sends a NOTICE, without CONTEXT: it is not about the place where it is sent.
///
/// # Safety
/// Runs inside `pg::ffi::guard`.
unsafe fn notice_unguarded(line: &Line) {
    // SAFETY: what ereport() does. The error context is put back, or by whoever catches an
    // error.
    unsafe {
        let context = pg_sys::error_context_stack;
        pg_sys::error_context_stack = ptr::null_mut();
        if ffi::errstart(pg_sys::NOTICE as i32, ptr::null()) {
            ffi::errmsg_internal(c"%s".as_ptr(), line.as_c_str().as_ptr());
            ffi::errfinish(c"notice.rs".as_ptr(), 0, c"notice".as_ptr());
        }
        pg_sys::error_context_stack = context;
    }
}

/// Sends a NOTICE, without CONTEXT: it is not about the place where it is sent.
pub fn notice(line: &Line) {
    // SAFETY: the guard holds nothing that needs dropping.
    unsafe { pg_guard_ffi_boundary(|| notice_unguarded(line)) };
}
