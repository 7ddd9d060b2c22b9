//! The support functions of an aggregate of ours, whose state is a value of Rust's in the
//! aggregate's memory.
use super::entry::SqlCall;
use super::result::SqlResult;
use crate::error::{Report, SqlState};
use pgrx::pg_sys;
use std::ptr::NonNull;

impl<'fcx> SqlCall<'fcx> {
    /// The state that argument `i` is; None if it is NULL.
    ///
    /// # Safety
    /// The argument is declared as `internal`, and every function that may return such a state to
    /// the server makes a `T`. No other reference to the state is alive.
    pub unsafe fn state<T>(&self, i: usize) -> Option<&'fcx mut T> {
        let state = self.arguments().datum(i)?;
        // SAFETY: the caller's promise; the aggregate's memory outlives the call.
        unsafe { state.cast_mut_ptr::<T>().as_mut() }
    }

    /// Puts a new state into the memory of the aggregate.
    ///
    /// # Errors
    /// 0A000 outside an aggregate.
    pub fn new_state<T>(&self, state: T) -> &'fcx mut T {
        let mut memory = std::ptr::null_mut();
        // SAFETY: the running call's; core gives the aggregate's memory if it is one's.
        if unsafe { pg_sys::AggCheckCallContext(self.raw(), &raw mut memory) } == 0 {
            Report::new(
                SqlState::FeatureNotSupported,
                "support function of an aggregate called outside an aggregate",
            )
            .raise()
        }
        // SAFETY: a context of core's, which outlives the call.
        unsafe { &mut *kept(memory, state).as_ptr() }
    }
}

impl SqlResult {
    /// A state that was made by [`SqlCall::new_state`].
    pub fn state<T>(state: &mut T) -> Self {
        // SAFETY: a pointer is what a function that returns `internal` gives; the server only
        // hands it back to the aggregate's own functions, see [`SqlCall::state`].
        unsafe { Self::datum(pg_sys::Datum::from(&raw mut *state)) }
    }

    /// A new state, in the current memory, as a deserialization function gives it.
    pub fn new_state<T>(state: T) -> Self {
        // SAFETY: the current context is always valid.
        let state = unsafe { kept(pg_sys::CurrentMemoryContext, state) };
        // SAFETY: as in [`SqlResult::state`].
        unsafe { Self::datum(pg_sys::Datum::from(state.as_ptr())) }
    }
}

/// Puts a value into a context.
///
/// # Safety
/// A valid context.
unsafe fn kept<T>(memory: pg_sys::MemoryContext, value: T) -> NonNull<T> {
    // The context frees it, and no destructor runs.
    const { assert!(!std::mem::needs_drop::<T>()) };
    const { assert!(align_of::<T>() <= pg_sys::MAXIMUM_ALIGNOF as usize) };
    // SAFETY: the caller's promise: as much memory as is written, aligned as for any type of the
    // server's, and never null.
    unsafe {
        let kept = pg_sys::MemoryContextAlloc(memory, size_of::<T>()).cast::<T>();
        kept.write(value);
        NonNull::new_unchecked(kept)
    }
}
