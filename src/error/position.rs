//! Which payload and column is being worked on, for the CONTEXT of an error.
use super::ffi;
use pgrx::pg_sys;
use std::cell::Cell;
use std::ffi::{CStr, c_char, c_void};
use std::marker::PhantomData;
use std::pin::Pin;
use std::ptr;

/// While it lives, an error gets a CONTEXT line such as
/// `payload 700, column "amount"`, as COPY names its line. The message of the
/// error stays core's own.
pub struct PayloadPosition<'n> {
    frame: pg_sys::ErrorContextCallback,
    /// 1-based; 0 means that the call has one payload only.
    ordinal: Cell<i64>,
    /// In the server's encoding, or null.
    column: Cell<*const c_char>,
    /// The column that remembers, if what it remembers is being read; else null.
    remembered: Cell<*const c_char>,
    /// The names are borrowed as long as it lives.
    names: PhantomData<Cell<&'n CStr>>,
}

impl<'n> PayloadPosition<'n> {
    /// Puts the position on the error context stack until it is dropped.
    pub fn watch() -> Pin<Box<Self>> {
        let mut position = Box::pin(Self {
            frame: pg_sys::ErrorContextCallback {
                // SAFETY: a read of a backend-local pointer.
                previous: unsafe { pg_sys::error_context_stack },
                callback: Some(Self::callback),
                arg: ptr::null_mut(),
            },
            ordinal: Cell::new(0),
            column: Cell::new(ptr::null()),
            remembered: Cell::new(ptr::null()),
            names: PhantomData,
        });
        // SAFETY: the box is pinned, so its address holds until Drop takes the
        // frame off the stack again.
        unsafe {
            let this = position.as_mut().get_unchecked_mut();
            this.frame.arg = (&raw mut *this).cast::<c_void>();
            pg_sys::error_context_stack = &raw mut this.frame;
        }
        position
    }

    /// The payload with this ordinal is next; 0 if it is the only one.
    pub fn payload(&self, ordinal: i64) {
        self.ordinal.set(ordinal);
        self.column.set(ptr::null());
    }

    /// The column whose value is being read.
    pub fn column(&self, name: &'n CStr) {
        self.column.set(name.as_ptr());
    }

    /// What is being read is not the payload, but what this column remembers.
    pub fn remembered(&self, name: &'n CStr) {
        self.remembered.set(name.as_ptr());
    }

    /// No single column is being read.
    pub fn no_column(&self) {
        self.column.set(ptr::null());
    }

    unsafe extern "C-unwind" fn callback(arg: *mut c_void) {
        // SAFETY: `arg` is the live position; errfinish is running and copies.
        unsafe {
            let this = &*arg.cast::<Self>();
            let column = this.column.get();
            let remembered = this.remembered.get();
            if !remembered.is_null() {
                let shown = if column.is_null() {
                    c"?".as_ptr()
                } else {
                    column
                };
                let format = c"what column \"%s\" remembers, column \"%s\"".as_ptr();
                ffi::errcontext_msg(format, remembered, shown);
                return;
            }
            match (this.ordinal.get(), column.is_null()) {
                (0, true) => {}
                (0, false) => {
                    ffi::errcontext_msg(c"payload, column \"%s\"".as_ptr(), column);
                }
                (n, true) => {
                    ffi::errcontext_msg(c"payload %lld".as_ptr(), n);
                }
                (n, false) => {
                    ffi::errcontext_msg(c"payload %lld, column \"%s\"".as_ptr(), n, column);
                }
            }
        }
    }
}

impl Drop for PayloadPosition<'_> {
    fn drop(&mut self) {
        // SAFETY: frames come off in the reverse order of their going on. After
        // an error pgrx has already put the stack back to where it was when the
        // failing call began, which is our frame or one further in.
        unsafe { pg_sys::error_context_stack = self.frame.previous };
    }
}

/// While it lives, an error in a statement of the user's that is being parsed points
/// into that statement, not into the one that called us. As SPI does it.
pub struct StatementPosition<'s> {
    frame: pg_sys::ErrorContextCallback,
    _statement: &'s CStr,
}

impl<'s> StatementPosition<'s> {
    /// Puts the statement on the error context stack until it is dropped.
    pub fn watch(statement: &'s CStr) -> Pin<Box<Self>> {
        let mut position = Box::pin(Self {
            frame: pg_sys::ErrorContextCallback {
                // SAFETY: a read of a backend-local pointer.
                previous: unsafe { pg_sys::error_context_stack },
                callback: Some(Self::callback),
                arg: statement.as_ptr().cast_mut().cast(),
            },
            _statement: statement,
        });
        // SAFETY: the box is pinned, so its address holds until Drop takes the frame
        // off the stack again.
        unsafe {
            let this = position.as_mut().get_unchecked_mut();
            pg_sys::error_context_stack = &raw mut this.frame;
        }
        position
    }

    unsafe extern "C-unwind" fn callback(statement: *mut c_void) {
        // SAFETY: errfinish is running, and copies the statement.
        unsafe {
            let position = ffi::geterrposition();
            if position > 0 {
                ffi::errposition(0);
                ffi::internalerrposition(position);
                ffi::internalerrquery(statement.cast());
            } else {
                ffi::errcontext_msg(c"SQL statement \"%s\"".as_ptr(), statement);
            }
        }
    }
}

impl Drop for StatementPosition<'_> {
    fn drop(&mut self) {
        // SAFETY: a write of a backend-local pointer: the frames behind ours are further out,
        // and live, since frames come off in the reverse order of their going on.
        unsafe { pg_sys::error_context_stack = self.frame.previous };
    }
}
