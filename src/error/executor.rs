//! The one place where the executor is looked at: the run of every statement.
use super::row::WatchedExecution;
use super::{ffi, workers};
use pgrx::pg_sys;
use std::cell::Cell;

thread_local! {
    /// Whoever else looks at every run.
    static NEXT: Cell<pg_sys::ExecutorRun_hook_type> = const { Cell::new(None) };
}

/// Asks the server to be told when a statement is run. Called once, as the library is
/// loaded.
pub fn install_executor_hook() {
    // SAFETY: a hook is a function that lives as long as the backend, as ours does.
    unsafe {
        NEXT.set(pg_sys::ExecutorRun_hook);
        pg_sys::ExecutorRun_hook = Some(run);
    }
}

/// Runs a statement, with a frame for the errors of its workers on the context stack, and,
/// if it is one of ours, with its row at hand known.
///
/// # Safety
/// Called by the executor only. An ERROR jumps straight out: nothing is owned here, and
/// whoever catches it puts the context stack back.
unsafe extern "C-unwind" fn run(
    query: *mut pg_sys::QueryDesc,
    direction: pg_sys::ScanDirection::Type,
    count: pg_sys::uint64,
    #[cfg(not(feature = "pg18"))] once: bool,
) {
    // SAFETY: the executor's own arguments are handed on; the frame is taken off before it
    // goes out of scope.
    unsafe {
        let mut frame = workers::frame();
        frame.arg = (&raw mut frame).cast();
        pg_sys::error_context_stack = &raw mut frame;
        let watched = WatchedExecution::begin(query);
        let next = NEXT.get().unwrap_or(ffi::standard_ExecutorRun);
        next(
            query,
            direction,
            count,
            #[cfg(not(feature = "pg18"))]
            once,
        );
        watched.end();
        pg_sys::error_context_stack = frame.previous;
    }
}
