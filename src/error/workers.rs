//! Errors of parallel workers that reach the leader while it is inside a function of ours.
//!
//! A function that calls ours may be declared PARALLEL SAFE, wrongly. Then a worker's error
//! may arrive while the leader itself runs our code: any look for an interrupt reads the
//! worker's message and raises its error. But core raises it under the context stack of
//! the moment when the workers were started, on which the frame of the running
//! [`boundary`](super::boundary) is not. So every run of the executor has a frame at its
//! bottom that is on that stack, and hands the error to the boundary.
//!
//! This takes a session that had loaded the library before the query began. In one that
//! had not, the error is shown with what pgrx has kept of it.
use pgrx::pg_sys;
use std::cell::Cell;
use std::ffi::c_void;
use std::ptr;

/// A boundary that is running.
#[derive(Clone, Copy)]
pub struct Running {
    /// What its frame calls with an error,
    pub callback: unsafe extern "C-unwind" fn(*mut c_void),
    /// and with which argument, which is its own alone.
    pub argument: *mut c_void,
}

thread_local! {
    /// The innermost boundary.
    static RUNNING: Cell<Option<Running>> = const { Cell::new(None) };
}

/// Notes the innermost boundary, and gives the one around it, to be noted again afterwards.
pub fn set_running(running: Option<Running>) -> Option<Running> {
    RUNNING.replace(running)
}

/// The frame of a run of the executor, to be put on the context stack once it points at
/// itself.
pub fn frame() -> pg_sys::ErrorContextCallback {
    pg_sys::ErrorContextCallback {
        // SAFETY: a read of a backend-local pointer.
        previous: unsafe { pg_sys::error_context_stack },
        callback: Some(hand_over),
        arg: ptr::null_mut(),
    }
}

/// Called by `errfinish`, with the frame itself: hands the error to the running boundary, if
/// that has not got it by its own frame or one further in.
unsafe extern "C-unwind" fn hand_over(this: *mut c_void) {
    let Some(running) = RUNNING.get() else {
        return;
    };
    // SAFETY: the stack's frames live while they are on it; a running boundary's argument
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
