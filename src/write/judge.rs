//! Judges rows whose key is stored: duplicate or conflict.
use super::context::WriteContext;
use super::outcome_collector::OutcomeCollector;
use super::round::{InsertResult, Round};
use crate::compare::{Differences, differing};
use crate::payload::row::{Mark, RowLayout};
use crate::payload::shape::Shape;
use crate::pg::rows::Slot;
use crate::remember::{OriginalComparison, Presence, Remember};
use crate::target::{StoredRow, VisibleColumns};
use std::rc::Rc;

impl WriteContext<'_> {
    /// Judges a row whose key is stored: the collector gets its outcome.
    pub(super) fn judge(
        &self,
        row: &Slot,
        stored: &StoredRow<'_>,
        round: &Round,
        collector: &mut OutcomeCollector,
    ) {
        let layout = RowLayout::of(self.target);
        let ordinal = layout.ordinal(row);
        let ours = || stored.is_inserted_by(&round.commands);
        let mark = layout.mark(row);
        if mark == Mark::Pending && round.last_insert == InsertResult::Some && ours() {
            return collector.inserted(self, ordinal, Some(stored));
        }
        self.check_visible(row, stored);
        let remember = self.remember();
        let verdict = match remember {
            Some(remember) => self.compare_with_original(remember, row, stored, collector),
            None => {
                let compared = &self.shapes[layout.shape(row)].compared;
                let columns = &self.target.columns;
                let differing = differing(columns, compared, stored, |c| row.value(c));
                OriginalComparison::of_columns(differing)
            }
        };
        if verdict.same {
            return collector.duplicate(self, ordinal, stored);
        }
        let by = match mark {
            // In a distributed table, this mark is kept only behind a row that went in.
            Mark::SameKeyAs(first) if remember.is_none() && (self.distributed || ours()) => {
                Some(first)
            }
            _ => None,
        };
        self.report_conflict(row, stored, &verdict, by, collector);
    }

    /// What the guard remembers of original payloads, if it does.
    pub(super) fn remember(&self) -> Option<&Remember> {
        let guard = self.guard.as_ref()?;
        guard.remember.as_ref()
    }

    /// Compares a row whose key is stored with the original payload.
    fn compare_with_original(
        &self,
        remember: &Remember,
        row: &Slot,
        stored: &StoredRow<'_>,
        collector: &mut OutcomeCollector,
    ) -> OriginalComparison {
        let shape = &self.shapes[RowLayout::of(self.target).shape(row)];
        let guard_omits = |c: usize| {
            let guard = self.guard.as_ref();
            guard.is_some_and(|guard| guard.compared_if_supplied.contains(&c))
        };
        let presence = |c: usize| {
            if shape.named.contains(&c) {
                return Presence::Present;
            }
            if guard_omits(c) {
                return Presence::Omitted;
            }
            match self.target.columns[c].constant_default(self.relation) {
                Some(value) => Presence::Default(value),
                None => Presence::Unknown,
            }
        };
        let readable = collector.readable(self);
        let readable = readable.of_remembered(self.target, remember.column);
        remember.compare(
            self.target,
            &shape.compared,
            stored,
            |c| row.value(c),
            presence,
            &|c| readable.shows(c),
        )
    }

    /// Tells the collector of a conflict: with the original payload where a document tells it,
    /// else with the stored row. `by` is the ordinal of the payload of this call that stored it.
    fn report_conflict(
        &self,
        row: &Slot,
        stored: &StoredRow<'_>,
        verdict: &OriginalComparison,
        by: Option<i64>,
        collector: &mut OutcomeCollector,
    ) {
        let layout = RowLayout::of(self.target);
        let numbers = self.target.attnums_in_order();
        let original = verdict.first();
        let original = original.map(|first| StoredRow::returned(first, &numbers));
        let readable = collector.readable(self);
        let readable = match self.remember() {
            Some(remember) if original.is_some() => {
                Rc::new(readable.of_remembered(self.target, remember.column))
            }
            _ => readable,
        };
        let differences = Differences {
            target: self.target,
            arbiter: self.arbiter,
            stored: original.as_ref().unwrap_or(stored),
            payload: |c| verdict.payload(c, row.value(c)),
            columns: &verdict.columns,
            against_original: original.is_some(),
            readable: &readable,
            sent: &VisibleColumns::everything(),
        };
        let ordinal = layout.ordinal(row);
        let known = self.known_columns(&self.shapes[layout.shape(row)]);
        collector.conflict(self, ordinal, stored, &differences, &known, by);
    }

    /// What is known of a payload of this shape: what it names, and its key.
    fn known_columns(&self, shape: &Shape) -> Vec<usize> {
        let left_out = self.arbiter.columns().filter(|c| !shape.named.contains(c));
        shape.named.iter().copied().chain(left_out).collect()
    }
}
