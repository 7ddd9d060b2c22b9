//! A guard that only observes: it looks at what is stored, notes what it would do, and lets the row
//! go on as if there were no guard.
//!
//! Nothing that it does may change the outcome of the statement. So it takes no key lock and waits
//! for no transaction; it asks no policies; it leaves no predicate lock; and it compares in a
//! subtransaction, so that an error of a type's own functions ends there.
use super::super::observed::Observation;
use super::super::options::NullKey;
use super::{Guard, GuardMode};
use crate::compare::{Differences, differing};
use crate::error::unless_it_failed;
use crate::pg::call::trigger::TriggerRow;
use crate::pg::transaction::transactions::in_subtransaction;
use crate::stats::Rows;
use crate::target::{StoredRow, note_values_shown};

impl Guard {
    /// Notes what would become of a row.
    pub(super) fn observe_fired(&mut self, row: TriggerRow<'_>, is_insert: bool) {
        if !is_insert {
            // It may be moved to another partition, and comes as an INSERT there.
            self.statement.note_update(Some(self.table.oid()));
        } else if !self.is_moved_here() && self.mode == GuardMode::Observe {
            let observation = self.observe(row);
            self.counts.count(match &observation {
                Some(Observation::Duplicate) => Rows::Duplicates,
                Some(Observation::Conflict(_)) => Rows::Conflicts,
                Some(Observation::InProgress) => Rows::Waits,
                Some(Observation::NullKey) => Rows::Rejected,
                Some(Observation::NotVerified) | None => Rows::Inserted,
            });
            if let Some(observation) = observation {
                self.statement.observed.add(&self.target, &observation);
            }
        }
    }

    /// What the guard would make of a row; None if it would let it in.
    fn observe(&mut self, row: TriggerRow<'_>) -> Option<Observation> {
        if let Some(key) = &mut self.computed_key {
            match unless_it_failed(in_subtransaction(|| key.compute(row))) {
                Some(true) => {}
                Some(false) => return None,
                None => return Some(Observation::NotVerified),
            }
        }
        let payload = StoredRow::fired(row, &self.plan.numbers);
        let arbiter = self.config.arbiter(&self.target);
        let has_null = || {
            let mut keys = arbiter.keys.iter();
            keys.any(|key| self.payload_value(&payload, key.column).is_null())
        };
        if !arbiter.nulls_equal && has_null() {
            let refuses = self.config.null_key == NullKey::Error;
            return refuses.then_some(Observation::NullKey);
        }
        let computed = self.computed_key.as_ref();
        let value = |c| {
            computed
                .and_then(|key| key.value(c))
                .unwrap_or_else(|| payload.value(c))
        };
        if !self.scan.find(value) {
            return None;
        }
        let observation = match self.scan.writer() {
            Some(_) => Observation::InProgress,
            None if self.by_policy => Observation::NotVerified,
            None => self.compare(&payload),
        };
        self.scan.pause();
        Some(observation)
    }

    /// Compares the row with the one that the scan is at.
    fn compare(&self, payload: &StoredRow<'_>) -> Observation {
        let (target, config) = (&*self.target, &*self.config);
        let stored = self.stored();
        let value = |c| self.payload_value(payload, c);
        let compared = in_subtransaction(|| {
            let mut columns = differing(&target.columns, &config.compared, &stored, value);
            columns.retain(|c| !self.is_omitted(*c, payload));
            if columns.is_empty() {
                return Observation::Duplicate;
            }
            let wants_detail = self.statement.observed.wants_detail(target);
            Observation::Conflict(wants_detail.then(|| {
                let (readable, sent) = self.visible();
                let differences = Differences {
                    target,
                    arbiter: self.arbiter(),
                    stored: &stored,
                    payload: value,
                    columns: &columns,
                    against_original: false,
                    readable: &readable,
                    sent: &sent,
                };
                note_values_shown(target, differences.shown_columns());
                differences.to_sentence(None)
            }))
        });
        unless_it_failed(compared).unwrap_or(Observation::NotVerified)
    }
}
