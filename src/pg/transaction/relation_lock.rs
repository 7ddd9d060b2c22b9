//! Locks on relations by oid.
use crate::pg::ffi::plain;
use pgrx::pg_sys;

/// Waits for a lock on what has this oid, which need not be there any more, and keeps it until
/// the transaction ends.
///
/// # Errors
/// 55P03 after `lock_timeout`.
pub fn lock_relation(relation: pg_sys::Oid, mode: u32) {
    plain::LockRelationOid(relation, mode as pg_sys::LOCKMODE);
}

/// Takes the lock if it can be had at once; says whether.
pub fn try_lock_relation(relation: pg_sys::Oid, mode: u32) -> bool {
    plain::ConditionalLockRelationOid(relation, mode as pg_sys::LOCKMODE)
}

/// Gives a lock back that this transaction holds; one that it does not hold is a warning.
pub fn unlock_relation(relation: pg_sys::Oid, mode: u32) {
    plain::UnlockRelationOid(relation, mode as pg_sys::LOCKMODE);
}
