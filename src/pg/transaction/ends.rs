//! The ends of transactions and subtransactions, for those who keep something until then.
//!
//! What is called must neither raise an error nor look anything up: a transaction may be committed by then,
//! or be on its way to be aborted.
use crate::pg::ffi::plain;
use pgrx::pg_sys;
use std::ffi::c_void;
use std::ptr;
use std::sync::OnceLock;

/// What is called when a transaction ends, and when a subtransaction does. `committed` is also that a
/// transaction was prepared.
pub struct EndWatcher {
    /// A transaction has ended.
    pub transaction: fn(committed: bool),
    /// A subtransaction ends, of which the nesting has this depth; that of the transaction is 1.
    pub subtransaction: fn(committed: bool, level: i32),
}

static WATCHER: OnceLock<EndWatcher> = OnceLock::new();

/// Has the watcher called for the life of the backend. Called once, when the library is loaded.
pub fn watch_ends(watcher: EndWatcher) {
    if WATCHER.set(watcher).is_ok() {
        // SAFETY: registered for the life of the backend, as are the callbacks, and by the postmaster for
        // all that it forks.
        unsafe {
            pg_sys::RegisterXactCallback(Some(on_transaction), ptr::null_mut());
            pg_sys::RegisterSubXactCallback(Some(on_subtransaction), ptr::null_mut());
        }
    }
}

/// How deep subtransactions are nested; 1 in none.
pub fn nest_level() -> i32 {
    plain::GetCurrentTransactionNestLevel()
}

#[pgrx::pg_guard]
unsafe extern "C-unwind" fn on_transaction(event: pg_sys::XactEvent::Type, _arg: *mut c_void) {
    use pg_sys::XactEvent::{
        XACT_EVENT_ABORT, XACT_EVENT_COMMIT, XACT_EVENT_PARALLEL_ABORT, XACT_EVENT_PARALLEL_COMMIT,
        XACT_EVENT_PREPARE,
    };
    let Some(watcher) = WATCHER.get() else { return };
    match event {
        XACT_EVENT_COMMIT | XACT_EVENT_PARALLEL_COMMIT | XACT_EVENT_PREPARE => {
            (watcher.transaction)(true);
        }
        XACT_EVENT_ABORT | XACT_EVENT_PARALLEL_ABORT => (watcher.transaction)(false),
        _ => {}
    }
}

#[pgrx::pg_guard]
unsafe extern "C-unwind" fn on_subtransaction(
    event: pg_sys::SubXactEvent::Type,
    _subtransaction: pg_sys::SubTransactionId,
    _parent: pg_sys::SubTransactionId,
    _arg: *mut c_void,
) {
    use pg_sys::SubXactEvent::{SUBXACT_EVENT_ABORT_SUB, SUBXACT_EVENT_COMMIT_SUB};
    let Some(watcher) = WATCHER.get() else { return };
    match event {
        SUBXACT_EVENT_COMMIT_SUB => (watcher.subtransaction)(true, nest_level()),
        SUBXACT_EVENT_ABORT_SUB => (watcher.subtransaction)(false, nest_level()),
        _ => {}
    }
}
