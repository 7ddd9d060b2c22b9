//! One guard at work: the trigger's rows, one by one. The protocol is in the
//! module's head.
use super::aside::arbiter_of_ours;
use super::key_lock::Seeds;
use super::left_out::Defaults;
use super::made;
use super::options::{NullKey, passing_null_keys};
use super::partitions::{definition, demand_alike, is_updated_behind};
use super::plan::Plan;
use super::statement::Running;
use crate::compare::{Differences, differing, first_difference, same_tuple};
use crate::error::{Report, SqlState};
use crate::outcome::{OnConflict, conflict_report};
use crate::payload::shape::key_violation;
use crate::pg::ffi;
use crate::pg::memory::Memory;
use crate::pg::snapshot::{DirtySnapshot, LatestSnapshot, Writers, one_for_transaction};
use crate::quarantine::Records;
use crate::remember::Absent;
use crate::target::{
    GuardTrigger, KeyColumn, OpenRelation, Readable, Role, Route, Scan, StoredRow, Target, changes,
    hidden_by_policy, leaf_index, note_shown, policies_show, row_security_is_active_for,
};
use pgrx::pg_sys;
use std::ffi::c_int;
use std::ptr;
use std::rc::Rc;

/// A guard of one table (or partition) in one statement.
pub struct Guard {
    running: *const Running,
    /// The guarded table: for a partition, the root that the guard came from.
    target: Rc<Target>,
    /// The trigger on the table at hand.
    trigger: GuardTrigger,
    plan: Rc<Plan>,
    /// What the hashes of its keys begin with.
    seeds: Seeds,
    /// Where the target's columns are in the table at hand.
    numbers: Vec<pg_sys::AttrNumber>,
    /// How many columns of a row its key reaches into,
    key_columns: c_int,
    /// and what is compared.
    columns: c_int,
    /// Whether the rows are those of a function of ours.
    aside: Aside,
    /// Whether nothing but the compared columns decides.
    simple: bool,
    /// With whose rights the rows go in.
    role: Role,
    /// Whether policies may hide stored rows from that role.
    by_policy: bool,
    /// Whether a BEFORE UPDATE trigger fires after the guard, and may do what it
    /// likes with the row.
    updated_behind: bool,
    /// What the defaults of columns give that are compared unless they were left out.
    defaults: Defaults,
    scan: Scan,
    /// Where the scan keeps what it allocates as it goes: memory of the
    /// statement, not of the row at hand.
    scan_memory: pg_sys::MemoryContext,
    /// What the scan reads under: rows of transactions in progress, too.
    dirty: DirtySnapshot,
    /// Whom to wait for.
    wait: Wait,
    /// Closed after the scan, in this order.
    index: OpenRelation,
    table: OpenRelation,
}

/// Whether a guard steps aside.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Aside {
    /// The rows are a client's: they are judged.
    No,
    /// They are a function's, which verifies those that are skipped.
    Skip,
    /// They are a function's that is decided by another key: the guard's is one more
    /// unique index to it, whose violation is the server's to report. Or they are those of
    /// a MERGE, which has looked for itself what is stored: a row that came meanwhile is
    /// 23505, as without a guard, and the MERGE that is tried again updates it.
    LetThrough,
}

/// What the executor gets back for a row.
pub enum Passage {
    /// It goes in as it is.
    Unchanged,
    /// It goes in with this value in this attribute.
    With(pg_sys::AttrNumber, pg_sys::Datum),
    /// It does not go in.
    Skipped,
}

/// What a probe makes of a row.
#[derive(Clone, Copy)]
enum Probe {
    /// Its key is free, and locked.
    New,
    /// Its key is locked, and there are only dead rows under it, as it seems.
    SeemsNew,
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
struct Wait {
    transaction: pg_sys::TransactionId,
    /// Not 0: only until it has made up its mind about a speculative insertion.
    token: u32,
    tuple: pg_sys::ItemPointerData,
}

impl Guard {
    /// Opens what the guard of an open table needs in the running statement.
    ///
    /// # Errors
    /// As [`Plan::of`]; 55000 for a partition that has a guard of its own.
    ///
    /// # Safety
    /// `relation` is the trigger's, and open while the statement runs.
    pub unsafe fn open(
        running: *const Running,
        relation: pg_sys::Relation,
        trigger: GuardTrigger,
        role: Role,
    ) -> Self {
        // SAFETY: the caller's promise.
        let oid = unsafe { (*relation).rd_id };
        // SAFETY: as above.
        let updated_behind = unsafe { is_updated_behind(relation, &trigger.name) };
        let table = OpenRelation::open(oid);
        let (target, original) = definition(&table, trigger.clone());
        made::demand_only(&target);
        let plan = Plan::of(&target, &original);
        let arbiter = plan.arbiter(&target);
        let index = if target.oid == oid {
            arbiter.oid
        } else {
            leaf_index(&table, arbiter.oid).unwrap_or(pg_sys::InvalidOid)
        };
        let numbers = target.numbers_in(oid);
        let last = |columns: &mut dyn Iterator<Item = usize>| {
            columns.map(|c| c_int::from(numbers[c])).max().unwrap_or(0)
        };
        let key_columns = last(&mut arbiter.columns());
        let columns = key_columns.max(last(&mut plan.compared.iter().copied()));
        let aside = match arbiter_of_ours() {
            // SAFETY: the statement outlives the guard.
            None if unsafe { &*running }.merges_into(|t| is_or_is_above(t, &table)) => {
                Aside::LetThrough
            }
            None => Aside::No,
            Some(ours) if ours == arbiter.oid || ours == index => Aside::Skip,
            // SAFETY: an index of a partition.
            Some(ours) if unsafe { ffi::partition_ancestors(index) }.contains(&ours) => Aside::Skip,
            Some(_) => Aside::LetThrough,
        };
        let index = OpenRelation::open(index);
        let dirty = DirtySnapshot::new();
        let mut scan = Scan::by_equality_under(&table, &index, arbiter, dirty.raw());
        let by_policy = row_security_is_active_for(&target, role);
        let simple =
            aside == Aside::No && !by_policy && plan.remember.is_none() && !one_for_transaction();
        scan.leave_columns();
        let defaults = Defaults::new(&plan.unless_left_out);
        Self {
            running,
            key_columns,
            columns,
            target,
            trigger,
            seeds: plan.tag.seeds(),
            plan,
            numbers,
            aside,
            simple,
            role,
            by_policy,
            updated_behind,
            defaults,
            scan,
            // SAFETY: the statement's memory, in which guards are made.
            scan_memory: unsafe { pg_sys::CurrentMemoryContext },
            dirty,
            wait: Wait {
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
    ) -> Passage {
        let mut hidden = None;
        loop {
            // SAFETY: the caller's promise; nothing is owned inside.
            let probe = unsafe { ffi::guard(|| self.probe_unguarded(slot, tuple)) };
            let probe = match probe {
                // SAFETY: the probe has deformed the key.
                Probe::SeemsNew if unsafe { self.is_committed(slot) } => {
                    self.plan.news.stored_row();
                    pgrx::check_for_interrupts!();
                    continue;
                }
                Probe::SeemsNew => Probe::New,
                sure => sure,
            };
            match probe {
                Probe::New if self.plan.remember.is_none() => return Passage::Unchanged,
                Probe::New => {
                    // SAFETY: the row, deformed.
                    let payload = unsafe {
                        pg_sys::slot_getallattrs(slot);
                        StoredRow::in_slot(slot, &self.numbers)
                    };
                    return self.let_in(&payload);
                }
                Probe::Duplicate => {
                    self.demand_alike();
                    return Passage::Skipped;
                }
                Probe::InProgress => self.wait(),
                Probe::Stored if self.aside == Aside::LetThrough => {
                    // SAFETY: the guard holds nothing.
                    unsafe { ffi::guard(|| self.scan.rest_unguarded()) };
                    return Passage::Unchanged;
                }
                Probe::Stored => {
                    // SAFETY: both slots hold a row.
                    let payload = unsafe {
                        pg_sys::slot_getallattrs(slot);
                        pg_sys::slot_getallattrs(self.scan.slot());
                        StoredRow::in_slot(slot, &self.numbers)
                    };
                    // SAFETY: the scan's slot holds the row.
                    let place =
                        unsafe { StoredRow::in_slot(self.scan.slot(), &self.numbers) }.place();
                    let seen = self.aside == Aside::Skip || self.is_seen(place, &payload);
                    if seen {
                        self.settle(&payload);
                        self.demand_alike();
                    }
                    // SAFETY: the guard holds nothing.
                    unsafe { ffi::guard(|| self.scan.rest_unguarded()) };
                    if seen {
                        return Passage::Skipped;
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
                Probe::SeemsNew => unreachable!("looked into above"),
                Probe::NullKey(column) => {
                    if self.plan.null_key == NullKey::Pass {
                        return Passage::Unchanged;
                    }
                    self.refuse_null_key(column)
                }
            }
        }
    }

    /// 23502, and how such rows are let in.
    fn refuse_null_key(&self, column: usize) -> ! {
        let target = &self.target;
        let arbiter = self.plan.arbiter(target);
        let table = target.qualified();
        key_violation(target, arbiter, column, None, "null in")
            .hint(format!(
                "If there are rows with a null in the key, let them pass without verification: \
                 {} If there are none: ALTER TABLE {table} ALTER COLUMN {} SET NOT NULL;",
                passing_null_keys(&table, &self.trigger.arguments),
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
    ) -> Probe {
        // SAFETY: the statement outlives the guard; the arbiter is one of the
        // target's indexes, the columns are those of the row.
        unsafe {
            let running = &*self.running;
            let plan = &*self.plan;
            let arbiter = plan.arbiter(&self.target);
            deform_unguarded(slot, self.key_columns);
            let payload = StoredRow::in_slot(slot, &self.numbers);
            let value = |c| payload.get_unguarded(c);
            if !arbiter.nulls_equal {
                for part in &arbiter.keys {
                    if value(part.column).is_none() {
                        return Probe::NullKey(part.column);
                    }
                }
            }
            // Where misses are likely: with the lock in hand one look serves.
            let mut locked = false;
            if plan.news.expected() {
                running.lock_unguarded(plan.tag.hash_unguarded(&self.seeds, arbiter, value));
                locked = true;
            }
            loop {
                let row_memory = pg_sys::MemoryContextSwitchTo(self.scan_memory);
                let found = self.scan.find_unguarded(arbiter, value);
                pg_sys::MemoryContextSwitchTo(row_memory);
                if found {
                    break;
                }
                if locked {
                    plan.news.new_row();
                    return if self.scan.met() {
                        Probe::SeemsNew
                    } else {
                        Probe::New
                    };
                }
                running.lock_unguarded(plan.tag.hash_unguarded(&self.seeds, arbiter, value));
                locked = true;
            }
            // Never wait, or judge, with a key lock in hand.
            running.unlock_unguarded();
            plan.news.stored_row();
            let Writers {
                inserter,
                deleter,
                token,
            } = self.dirty.writers();
            if inserter != pg_sys::InvalidTransactionId || deleter != pg_sys::InvalidTransactionId {
                self.wait = Wait {
                    transaction: if inserter == pg_sys::InvalidTransactionId {
                        deleter
                    } else {
                        inserter
                    },
                    token,
                    tuple: (*self.scan.slot()).tts_tid,
                };
                self.scan.rest_unguarded();
                return Probe::InProgress;
            }
            if !self.simple {
                return Probe::Stored;
            }
            let stored = self.scan.slot();
            if !same_tuple(stored, tuple) {
                deform_unguarded(slot, self.columns);
                deform_unguarded(stored, self.columns);
                let stored = StoredRow::in_slot(stored, &self.numbers);
                let columns = &self.target.columns;
                let known = |c| stored.get_unguarded(c);
                if first_difference(columns, &plan.always, &stored, value).is_some()
                    || !self.defaults.agree_unguarded(columns, known, value)
                {
                    return Probe::Stored;
                }
            }
            self.scan.rest_unguarded();
            Probe::Duplicate
        }
    }

    /// Whether a committed row is stored under the row's key: looks once more, under
    /// an MVCC snapshot, which misses none. The key lock is in hand.
    ///
    /// # Safety
    /// `slot` holds the row, its key deformed.
    unsafe fn is_committed(&self, slot: *mut pg_sys::TupleTableSlot) -> bool {
        let arbiter = self.plan.arbiter(&self.target);
        // SAFETY: the caller's promise.
        let row = unsafe { StoredRow::in_slot(slot, &self.numbers) };
        let _snapshot = LatestSnapshot::push();
        let memory = Memory::in_current(c"pg_idempotent second look");
        memory.scope(|| {
            let mut scan = Scan::by_equality(&self.table, &self.index, arbiter);
            // SAFETY: positions of key columns.
            scan.find(arbiter, |c| unsafe { row.get_unguarded(c) })
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
    fn let_in(&self, payload: &StoredRow<'_>) -> Passage {
        let Some(remember) = &self.plan.remember else {
            return Passage::Unchanged;
        };
        if payload.get(remember.column).is_some() {
            return Passage::Unchanged;
        }
        let value = remember.first_arrival(
            &self.target,
            // SAFETY: a position in the target's columns.
            |c| unsafe { payload.get_unguarded(c) },
            |c| self.is_left_out(c, payload),
        );
        Passage::With(self.numbers[remember.column], value)
    }

    /// Whether a column that may be left out was.
    fn is_left_out(&self, column: usize, payload: &StoredRow<'_>) -> bool {
        let value = payload.get(column);
        self.defaults
            .is_left_out(&self.target, &self.table, column, value)
    }

    /// Whether the role may see the stored row, by the table's policies.
    fn is_seen(
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
        let arbiter = self.plan.arbiter(&self.target);
        policies_show(&self.target, self.role, arbiter, place, |c| payload.get(c))
    }

    /// A row is stored under the payload's key: a duplicate is left at that, a
    /// conflict raised or recorded.
    fn settle(&self, payload: &StoredRow<'_>) {
        if one_for_transaction() {
            self.demand_visible();
        }
        if self.aside == Aside::Skip {
            return;
        }
        let (target, plan) = (&*self.target, &*self.plan);
        // SAFETY: the scan has deformed the row.
        let stored = unsafe { StoredRow::in_slot(self.scan.slot(), &self.numbers) };
        // SAFETY: positions are those of the target's columns.
        let value = |c| unsafe { payload.get_unguarded(c) };
        let Some(remember) = &plan.remember else {
            let mut columns = differing(&target.columns, &plan.compared, &stored, value);
            columns.retain(|c| !self.is_left_out(*c, payload));
            if !columns.is_empty() {
                self.conflict(&stored, None, value, &columns, self.visible());
            }
            return;
        };
        let (left_out, compared): (Vec<usize>, Vec<usize>) = plan
            .compared
            .iter()
            .partition(|c| self.is_left_out(**c, payload));
        let absent = |c| match left_out.contains(&c) {
            true => Absent::LeftOut,
            false => Absent::No,
        };
        let may_show = |c| {
            let (readable, _) = self.visible();
            readable.of_remembered(target, remember.column).column(c)
        };
        let verdict = remember.compare(target, &compared, &stored, value, absent, &may_show);
        if verdict.same {
            return;
        }
        let numbers = target.numbers_in_order();
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
    fn visible(&self) -> (Readable, Readable) {
        (
            Readable::by_caller_and(&self.target, self.role),
            Readable::sent_by_caller(&self.target),
        )
    }

    /// The payload differs from the stored row, or from what first arrived if that is
    /// given.
    fn conflict(
        &self,
        stored: &StoredRow<'_>,
        first: Option<&StoredRow<'_>>,
        payload: impl Fn(usize) -> Option<pg_sys::Datum>,
        columns: &[usize],
        (readable, sent): (Readable, Readable),
    ) {
        let (target, plan) = (&*self.target, &*self.plan);
        let arbiter = plan.arbiter(target);
        let differences = Differences {
            target,
            arbiter,
            stored: first.unwrap_or(stored),
            payload,
            columns,
            first_arrived: first.is_some(),
            readable: &readable,
            sent: &sent,
        };
        if plan.on_conflict == OnConflict::Quarantine {
            let remembers = plan.remember.as_ref().map(|remember| remember.column);
            let named: Vec<usize> = (0..target.columns.len())
                .filter(|c| target.columns[*c].generated == 0 && remembers != Some(*c))
                .collect();
            // SAFETY: the row's memory, which outlives the call.
            let mut records = Records::new(unsafe { pg_sys::CurrentMemoryContext });
            records.add(target, arbiter, stored, &differences, &named);
            records.write(target);
            return;
        }
        let only = match columns {
            [column] => Some(*column),
            _ => None,
        };
        note_shown(target, differences.shown());
        conflict_report(target, arbiter, 1, differences.to_sentence(None), only).raise()
    }

    /// Under REPEATABLE READ and up, a stored row that the snapshot cannot see is
    /// 40001, as with ON CONFLICT; and under SERIALIZABLE the row counts as read.
    fn demand_visible(&self) {
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
            if !visible && !inserted_by_us(slot) {
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
        unsafe { &*self.running }.is_moving_to(self.table.oid())
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
    ) -> Passage {
        // SAFETY: the caller's promise.
        let (old, new) = unsafe {
            pg_sys::slot_getallattrs(old);
            pg_sys::slot_getallattrs(new);
            (
                StoredRow::in_slot(old, &self.numbers),
                StoredRow::in_slot(new, &self.numbers),
            )
        };
        let leaves =
            (self.target.partitioned && self.may_leave(&old, &new)).then(|| self.table.oid());
        // SAFETY: the statement outlives the guard.
        unsafe { &*self.running }.note_update(leaves);
        let Some(remember) = &self.plan.remember else {
            return Passage::Unchanged;
        };
        if remember.is_changed(&old, &new) {
            if let (Some(value), None, true) = (
                old.get(remember.column),
                new.get(remember.column),
                is_replica(),
            ) {
                // The publisher remembers nothing, we do.
                return Passage::With(self.numbers[remember.column], value);
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
        Passage::Unchanged
    }

    /// A row of a partition is about to be skipped. If the guard does not fire on
    /// every partition, it may be one that an UPDATE moves here from where nothing
    /// was noted; skipping it would lose it.
    ///
    /// # Errors
    /// 55000
    fn demand_alike(&self) {
        let now = changes();
        if !self.target.partitioned || self.aside != Aside::No || self.plan.alike.get() == Some(now)
        {
            return;
        }
        demand_alike(&self.target, &self.trigger);
        self.plan.alike.set(Some(now));
    }

    /// Whether an updated row may belong to another partition than this one. The
    /// key contains the whole partition key.
    fn may_leave(&self, old: &StoredRow<'_>, new: &StoredRow<'_>) -> bool {
        if self.updated_behind {
            return true;
        }
        let arbiter = self.plan.arbiter(&self.target);
        let same = |key: &KeyColumn| key.agrees(old.get(key.column), new.get(key.column));
        if arbiter.keys.iter().all(same) {
            return false;
        }
        let root = OpenRelation::open(self.target.oid);
        let leaf = Route::new(&self.target, &root, arbiter).leaf(|c| new.get(c));
        leaf.is_none_or(|(leaf, _)| leaf != self.table.oid())
    }
}

/// Whether a table is this one, or a partitioned table that it is in.
fn is_or_is_above(table: pg_sys::Oid, of: &OpenRelation) -> bool {
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
unsafe fn inserted_by_us(slot: *mut pg_sys::TupleTableSlot) -> bool {
    // SAFETY: the caller's promise; xmin is never NULL.
    unsafe {
        let mut null = false;
        let number = pg_sys::MinTransactionIdAttributeNumber;
        let inserter = pg_sys::slot_getsysattr(slot, number, &raw mut null);
        let inserter = pg_sys::TransactionId::from(inserter.value() as u32);
        pg_sys::TransactionIdIsCurrentTransactionId(inserter)
    }
}
