//! A row is stored under the payload's key: what becomes of the payload.
use super::{Guard, GuardMode};
use crate::compare::differing;
use crate::error::Report;
use crate::pg::backend;
use crate::pg::call::trigger::TriggerRow;
use crate::pg::schedule::leaves_out;
use crate::pg::transaction::snapshot::{LatestSnapshot, uses_transaction_snapshot};
use crate::remember::Presence;
use crate::stats::Rows;
use crate::target::{StoredRow, policies_show};
use pgrx::pg_sys;

impl Guard {
    /// Judges a row by the one that is stored at this place under its key; then lets go of that.
    /// False if the role may not see it: then nothing is said of it.
    pub(super) fn settle(
        &mut self,
        row: TriggerRow<'_>,
        place: (pg_sys::Oid, pg_sys::ItemPointerData),
    ) -> bool {
        let payload = StoredRow::fired(row, &self.plan.numbers);
        let seen = self.mode == GuardMode::SkipStored || self.is_shown_by_policies(place, &payload);
        if seen {
            self.judge_stored(&payload);
            self.check_enabled_on_partitions();
        }
        self.scan.pause();
        seen
    }

    /// The row that the scan is at.
    pub(super) fn stored(&self) -> StoredRow<'_> {
        let row = self.scan.whole_row(&self.plan.numbers);
        row.expect("a probe has found it")
    }

    /// Whether the role may see the stored row, by the table's policies.
    fn is_shown_by_policies(
        &self,
        place: (pg_sys::Oid, pg_sys::ItemPointerData),
        payload: &StoredRow<'_>,
    ) -> bool {
        if !self.by_policy {
            return true;
        }
        if self.target.partitioned {
            // The SELECT of `policies_show` opens the indexes of all partitions, of which later
            // rows of the INSERT may need others than this one.
            self.target.lock_to_write();
        }
        let _snapshot = LatestSnapshot::push();
        let arbiter = self.config.arbiter(&self.target);
        policies_show(&self.target, self.role, arbiter, place, |c| {
            self.payload_value(payload, c)
        })
    }

    /// A row is stored under the payload's key: a duplicate is left at that, a
    /// conflict raised or recorded.
    fn judge_stored(&self, payload: &StoredRow<'_>) {
        if uses_transaction_snapshot() {
            self.check_snapshot_visibility();
        }
        if self.mode == GuardMode::SkipStored {
            return;
        }
        let (target, config) = (&*self.target, &*self.config);
        let stored = self.stored();
        let value = |c| self.payload_value(payload, c);
        let Some(remember) = &config.remember else {
            let mut columns = differing(&target.columns, &config.compared, &stored, value);
            columns.retain(|c| !self.is_omitted(*c, payload));
            if columns.is_empty() {
                self.counts.count(Rows::Duplicates);
            } else {
                self.conflict(&stored, None, value, &columns, self.visible());
            }
            return;
        };
        let (left_out, compared): (Vec<usize>, Vec<usize>) = config
            .compared
            .iter()
            .partition(|c| self.is_omitted(**c, payload));
        let presence = |c| match left_out.contains(&c) {
            true => Presence::Omitted,
            false => Presence::Present,
        };
        let may_show = |c| {
            let (readable, _) = self.visible();
            readable.of_remembered(target, remember.column).shows(c)
        };
        let verdict = remember.compare(target, &compared, &stored, value, presence, &may_show);
        if verdict.same {
            self.counts.count(Rows::Duplicates);
            return;
        }
        let numbers = target.attnums_in_order();
        let payload = |c| verdict.payload(c, value(c));
        let (mut readable, mut sent) = self.visible();
        let first = verdict.first();
        if first.is_some() {
            readable = readable.of_remembered(target, remember.column);
        }
        if verdict.brought() {
            sent = sent.of_remembered(target, remember.column);
        }
        let first = first.map(|first| StoredRow::returned(first, &numbers));
        let visible = (readable, sent);
        self.conflict(&stored, first.as_ref(), payload, &verdict.columns, visible);
    }

    /// Under REPEATABLE READ and up, a stored row that the snapshot cannot see is
    /// 40001, as with ON CONFLICT; and under SERIALIZABLE the row counts as read.
    fn check_snapshot_visibility(&self) {
        if !leaves_out!("snapshot_check") && !self.scan.is_row_visible() && !self.stored().is_ours()
        {
            Report::could_not_serialize(&self.target.schema, &self.target.name).raise()
        }
        if backend::is_serializable() {
            self.scan.note_row_read();
        }
    }
}
