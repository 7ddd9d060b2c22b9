//! One guard at work: the trigger's rows, one by one. The protocol is in the
//! head of [`super`]; its steps are in [`probe`] and [`look`], and what is said of a stored row in
//! [`stored`].
#[allow(unsafe_code, reason = "the inner loop")]
mod look;
#[forbid(unsafe_code)]
mod observe;
#[forbid(unsafe_code)]
mod open;
#[forbid(unsafe_code)]
mod plan;
#[forbid(unsafe_code)]
mod probe;
#[forbid(unsafe_code)]
mod report;
#[forbid(unsafe_code)]
mod stored;
#[forbid(unsafe_code)]
mod update;

pub use plan::GuardPlan;

use super::config::GuardConfig;
use super::key_lock::KeyHashSeeds;
use super::omitted::StatementDefaults;
use super::options::NullKey;
use super::partitions::check_enabled_on_partitions;
use super::statement::StatementState;
use crate::error::OrRaise;
use crate::pg::call::trigger::{FiredTrigger, TriggerRow};
use crate::pg::schedule::wait_at;
use crate::pg::value::sql_value::SqlValue;
use crate::stats::{Recorder, Rows};
use crate::target::{
    OpenRelation, Role, Scan, StoredRow, Target, UniqueIndex, changes, hidden_by_policy,
};
use look::ComputedKey;
use pgrx::pg_sys;
use probe::ProbeResult;
use std::rc::Rc;

/// A guard of one table (or partition) in one statement.
pub struct Guard {
    /// What it shares with the other guards of the statement.
    statement: Rc<StatementState>,
    /// Counts what becomes of the rows that it judges.
    counts: Recorder,
    /// The guarded table: for a partition, the root that the guard came from.
    target: Rc<Target>,
    config: Rc<GuardConfig>,
    /// What is known of the table at hand.
    plan: Rc<GuardPlan>,
    /// What the hashes of its keys begin with.
    seeds: KeyHashSeeds,
    /// What makes the key, if that is more than columns.
    computed_key: Option<ComputedKey>,
    /// Whether the rows are those of a function of ours.
    mode: GuardMode,
    /// Whether nothing but the compared columns decides.
    simple: bool,
    /// With whose rights the rows go in.
    role: Role,
    /// Whether policies may hide stored rows from that role.
    by_policy: bool,
    /// What the defaults of columns give that are compared only where the row supplies them.
    defaults: StatementDefaults,
    /// In memory of the statement, not of the row at hand.
    scan: Scan,
    /// Closed after the scan, in this order.
    index: OpenRelation,
    table: OpenRelation,
}

/// What the guard does with the rows of a statement.
#[derive(Clone, Copy, PartialEq, Eq)]
enum GuardMode {
    /// The rows are a client's: they are judged.
    Judge,
    /// They are a function's, which verifies those that are skipped.
    SkipStored,
    /// They are a function's that is decided by another key: the guard's is one more
    /// unique index to it, whose violation is the server's to report. Or they are those of
    /// a MERGE, which has looked for itself what is stored: a row that came meanwhile is
    /// 23505, as without a guard, and the MERGE that is tried again updates it.
    PassThrough,
    /// It only notes what it would do. The rows are a client's.
    Observe,
    /// It only observes, and the rows are those of a function or a MERGE, which it would not judge.
    Ignore,
}

/// What the executor gets back for a row.
pub enum TriggerResult<'g> {
    /// It goes in as it is.
    Unchanged,
    /// It goes in with this value in this attribute.
    Modified(pg_sys::AttrNumber, SqlValue<'g>),
    /// It does not go in.
    Skipped,
}

impl Guard {
    /// Says what becomes of the row that the guard's trigger has fired for.
    ///
    /// # Errors
    /// As [`Guard::judge`] and [`Guard::judge_update`].
    ///
    /// # Panics
    /// If it has fired on another table, or not for a row.
    #[inline]
    pub fn judge_fired<'g>(&'g mut self, trigger: FiredTrigger<'g>) -> TriggerResult<'g> {
        assert_eq!(
            trigger.table(),
            self.table.oid(),
            "a guard of another table"
        );
        let row = trigger.row().expect("it fires for rows");
        if matches!(self.mode, GuardMode::Observe | GuardMode::Ignore) {
            self.observe_fired(row, trigger.is_insert());
            TriggerResult::Unchanged
        } else if !trigger.is_insert() {
            let new = trigger.new_row().expect("an UPDATE has a new row");
            self.judge_update(row, new)
        } else if self.is_moved_here() {
            TriggerResult::Unchanged
        } else {
            self.judge(row)
        }
    }

    /// Judges a row that is about to be inserted.
    ///
    /// # Errors
    /// 23I01, 23502 for a NULL in the key, 40001; and what ends a wait.
    fn judge<'g>(&'g mut self, row: TriggerRow<'g>) -> TriggerResult<'g> {
        let mut hidden = None;
        loop {
            match self.probe(row) {
                ProbeResult::New => {
                    wait_at!("guard: goes in");
                    self.counts.count(Rows::Inserted);
                    return self.admit(row);
                }
                ProbeResult::Duplicate => {
                    self.counts.count(Rows::Duplicates);
                    self.check_enabled_on_partitions();
                    return TriggerResult::Skipped;
                }
                ProbeResult::InProgress(writer) => {
                    // Before it waits: the wait may end in an error.
                    self.counts.count(Rows::Waits);
                    self.scan.wait_for(writer);
                }
                ProbeResult::Stored if self.mode == GuardMode::PassThrough => {
                    self.scan.pause();
                    return TriggerResult::Unchanged;
                }
                ProbeResult::Stored => {
                    wait_at!("guard: stored");
                    let place = self.stored().table_and_tid();
                    if self.settle(row, place) {
                        return TriggerResult::Skipped;
                    }
                    // It may have been updated before we looked, and be elsewhere now.
                    let place = (
                        place.1.ip_blkid.bi_hi,
                        place.1.ip_blkid.bi_lo,
                        place.1.ip_posid,
                    );
                    if hidden == Some(place) {
                        hidden_by_policy(&self.target).raise()
                    }
                    hidden = Some(place);
                }
                ProbeResult::NullKey(_) if self.config.null_key == NullKey::Pass => {
                    self.counts.count(Rows::Inserted);
                    return TriggerResult::Unchanged;
                }
                ProbeResult::NullKey(column) => self.refuse_null_key(column),
                ProbeResult::Outside => {
                    self.counts.count(Rows::Inserted);
                    return self.admit(row);
                }
                ProbeResult::MaybeNew => unreachable!("a probe looks into it"),
            }
        }
    }

    /// The row goes in; it takes along what is to be remembered, unless it brings
    /// that itself.
    fn admit<'g>(&'g self, row: TriggerRow<'g>) -> TriggerResult<'g> {
        let Some(remember) = &self.config.remember else {
            return TriggerResult::Unchanged;
        };
        let payload = StoredRow::fired(row, &self.plan.numbers);
        if payload.get(remember.column).is_some() {
            return TriggerResult::Unchanged;
        }
        let value = remember.original_payload(
            &self.target,
            |c| payload.value(c),
            |c| self.is_omitted(c, &payload),
        );
        TriggerResult::Modified(self.plan.numbers[remember.column], value)
    }

    /// The value of a column of the row at hand, or of an expression in its key.
    fn payload_value<'g>(&'g self, payload: &StoredRow<'g>, position: usize) -> SqlValue<'g> {
        let key = self.computed_key.as_ref();
        let computed = key.and_then(|key| key.value(position));
        computed.unwrap_or_else(|| payload.value(position))
    }

    /// Whether a column that may be omitted was.
    fn is_omitted(&self, column: usize, payload: &StoredRow<'_>) -> bool {
        self.defaults
            .is_omitted(&self.target, &self.table, column, payload)
    }

    /// A row of a partition is about to be skipped. If the guard does not fire on
    /// every partition, it may be one that an UPDATE moves here from where nothing
    /// was noted; skipping it would lose it.
    ///
    /// # Errors
    /// 55000
    fn check_enabled_on_partitions(&self) {
        let now = changes();
        if !self.target.partitioned
            || self.mode != GuardMode::Judge
            || self.config.partitions_checked_at.get() == Some(now)
        {
            return;
        }
        check_enabled_on_partitions(&self.target, &self.plan.trigger).or_raise();
        self.config.partitions_checked_at.set(Some(now));
    }

    /// The index that decides.
    fn arbiter(&self) -> &UniqueIndex {
        self.config.arbiter(&self.target)
    }
}
