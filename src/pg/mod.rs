//! The server's memory, rows, jsonb and text behind small interfaces.
//!
//! Unsafe code that is not about tables or errors lives here.
//!
//! # Releasing after an error
//! Nothing here releases a buffer, a scan or a relation while a panic unwinds:
//! the current resource owner may then be that of a portal further in, and the
//! (sub)transaction's abort, which is certain, releases everything itself. The
//! destructors look at [`unwinding`]. What an abort has overtaken is given up
//! with [`abandon`].
#[forbid(unsafe_code)]
pub mod backend;
pub mod call;
pub mod catalog;
#[cfg(feature = "pg18")]
pub mod explain;
pub mod ffi;
pub mod function;
#[forbid(unsafe_code)]
pub mod hash;
pub mod heap;
#[forbid(unsafe_code)]
pub mod interrupt;
pub mod memory;
pub mod relation;
pub mod rows;
#[forbid(unsafe_code)]
pub mod schedule;
pub mod shared;
mod slot;
pub mod statement;
pub mod stored_bytes;
pub mod transaction;
pub mod value;

pub use function::lookup_function;
use std::cell::Cell;

thread_local! {
    static ABANDONING: Cell<bool> = const { Cell::new(false) };
}

/// Whether an error is on its way out, so that the coming abort releases what
/// we hold; or an abort has been there already.
pub fn unwinding() -> bool {
    std::thread::panicking() || ABANDONING.get()
}

/// Drops something whose buffers, scans and relations an abort releases or has
/// released: only its own memory is freed.
pub fn abandon<T>(value: T) {
    let outer = ABANDONING.replace(true);
    drop(value);
    ABANDONING.set(outer);
}
