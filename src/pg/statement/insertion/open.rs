//! What the executor has of a table that a statement inserts into.
use crate::pg::ffi::unguarded;
use crate::pg::relation::permission_check::{RangeTable, TableAccess};
use pgrx::pg_sys;
use std::ptr;

/// The state of the executor, the table with its indexes and triggers, and what goes with it.
pub struct TableState {
    pub estate: *mut pg_sys::EState,
    pub table: *mut pg_sys::ResultRelInfo,
    /// The row at hand.
    pub slot: *mut pg_sys::TupleTableSlot,
    /// The arbiter, and the indexes that are made like it.
    pub arbiters: *mut pg_sys::List,
    /// What the statement would name.
    pub range_table: RangeTable,
}

/// Opens the state of a statement that inserts into a table, and the table's indexes.
///
/// # Safety
/// An open relation. Runs inside `ffi::guard`.
pub unsafe fn open_unguarded(
    relation: pg_sys::Relation,
    arbiter: pg_sys::Oid,
    access: &TableAccess,
) -> TableState {
    // SAFETY: the caller's promise. All is made in the state's own memory, with which it goes.
    unsafe {
        let estate = unguarded::CreateExecutorState();
        let caller = pg_sys::MemoryContextSwitchTo((*estate).es_query_cxt);
        let range_table = access.range_table_unguarded();
        unguarded::ExecInitRangeTable(
            estate,
            range_table.entries,
            #[cfg(not(feature = "pg15"))]
            range_table.permissions,
            #[cfg(feature = "pg18")]
            unguarded::bms_add_member(ptr::null_mut(), 1),
        );
        (*estate).es_output_cid = unguarded::GetCurrentCommandId(true);
        unguarded::MakePerTupleExprContext(estate);
        let size = size_of::<pg_sys::ResultRelInfo>();
        let table: *mut pg_sys::ResultRelInfo = unguarded::palloc0(size).cast();
        unguarded::InitResultRelInfo(table, relation, 1, ptr::null_mut(), 0);
        unguarded::ExecOpenIndices(table, false);
        // Where AFTER triggers look for it, and where it is closed.
        (*estate).es_opened_result_relations = unguarded::lappend(ptr::null_mut(), table.cast());
        let slot = unguarded::table_slot_create(relation, &raw mut (*estate).es_tupleTable);
        let arbiters = arbiters_unguarded(table, arbiter);
        pg_sys::MemoryContextSwitchTo(caller);
        TableState {
            estate,
            table,
            slot,
            arbiters,
            range_table,
        }
    }
}

/// The arbiter, and the indexes of the table that are made like it: what REINDEX CONCURRENTLY and CREATE
/// INDEX CONCURRENTLY build beside it, and what they and DROP INDEX CONCURRENTLY take away, refuses a
/// second row as the arbiter does, though it is not valid, and would raise 23505.
///
/// # Safety
/// A table with its indexes open. Runs inside `ffi::guard`, in the memory of the state.
unsafe fn arbiters_unguarded(
    table: *mut pg_sys::ResultRelInfo,
    arbiter: pg_sys::Oid,
) -> *mut pg_sys::List {
    // SAFETY: the caller's promise; the places are below the number of indexes.
    unsafe {
        let table = &*table;
        let count = usize::try_from(table.ri_NumIndices).unwrap_or(0);
        let oid = |i: usize| (**table.ri_IndexRelationDescs.add(i)).rd_id;
        let mut list = unguarded::lappend_oid(ptr::null_mut(), arbiter);
        if let Some(first) = (0..count).find(|i| oid(*i) == arbiter) {
            for other in (0..count).filter(|i| *i != first) {
                if refuses_the_same(table, first, other) {
                    list = unguarded::lappend_oid(list, oid(other));
                }
            }
        }
        list
    }
}

/// Whether the second of two indexes of a table refuses the same rows as the first, which is an arbiter:
/// they are on the same columns, of all rows, and call the same values equal.
///
/// # Safety
/// A table with its indexes open; places among them.
unsafe fn refuses_the_same(table: &pg_sys::ResultRelInfo, first: usize, second: usize) -> bool {
    // SAFETY: the caller's promise. An open index has a form, and arrays with a member for each column of
    // its key.
    unsafe {
        let index = |i: usize| &**table.ri_IndexRelationDescs.add(i);
        let info = |i: usize| &**table.ri_IndexRelationInfo.add(i);
        let is_plain = |i| info(i).ii_Predicate.is_null() && info(i).ii_Expressions.is_null();
        let (one, other) = (index(first), index(second));
        let (a, b) = (&*one.rd_index, &*other.rd_index);
        info(second).ii_ReadyForInserts
            && b.indisunique
            && b.indimmediate
            && a.indnkeyatts == b.indnkeyatts
            && a.indnullsnotdistinct == b.indnullsnotdistinct
            && is_plain(first)
            && is_plain(second)
            && (0..a.indnkeyatts as usize).all(|i| {
                info(first).ii_IndexAttrNumbers[i] == info(second).ii_IndexAttrNumbers[i]
                    && *one.rd_opfamily.add(i) == *other.rd_opfamily.add(i)
                    && *one.rd_opcintype.add(i) == *other.rd_opcintype.add(i)
                    && *one.rd_indcollation.add(i) == *other.rd_indcollation.add(i)
            })
    }
}
