//! Putting rows into the table and its indexes, as the server does it with its catalogs.
//!
//! The table has neither triggers nor constraints other than NOT NULL, and plain indexes
//! only (see [`state`](crate::state)).
use super::table::{COLUMNS, NAMES, RequestColumn, RequestTable};
use crate::pg::ffi;
use crate::pg::statement::row::{ColumnValue, record};
use crate::pg::transaction::snapshot::FreshSnapshot;
use crate::pg::value::document::JsonbDatum;
use crate::pg::value::interval::Interval;
use crate::target::{OpenRelation, Scan};
use pgrx::pg_sys;
use serde::de::DeserializeOwned;
use std::ptr;

/// The values of a row, in the memory of the call, and its place.
pub struct RequestRow {
    /// Where it is in the table.
    tid: pg_sys::ItemPointerData,
    /// The values as the heap has them, by [`RequestColumn`], each of its column's type.
    values: Vec<Option<pg_sys::Datum>>,
    /// The types of the columns.
    types: [pg_sys::Oid; COLUMNS],
    /// The values of [`FETCHED`], fetched from where they are stored.
    fetched: [Option<pg_sys::Datum>; FETCHED.len()],
}

/// The columns whose values may be compressed, or outside of the row, and are needed.
const FETCHED: [RequestColumn; 3] = [
    RequestColumn::Request,
    RequestColumn::RecoveryPoint,
    RequestColumn::Response,
];

impl RequestRow {
    /// The row in a slot. What lies outside of it is fetched while a snapshot keeps it.
    ///
    /// # Safety
    /// The slot holds a row of the table.
    unsafe fn of_slot(table: &RequestTable, slot: *mut pg_sys::TupleTableSlot) -> Self {
        // SAFETY: the caller's promise; as many values as columns. They point into the copy.
        // The columns of `FETCHED` are texts and documents.
        unsafe {
            let desc = table.relation.desc();
            let count = (*desc).natts as usize;
            let (mut values, mut nulls) = (vec![pg_sys::Datum::null(); count], vec![true; count]);
            let tuple = pg_sys::ExecCopySlotHeapTuple(slot);
            pg_sys::heap_deform_tuple(tuple, desc, values.as_mut_ptr(), nulls.as_mut_ptr());
            let at = |position: usize| table.target.columns[position].attnum as usize - 1;
            let value = |at: usize| (!nulls[at]).then(|| values[at]);
            let values: Vec<_> = table.positions.iter().map(|p| value(at(*p))).collect();
            let fetch = |datum: pg_sys::Datum| {
                pg_sys::Datum::from(pg_sys::pg_detoast_datum_packed(datum.cast_mut_ptr()))
            };
            Self {
                tid: (*tuple).t_self,
                types: table.positions.map(|p| table.target.columns[p].typid),
                fetched: FETCHED.map(|column| values[column as usize].map(fetch)),
                values,
            }
        }
    }

    /// The row that a scan of the table has found.
    pub fn of_scan(table: &RequestTable, scan: &Scan) -> Self {
        let slot = scan.slot();
        // SAFETY: the slot is the scan's. If it is not empty, and says that its row is of this
        // table, it holds one.
        unsafe {
            let empty = u32::from((*slot).tts_flags) & pg_sys::TTS_FLAG_EMPTY != 0;
            assert!(!empty && (*slot).tts_tableOid == table.target.oid);
            Self::of_slot(table, slot)
        }
    }

    /// Where it is in the table.
    pub fn tid(&self) -> pg_sys::ItemPointerData {
        self.tid
    }

    /// A value as the heap has it; None for NULL.
    pub fn get(&self, column: RequestColumn) -> Option<pg_sys::Datum> {
        self.values[column as usize]
    }

    /// A value by its column's number, likewise.
    pub fn get_at(&self, column: usize) -> Option<pg_sys::Datum> {
        self.values[column]
    }

    /// What the row says, read by the names of its columns.
    ///
    /// # Errors
    /// 55000 for a row that is no `T`.
    pub fn read<T: DeserializeOwned>(&self) -> T {
        let value = |name: &str| {
            let at = NAMES.iter().position(|own| *own == name.as_bytes())?;
            // SAFETY: a value of the column's type, which lives as long as the row.
            Some(unsafe { ColumnValue::new(self.types[at], self.values[at]) })
        };
        record(value).unwrap_or_else(|error| error.raise())
    }

    /// The interval in a column of that type.
    pub fn interval(&self, column: RequestColumn) -> Option<Interval> {
        let value = self.get(column)?;
        assert_eq!(self.types[column as usize], pg_sys::INTERVALOID);
        // SAFETY: an interval, in the memory of the call, as the row is.
        Some(unsafe { Interval::new(value) })
    }

    /// The document in a column of that type that is [`FETCHED`].
    pub fn jsonb(&self, column: RequestColumn) -> Option<JsonbDatum> {
        let value = self.fetched(column)?;
        assert_eq!(self.types[column as usize], pg_sys::JSONBOID);
        // SAFETY: a jsonb, in the memory of the call, as the row is.
        Some(unsafe { JsonbDatum::new(value) })
    }

    /// The value of a column that is [`FETCHED`], whole.
    pub fn fetched(&self, column: RequestColumn) -> Option<pg_sys::Datum> {
        let at = FETCHED
            .iter()
            .position(|fetched| *fetched as usize == column as usize);
        self.fetched[at.expect("a column that is fetched")]
    }

    /// Its values with these changes, as the heap has them.
    fn with(&self, changes: &[Change]) -> Vec<Option<pg_sys::Datum>> {
        let mut values = self.values.clone();
        for (column, value) in changes {
            values[*column as usize] = *value;
        }
        values
    }
}

/// A new value for a column.
pub type Change = (RequestColumn, Option<pg_sys::Datum>);

/// The owner of the table.
pub fn owner(table: &RequestTable) -> pg_sys::Oid {
    // SAFETY: an open relation has its row of pg_class.
    unsafe { (*(*table.relation.raw()).rd_rel).relowner }
}

/// The values of a row as the heap has them: those of dropped columns are NULL.
fn heap_values(
    table: &RequestTable,
    values: &[Option<pg_sys::Datum>],
) -> (Vec<pg_sys::Datum>, Vec<bool>) {
    // SAFETY: an open relation.
    let count = unsafe { (*table.relation.desc()).natts } as usize;
    let mut whole = (vec![pg_sys::Datum::null(); count], vec![true; count]);
    for (position, value) in table.positions.iter().zip(values) {
        let at = table.target.columns[*position].attnum as usize - 1;
        whole.0[at] = value.unwrap_or(pg_sys::Datum::null());
        whole.1[at] = value.is_none();
    }
    whole
}

/// Inserts a row of these values, one for each column in their order, and says where it is.
///
/// # Safety
/// Each value is of its column's type.
pub unsafe fn insert_row(
    table: &RequestTable,
    values: &[Option<pg_sys::Datum>; COLUMNS],
) -> pg_sys::ItemPointerData {
    let (mut values, mut nulls) = heap_values(table, values);
    // SAFETY: open, locked and as the extension made it, so that it has these columns; the
    // caller's promise of the values.
    unsafe { insert(table.relation.raw(), &mut values, &mut nulls) }
}

/// Replaces a row, see [`update`].
///
/// # Safety
/// Each value is of its column's type.
pub unsafe fn update_row(
    table: &RequestTable,
    row: &RequestRow,
    changes: &[Change],
) -> Result<Option<pg_sys::ItemPointerData>, pg_sys::TM_Result::Type> {
    let (mut values, mut nulls) = heap_values(table, &row.with(changes));
    // SAFETY: as for a new row; this one was seen at its place.
    unsafe { update(table.relation.raw(), row.tid, &mut values, &mut nulls) }
}

/// The row that the transaction may see at a place where one of the table's has been.
pub fn row_at(table: &RequestTable, tid: pg_sys::ItemPointerData) -> Option<RequestRow> {
    let snapshot = FreshSnapshot::push();
    // SAFETY: the table is open, and a place that is not in it any more is not read; a row that
    // is found is the table's.
    unsafe {
        fetch(table.relation.raw(), tid, snapshot.raw(), |slot| {
            RequestRow::of_slot(table, slot)
        })
    }
}

/// Waits for the transaction that writes the row at a place.
pub fn wait_for_writer(
    relation: &OpenRelation,
    transaction: pg_sys::TransactionId,
    mut tid: pg_sys::ItemPointerData,
) {
    let why = pg_sys::XLTW_Oper::XLTW_InsertIndexUnique;
    // SAFETY: an ordinary wait of the server, which uses relation and place in messages only.
    unsafe { pg_sys::XactLockTableWait(transaction, relation.raw(), &raw mut tid, why) };
}

/// Which indexes have to point at a new row.
enum Indexes {
    All,
    /// Those that summarize blocks: the row is in the block of the one that it replaces.
    #[cfg(not(feature = "pg15"))]
    Summarizing,
    None,
}

/// Inserts a row, and says where it is.
///
/// # Safety
/// The relation is open, locked and of this kind, and has as many columns as there are
/// values of their types.
unsafe fn insert(
    relation: pg_sys::Relation,
    values: &mut [pg_sys::Datum],
    nulls: &mut [bool],
) -> pg_sys::ItemPointerData {
    // SAFETY: the caller's promise.
    unsafe {
        let tuple =
            pg_sys::heap_form_tuple((*relation).rd_att, values.as_mut_ptr(), nulls.as_mut_ptr());
        let command = pg_sys::GetCurrentCommandId(true);
        pg_sys::heap_insert(relation, tuple, command, 0, ptr::null_mut());
        let mut tid = (*tuple).t_self;
        insert_index_entries(relation, &mut tid, values, nulls, &Indexes::All);
        tid
    }
}

/// Replaces the row at a place, and says where the new one is; None if indexes go on
/// pointing at the old one's place, and lead from there to the new one. If that row is not
/// the newest version any more, it says what became of it. Waits for others that are writing
/// it, or have locked it, as UPDATE does.
///
/// # Safety
/// As [`insert`], and a row was seen at this place.
unsafe fn update(
    relation: pg_sys::Relation,
    mut old: pg_sys::ItemPointerData,
    values: &mut [pg_sys::Datum],
    nulls: &mut [bool],
) -> Result<Option<pg_sys::ItemPointerData>, pg_sys::TM_Result::Type> {
    // SAFETY: the caller's promise.
    unsafe {
        let tuple =
            pg_sys::heap_form_tuple((*relation).rd_att, values.as_mut_ptr(), nulls.as_mut_ptr());
        let command = pg_sys::GetCurrentCommandId(true);
        let mut failure = pg_sys::TM_FailureData::default();
        let mut mode = pg_sys::LockTupleMode::LockTupleExclusive;
        #[cfg(not(feature = "pg15"))]
        let mut needed = pg_sys::TU_UpdateIndexes::TU_All;
        let result = pg_sys::heap_update(
            relation,
            &raw mut old,
            tuple,
            command,
            ptr::null_mut(),
            true,
            &raw mut failure,
            &raw mut mode,
            #[cfg(not(feature = "pg15"))]
            &raw mut needed,
        );
        if result != pg_sys::TM_Result::TM_Ok {
            return Err(result);
        }
        #[cfg(not(feature = "pg15"))]
        let indexes = match needed {
            pg_sys::TU_UpdateIndexes::TU_None => Indexes::None,
            pg_sys::TU_UpdateIndexes::TU_Summarizing => Indexes::Summarizing,
            _ => Indexes::All,
        };
        #[cfg(feature = "pg15")]
        let indexes = if u32::from((*(*tuple).t_data).t_infomask2) & pg_sys::HEAP_ONLY_TUPLE != 0 {
            Indexes::None
        } else {
            Indexes::All
        };
        let mut tid = (*tuple).t_self;
        insert_index_entries(relation, &mut tid, values, nulls, &indexes);
        prune_page(relation, &tid);
        Ok(matches!(indexes, Indexes::All).then_some(tid))
    }
}

/// Clears the page of this place of versions that no snapshot sees any more, if it is getting
/// full. Reading does that, too, but a request that is begun and finished is not read in
/// between: without it, as much room again is taken by what is left over of each.
///
/// # Safety
/// As [`insert`]; a row is at this place.
unsafe fn prune_page(relation: pg_sys::Relation, tid: &pg_sys::ItemPointerData) {
    // SAFETY: the caller's promise. The buffer is let go, or by the abort.
    unsafe {
        let block = pgrx::itemptr::item_pointer_get_block_number_no_check(*tid);
        let buffer = pg_sys::ReadBuffer(relation, block);
        pg_sys::heap_page_prune_opt(relation, buffer);
        pg_sys::ReleaseBuffer(buffer);
    }
}

/// Reads the row that the snapshot shows at a place, or where that leads to, as if an
/// index had pointed there.
///
/// # Safety
/// The relation is open and locked, and a row has been at this place.
unsafe fn fetch<R>(
    relation: pg_sys::Relation,
    mut tid: pg_sys::ItemPointerData,
    snapshot: pg_sys::Snapshot,
    read: impl FnOnce(*mut pg_sys::TupleTableSlot) -> R,
) -> Option<R> {
    // SAFETY: the caller's promise. The lock keeps the table from getting shorter after
    // its end was looked up. The row stays pinned while it is read.
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
            (scan, next(scan, &raw mut tid, snapshot, slot, again, dead))
        });
        let row = found.then(|| read(slot));
        pg_sys::ExecDropSingleTupleTableSlot(slot);
        ffi::guard(|| end(scan));
        row
    }
}

/// Makes indexes point at a row.
///
/// # Safety
/// As [`insert`]; the row with these values is at this place.
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
            #[cfg(feature = "pg15")]
            let wanted = true;
            #[cfg(not(feature = "pg15"))]
            let wanted = matches!(which, Indexes::All) || (*info).ii_Summarizing;
            if wanted && (*info).ii_ReadyForInserts {
                let numbers = form
                    .indkey
                    .values
                    .as_slice((*info).ii_NumIndexAttrs as usize);
                let mut entry = [pg_sys::Datum::null(); pg_sys::INDEX_MAX_KEYS as usize];
                let mut empty = [true; pg_sys::INDEX_MAX_KEYS as usize];
                for (at, number) in numbers.iter().enumerate() {
                    entry[at] = values[*number as usize - 1];
                    empty[at] = nulls[*number as usize - 1];
                }
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
