//! A row is stored under the payload's key: what becomes of the payload.
use super::{Guard, GuardMode, IncomingRow};
use crate::compare::differing;
use crate::error::Report;
use crate::pg::backend::is_own_transaction;
use crate::pg::ffi;
use crate::pg::transaction::snapshot::{LatestSnapshot, uses_transaction_snapshot};
use crate::remember::Presence;
use crate::target::{StoredRow, policies_show};
use pgrx::pg_sys;
use std::ptr;

impl Guard {
    /// Judges a row by the one that is stored at this place under its key; then lets go of that.
    /// False if the role may not see it: then nothing is said of it.
    pub(super) fn settle(
        &mut self,
        row: IncomingRow<'_>,
        place: (pg_sys::Oid, pg_sys::ItemPointerData),
    ) -> bool {
        let payload = row.deformed(&self.numbers);
        let seen = self.mode == GuardMode::SkipStored || self.is_shown_by_policies(place, &payload);
        if seen {
            self.judge_stored(&payload);
            self.check_enabled_on_partitions();
        }
        self.pause();
        seen
    }

    /// The row that the scan is at.
    pub(super) fn stored(&self) -> StoredRow<'_> {
        let row = self.scan.row(&self.numbers).expect("a probe has found it");
        // SAFETY: the scan's slot holds that row.
        unsafe { pg_sys::slot_getallattrs(self.scan.slot()) };
        row
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
            payload.value(c)
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
        // SAFETY: it is asked for positions in the target's columns, and the row is deformed.
        let value = |c| unsafe { payload.get_unguarded(c) };
        let Some(remember) = &config.remember else {
            let mut columns = differing(&target.columns, &config.compared, &stored, value);
            columns.retain(|c| !self.is_omitted(*c, payload));
            if !columns.is_empty() {
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
        let slot = self.scan.slot();
        // SAFETY: the slot holds a row of the open table, and a snapshot is
        // active.
        unsafe {
            let snapshot = pg_sys::GetActiveSnapshot();
            let method = &*(*self.table.raw()).rd_tableam;
            let visible = ffi::guard(|| {
                method
                    .tuple_satisfies_snapshot
                    .is_some_and(|sees| sees(self.table.raw(), slot, snapshot))
            });
            if !visible && !inserted_by_current_transaction(slot) {
                Report::could_not_serialize(&self.target.schema, &self.target.name).raise()
            }
            if pg_sys::XactIsoLevel == pg_sys::XACT_SERIALIZABLE as i32 {
                // The fetch tells the server that the row was read.
                let copy = pg_sys::table_slot_create(self.table.raw(), ptr::null_mut());
                let mut tuple = (*slot).tts_tid;
                ffi::guard(|| {
                    method.tuple_fetch_row_version.is_some_and(|fetch| {
                        fetch(self.table.raw(), &raw mut tuple, snapshot, copy)
                    })
                });
                pg_sys::ExecDropSingleTupleTableSlot(copy);
            }
        }
    }
}

/// Whether this transaction inserted the row in a slot.
///
/// # Safety
/// The slot holds a row of a table.
unsafe fn inserted_by_current_transaction(slot: *mut pg_sys::TupleTableSlot) -> bool {
    // SAFETY: the caller's promise; xmin is never NULL.
    unsafe {
        let mut null = false;
        let number = pg_sys::MinTransactionIdAttributeNumber;
        let inserter = pg_sys::slot_getsysattr(slot, number, &raw mut null);
        let inserter = pg_sys::TransactionId::from(inserter.value() as u32);
        is_own_transaction(inserter)
    }
}
