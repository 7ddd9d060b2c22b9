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
use super::ffi;
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
    /// Whoever else looks at every run of the executor.
    static NEXT: Cell<pg_sys::ExecutorRun_hook_type> = const { Cell::new(None) };
}

/// Notes the innermost boundary, and gives the one around it, to be noted again afterwards.
pub fn set_running(running: Option<Running>) -> Option<Running> {
    RUNNING.replace(running)
}

/// Looks at every run of the executor from now on. Called once, as the library is loaded.
pub fn watch_executor() {
    // SAFETY: a backend-local variable, and the backend is single-threaded.
    unsafe {
        NEXT.set(pg_sys::ExecutorRun_hook);
        pg_sys::ExecutorRun_hook = Some(run);
    }
}

/// An `ExecutorRun_hook`. An error jumps over it, as over core's frames: it has nothing to
/// drop, and who catches the error puts back the context stack.
unsafe extern "C-unwind" fn run(
    query: *mut pg_sys::QueryDesc,
    direction: pg_sys::ScanDirection::Type,
    count: pg_sys::uint64,
    #[cfg(not(feature = "pg18"))] once: bool,
) {
    // SAFETY: the executor's own arguments, passed on; the frame is taken off before it goes
    // out of scope.
    unsafe {
        let mut frame = pg_sys::ErrorContextCallback {
            previous: pg_sys::error_context_stack,
            callback: Some(hand_over),
            arg: ptr::null_mut(),
        };
        frame.arg = (&raw mut frame).cast();
        pg_sys::error_context_stack = &raw mut frame;
        let next = NEXT.get().unwrap_or(ffi::standard_ExecutorRun);
        next(
            query,
            direction,
            count,
            #[cfg(not(feature = "pg18"))]
            once,
        );
        pg_sys::error_context_stack = frame.previous;
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
