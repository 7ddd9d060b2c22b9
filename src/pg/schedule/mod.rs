//! Wait points: where a test holds a session, so that it can step sessions through interleavings.
//!
//! Only a build with the feature `schedules` has them: that of `tests/schedules`, which nobody installs. In
//! every other build the macros here expand to nothing, and to `false`. `tests/cluster/test_no_wait_points.py`
//! sees that the library has nothing of them.
#[cfg(feature = "schedules")]
mod driven;
#[cfg(feature = "schedules")]
pub use driven::{define_settings, expects_new, is_left_out, wait};

/// A place in a protocol at which a driver may hold the session. No lock on memory, and none on a
/// buffer, is held there; a pin may be.
#[cfg(feature = "schedules")]
macro_rules! wait_at {
    ($point:literal) => {
        $crate::pg::schedule::wait($point)
    };
}

/// A place in a protocol at which the build for tests may be held.
#[cfg(not(feature = "schedules"))]
macro_rules! wait_at {
    ($point:literal) => {};
}

/// Whether a test leaves this part of a protocol out, to see that the defect is found.
#[cfg(feature = "schedules")]
macro_rules! leaves_out {
    ($part:literal) => {
        $crate::pg::schedule::is_left_out($part)
    };
}

/// Whether the build for tests leaves this part of a protocol out.
#[cfg(not(feature = "schedules"))]
macro_rules! leaves_out {
    ($part:literal) => {
        false
    };
}

pub(crate) use {leaves_out, wait_at};

/// Whether keys are expected to be new, where a test says so: what the session has seen before
/// would make each schedule depend on those before it.
#[cfg(not(feature = "schedules"))]
#[inline(always)]
pub const fn expects_new() -> Option<bool> {
    None
}
