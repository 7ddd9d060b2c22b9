//! Commits that another server makes together with this one.
//!
//! Citus commits a transaction that has written on one other node only without PREPARE TRANSACTION: that node commits
//! first, and this one after it. If this one, or the connection between the two, is lost between the two commits, the other
//! node has committed, or is about to, what this one has not. Citus has a function that makes the transaction at
//! hand commit in two phases, which its COPY calls. No SQL of Citus does only this.
use pgrx::pg_sys;
use std::ffi::c_void;
use std::ptr;
use std::sync::OnceLock;

/// Sets a variable of Citus, which the end of the transaction sets back. It takes nothing, gives nothing, and raises
/// nothing.
type Use2Pc = unsafe extern "C" fn();

/// Has Citus commit this transaction with PREPARE TRANSACTION on each other node that it writes on. False if the server
/// has no Citus, or one that does not have the function.
pub fn commit_in_two_phases() -> bool {
    /// Citus comes with the start of the server, or not at all.
    static FOUND: OnceLock<Option<Use2Pc>> = OnceLock::new();
    let found = FOUND.get_or_init(|| {
        let name = c"Use2PCForCoordinatedTransaction";
        // SAFETY: without a library, the name is looked up among all that are loaded; a C string that lives for the
        // call.
        let function = unsafe { pg_sys::lookup_external_function(ptr::null_mut(), name.as_ptr()) };
        // SAFETY: no other library has this name, and it is a function of this type in all versions of Citus that
        // have it.
        (!function.is_null())
            .then(|| unsafe { std::mem::transmute::<*mut c_void, Use2Pc>(function) })
    });
    if let Some(function) = found {
        // SAFETY: it sets a variable.
        unsafe { function() };
    }
    found.is_some()
}
