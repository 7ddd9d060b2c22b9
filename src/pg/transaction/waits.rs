//! How often the session has waited for others, by waits that the extension itself begins.
//!
//! A wait is noted before it begins, so that one which is cancelled, or runs out of time, counts too. Who
//! keeps count takes what was noted since.
use std::cell::Cell;

thread_local! {
    static NOTED: Cell<u64> = const { Cell::new(0) };
}

/// The session is about to wait for another session's transaction or lock.
pub fn note_wait() {
    NOTED.set(NOTED.get().wrapping_add(1));
}

/// How many waits were noted since this was asked last.
pub fn take_waits() -> u64 {
    NOTED.take()
}
