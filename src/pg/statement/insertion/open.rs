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
    /// A list of the one arbiter.
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
        let arbiters = unguarded::lappend_oid(ptr::null_mut(), arbiter);
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
