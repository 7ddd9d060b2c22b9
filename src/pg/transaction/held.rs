//! Locks that are taken for a piece of work, and locks on relations by oid.
use super::locks::{self, LockSubject};
use crate::pg::{ffi, unwinding};
use pgrx::pg_sys;

/// A lock that is given back when this is dropped, or by the abort after an error.
pub struct HeldLock(pg_sys::LOCKTAG);

impl HeldLock {
    /// Waits for the lock on something with this hash, and takes it.
    ///
    /// # Errors
    /// 55P03 after `lock_timeout`.
    pub fn acquire(subject: LockSubject, hash: u64) -> Self {
        let tag = locks::tag(subject, hash);
        // SAFETY: the guard holds nothing but a reference to a tag that has no destructor.
        unsafe { ffi::guard(|| locks::acquire_unguarded(&tag)) };
        Self(tag)
    }
}

impl Drop for HeldLock {
    fn drop(&mut self) {
        if !unwinding() {
            let tag = self.0;
            // SAFETY: the guard holds nothing but a reference, as above. Under another resource
            // owner than the one that took it, core warns, and does nothing.
            unsafe { ffi::guard(|| locks::release_unguarded(&tag)) };
        }
    }
}

/// Waits for a lock on what has this oid, which need not be there any more, and keeps it until
/// the transaction ends.
///
/// # Errors
/// 55P03 after `lock_timeout`.
pub fn lock_relation(relation: pg_sys::Oid, mode: u32) {
    // SAFETY: a lock is on a number; core raises an error for a mode that it does not know.
    unsafe { pg_sys::LockRelationOid(relation, mode as pg_sys::LOCKMODE) };
}

/// Takes the lock if it can be had at once; says whether.
pub fn try_lock_relation(relation: pg_sys::Oid, mode: u32) -> bool {
    // SAFETY: as `lock_relation`.
    unsafe { pg_sys::ConditionalLockRelationOid(relation, mode as pg_sys::LOCKMODE) }
}

/// Gives a lock back that this transaction holds; one that it does not hold is a warning.
pub fn unlock_relation(relation: pg_sys::Oid, mode: u32) {
    // SAFETY: as `lock_relation`.
    unsafe { pg_sys::UnlockRelationOid(relation, mode as pg_sys::LOCKMODE) };
}
