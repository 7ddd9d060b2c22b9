//! A lock on a hash, with an owner.
use crate::pg::transaction::locks;
use crate::pg::unwinding;
use pgrx::pg_sys;

/// The lock under a tag of ours, which is given back when this is dropped. After an error
/// the abort gives it back.
pub struct HashLock(pg_sys::LOCKTAG);

impl HashLock {
    /// Waits for the lock, and takes it.
    ///
    /// # Errors
    /// 55P03 after `lock_timeout`, 40P01 in a deadlock.
    pub fn acquire(tag: pg_sys::LOCKTAG) -> Self {
        locks::acquire(&tag);
        Self(tag)
    }

    /// Takes the lock; None if another session has it.
    pub fn try_acquire(tag: pg_sys::LOCKTAG) -> Option<Self> {
        locks::try_acquire(&tag).then(|| Self(tag))
    }

    /// Leaves the lock to the end of the transaction.
    pub fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for HashLock {
    fn drop(&mut self) {
        if !unwinding() {
            locks::release(&self.0);
        }
    }
}
