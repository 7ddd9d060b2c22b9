//! The server's memory, rows, jsonb and text behind small interfaces.
//!
//! Unsafe code that is not about tables or errors lives here.
//!
//! # Releasing after an error
//! Nothing here releases a buffer, a scan or a relation while a panic unwinds:
//! the current resource owner may then be that of a portal further in, and the
//! (sub)transaction's abort, which is certain, releases everything itself. The
//! destructors look at [`unwinding`].
pub mod arguments;
pub mod ffi;
pub mod jsonb;
pub mod local_settings;
pub mod memory;
pub mod result;
pub mod rows;
pub mod snapshot;
pub mod spi;
pub mod text;

/// Whether an error is on its way out, so that the coming abort releases what
/// we hold.
pub fn unwinding() -> bool {
    std::thread::panicking()
}
