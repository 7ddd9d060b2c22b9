//! One guard at work: the trigger's rows, one by one. The protocol is in the
//! module's head.
use super::config::GuardConfig;
use super::key_lock::KeyHashSeeds;
use super::omitted::StatementDefaults;
use super::options::{NullKey, call_passing_null_keys};
use super::own_insert::own_insert_arbiter;
use super::partitions::{
    check_enabled_on_partitions, has_later_update_trigger, resolve_definition,
};
use super::statement::StatementState;
use super::trigger_check;
use crate::compare::{Differences, differing, first_difference, same_tuple};
use crate::error::{Report, SqlState};
use crate::outcome::{OnConflict, conflict_report};
use crate::payload::shape::key_violation;
use crate::pg::ffi;
use crate::pg::memory::Memory;
use crate::pg::transaction::snapshot::{
    DirtySnapshot, LatestSnapshot, Writers, uses_transaction_snapshot,
};
use crate::quarantine::ConflictRecorder;
use crate::remember::Presence;
use crate::target::{
    KeyColumn, OpenRelation, PartitionRouter, Role, Scan, StoredRow, Target, TriggerInfo,
    VisibleColumns, changes, hidden_by_policy, leaf_index, note_values_shown, policies_show,
    row_security_is_active_for,
};
use pgrx::pg_sys;
use std::ffi::c_int;
use std::ptr;
use std::rc::Rc;

/// A guard of one table (or partition) in one statement.
pub struct Guard {
    statement: *const StatementState,
    /// The guarded table: for a partition, the root that the guard came from.
    target: Rc<Target>,
    /// The trigger on the table at hand.
    trigger: TriggerInfo,
    config: Rc<GuardConfig>,
    /// What the hashes of its keys begin with.
    seeds: KeyHashSeeds,
    /// Where the target's columns are in the table at hand.
    numbers: Vec<pg_sys::AttrNumber>,
    /// How many columns of a row its key reaches into,
    key_columns: c_int,
    /// and what is compared.
    columns: c_int,
    /// Whether the rows are those of a function of ours.
    mode: GuardMode,
    /// Whether nothing but the compared columns decides.
    simple: bool,
    /// With whose rights the rows go in.
    role: Role,
    /// Whether policies may hide stored rows from that role.
    by_policy: bool,
    /// Whether a BEFORE UPDATE trigger fires after the guard, and may do what it
    /// likes with the row.
    has_later_update_trigger: bool,
    /// What the defaults of columns give that are compared only where the row supplies them.
    defaults: StatementDefaults,
    scan: Scan,
    /// Where the scan keeps what it allocates as it goes: memory of the
    /// statement, not of the row at hand.
    scan_memory: pg_sys::MemoryContext,
    /// What the scan reads under: rows of transactions in progress, too.
    dirty: DirtySnapshot,
    /// Whom to wait for.
    wait: XactWait,
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
}

/// What the executor gets back for a row.
pub enum TriggerResult {
    /// It goes in as it is.
    Unchanged,
    /// It goes in with this value in this attribute.
    Modified(pg_sys::AttrNumber, pg_sys::Datum),
    /// It does not go in.
    Skipped,
}

/// What a probe makes of a row.
#[derive(Clone, Copy)]
enum ProbeResult {
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
struct XactWait {
    transaction: pg_sys::TransactionId,
    /// Not 0: only until it has made up its mind about a speculative insertion.
    token: u32,
    tuple: pg_sys::ItemPointerData,
}

impl Guard {
    /// Opens what the guard of an open table needs in the running statement.
    ///
    /// # Errors
    /// As [`GuardConfig::of`]; 55000 for a partition that has a guard of its own.
    ///
    /// # Safety
    /// `relation` is the trigger's, and open while the statement runs.
    pub unsafe fn open(
        statement: *const StatementState,
        relation: pg_sys::Relation,
        trigger: TriggerInfo,
        role: Role,
    ) -> Self {
        // SAFETY: the caller's promise.
        let oid = unsafe { (*relation).rd_id };
        // SAFETY: as above.
        let has_later_update_trigger = unsafe { has_later_update_trigger(relation, &trigger.name) };
        let table = OpenRelation::open(oid);
        let (target, original) = resolve_definition(&table, trigger.clone());
        trigger_check::check_single_guard(&target);
        let config = GuardConfig::of(&target, &original);
        let arbiter = config.arbiter(&target);
        let index = if target.oid == oid {
            arbiter.oid
        } else {
            leaf_index(&table, arbiter.oid).unwrap_or(pg_sys::InvalidOid)
        };
        let numbers = target.attnums_in(oid);
        let last = |columns: &mut dyn Iterator<Item = usize>| {
            columns.map(|c| c_int::from(numbers[c])).max().unwrap_or(0)
        };
        let key_columns = last(&mut arbiter.columns());
        let columns = key_columns.max(last(&mut config.compared.iter().copied()));
        let mode = match own_insert_arbiter() {
            // SAFETY: the statement outlives the guard.
            None if unsafe { &*statement }.merges_into(|t| is_self_or_ancestor(t, &table)) => {
                GuardMode::PassThrough
            }
            None => GuardMode::Judge,
            Some(ours) if ours == arbiter.oid || ours == index => GuardMode::SkipStored,
            // SAFETY: an index of a partition.
            Some(ours) if unsafe { ffi::partition_ancestors(index) }.contains(&ours) => {
                GuardMode::SkipStored
            }
            Some(_) => GuardMode::PassThrough,
        };
        let index = OpenRelation::open(index);
        let dirty = DirtySnapshot::new();
        // SAFETY: the snapshot is the guard's own, which drops it behind the scan.
        let mut scan = unsafe { Scan::by_equality_under(&table, &index, arbiter, dirty.raw()) };
        let by_policy = row_security_is_active_for(&target, role);
        let simple = mode == GuardMode::Judge
            && !by_policy
            && config.remember.is_none()
            && !uses_transaction_snapshot();
        scan.skip_deforming();
        let defaults = StatementDefaults::new(&config.compared_if_supplied);
        Self {
            statement,
            key_columns,
            columns,
            target,
            trigger,
            seeds: config.key_hasher.seeds(),
            config,
            numbers,
            mode,
            simple,
            role,
            by_policy,
            has_later_update_trigger,
            defaults,
            scan,
            // SAFETY: the statement's memory, in which guards are made.
            scan_memory: unsafe { pg_sys::CurrentMemoryContext },
            dirty,
            wait: XactWait {
                transaction: pg_sys::InvalidTransactionId,
                token: 0,
                tuple: Default::default(),
            },
            index,
            table,
        }
    }

    /// Judges a row that is about to be inserted.
    ///
    /// # Errors
    /// 23I01, 23502 for a NULL in the key, 40001; and what ends a wait.
    ///
    /// # Safety
    /// `slot` holds the row, as `tuple`, and stays as it is meanwhile.
    pub unsafe fn judge(
        &mut self,
        slot: *mut pg_sys::TupleTableSlot,
        tuple: pg_sys::HeapTuple,
    ) -> TriggerResult {
        let mut hidden = None;
        loop {
            // SAFETY: the caller's promise; nothing is owned inside.
            let probe = unsafe { ffi::guard(|| self.probe_unguarded(slot, tuple)) };
            let probe = match probe {
                // SAFETY: the probe has deformed the key.
                ProbeResult::MaybeNew if unsafe { self.is_committed(slot) } => {
                    self.config.miss_rate.record_hit();
                    pgrx::check_for_interrupts!();
                    continue;
                }
                ProbeResult::MaybeNew => ProbeResult::New,
                sure => sure,
            };
            match probe {
                ProbeResult::New if self.config.remember.is_none() => {
                    return TriggerResult::Unchanged;
                }
                ProbeResult::New => {
                    // SAFETY: the row, deformed.
                    let payload = unsafe {
                        pg_sys::slot_getallattrs(slot);
                        StoredRow::in_slot(slot, &self.numbers)
                    };
                    return self.admit(&payload);
                }
                ProbeResult::Duplicate => {
                    self.check_enabled_on_partitions();
                    return TriggerResult::Skipped;
                }
                ProbeResult::InProgress => self.wait(),
                ProbeResult::Stored if self.mode == GuardMode::PassThrough => {
                    // SAFETY: the guard holds nothing.
                    unsafe { ffi::guard(|| self.scan.pause_unguarded()) };
                    return TriggerResult::Unchanged;
                }
                ProbeResult::Stored => {
                    // SAFETY: both slots hold a row.
                    let payload = unsafe {
                        pg_sys::slot_getallattrs(slot);
                        pg_sys::slot_getallattrs(self.scan.slot());
                        StoredRow::in_slot(slot, &self.numbers)
                    };
                    // SAFETY: the scan's slot holds the row.
                    let place = unsafe { StoredRow::in_slot(self.scan.slot(), &self.numbers) }
                        .table_and_tid();
                    let seen = self.mode == GuardMode::SkipStored
                        || self.is_shown_by_policies(place, &payload);
                    if seen {
                        self.judge_stored(&payload);
                        self.check_enabled_on_partitions();
                    }
                    // SAFETY: the guard holds nothing.
                    unsafe { ffi::guard(|| self.scan.pause_unguarded()) };
                    if seen {
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
                ProbeResult::MaybeNew => unreachable!("looked into above"),
                ProbeResult::NullKey(column) => {
                    if self.config.null_key == NullKey::Pass {
                        return TriggerResult::Unchanged;
                    }
                    self.refuse_null_key(column)
                }
            }
        }
    }

    /// 23502, and how such rows are let in.
    fn refuse_null_key(&self, column: usize) -> ! {
        let target = &self.target;
        let arbiter = self.config.arbiter(target);
        let table = target.qualified();
        key_violation(target, arbiter, column, None, "null in")
            .hint(format!(
                "If there are rows with a null in the key, let them pass without verification: \
                 {} If there are none: ALTER TABLE {table} ALTER COLUMN {} SET NOT NULL;",
                call_passing_null_keys(&table, &self.trigger.arguments),
                target.column_list([column]),
            ))
            .raise()
    }

    /// Looks the row's key up, and locks it if it is free.
    ///
    /// # Safety
    /// `slot` holds the row, as `tuple`. Runs inside `ffi::guard`.
    unsafe fn probe_unguarded(
        &mut self,
        slot: *mut pg_sys::TupleTableSlot,
        tuple: pg_sys::HeapTuple,
    ) -> ProbeResult {
        // SAFETY: the statement outlives the guard; the arbiter is one of the
        // target's indexes, the columns are those of the row.
        unsafe {
            let statement = &*self.statement;
            let config = &*self.config;
            let arbiter = config.arbiter(&self.target);
            deform_unguarded(slot, self.key_columns);
            let payload = StoredRow::in_slot(slot, &self.numbers);
            let value = |c| payload.get_unguarded(c);
            if !arbiter.nulls_equal {
                for part in &arbiter.keys {
                    if value(part.column).is_none() {
                        return ProbeResult::NullKey(part.column);
                    }
                }
            }
            // Where misses are likely: with the lock in hand one look serves.
            let mut locked = false;
            if config.miss_rate.predicts_miss() {
                statement.lock_unguarded(config.key_hasher.hash_unguarded(
                    &self.seeds,
                    arbiter,
                    value,
                ));
                locked = true;
            }
            loop {
                let row_memory = pg_sys::MemoryContextSwitchTo(self.scan_memory);
                let found = self.scan.find_unguarded(value);
                pg_sys::MemoryContextSwitchTo(row_memory);
                if found {
                    break;
                }
                if locked {
                    config.miss_rate.record_miss();
                    return if self.scan.saw_entry() {
                        ProbeResult::MaybeNew
                    } else {
                        ProbeResult::New
                    };
                }
                statement.lock_unguarded(config.key_hasher.hash_unguarded(
                    &self.seeds,
                    arbiter,
                    value,
                ));
                locked = true;
            }
            // Never wait, or judge, with a key lock in hand.
            statement.unlock_unguarded();
            config.miss_rate.record_hit();
            let Writers {
                inserter,
                deleter,
                token,
            } = self.dirty.writers();
            if inserter != pg_sys::InvalidTransactionId || deleter != pg_sys::InvalidTransactionId {
                self.wait = XactWait {
                    transaction: if inserter == pg_sys::InvalidTransactionId {
                        deleter
                    } else {
                        inserter
                    },
                    token,
                    tuple: (*self.scan.slot()).tts_tid,
                };
                self.scan.pause_unguarded();
                return ProbeResult::InProgress;
            }
            if !self.simple {
                return ProbeResult::Stored;
            }
            let stored = self.scan.slot();
            if !same_tuple(stored, tuple) {
                deform_unguarded(slot, self.columns);
                deform_unguarded(stored, self.columns);
                let stored = StoredRow::in_slot(stored, &self.numbers);
                let columns = &self.target.columns;
                let known = |c| stored.get_unguarded(c);
                if first_difference(columns, &config.always, &stored, value).is_some()
                    || !self.defaults.agree_unguarded(columns, known, value)
                {
                    return ProbeResult::Stored;
                }
            }
            self.scan.pause_unguarded();
            ProbeResult::Duplicate
        }
    }

    /// Whether a committed row is stored under the row's key: looks once more, under
    /// an MVCC snapshot, which misses none. The key lock is in hand.
    ///
    /// # Safety
    /// `slot` holds the row, its key deformed.
    unsafe fn is_committed(&self, slot: *mut pg_sys::TupleTableSlot) -> bool {
        let arbiter = self.config.arbiter(&self.target);
        // SAFETY: the caller's promise.
        let row = unsafe { StoredRow::in_slot(slot, &self.numbers) };
        let _snapshot = LatestSnapshot::push();
        let memory = Memory::in_current(c"pg_idempotent second look");
        memory.scope(|| {
            let mut scan = Scan::by_equality(&self.table, &self.index, arbiter);
            scan.find(|c| row.get(c))
        })
    }

    /// Waits for the transaction that stands in the way.
    fn wait(&mut self) {
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

    /// The row goes in; it takes along what is to be remembered, unless it brings
    /// that itself.
    fn admit(&self, payload: &StoredRow<'_>) -> TriggerResult {
        let Some(remember) = &self.config.remember else {
            return TriggerResult::Unchanged;
        };
        if payload.get(remember.column).is_some() {
            return TriggerResult::Unchanged;
        }
        let value = remember.original_payload(
            &self.target,
            // SAFETY: a position in the target's columns.
            |c| unsafe { payload.get_unguarded(c) },
            |c| self.is_omitted(c, payload),
        );
        TriggerResult::Modified(self.numbers[remember.column], value)
    }

    /// Whether a column that may be omitted was.
    fn is_omitted(&self, column: usize, payload: &StoredRow<'_>) -> bool {
        let value = payload.get(column);
        self.defaults
            .is_omitted(&self.target, &self.table, column, value)
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
        policies_show(&self.target, self.role, arbiter, place, |c| payload.get(c))
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
        // SAFETY: the scan has deformed the row.
        let stored = unsafe { StoredRow::in_slot(self.scan.slot(), &self.numbers) };
        // SAFETY: positions are those of the target's columns.
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

    /// What the caller may see of the stored row, and of the payload.
    fn visible(&self) -> (VisibleColumns, VisibleColumns) {
        (
            VisibleColumns::by_caller_and(&self.target, self.role),
            VisibleColumns::insertable_by_caller(&self.target),
        )
    }

    /// The payload differs from the stored row, or from the original payload if that is
    /// given.
    fn conflict(
        &self,
        stored: &StoredRow<'_>,
        first: Option<&StoredRow<'_>>,
        payload: impl Fn(usize) -> Option<pg_sys::Datum>,
        columns: &[usize],
        (readable, sent): (VisibleColumns, VisibleColumns),
    ) {
        let (target, config) = (&*self.target, &*self.config);
        let arbiter = config.arbiter(target);
        let differences = Differences {
            target,
            arbiter,
            stored: first.unwrap_or(stored),
            payload,
            columns,
            against_original: first.is_some(),
            readable: &readable,
            sent: &sent,
        };
        if config.on_conflict == OnConflict::Quarantine {
            let remembers = config.remember.as_ref().map(|remember| remember.column);
            let named: Vec<usize> = (0..target.columns.len())
                .filter(|c| target.columns[*c].generated == 0 && remembers != Some(*c))
                .collect();
            // SAFETY: the row's memory, which outlives the call.
            let mut records = ConflictRecorder::new(unsafe { pg_sys::CurrentMemoryContext });
            records.add(target, arbiter, stored, &differences, &named);
            records.write(target);
            return;
        }
        let only = match columns {
            [column] => Some(*column),
            _ => None,
        };
        note_values_shown(target, differences.shown_columns());
        conflict_report(target, arbiter, 1, differences.to_sentence(None), only).raise()
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

    /// Whether the row is one that an UPDATE moves here from another partition:
    /// it is no payload, and is not judged.
    pub fn is_moved_here(&self) -> bool {
        // SAFETY: the statement outlives the guard.
        unsafe { &*self.statement }.is_moving_to(self.table.oid())
    }

    /// Judges an UPDATE: what is remembered cannot be changed.
    ///
    /// # Errors
    /// 428C9
    ///
    /// # Safety
    /// The slots hold the row before and after.
    pub unsafe fn judge_update(
        &self,
        old: *mut pg_sys::TupleTableSlot,
        new: *mut pg_sys::TupleTableSlot,
    ) -> TriggerResult {
        // SAFETY: the caller's promise.
        let (old, new) = unsafe {
            pg_sys::slot_getallattrs(old);
            pg_sys::slot_getallattrs(new);
            (
                StoredRow::in_slot(old, &self.numbers),
                StoredRow::in_slot(new, &self.numbers),
            )
        };
        let moving_from =
            (self.target.partitioned && self.may_leave(&old, &new)).then(|| self.table.oid());
        // SAFETY: the statement outlives the guard.
        unsafe { &*self.statement }.note_update(moving_from);
        let Some(remember) = &self.config.remember else {
            return TriggerResult::Unchanged;
        };
        if remember.is_changed(&old, &new) {
            if let (Some(value), None, true) = (
                old.get(remember.column),
                new.get(remember.column),
                is_replica(),
            ) {
                // The publisher remembers nothing, we do.
                return TriggerResult::Modified(self.numbers[remember.column], value);
            }
            let name = &self.target.columns[remember.column].name;
            Report::new(
                SqlState::GeneratedAlways,
                format!("column \"{name}\" cannot be updated"),
            )
            .detail(
                "It remembers what first arrived, and the guard verifies retries against \
                 that.",
            )
            .table(&self.target.schema, &self.target.name)
            .column(name.clone())
            .raise()
        }
        TriggerResult::Unchanged
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
        check_enabled_on_partitions(&self.target, &self.trigger);
        self.config.partitions_checked_at.set(Some(now));
    }

    /// Whether an updated row may belong to another partition than this one. The
    /// key contains the whole partition key.
    fn may_leave(&self, old: &StoredRow<'_>, new: &StoredRow<'_>) -> bool {
        if self.has_later_update_trigger {
            return true;
        }
        let arbiter = self.config.arbiter(&self.target);
        let same = |key: &KeyColumn| key.agrees(old.get(key.column), new.get(key.column));
        if arbiter.keys.iter().all(same) {
            return false;
        }
        let root = OpenRelation::open(self.target.oid);
        let leaf = PartitionRouter::new(&self.target, &root, arbiter).leaf(|c| new.get(c));
        leaf.is_none_or(|(leaf, _)| leaf != self.table.oid())
    }
}

/// Whether a table is this one, or a partitioned table that it is in.
fn is_self_or_ancestor(table: pg_sys::Oid, of: &OpenRelation) -> bool {
    table == of.oid()
        // SAFETY: a partition.
        || (of.is_partition() && unsafe { ffi::partition_ancestors(of.oid()) }.contains(&table))
}

/// Makes the first columns of a row readable.
///
/// # Safety
/// The slot holds a row with so many columns. Runs inside `ffi::guard`.
unsafe fn deform_unguarded(slot: *mut pg_sys::TupleTableSlot, columns: c_int) {
    // SAFETY: the caller's promise.
    unsafe {
        if c_int::from((*slot).tts_nvalid) < columns {
            ffi::unguarded::slot_getsomeattrs_int(slot, columns);
        }
    }
}

/// Whether rows come from a publisher.
fn is_replica() -> bool {
    // SAFETY: reads a setting.
    unsafe { pg_sys::SessionReplicationRole == pg_sys::SESSION_REPLICATION_ROLE_REPLICA as i32 }
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
        pg_sys::TransactionIdIsCurrentTransactionId(inserter)
    }
}
