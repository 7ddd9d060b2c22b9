//! Putting rows into the table and its indexes, as the server does it with its catalogs.
//!
//! The table has neither triggers nor constraints other than NOT NULL, and plain indexes
//! only (see [`state`](crate::state)).
use crate::pg::ffi;
use pgrx::pg_sys;
use std::ptr;

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
pub unsafe fn insert(
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
pub unsafe fn update(
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

/// Clears the page of this place of versions that nobody sees any more, if it is getting
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
pub unsafe fn fetch<R>(
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
