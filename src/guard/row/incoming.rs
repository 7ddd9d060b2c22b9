//! The row that a trigger is called for.
use crate::pg::ffi;
use crate::target::StoredRow;
use pgrx::pg_sys;
use std::ffi::c_int;
use std::marker::PhantomData;

/// A row that is about to go in, as the executor has it.
#[derive(Clone, Copy)]
pub struct IncomingRow<'r> {
    slot: *mut pg_sys::TupleTableSlot,
    tuple: pg_sys::HeapTuple,
    _trigger: PhantomData<&'r pg_sys::TriggerData>,
}

impl<'r> IncomingRow<'r> {
    /// The row in a slot.
    ///
    /// # Safety
    /// The slot holds a row of the trigger's table, `tuple` is that row, and both stay as they
    /// are while this lives.
    pub unsafe fn in_slot(slot: *mut pg_sys::TupleTableSlot, tuple: pg_sys::HeapTuple) -> Self {
        Self {
            slot,
            tuple,
            _trigger: PhantomData,
        }
    }

    /// The row as a tuple.
    pub fn tuple(self) -> pg_sys::HeapTuple {
        self.tuple
    }

    /// The row with all of its columns readable; `numbers` says where the target's are.
    pub fn deformed(self, numbers: &'r [pg_sys::AttrNumber]) -> StoredRow<'r> {
        // SAFETY: the slot holds a row as long as this lives.
        unsafe {
            pg_sys::slot_getallattrs(self.slot);
            StoredRow::in_slot(self.slot, numbers)
        }
    }

    /// The row with its first columns readable, up to the one with this number.
    ///
    /// # Safety
    /// The table has so many columns. Runs inside `ffi::guard`.
    #[inline]
    pub unsafe fn deformed_unguarded(
        self,
        columns: c_int,
        numbers: &'r [pg_sys::AttrNumber],
    ) -> StoredRow<'r> {
        // SAFETY: the slot holds a row as long as this lives; the caller's promise.
        unsafe {
            ffi::slot_getsomeattrs_unguarded(self.slot, columns);
            StoredRow::in_slot(self.slot, numbers)
        }
    }
}
