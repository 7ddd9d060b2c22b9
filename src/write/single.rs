//! One row that goes in directly: the rounds of a call with one payload, without the stores that
//! many rows are kept in. What a round does is at the head of [`write`](super).
use super::context::{MAX_ROUNDS, WriteContext};
use super::direct;
use super::new_key_estimator::{NewKeyEstimator, note_whether_new};
use super::outcome_collector::OutcomeCollector;
use super::round::Round;
use crate::payload::row::RowLayout;
use crate::pg::rows::Slot;
use crate::pg::schedule::wait_at;
use crate::pg::transaction::snapshot::FreshSnapshot;
use crate::stats::Rows;
use crate::target::KeyLookup;

/// What is under a row's key.
enum Found {
    /// A row, of which the collector was told.
    Stored,
    /// Nothing that is visible; whether the arbiter has an entry nevertheless.
    Nothing { entry: bool },
}

impl WriteContext<'_> {
    /// Gives the collector the outcome of a row; false, with nothing done, if it cannot go in
    /// directly.
    pub(super) fn run_single(&self, row: &Slot, collector: &mut OutcomeCollector) -> bool {
        let assumed_new = NewKeyEstimator::new(self, true).predicts_new(row, 0);
        for number in 1..=MAX_ROUNDS {
            let (mut looked, mut absent) = (false, false);
            wait_at!("write: look");
            if number > 1 || !assumed_new {
                match self.judge_single(row, collector) {
                    Found::Stored => {
                        note_whether_new(self.target, false);
                        return true;
                    }
                    Found::Nothing { entry } => (looked, absent) = (true, !entry),
                }
            }
            let Some(inserted) = direct::insert_single(self, row, absent, collector) else {
                return false;
            };
            note_whether_new(self.target, inserted);
            if inserted {
                return true;
            }
            if looked {
                // Its key was free a moment ago.
                self.counts.count(Rows::Waits);
            }
        }
        self.refuse_unfound(row)
    }

    /// Looks the row's key up, and judges the row if it is stored.
    fn judge_single(&self, row: &Slot, collector: &mut OutcomeCollector) -> Found {
        let _snapshot = FreshSnapshot::push();
        let mut lookup = KeyLookup::new(self.target, self.relation, self.arbiter);
        let found = self.scratch.scope(|| {
            lookup.find(|c| row.value(c));
            match lookup.stored() {
                Some(stored) => {
                    self.judge(row, &stored, &Round::single(), collector);
                    Found::Stored
                }
                None => Found::Nothing {
                    entry: lookup.met_entry(),
                },
            }
        });
        self.scratch.reset();
        found
    }

    /// Tells the collector of a row that went in, and that triggers may have changed since.
    pub(super) fn collect_single(&self, row: &Slot, collector: &mut OutcomeCollector) {
        let _snapshot = FreshSnapshot::push();
        let mut lookup = KeyLookup::new(self.target, self.relation, self.arbiter);
        lookup.find(|c| row.value(c));
        let ordinal = RowLayout::of(self.target).ordinal(row);
        collector.inserted(self, ordinal, lookup.stored().as_ref());
    }
}
