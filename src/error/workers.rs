//! Errors of parallel workers that reach the leader while it is inside a function of ours.
//!
//! A function that calls ours may be declared PARALLEL SAFE, wrongly. Then a worker's error may
//! arrive while the leader itself runs our code: any look for an interrupt reads the worker's
//! message and raises its error. But core raises it under the context stack of the moment when the
//! workers were started, on which the frame of the running
//! [`with_error_capture`](super::with_error_capture) is not. So every run of the executor has a
//! frame at its bottom that is on that stack, and hands the error to the capture.
//!
//! This takes a session that had loaded the library before the query began. In one that
//! had not, the error is shown with what pgrx has kept of it.
use pgrx::pg_sys;
use std::cell::Cell;
use std::ffi::c_void;
use std::ptr;

/// An error capture that is in force.
#[derive(Clone, Copy)]
pub struct ActiveCapture {
    /// What its frame calls with an error,
    pub callback: unsafe extern "C-unwind" fn(*mut c_void),
    /// and with which argument, which is its own alone.
    pub argument: *mut c_void,
}

thread_local! {
    /// The innermost capture.
    static ACTIVE: Cell<Option<ActiveCapture>> = const { Cell::new(None) };
}

/// Notes the innermost capture, and gives the one around it, to be noted again afterwards.
///
/// # Safety
/// The callback takes the argument, which lives until another capture, or none, is noted.
pub unsafe fn set_active(running: Option<ActiveCapture>) -> Option<ActiveCapture> {
    ACTIVE.replace(running)
}

/// The frame of a run of the executor, to be put on the context stack once it points at
/// itself.
pub fn frame() -> pg_sys::ErrorContextCallback {
    pg_sys::ErrorContextCallback {
        // SAFETY: a read of a backend-local pointer.
        previous: unsafe { pg_sys::error_context_stack },
        callback: Some(forward_error),
        arg: ptr::null_mut(),
    }
}

/// Called by `errfinish`, with the frame itself: hands the error to the active capture, if
/// that has not got it by its own frame or one further in.
unsafe extern "C-unwind" fn forward_error(this: *mut c_void) {
    let Some(running) = ACTIVE.get() else {
        return;
    };
    // SAFETY: the stack's frames live while they are on it; an active capture's argument
    // lives while that runs.
    unsafe {
        let mut frame = pg_sys::error_context_stack;
        while let Some(here) = frame.as_ref() {
            if here.arg == running.argument {
                return;
            }
            // The innermost of these frames, which are known by pointing at themselves.
            if here.arg == frame.cast() {
                if here.arg == this {
                    (running.callback)(running.argument);
                }
                return;
            }
            frame = here.previous;
        }
    }
}
