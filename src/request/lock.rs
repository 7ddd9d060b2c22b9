//! The lock on a request's key.
//!
//! The lock is held while a call looks at the row and writes it. That somebody works on
//! a request is told by the row, which nobody else sees yet, and lasts as long as that
//! transaction: so a transaction may work on any number of requests.
use super::key::RequestKey;
use super::record::{self, DirtyProbe, Request, RequestTable};
use crate::error::map_lock_timeout;
use crate::pg::transaction::locks;
use crate::pg::{ffi, unwinding};
use pgrx::pg_sys;

impl RequestKey {
    /// Takes the lock on the key if there is nothing under it, be it visible or not, and
    /// nobody else is at it. For a key that is probably new: the row need not be looked
    /// up before.
    pub fn lock_if_new(&self, table: &RequestTable) -> Option<KeyLock<'_>> {
        let held = KeyLock::try_acquire(&self.tag)?;
        match record::probe(table, self) {
            DirtyProbe::Idle(false) => Some(held),
            _ => None,
        }
    }

    /// Takes the lock on the key, with nobody else's work on it in progress.
    ///
    /// # Errors
    /// If a transaction is working on it: 23I02 if its request is another, else 55I01,
    /// at once or after `lock_timeout`.
    pub fn lock(&self, table: &RequestTable, request: &Request) -> KeyLock<'_> {
        loop {
            let acquire = || KeyLock::acquire(&self.tag);
            let mut held = map_lock_timeout(acquire, || self.in_progress());
            let busy = match record::probe(table, self) {
                DirtyProbe::Idle(exists) => {
                    held.exists = exists;
                    return held;
                }
                DirtyProbe::InProgress(busy) => busy,
            };
            // Never wait for a transaction with the lock in hand.
            drop(held);
            match &busy.written {
                Some(known) if !known.is_free() && !known.is_same_request(request) => {
                    known.reused(self, request).raise()
                }
                // SAFETY: reads a setting.
                Some(_) if unsafe { pg_sys::LockTimeout } == 0 => self.in_progress().raise(),
                // A purge is removing it, which does not take long.
                _ => {}
            }
            map_lock_timeout(|| busy.wait(), || self.in_progress());
        }
    }
}

/// The lock, until it is dropped.
pub struct KeyLock<'k> {
    tag: &'k pg_sys::LOCKTAG,
    /// Whether there is a committed row under the key.
    pub exists: bool,
}

impl<'k> KeyLock<'k> {
    fn acquire(tag: &'k pg_sys::LOCKTAG) -> Self {
        // SAFETY: the guard holds nothing.
        unsafe { ffi::guard(|| locks::acquire_unguarded(tag)) };
        Self { tag, exists: false }
    }

    fn try_acquire(tag: &'k pg_sys::LOCKTAG) -> Option<Self> {
        // SAFETY: the guard holds nothing.
        let taken = unsafe { ffi::guard(|| locks::try_acquire_unguarded(tag)) };
        taken.then(|| Self { tag, exists: false })
    }
}

impl Drop for KeyLock<'_> {
    fn drop(&mut self) {
        if !unwinding() {
            // SAFETY: taken by this call, under its resource owner; the guard holds
            // nothing.
            unsafe { ffi::guard(|| locks::release_unguarded(self.tag)) };
        }
    }
}
