//! A function's call: its arguments, and its results.
#[forbid(unsafe_code)]
pub mod arguments;
#[forbid(unsafe_code)]
pub mod declaration;
pub mod entry;
pub mod result;
#[cfg(any(debug_assertions, test, feature = "pg_test"))]
#[cfg_attr(
    not(any(test, feature = "pg_test")),
    allow(dead_code, reason = "only the unit test reads all of a signature")
)]
#[forbid(unsafe_code)]
pub mod signature;
pub mod trigger;
