//! The steps of the protocol: look, and look again where a look may have missed a row.
use super::Guard;
use crate::pg::call::trigger::TriggerRow;
use crate::pg::memory::Memory;
use crate::pg::schedule::{leaves_out, wait_at};
use crate::pg::transaction::snapshot::LatestSnapshot;
use crate::target::{Scan, StoredRow, Writer};

/// What a probe makes of a row.
#[derive(Clone, Copy)]
pub enum ProbeResult {
    /// Its key is free, and locked.
    New,
    /// Its key is locked, and there are only dead rows under it, as it seems.
    MaybeNew,
    /// It is stored already, all compared columns agree.
    Duplicate,
    /// Its key is stored; the row is at hand.
    Stored,
    /// This transaction in progress inserts or deletes the row under its key.
    InProgress(Writer),
    /// This part of the key is NULL.
    NullKey(usize),
    /// The row is outside of the arbiter's condition: it has no key.
    Outside,
}

impl Guard {
    /// Looks the row's key up, and locks it if it is free. Gives everything but
    /// [`ProbeResult::MaybeNew`].
    #[inline]
    pub(super) fn probe(&mut self, row: TriggerRow<'_>) -> ProbeResult {
        loop {
            wait_at!("guard: look");
            let probe = self.look(row);
            if !matches!(probe, ProbeResult::MaybeNew) {
                return probe;
            }
            wait_at!("guard: second look");
            if leaves_out!("mvcc_check") || !self.is_committed(row) {
                return ProbeResult::New;
            }
            self.config.miss_rate.record_hit();
            pgrx::check_for_interrupts!();
        }
    }

    /// Whether a committed row is stored under the row's key: looks once more, under
    /// an MVCC snapshot, which misses none. The key lock is in hand.
    fn is_committed(&self, row: TriggerRow<'_>) -> bool {
        let row = StoredRow::fired(row, &self.plan.numbers);
        let _snapshot = LatestSnapshot::push();
        let memory = Memory::in_current(c"pg_idempotent second look");
        memory.scope(|| {
            let mut scan = Scan::by_equality(&self.table, &self.index, self.arbiter());
            scan.find(|c| self.payload_value(&row, c))
        })
    }
}
