//! The steps of the protocol: look, lock, look again, wait.
use super::{Guard, IncomingRow};
use crate::compare::{first_difference, same_tuple};
use crate::pg::ffi;
use crate::pg::memory::Memory;
use crate::pg::transaction::snapshot::{LatestSnapshot, Writers};
use crate::target::{Scan, StoredRow};
use pgrx::pg_sys;

/// What a probe makes of a row.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum ProbeResult {
    /// Its key is free, and locked.
    New,
    /// Its key is locked, and there are only dead rows under it, as it seems.
    MaybeNew,
    /// It is stored already, all compared columns agree.
    Duplicate,
    /// Its key is stored; the row is at hand.
    Stored,
    /// A transaction in progress inserts or deletes the row under its key.
    InProgress,
    /// This key column is NULL.
    NullKey(usize),
}

/// A transaction to wait for.
#[derive(Clone, Copy)]
pub struct XactWait {
    transaction: pg_sys::TransactionId,
    /// Not 0: only until it has made up its mind about a speculative insertion.
    token: u32,
    tuple: pg_sys::ItemPointerData,
}

impl XactWait {
    /// For nothing.
    pub fn none() -> Self {
        Self {
            transaction: pg_sys::InvalidTransactionId,
            token: 0,
            tuple: Default::default(),
        }
    }
}

impl Guard {
    /// Looks the row's key up, and locks it if it is free. Gives everything but
    /// [`ProbeResult::MaybeNew`].
    #[inline]
    pub(super) fn probe(&mut self, row: IncomingRow<'_>) -> ProbeResult {
        loop {
            // SAFETY: nothing is owned inside, and nothing panics.
            let probe = unsafe { ffi::guard(|| self.probe_unguarded(row)) };
            if probe != ProbeResult::MaybeNew {
                return probe;
            }
            if !self.is_committed(row) {
                return ProbeResult::New;
            }
            self.config.miss_rate.record_hit();
            pgrx::check_for_interrupts!();
        }
    }

    /// # Safety
    /// Runs inside `ffi::guard`.
    #[inline(always)]
    unsafe fn probe_unguarded(&mut self, row: IncomingRow<'_>) -> ProbeResult {
        // SAFETY: the key's columns are among the table's, since the numbers are those of the
        // target's columns in it; the caller's promise.
        unsafe {
            let numbers = self.numbers.as_slice();
            let payload = row.deformed_unguarded(self.key_columns, numbers);
            let arbiter = self.config.arbiter(&self.target);
            if !arbiter.nulls_equal {
                for part in &arbiter.keys {
                    if payload.get_unguarded(part.column).is_none() {
                        return ProbeResult::NullKey(part.column);
                    }
                }
            }
            if let Some(free) = self.find_or_lock_unguarded(row) {
                return free;
            }
            // Never wait, or judge, with a key lock in hand.
            self.statement().unlock_unguarded();
            self.config.miss_rate.record_hit();
            if self.note_writer() {
                self.scan.pause_unguarded();
                return ProbeResult::InProgress;
            }
            if !self.simple || !self.is_duplicate_unguarded(row) {
                return ProbeResult::Stored;
            }
            self.scan.pause_unguarded();
            ProbeResult::Duplicate
        }
    }

    /// Finds the row under the key, of which the scan is at one then; or locks the key, and says
    /// what it is if there is still none.
    ///
    /// # Safety
    /// The key of the row is deformed. Runs inside `ffi::guard`.
    #[inline(always)]
    unsafe fn find_or_lock_unguarded(&mut self, row: IncomingRow<'_>) -> Option<ProbeResult> {
        // SAFETY: the arbiter's columns are positions in the target's, and are deformed; the
        // scan is one by equality, of the arbiter. The caller's promise.
        unsafe {
            let config = &*self.config;
            let payload = row.deformed_unguarded(0, &self.numbers);
            let value = |c| payload.get_unguarded(c);
            let lock = || {
                let arbiter = config.arbiter(&self.target);
                let hash = config
                    .key_hasher
                    .hash_unguarded(&self.seeds, arbiter, value);
                self.statement.as_ref().lock_unguarded(hash);
            };
            // Where misses are likely: with the lock in hand one look serves.
            let mut locked = false;
            if config.miss_rate.predicts_miss() {
                lock();
                locked = true;
            }
            loop {
                let row_memory = pg_sys::MemoryContextSwitchTo(self.scan_memory);
                let found = self.scan.find_unguarded(value);
                pg_sys::MemoryContextSwitchTo(row_memory);
                if found {
                    return None;
                }
                if locked {
                    config.miss_rate.record_miss();
                    return Some(if self.scan.saw_entry() {
                        ProbeResult::MaybeNew
                    } else {
                        ProbeResult::New
                    });
                }
                lock();
                locked = true;
            }
        }
    }

    /// Whether a transaction in progress writes the row that the scan is at; then it is noted as
    /// the one to wait for.
    #[inline(always)]
    fn note_writer(&mut self) -> bool {
        let Writers {
            inserter,
            deleter,
            token,
        } = self.scan.writers();
        let none = pg_sys::InvalidTransactionId;
        if inserter == none && deleter == none {
            return false;
        }
        self.wait = XactWait {
            transaction: if inserter == none { deleter } else { inserter },
            token,
            // SAFETY: the scan's slot is alive as long as the scan, and says where its row is.
            tuple: unsafe { (*self.scan.slot()).tts_tid },
        };
        true
    }

    /// Whether the row that the scan is at has the row's values in all compared columns. A column
    /// that the row may have omitted agrees if it is known what it would be then.
    ///
    /// # Safety
    /// The scan has found a row. Runs inside `ffi::guard`.
    #[inline(always)]
    unsafe fn is_duplicate_unguarded(&self, row: IncomingRow<'_>) -> bool {
        // SAFETY: both rows are of the table at hand, which has the compared columns; those
        // are positions in the target's. The caller's promise.
        unsafe {
            let stored = self.scan.slot();
            if same_tuple(stored, row.tuple()) {
                return true;
            }
            let payload = row.deformed_unguarded(self.columns, &self.numbers);
            ffi::slot_getsomeattrs_unguarded(stored, self.columns);
            let stored = StoredRow::in_slot(stored, &self.numbers);
            let columns = &self.target.columns;
            let value = |c| payload.get_unguarded(c);
            let known = |c| stored.get_unguarded(c);
            first_difference(columns, &self.config.always, &stored, value).is_none()
                && self.defaults.agree_unguarded(columns, known, value)
        }
    }

    /// Whether a committed row is stored under the row's key: looks once more, under
    /// an MVCC snapshot, which misses none. The key lock is in hand.
    fn is_committed(&self, row: IncomingRow<'_>) -> bool {
        let row = row.deformed(&self.numbers);
        let _snapshot = LatestSnapshot::push();
        let memory = Memory::in_current(c"pg_idempotent second look");
        memory.scope(|| {
            let mut scan = Scan::by_equality(&self.table, &self.index, self.arbiter());
            scan.find(|c| row.get(c))
        })
    }

    /// Lets go of the stored row.
    pub(super) fn pause(&mut self) {
        // SAFETY: a probe has looked for a key; the guard holds nothing.
        unsafe { ffi::guard(|| self.scan.pause_unguarded()) };
    }

    /// Waits for the transaction that stands in the way.
    pub(super) fn wait(&mut self) {
        let wait = &mut self.wait;
        // SAFETY: no lock is held, nothing is pinned; an ordinary wait of the
        // server, with its own words in CONTEXT.
        unsafe {
            if wait.token == 0 {
                pg_sys::XactLockTableWait(
                    wait.transaction,
                    self.table.raw(),
                    &raw mut wait.tuple,
                    pg_sys::XLTW_Oper::XLTW_InsertIndexUnique,
                );
            } else {
                pg_sys::SpeculativeInsertionWait(wait.transaction, wait.token);
            }
        }
    }
}
