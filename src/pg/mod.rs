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
pub mod backend;
pub mod call;
pub mod catalog;
pub mod ffi;
pub mod hash;
pub mod interrupt;
pub mod list;
pub mod memory;
pub mod rows;
pub mod slot_columns;
pub mod statement;
pub mod transaction;
pub mod value;

use pgrx::pg_sys;
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

/// Looks a function up, in memory of the caller's choice.
///
/// # Safety
/// `function` exists, and `memory` outlives the result's use.
pub unsafe fn lookup_function(
    memory: pg_sys::MemoryContext,
    function: pg_sys::Oid,
) -> *mut pg_sys::FmgrInfo {
    // SAFETY: the caller's promise.
    unsafe {
        let info = pg_sys::MemoryContextAllocZero(memory, size_of::<pg_sys::FmgrInfo>())
            .cast::<pg_sys::FmgrInfo>();
        pg_sys::fmgr_info_cxt(function, info, memory);
        info
    }
}
