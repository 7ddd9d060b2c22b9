//! Rows that go into a table as `INSERT … ON CONFLICT (key) DO NOTHING` puts them in, by the same
//! functions of the executor, but without a statement: nothing is parsed, planned or started.
//!
//! # What is done with a row
//! What `ExecInsert` does, in its order: the defaults of columns that are left out; BEFORE ROW
//! triggers; stored generated columns; NOT NULL and CHECKs; the constraint of a partition; the row
//! into the table, and entries into the indexes; AFTER ROW triggers, foreign keys among them, are
//! queued and fire at the end. What a statement has beside that is left to who calls this: the lock
//! on the table, rights, policies, rules, statement triggers, routing to partitions.
//!
//! # Why the arbiter never raises 23505
//! A row goes in speculatively, as with ON CONFLICT: marked by a token, entered into the arbiter,
//! and confirmed only if no other row was found there while the page was locked. If one was, the
//! row is taken back, and what is in the way is looked at: a transaction in progress is waited
//! for; a committed row means that ours is skipped. Two sessions that meet in the arbiter's page
//! see each other there, because each enters its row before it is told of the other's. Neither
//! waits for the other while its own is in: it is taken back first.
//!
//! `ExecInsert` looks into the arbiter before it tries, so that a row which is stored already is
//! not written in vain. Who has just looked there himself, for every row, and has met no entry of
//! their keys, says so, and that look is left out until one row meets another. From then on every row
//! is looked for first: a retry that races its original leaves one dead row behind at most, as it may
//! with ON CONFLICT.
//!
//! A second unique index that is made like the arbiter is one as well, though it is not valid: one that is
//! being built, or taken away, refuses rows from the moment when it is to be kept up to date until nobody
//! uses it any more. ON CONFLICT knows nothing of it (see [`open`]).
mod bundle;
mod open;
mod row;

pub use row::InsertedRow;

use crate::error::{Report, SqlState};
use crate::pg::ffi::{self, unguarded};
use crate::pg::relation::OpenRelation;
use crate::pg::relation::permission_check::{self, TableAccess};
use crate::pg::rows::{RowDesc, Slot};
use crate::pg::schedule::wait_at;
use crate::pg::statement::expression::column_default;
use crate::pg::transaction::snapshot::{FreshSnapshot, uses_transaction_snapshot};
use crate::pg::unwinding;
use bundle::Bundle;
use open::{TableState, open_unguarded};
use pgrx::pg_sys;
use std::ptr;

/// What rows of one kind are made of.
pub struct InsertColumns {
    /// The columns that a statement would name, for messages that show no more than the caller may
    /// see.
    pub named: Vec<pg_sys::AttrNumber>,
    /// Where a column's values are in the rows that come (from 0), and its number in the table.
    pub given: Vec<(usize, pg_sys::AttrNumber)>,
    /// The columns that get their defaults.
    pub defaults: Vec<pg_sys::AttrNumber>,
}

/// What became of a row.
enum Outcome {
    Inserted,
    /// A trigger suppressed it.
    Suppressed,
    /// It was skipped, because of this row.
    Skipped(pg_sys::ItemPointerData),
}

/// Rows on their way into a table that is open.
pub struct Insertion<'r> {
    relation: &'r OpenRelation,
    state: TableState,
    /// The descriptor of the rows that come,
    source: RowDesc,
    /// their kinds,
    kinds: &'r [InsertColumns],
    /// and that of the row at hand.
    kind: usize,
    /// By kind, the set of the columns that are named; None before the first row of that kind.
    named: Vec<Option<*mut pg_sys::Bitmapset>>,
    /// By column of the table, its default; null before it is needed.
    defaults: Vec<*mut pg_sys::ExprState>,
    /// Whether the arbiter is looked at before a row is tried,
    looks_first: bool,
    /// and whether it was made ready for that.
    can_look: bool,
    bundle: Bundle,
    _snapshot: FreshSnapshot,
}

impl<'r> Insertion<'r> {
    /// Runs `work`, which puts rows of this descriptor into a table, and then the AFTER triggers;
    /// None, with nothing done, if the arbiter is none (any more).
    ///
    /// Who calls this may insert, and has locked the table for it. `looked` says that the
    /// arbiter was looked at just now, and had no entry of the rows' keys.
    ///
    /// # Errors
    /// What an INSERT of these rows raises.
    ///
    /// # Panics
    /// If the relation is no table in a heap, or is not locked; if there is no kind; if a column is
    /// given values of another type.
    pub fn run<R>(
        relation: &'r OpenRelation,
        arbiter: pg_sys::Oid,
        source: &RowDesc,
        access: &TableAccess,
        kinds: &'r [InsertColumns],
        looked: bool,
        work: impl FnOnce(&mut Self) -> R,
    ) -> Option<R> {
        let snapshot = FreshSnapshot::push();
        let mut insertion = Self::begin(relation, arbiter, source, access, kinds, snapshot)?;
        insertion.looks_first |= !looked;
        let queues = insertion.has_after_triggers();
        if queues {
            // SAFETY: closed below, or by the abort after an error.
            unsafe { pg_sys::AfterTriggerBeginQuery() };
        }
        let result = work(&mut insertion);
        if queues {
            // SAFETY: the level that was opened above; the state knows the table.
            unsafe { pg_sys::AfterTriggerEndQuery(insertion.state.estate) };
        }
        Some(result)
    }

    fn begin(
        relation: &'r OpenRelation,
        arbiter: pg_sys::Oid,
        source: &RowDesc,
        access: &TableAccess,
        kinds: &'r [InsertColumns],
        _snapshot: FreshSnapshot,
    ) -> Option<Self> {
        let mode = pg_sys::RowExclusiveLock as pg_sys::LOCKMODE;
        // SAFETY: a look-up among the locks of this process, for an open relation.
        let locked = unsafe { pg_sys::CheckRelationLockedByMe(relation.raw(), mode, true) };
        assert!(
            locked && relation.is_heap_table(),
            "a relation is no table, or is not locked for writing"
        );
        // SAFETY: the relation is open as long as this lives; the guard holds nothing.
        let state = unsafe { ffi::guard(|| open_unguarded(relation.raw(), arbiter, access)) };
        let mut this = Self {
            relation,
            state,
            source: source.clone(),
            kinds,
            kind: 0,
            named: vec![None; kinds.len()],
            // SAFETY: an open relation has a descriptor.
            defaults: vec![ptr::null_mut(); unsafe { (*relation.desc()).natts } as usize],
            looks_first: false,
            can_look: false,
            bundle: Bundle::default(),
            _snapshot,
        };
        if !this.is_arbiter(arbiter) {
            return None;
        }
        // What a trigger does may take its time.
        this.looks_first = this
            .triggers()
            .is_some_and(|all| all.trig_insert_before_row);
        this.take_kind(0);
        Some(this)
    }

    /// Whether an index of the table decides (still).
    fn is_arbiter(&self, arbiter: pg_sys::Oid) -> bool {
        // SAFETY: the table is open with its indexes, which are as many as it says.
        unsafe {
            let table = &*self.state.table;
            (0..usize::try_from(table.ri_NumIndices).unwrap_or(0)).any(|i| {
                let index = &**table.ri_IndexRelationDescs.add(i);
                let form = &*index.rd_index;
                let decides = form.indisunique && form.indimmediate && form.indisvalid;
                index.rd_id == arbiter && decides && form.indisready
            })
        }
    }

    fn triggers(&self) -> Option<&pg_sys::TriggerDesc> {
        // SAFETY: the table has a copy of its triggers, or a null pointer.
        unsafe { (*self.state.table).ri_TrigDesc.as_ref() }
    }

    fn has_after_triggers(&self) -> bool {
        self.triggers().is_some_and(|all| all.trig_insert_after_row)
    }

    /// The row at hand is of this kind.
    fn take_kind(&mut self, kind: usize) {
        let named = self.named[kind].unwrap_or_else(|| self.prepare_kind(kind));
        self.named[kind] = Some(named);
        self.kind = kind;
        // SAFETY: range table and set are in the state's memory.
        unsafe { self.state.range_table.set_inserted(named) };
    }

    /// Checks the types of what is given, prepares the defaults, and makes the set of the columns that
    /// are named.
    fn prepare_kind(&mut self, kind: usize) -> *mut pg_sys::Bitmapset {
        let columns = &self.kinds[kind];
        for (from, number) in &columns.given {
            let same = self.source.types()[*from] == self.relation.attribute(*number).atttypid;
            assert!(same, "a column is given values of another type");
        }
        for number in &columns.defaults {
            let place = place(*number);
            if self.defaults[place].is_null() {
                self.defaults[place] = self.prepare_default(*number);
            }
        }
        // SAFETY: made in the state's memory, with which it goes; the guard holds nothing.
        unsafe {
            let caller = pg_sys::MemoryContextSwitchTo((*self.state.estate).es_query_cxt);
            let named = ffi::guard(|| permission_check::set(&columns.named));
            pg_sys::MemoryContextSwitchTo(caller);
            named
        }
    }

    /// Prepares a default as the planner and the executor do, in the state's memory.
    fn prepare_default(&self, number: pg_sys::AttrNumber) -> *mut pg_sys::ExprState {
        let generated = self.relation.attribute(number).attgenerated;
        assert_eq!(generated, 0, "a generated column has no default");
        // SAFETY: the tree is of the column, refers to no column, and goes with the state's memory.
        unsafe {
            let caller = pg_sys::MemoryContextSwitchTo((*self.state.estate).es_query_cxt);
            let default = column_default(self.relation, number);
            pg_sys::MemoryContextSwitchTo(caller);
            assert!(!default.is_null(), "a column has a default");
            pg_sys::ExecPrepareExpr(default.cast(), self.state.estate)
        }
    }

    /// The row is at hand. It is checked to be a whole one of the columns that come.
    fn take(&mut self, row: &Slot, kind: usize) {
        row.desc().check_same(&self.source);
        row.check_whole();
        if kind != self.kind {
            self.take_kind(kind);
        }
    }

    /// Puts a row of this kind in. False if one with its key is there, or a trigger suppressed it.
    ///
    /// # Errors
    /// What an INSERT of it raises; 40001 if the row that is there is not for the transaction's
    /// snapshot to see.
    ///
    /// # Panics
    /// If it has other columns, or is not read whole.
    pub fn insert(&mut self, row: &Slot, kind: usize) -> bool {
        self.take(row, kind);
        // SAFETY: a whole row with the columns that are given; the guard holds nothing.
        match unsafe { ffi::guard(|| self.insert_unguarded(row)) } {
            Outcome::Inserted => true,
            Outcome::Suppressed => false,
            Outcome::Skipped(stored) => {
                if uses_transaction_snapshot() {
                    self.check_visible(stored);
                }
                false
            }
        }
    }

    /// # Safety
    /// A whole row with the columns that are given. Runs inside `ffi::guard`.
    unsafe fn insert_unguarded(&mut self, row: &Slot) -> Outcome {
        // SAFETY: the caller's promise. The table and its state are open as long as this lives, and
        // the steps are those of ExecInsert, in its order.
        unsafe {
            let (table, slot, estate) = (self.state.table, self.state.slot, self.state.estate);
            self.fill_unguarded(slot, row);
            if self
                .triggers()
                .is_some_and(|all| all.trig_insert_before_row)
                && !unguarded::ExecBRInsertTriggers(estate, table, slot)
            {
                return Outcome::Suppressed;
            }
            self.check_unguarded(slot);
            let recheck = match self.enter_unguarded() {
                Ok(recheck) => recheck,
                Err(stored) => return Outcome::Skipped(stored),
            };
            unguarded::ExecARInsertTriggers(estate, table, slot, recheck, ptr::null_mut());
            unguarded::list_free(recheck);
            Outcome::Inserted
        }
    }

    /// Computes the stored generated columns of a row, and checks its constraints.
    ///
    /// # Safety
    /// The slot holds a row of the table. Runs inside `ffi::guard`.
    unsafe fn check_unguarded(&self, slot: *mut pg_sys::TupleTableSlot) {
        let (table, estate) = (self.state.table, self.state.estate);
        // SAFETY: the caller's promise; an open relation has its row of pg_class, and a descriptor.
        unsafe {
            let relation = &*self.relation.raw();
            (*slot).tts_tableOid = relation.rd_id;
            if let Some(constraints) = (*relation.rd_att).constr.as_ref() {
                if constraints.has_generated_stored {
                    let command = pg_sys::CmdType::CMD_INSERT;
                    unguarded::ExecComputeStoredGenerated(table, estate, slot, command);
                }
                unguarded::ExecConstraints(table, slot, estate);
            }
            if (*relation.rd_rel).relispartition {
                unguarded::ExecPartitionCheck(table, slot, estate, true);
            }
        }
    }

    /// Makes the table's row of one that comes, and of defaults.
    ///
    /// # Safety
    /// As [`Insertion::insert_unguarded`].
    unsafe fn fill_unguarded(&self, slot: *mut pg_sys::TupleTableSlot, row: &Slot) {
        // SAFETY: the caller's promise. The slot's arrays have a member for every column of the
        // table, whose places these are; the values live as long as the row that comes, and those of
        // defaults until the state's memory for a row is reset, with the next one.
        unsafe {
            let context = (*self.state.estate).es_per_tuple_exprcontext;
            unguarded::MemoryContextReset((*context).ecxt_per_tuple_memory);
            ffi::inline::exec_clear_tuple_unguarded(slot);
            let (values, nulls) = ((*slot).tts_values, (*slot).tts_isnull);
            let columns = (*(*slot).tts_tupleDescriptor).natts as usize;
            ptr::write_bytes(values, 0, columns);
            ptr::write_bytes(nulls, 1, columns);
            let kind = self.kinds.get_unchecked(self.kind);
            for (from, number) in &kind.given {
                if let Some(value) = row.get_unguarded(*from) {
                    let to = place(*number);
                    *values.add(to) = value;
                    *nulls.add(to) = false;
                }
            }
            let caller = pg_sys::MemoryContextSwitchTo((*context).ecxt_per_tuple_memory);
            for number in &kind.defaults {
                let to = place(*number);
                let default = *self.defaults.get_unchecked(to);
                let evaluate = (*default).evalfunc.unwrap_unchecked();
                *values.add(to) = evaluate(default, context, nulls.add(to));
            }
            pg_sys::MemoryContextSwitchTo(caller);
            unguarded::ExecStoreVirtualTuple(slot);
        }
    }

    /// Puts the row into the table and its indexes, and gives those to be checked at the end; or
    /// the place of the row that is there.
    ///
    /// # Safety
    /// The slot holds a row that was checked. Runs inside `ffi::guard`.
    unsafe fn enter_unguarded(&mut self) -> Result<*mut pg_sys::List, pg_sys::ItemPointerData> {
        let (estate, slot) = (self.state.estate, self.state.slot);
        // SAFETY: the caller's promise. A method of a table has these functions: the arbiter was
        // found, so that it is a table of users with an index.
        unsafe {
            let command = (*estate).es_output_cid;
            let method = &*(*self.relation.raw()).rd_tableam;
            let insert = method.tuple_insert_speculative.unwrap_unchecked();
            let complete = method.tuple_complete_speculative.unwrap_unchecked();
            let relation = self.relation.raw();
            loop {
                ffi::check_for_interrupts_unguarded();
                if self.looks_first {
                    wait_at!("direct: look");
                    self.find_unguarded()?;
                }
                wait_at!("direct: enter");
                let transaction = unguarded::GetCurrentTransactionId();
                let token = unguarded::SpeculativeInsertionLockAcquire(transaction);
                insert(relation, slot, command, 0, ptr::null_mut(), token);
                wait_at!("direct: entered");
                let mut conflict = false;
                let recheck = unguarded::ExecInsertIndexTuples(
                    self.state.table,
                    slot,
                    estate,
                    false,
                    true,
                    &raw mut conflict,
                    self.state.arbiters,
                    #[cfg(not(feature = "pg15"))]
                    false,
                );
                wait_at!("direct: complete");
                complete(relation, slot, token, !conflict);
                unguarded::SpeculativeInsertionLockRelease(transaction);
                if !conflict {
                    return Ok(recheck);
                }
                self.looks_first = true;
            }
        }
    }

    /// Looks for a row that is in the way, and waits for transactions in progress; gives the place
    /// of one that is there.
    ///
    /// # Safety
    /// The slot holds a row. Runs inside `ffi::guard`.
    unsafe fn find_unguarded(&mut self) -> Result<(), pg_sys::ItemPointerData> {
        let mut stored = pg_sys::ItemPointerData::default();
        // SAFETY: the caller's promise; the arbiter's operators are looked up before they are needed,
        // in memory that lives as long as they do.
        unsafe {
            if !self.can_look {
                let caller = pg_sys::MemoryContextSwitchTo((*self.state.estate).es_query_cxt);
                let table = &*self.state.table;
                for i in 0..usize::try_from(table.ri_NumIndices).unwrap_or(0) {
                    let index = *table.ri_IndexRelationDescs.add(i);
                    if is_member(self.state.arbiters, (*index).rd_id) {
                        let info = *table.ri_IndexRelationInfo.add(i);
                        unguarded::BuildSpeculativeIndexInfo(index, info);
                    }
                }
                pg_sys::MemoryContextSwitchTo(caller);
                self.can_look = true;
            }
            #[cfg(feature = "pg18")]
            let mut none = pg_sys::ItemPointerData {
                ip_posid: pg_sys::InvalidOffsetNumber as pg_sys::OffsetNumber,
                ..Default::default()
            };
            let free = unguarded::ExecCheckIndexConstraints(
                self.state.table,
                self.state.slot,
                self.state.estate,
                &raw mut stored,
                #[cfg(feature = "pg18")]
                &raw mut none,
                self.state.arbiters,
            );
            if free { Ok(()) } else { Err(stored) }
        }
    }

    /// 40001 for a row that the transaction's snapshot does not show, and that it has not written
    /// itself: `ExecCheckTIDVisible`, in its words.
    fn check_visible(&self, mut stored: pg_sys::ItemPointerData) {
        // SAFETY: the place of a row that was just found, and that nobody can remove meanwhile: the
        // active snapshot is older than its death. The slot is dropped where it was made, or with
        // the memory of the call; the methods are those of a table of users.
        let visible = unsafe {
            let relation = self.relation.raw();
            let method = &*(*relation).rd_tableam;
            let copy = pg_sys::table_slot_create(relation, ptr::null_mut());
            let visible = ffi::guard(|| {
                let fetch = method.tuple_fetch_row_version.unwrap_unchecked();
                let shows = method.tuple_satisfies_snapshot.unwrap_unchecked();
                let any = &raw mut pg_sys::SnapshotAnyData;
                !fetch(relation, &raw mut stored, any, copy)
                    || shows(relation, copy, pg_sys::GetActiveSnapshot())
                    || unguarded::TransactionIdIsCurrentTransactionId(
                        ffi::inline::slot_xmin_unguarded(copy),
                    )
            });
            pg_sys::ExecDropSingleTupleTableSlot(copy);
            visible
        };
        if !visible {
            let message = "could not serialize access due to concurrent update";
            Report::new(SqlState::SerializationFailure, message).raise()
        }
    }

    /// The row that went in last.
    ///
    /// # Panics
    /// If none did.
    pub fn row(&self) -> InsertedRow<'_> {
        let slot = self.state.slot;
        // SAFETY: the slot lives as long as this.
        let flags = unsafe { (*slot).tts_flags };
        let empty = u32::from(flags) & pg_sys::TTS_FLAG_EMPTY != 0;
        assert!(!empty, "no row went in");
        // SAFETY: the slot holds a row, as was checked, until another one is put in, which takes this
        // for itself; the guard holds nothing.
        unsafe {
            let columns = (*(*slot).tts_tupleDescriptor).natts;
            ffi::guard(|| ffi::slot_getsomeattrs_unguarded(slot, columns));
            InsertedRow::in_slot(slot)
        }
    }
}

impl Insertion<'_> {
    /// Whether rows can go in in bundles: no trigger looks at them, foreign keys among these. It is asked here,
    /// of the table as it is since it was locked to be written, and not before: whoever adds a trigger
    /// or a foreign key meanwhile is waited for then.
    pub fn can_bundle(&self) -> bool {
        !self.has_after_triggers()
            && !self
                .triggers()
                .is_some_and(|all| all.trig_insert_before_row)
    }

    /// Puts a row into the bundle at hand, whose rows go in together, without ON CONFLICT. True if the
    /// bundle is full: [`Insertion::enter_bundle`] is next.
    ///
    /// # Errors
    /// What an INSERT of it raises before the row goes into the table.
    ///
    /// # Panics
    /// As [`Insertion::insert`].
    pub fn add(&mut self, row: &Slot, kind: usize) -> bool {
        self.take(row, kind);
        // SAFETY: a whole row with the columns that are given, and a slot of the table's; the guard
        // holds nothing.
        unsafe {
            let slot = self.bundle.next_slot(self.relation.raw(), &self.state);
            ffi::guard(|| {
                self.fill_unguarded(slot, row);
                self.check_unguarded(slot);
                self.bundle.keep_unguarded(slot);
            });
        }
        self.bundle.is_full()
    }

    /// Puts the rows of the bundle into the table and its indexes, and gives their number.
    /// `at` is told which row of the bundle is at hand; it owns nothing.
    ///
    /// # Errors
    /// 23505 for a row whose key is stored; and what an INSERT of the rows raises.
    pub fn enter_bundle(&mut self, at: impl Fn(usize)) -> usize {
        // SAFETY: the rows were made for the table, which is open with this state.
        unsafe { self.bundle.enter(self.relation.raw(), &self.state, at) }
    }
}

impl Drop for Insertion<'_> {
    fn drop(&mut self) {
        if !unwinding() {
            // SAFETY: what `begin` has opened is closed once, as ExecutorEnd does it; after an error
            // the abort closes it. The guard holds nothing.
            self.bundle.close();
            unsafe {
                ffi::guard(|| {
                    unguarded::ExecResetTupleTable((*self.state.estate).es_tupleTable, false);
                    unguarded::ExecCloseResultRelations(self.state.estate);
                    unguarded::FreeExecutorState(self.state.estate);
                });
            }
        }
    }
}

/// Whether a list of oids has this one.
///
/// # Safety
/// A list of oids.
unsafe fn is_member(list: *mut pg_sys::List, oid: pg_sys::Oid) -> bool {
    // SAFETY: the caller's promise; a list has as many elements as it says.
    unsafe {
        let list = &*list;
        (0..usize::try_from(list.length).unwrap_or(0))
            .any(|i| (*list.elements.add(i)).oid_value == oid)
    }
}

/// Where a column is in the rows of its table, by its number.
#[inline]
fn place(number: pg_sys::AttrNumber) -> usize {
    number as usize - 1
}
