//! Rows that go into a table together, as with COPY: into the heap all at once, and then one by one into
//! the indexes.
use super::open::TableState;
use crate::pg::ffi::{self, unguarded};
use pgrx::pg_sys;
use std::ffi::c_int;
use std::{mem, ptr};

/// A bundle has so many rows at most, or rows of so many bytes, as with COPY.
const MOST_ROWS: usize = 1000;
const MOST_BYTES: usize = 65535;

/// The rows.
#[derive(Default)]
pub struct Bundle {
    slots: Vec<*mut pg_sys::TupleTableSlot>,
    /// How many of the slots have a row,
    used: usize,
    /// and how many bytes these are.
    bytes: usize,
    /// The page that was written last.
    page: Option<pg_sys::BulkInsertState>,
}

impl Bundle {
    /// Whether there are as many rows as may go in at once.
    pub fn is_full(&self) -> bool {
        self.used >= MOST_ROWS || self.bytes >= MOST_BYTES
    }

    /// The slot for the next row, empty.
    ///
    /// # Safety
    /// The table is open with this state, which goes after the bundle.
    pub unsafe fn next_slot(
        &mut self,
        relation: pg_sys::Relation,
        state: &TableState,
    ) -> *mut pg_sys::TupleTableSlot {
        if self.used == self.slots.len() {
            // SAFETY: the caller's promise; the slot goes with the state.
            self.slots.push(unsafe {
                let caller = pg_sys::MemoryContextSwitchTo((*state.estate).es_query_cxt);
                let slots = &raw mut (*state.estate).es_tupleTable;
                let slot = pg_sys::table_slot_create(relation, slots);
                pg_sys::MemoryContextSwitchTo(caller);
                slot
            });
        }
        self.slots[self.used]
    }

    /// The next slot has a row, whose values lie elsewhere: the slot gets a copy of them.
    ///
    /// # Safety
    /// It holds a row. Runs inside `ffi::guard`.
    pub unsafe fn keep_unguarded(&mut self, slot: *mut pg_sys::TupleTableSlot) {
        // SAFETY: the caller's promise; the slot is one of a table in a heap.
        unsafe {
            let tuple = unguarded::ExecFetchSlotHeapTuple(slot, true, ptr::null_mut());
            self.bytes += (*tuple).t_len as usize;
        }
        self.used += 1;
    }

    /// Puts the rows into the table and its indexes, and gives their number. `at` is told which row
    /// is at hand; it owns nothing.
    ///
    /// # Safety
    /// The rows are of the table, which is open with this state.
    pub unsafe fn enter(
        &mut self,
        relation: pg_sys::Relation,
        state: &TableState,
        at: impl Fn(usize),
    ) -> usize {
        if self.used == 0 {
            return 0;
        }
        let page = self.page(state);
        // SAFETY: the caller's promise; the guard holds nothing.
        unsafe {
            ffi::guard(|| {
                self.enter_heap_unguarded(relation, state, page);
                for (i, slot) in self.slots.iter().take(self.used).enumerate() {
                    at(i);
                    ffi::check_for_interrupts_unguarded();
                    unguarded::ExecInsertIndexTuples(
                        state.table,
                        *slot,
                        state.estate,
                        false,
                        false,
                        ptr::null_mut(),
                        ptr::null_mut(),
                        #[cfg(not(feature = "pg15"))]
                        false,
                    );
                    ffi::inline::exec_clear_tuple_unguarded(*slot);
                }
            });
        }
        self.bytes = 0;
        mem::take(&mut self.used)
    }

    /// # Safety
    /// As [`Bundle::enter`]. Runs inside `ffi::guard`.
    unsafe fn enter_heap_unguarded(
        &mut self,
        relation: pg_sys::Relation,
        state: &TableState,
        page: pg_sys::BulkInsertState,
    ) {
        // SAFETY: the caller's promise; what is allocated on the way goes with the next row. A heap has
        // this function.
        unsafe {
            let insert = (*(*relation).rd_tableam).multi_insert.unwrap_unchecked();
            let context = (*state.estate).es_per_tuple_exprcontext;
            let command = (*state.estate).es_output_cid;
            unguarded::MemoryContextReset((*context).ecxt_per_tuple_memory);
            let caller = pg_sys::MemoryContextSwitchTo((*context).ecxt_per_tuple_memory);
            let slots = self.slots.as_mut_ptr();
            insert(relation, slots, self.used as c_int, command, 0, page);
            pg_sys::MemoryContextSwitchTo(caller);
        }
    }

    fn page(&mut self, state: &TableState) -> pg_sys::BulkInsertState {
        // SAFETY: made in the state's memory; freed by `close`, or by the abort after an error.
        *self.page.get_or_insert_with(|| unsafe {
            let caller = pg_sys::MemoryContextSwitchTo((*state.estate).es_query_cxt);
            let page = pg_sys::GetBulkInsertState();
            pg_sys::MemoryContextSwitchTo(caller);
            page
        })
    }

    /// Lets go of the page, before the state goes.
    pub fn close(&mut self) {
        if let Some(page) = self.page.take() {
            // SAFETY: made by `page`, and freed once.
            unsafe { pg_sys::FreeBulkInsertState(page) };
        }
    }
}
