//! Rows of a table, written to the heap and its indexes as the server does it with its catalogs:
//! without a statement, its planning, triggers, constraints and rights.
use super::ffi;
use super::relation::OpenRelation;
use super::transaction::snapshot::FreshSnapshot;
use super::transaction::waits::note_wait;
use super::value::sql_value::SqlValue;
use pgrx::pg_sys;
use std::ptr;

/// The place of a row in its table.
#[derive(Clone, Copy)]
pub struct Tid(pg_sys::ItemPointerData);

/// A new value for the column with this number.
pub type Change<'v> = (pg_sys::AttrNumber, SqlValue<'v>);

/// Why a row was not replaced: it is not the newest version any more.
pub enum NotReplaced {
    /// The command that runs has written it.
    ByUs,
    /// Another transaction has.
    ByOthers,
}

/// A table of users whose rows are in a heap. It has neither triggers nor constraints other than
/// NOT NULL, or they do not count; its indexes are plain ones.
pub struct HeapTable(OpenRelation);

impl HeapTable {
    /// One that is open and locked.
    ///
    /// # Panics
    /// If it is none, or is not locked.
    pub fn of(relation: OpenRelation) -> Self {
        // SAFETY: an open relation has its row of pg_class.
        let form = unsafe { &*(*relation.raw()).rd_rel };
        assert!(
            form.relkind as u8 == pg_sys::RELKIND_RELATION
                && form.relam == pg_sys::HEAP_TABLE_AM_OID
                && relation.oid().to_u32() >= pg_sys::FirstNormalObjectId,
            "a relation is no table of users in a heap"
        );
        let table = Self(relation);
        table.check_locked(pg_sys::AccessShareLock);
        table
    }

    /// The table itself.
    pub fn relation(&self) -> &OpenRelation {
        &self.0
    }

    /// # Panics
    /// If the transaction does not hold this lock, or a stronger one.
    fn check_locked(&self, mode: u32) {
        let mode = mode as pg_sys::LOCKMODE;
        // SAFETY: a look-up among the locks of this process, for an open relation.
        let locked = unsafe { pg_sys::CheckRelationLockedByMe(self.0.raw(), mode, true) };
        assert!(locked, "a table is not locked");
    }

    /// Inserts a row with these values, and NULL in all other columns; says where it is.
    ///
    /// # Panics
    /// If a value is not of its column's type, or the table is not locked for writing.
    pub fn insert(&self, values: &[Change<'_>]) -> Tid {
        self.check_locked(pg_sys::RowExclusiveLock);
        let (mut values, mut nulls) = self.heap_values(&[], values);
        let relation = self.0.raw();
        // SAFETY: open, locked, and a table in a heap; as many values as it has columns, of their
        // types.
        unsafe {
            let desc = (*relation).rd_att;
            let tuple = pg_sys::heap_form_tuple(desc, values.as_mut_ptr(), nulls.as_mut_ptr());
            let command = pg_sys::GetCurrentCommandId(true);
            pg_sys::heap_insert(relation, tuple, command, 0, ptr::null_mut());
            let mut tid = (*tuple).t_self;
            insert_index_entries(relation, &mut tid, &values, &nulls, &Indexes::All);
            Tid(tid)
        }
    }

    /// Replaces a row by one with these changes, and says where the new one is; None if indexes
    /// go on pointing at the old one's place, and lead from there to the new one. If that row is
    /// not the newest version any more, it says what became of it. Waits for others that are
    /// writing it, or have locked it, as UPDATE does.
    ///
    /// # Panics
    /// As [`HeapTable::insert`]; and if the row is not of this table, or none of the snapshots is
    /// left that kept VACUUM from it.
    pub fn update(
        &self,
        row: &HeapRow,
        changes: &[Change<'_>],
    ) -> Result<Option<Tid>, NotReplaced> {
        self.check_locked(pg_sys::RowExclusiveLock);
        row.check_still_kept(self.0.oid());
        let (mut values, mut nulls) = self.heap_values(&row.values, changes);
        let relation = self.0.raw();
        let mut old = row.tid.0;
        let mut failure = pg_sys::TM_FailureData::default();
        let mut mode = pg_sys::LockTupleMode::LockTupleExclusive;
        #[cfg(not(feature = "pg15"))]
        let mut needed = pg_sys::TU_UpdateIndexes::TU_All;
        // SAFETY: as for a new row; there is one at the old place, as was checked.
        unsafe {
            let desc = (*relation).rd_att;
            let tuple = pg_sys::heap_form_tuple(desc, values.as_mut_ptr(), nulls.as_mut_ptr());
            let result = pg_sys::heap_update(
                relation,
                &raw mut old,
                tuple,
                pg_sys::GetCurrentCommandId(true),
                ptr::null_mut(),
                true,
                &raw mut failure,
                &raw mut mode,
                #[cfg(not(feature = "pg15"))]
                &raw mut needed,
            );
            match result {
                pg_sys::TM_Result::TM_Ok => {}
                pg_sys::TM_Result::TM_SelfModified => return Err(NotReplaced::ByUs),
                _ => return Err(NotReplaced::ByOthers),
            }
            #[cfg(not(feature = "pg15"))]
            let indexes = Indexes::needed(needed);
            #[cfg(feature = "pg15")]
            let indexes = Indexes::needed(tuple);
            let mut tid = (*tuple).t_self;
            insert_index_entries(relation, &mut tid, &values, &nulls, &indexes);
            self.prune_page(Tid(tid));
            Ok(matches!(indexes, Indexes::All).then_some(Tid(tid)))
        }
    }

    /// The values of a row that was there, or of none, with these changes, as the heap has them:
    /// those of dropped columns are NULL.
    fn heap_values(
        &self,
        before: &[SqlValue<'_>],
        changes: &[Change<'_>],
    ) -> (Vec<pg_sys::Datum>, Vec<bool>) {
        let null = SqlValue::null(pg_sys::InvalidOid);
        // SAFETY: an open relation has its descriptor.
        let count = unsafe { (*self.0.desc()).natts } as usize;
        let mut values = before.to_vec();
        values.resize(count, null);
        for (number, value) in changes {
            values[*number as usize - 1] = *value;
        }
        for (number, value) in (1..).zip(&mut values) {
            let attribute = self.0.attribute(number);
            if attribute.attisdropped {
                *value = null;
            }
            let fits = value.typid() == attribute.atttypid;
            assert!(
                fits || value.is_null(),
                "a value is not of the type of its column"
            );
        }
        let made = values.into_iter().map(SqlValue::to_datum);
        made.map(|value| (value.unwrap_or(pg_sys::Datum::null()), value.is_none()))
            .unzip()
    }

    /// Clears the page of this place of versions that nobody sees any more, if it is getting
    /// full. Reading does that, too, but a row that is written again and again need not be read
    /// in between: without it, as much room again is taken by what is left over of each.
    fn prune_page(&self, tid: Tid) {
        // SAFETY: an open table; a page that it has not is an ERROR. The buffer is let go, or by
        // the abort.
        unsafe {
            let block = pgrx::itemptr::item_pointer_get_block_number_no_check(tid.0);
            let buffer = pg_sys::ReadBuffer(self.0.raw(), block);
            pg_sys::heap_page_prune_opt(self.0.raw(), buffer);
            pg_sys::ReleaseBuffer(buffer);
        }
    }

    /// The row that the transaction may see now at a place where one of the table's has been, or
    /// where that leads to, as if an index had pointed there.
    pub fn row_at(&self, tid: Tid) -> Option<HeapRow> {
        let snapshot = FreshSnapshot::push();
        let (relation, mut tid) = (self.0.raw(), tid.0);
        // SAFETY: an open, locked table. The lock keeps it from getting shorter after its end was
        // looked up; in a page of a heap a place without a row is seen to be that. The row stays
        // pinned while it is copied.
        unsafe {
            let block = pgrx::itemptr::item_pointer_get_block_number_no_check(tid);
            let fork = pg_sys::ForkNumber::MAIN_FORKNUM;
            if block >= pg_sys::RelationGetNumberOfBlocksInFork(relation, fork) {
                return None;
            }
            let method = &*(*relation).rd_tableam;
            let (begin, end) = (method.index_fetch_begin?, method.index_fetch_end?);
            let next = method.index_fetch_tuple?;
            let slot = pg_sys::table_slot_create(relation, ptr::null_mut());
            let (mut again, mut dead) = (false, false);
            let (scan, found) = ffi::guard(|| {
                let scan = begin(relation);
                let (again, dead) = (&raw mut again, &raw mut dead);
                let found = next(scan, &raw mut tid, snapshot.raw(), slot, again, dead);
                (scan, found)
            });
            let row = found.then(|| HeapRow::of_slot(slot, true));
            pg_sys::ExecDropSingleTupleTableSlot(slot);
            ffi::guard(|| end(scan));
            row
        }
    }
}

/// Waits for the transaction that writes a row of a table.
pub fn wait_for_writer(relation: &OpenRelation, transaction: pg_sys::TransactionId, tid: Tid) {
    let why = pg_sys::XLTW_Oper::XLTW_InsertIndexUnique;
    let mut tid = tid.0;
    note_wait();
    // SAFETY: an ordinary wait of the server for any number; it uses the table, which is open, and
    // the place in messages only.
    unsafe { pg_sys::XactLockTableWait(transaction, relation.raw(), &raw mut tid, why) };
}

/// A row of a table, copied whole, and its place.
pub struct HeapRow {
    /// The table that it is of.
    table: pg_sys::Oid,
    tid: Tid,
    /// When it was seen; None for a row of which no snapshot says that it stays.
    seen: Option<Moment>,
    /// The values as the heap has them, by number. They point into `tuple`.
    values: Vec<SqlValue<'static>>,
    /// What is stored outside of the row, by index, fetched while a snapshot kept it.
    fetched: Vec<(usize, Box<[u64]>)>,
    _tuple: Box<[u64]>,
}

impl HeapRow {
    /// The row in a slot of a table. It can be replaced if it is `kept`.
    ///
    /// # Safety
    /// The slot holds a row of a table; one that is kept is shown by an MVCC snapshot in use.
    pub unsafe fn of_slot(slot: *mut pg_sys::TupleTableSlot, kept: bool) -> Self {
        // SAFETY: the caller's promise. A tuple has as many bytes as it says, and is aligned as
        // the copy is; the arrays have as many members as there are columns. What the values point
        // to lives as long as the row that has them.
        unsafe {
            let desc = (*slot).tts_tupleDescriptor;
            let count = (*desc).natts as usize;
            let mut found = pg_sys::ExecFetchSlotHeapTuple(slot, false, ptr::null_mut());
            let stored = u32::from((*(*found).t_data).t_infomask2) & pg_sys::HEAP_NATTS_MASK;
            if (stored as usize) < count {
                // A column was added since, whose value would be the descriptor's.
                found = pg_sys::heap_expand_tuple(found, desc);
            }
            let mut copy = copied((*found).t_data.cast(), (*found).t_len as usize);
            let mut tuple = *found;
            tuple.t_data = copy.as_mut_ptr().cast();
            let (mut values, mut nulls) = (vec![pg_sys::Datum::null(); count], vec![true; count]);
            let (to_values, to_nulls) = (values.as_mut_ptr(), nulls.as_mut_ptr());
            pg_sys::heap_deform_tuple(&raw mut tuple, desc, to_values, to_nulls);
            let typed = |(at, (value, null)): (usize, (pg_sys::Datum, bool))| {
                let typid = ffi::attribute(desc, at as i32).atttypid;
                SqlValue::of_datum(typid, (!null).then_some(value))
            };
            let values: Vec<_> = values
                .into_iter()
                .zip(nulls)
                .enumerate()
                .map(typed)
                .collect();
            let external = u32::from((*tuple.t_data).t_infomask) & pg_sys::HEAP_HASEXTERNAL != 0;
            Self {
                table: (*slot).tts_tableOid,
                tid: Tid((*slot).tts_tid),
                seen: kept.then(Moment::now),
                fetched: if external {
                    fetch(desc, &values)
                } else {
                    Vec::new()
                },
                values,
                _tuple: copy,
            }
        }
    }

    /// Where it is in the table.
    pub fn tid(&self) -> Tid {
        self.tid
    }

    /// The value of the column with this number.
    ///
    /// # Panics
    /// If there is no such column.
    pub fn value(&self, number: pg_sys::AttrNumber) -> SqlValue<'_> {
        let at = usize::try_from(number - 1).expect("the number of a column");
        let value = self.values[at];
        match self.fetched.iter().find(|(of, _)| *of == at) {
            // SAFETY: a whole value of that type, which lives as long as the row.
            Some((_, whole)) => unsafe {
                SqlValue::of_datum(value.typid(), Some(pg_sys::Datum::from(whole.as_ptr())))
            },
            None => value,
        }
    }

    /// # Panics
    /// If the row is not one of this table, or may be gone: then its place may be another one's.
    fn check_still_kept(&self, table: pg_sys::Oid) {
        assert_eq!(self.table, table, "a row is of another table");
        let kept = self.seen.is_some_and(|seen| seen == Moment::now());
        assert!(kept, "a row is written that no snapshot keeps");
    }
}

/// As long as it is the same moment, nobody removes a row that was seen in it under an MVCC
/// snapshot. Whoever deletes the row is no older than the oldest of our snapshots, and that is
/// what others look at. Of our own rows an abort makes something to remove, which ends the
/// subtransaction that we were in.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Moment {
    /// The oldest transaction that our snapshots may have to show, as others see it.
    oldest: pg_sys::TransactionId,
    transaction: pg_sys::LocalTransactionId,
    subtransaction: pg_sys::SubTransactionId,
}

impl Moment {
    /// # Panics
    /// If there is no snapshot.
    fn now() -> Self {
        // SAFETY: reads the entry of this process, which only it writes, and counters of it.
        let now = unsafe {
            let process = &*pg_sys::MyProc;
            Self {
                oldest: process.xmin,
                #[cfg(any(feature = "pg15", feature = "pg16"))]
                transaction: process.lxid,
                #[cfg(not(any(feature = "pg15", feature = "pg16")))]
                transaction: process.vxid.lxid,
                subtransaction: pg_sys::GetCurrentSubTransactionId(),
            }
        };
        let any = now.oldest != pg_sys::InvalidTransactionId;
        assert!(any, "there is no snapshot");
        now
    }
}

/// Bytes, in memory of Rust's that is aligned as the server aligns its own.
///
/// # Safety
/// There are as many.
unsafe fn copied(bytes: *const u8, length: usize) -> Box<[u64]> {
    let mut copy = vec![0_u64; length.div_ceil(size_of::<u64>())].into_boxed_slice();
    // SAFETY: the caller's promise; at least as many bytes of another allocation.
    unsafe { ptr::copy_nonoverlapping(bytes, copy.as_mut_ptr().cast(), length) };
    copy
}

/// The values that are stored outside of a row.
///
/// # Safety
/// The values of a row with this descriptor, which a snapshot keeps.
unsafe fn fetch(desc: pg_sys::TupleDesc, values: &[SqlValue<'static>]) -> Vec<(usize, Box<[u64]>)> {
    let mut fetched = Vec::new();
    for (at, value) in values.iter().enumerate() {
        // SAFETY: the caller's promise: a value of variable length begins with its header, which
        // says where it is. What is fetched is copied before it is freed.
        unsafe {
            let Some(datum) = value.to_datum() else {
                continue;
            };
            let value = datum.cast_mut_ptr::<pg_sys::varlena>();
            if ffi::attribute(desc, at as i32).attlen != -1 || !pgrx::varlena::varatt_is_1b_e(value)
            {
                continue;
            }
            let whole = pg_sys::detoast_external_attr(value);
            let length = pgrx::varlena::varsize_any(whole);
            fetched.push((at, copied(whole.cast(), length)));
            pg_sys::pfree(whole.cast());
        }
    }
    fetched
}

/// Which indexes have to point at a new row.
enum Indexes {
    All,
    /// Those that summarize blocks: the row is in the block of the one that it replaces.
    #[cfg(not(feature = "pg15"))]
    Summarizing,
    None,
}

impl Indexes {
    /// As the heap says it.
    #[cfg(not(feature = "pg15"))]
    fn needed(needed: pg_sys::TU_UpdateIndexes::Type) -> Self {
        match needed {
            pg_sys::TU_UpdateIndexes::TU_None => Self::None,
            pg_sys::TU_UpdateIndexes::TU_Summarizing => Self::Summarizing,
            _ => Self::All,
        }
    }

    /// As the row itself says it.
    ///
    /// # Safety
    /// A row that was written.
    #[cfg(feature = "pg15")]
    unsafe fn needed(tuple: pg_sys::HeapTuple) -> Self {
        // SAFETY: the caller's promise.
        let flags = unsafe { u32::from((*(*tuple).t_data).t_infomask2) };
        if flags & pg_sys::HEAP_ONLY_TUPLE != 0 {
            Self::None
        } else {
            Self::All
        }
    }
}

/// Makes indexes point at a row.
///
/// # Safety
/// The relation is open, locked, and a table in a heap. The row with these values, one for each
/// column, is at this place.
///
/// # Panics
/// If an index is not a plain one.
unsafe fn insert_index_entries(
    relation: pg_sys::Relation,
    tid: &mut pg_sys::ItemPointerData,
    values: &[pg_sys::Datum],
    nulls: &[bool],
    which: &Indexes,
) {
    if matches!(which, Indexes::None) {
        return;
    }
    let lock = pg_sys::RowExclusiveLock as pg_sys::LOCKMODE;
    // SAFETY: the caller's promise; an index's columns are plain ones of the table.
    unsafe {
        let list = pg_sys::RelationGetIndexList(relation);
        for i in 0..(*list).length as usize {
            let index = pg_sys::index_open((*(*list).elements.add(i)).oid_value, lock);
            // Expressions and conditions of an index would be folded below, as the caller;
            // plain ones have none.
            let form = &*(*index).rd_index;
            let info = pg_sys::BuildIndexInfo(index);
            assert!(
                (*info).ii_Expressions.is_null() && (*info).ii_Predicate.is_null(),
                "an index of the table is not a plain one"
            );
            #[cfg(feature = "pg15")]
            let wanted = true;
            #[cfg(not(feature = "pg15"))]
            let wanted = matches!(which, Indexes::All) || (*info).ii_Summarizing;
            if wanted && (*info).ii_ReadyForInserts {
                let numbers = form
                    .indkey
                    .values
                    .as_slice((*info).ii_NumIndexAttrs as usize);
                let (mut entry, mut empty) = index_entry(numbers, values, nulls);
                let unique = if form.indisunique {
                    pg_sys::IndexUniqueCheck::UNIQUE_CHECK_YES
                } else {
                    pg_sys::IndexUniqueCheck::UNIQUE_CHECK_NO
                };
                pg_sys::index_insert(
                    index,
                    entry.as_mut_ptr(),
                    empty.as_mut_ptr(),
                    tid,
                    relation,
                    unique,
                    false,
                    info,
                );
                #[cfg(any(feature = "pg17", feature = "pg18"))]
                pg_sys::index_insert_cleanup(index, info);
            }
            pg_sys::index_close(index, pg_sys::NoLock as pg_sys::LOCKMODE);
        }
    }
}

/// The columns of an index, of a row's values, and which of them are NULL.
fn index_entry(
    numbers: &[pg_sys::AttrNumber],
    values: &[pg_sys::Datum],
    nulls: &[bool],
) -> (IndexEntry<pg_sys::Datum>, IndexEntry<bool>) {
    let mut entry = [pg_sys::Datum::null(); pg_sys::INDEX_MAX_KEYS as usize];
    let mut empty = [true; pg_sys::INDEX_MAX_KEYS as usize];
    for (at, number) in numbers.iter().enumerate() {
        entry[at] = values[*number as usize - 1];
        empty[at] = nulls[*number as usize - 1];
    }
    (entry, empty)
}

/// As core's functions take an entry of an index.
type IndexEntry<T> = [T; pg_sys::INDEX_MAX_KEYS as usize];
