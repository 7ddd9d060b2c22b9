//! The lock on a request's key.
//!
//! A call holds the lock while it looks at the row and writes it. The row, which other
//! transactions do not see yet, says that a transaction works on the request. It says so until
//! that transaction ends: so a transaction may work on any number of requests.
//!
//! An attempt that is finished, abandoned or advanced needs no lock: its row is replaced if it is the one that
//! was looked at. So a call may find, with the lock in hand, that it has to wait for such a transaction.
//! It must not be waited for there: that transaction takes no lock on a key whose row it has
//! written.
use super::key::RequestKey;
use super::record::{self, DirtyProbe, Request};
use super::table::RequestTable;
use super::wait::WaitLimit;
use crate::error::map_lock_timeout;
use crate::pg::schedule::{leaves_out, wait_at};
use crate::pg::transaction::hash_lock::HashLock;

impl RequestKey<'_> {
    /// Takes the lock on the key if there is nothing under it, be it visible or not, and
    /// no other session has the lock. For a key that is probably new: the row need not be
    /// looked up before.
    pub fn lock_if_new(&self, table: &RequestTable) -> Option<KeyLock> {
        wait_at!("request: lock if new");
        let lock = HashLock::try_acquire(self.tag)?;
        wait_at!("request: locked");
        match record::probe(table, self) {
            DirtyProbe::Idle(false) => Some(KeyLock {
                _lock: Some(lock),
                exists: false,
            }),
            _ => None,
        }
    }

    /// Takes the lock on the key, with no other transaction's work on it in progress. Where this
    /// transaction has written the row, it needs no lock, and must not wait for one: who has it may
    /// wait for this transaction, to write the row.
    ///
    /// # Errors
    /// If a transaction is working on it: 23I02 if its request is another, else 55I01,
    /// at once or when the limit is reached.
    pub fn lock(&self, table: &RequestTable, request: &Request, limit: &WaitLimit) -> KeyLock {
        loop {
            wait_at!("request: lock");
            let free = HashLock::try_acquire(self.tag);
            let ours = || !leaves_out!("own_request") && record::is_written_by_us(table, self);
            if free.is_none() && ours() {
                return KeyLock {
                    _lock: None,
                    exists: true,
                };
            }
            let acquire = || limit.limit_lock_wait(|| HashLock::acquire(self.tag));
            let lock = free.unwrap_or_else(|| map_lock_timeout(acquire, || self.in_progress()));
            wait_at!("request: locked");
            let busy = match record::probe(table, self) {
                DirtyProbe::Idle(exists) => {
                    return KeyLock {
                        _lock: Some(lock),
                        exists,
                    };
                }
                DirtyProbe::InProgress(busy) => busy,
            };
            // Never wait for a transaction with the lock in hand.
            drop(lock);
            match &busy.written {
                Some(known) if !known.is_free() && !known.is_same_request(request) => {
                    known.reused(self, request).raise()
                }
                Some(_) if !limit.waits_for_transactions() => self.in_progress().raise(),
                // A purge is removing it, which does not take long.
                _ => {}
            }
            let wait = || limit.limit_lock_wait(|| busy.wait());
            map_lock_timeout(wait, || self.in_progress());
        }
    }
}

/// The lock, until it is dropped; none where the transaction itself keeps others from the row.
pub struct KeyLock {
    _lock: Option<HashLock>,
    /// Whether there is a committed row under the key.
    pub exists: bool,
}
