//! Hash functions.
pub mod sha256;
pub mod siphash;
