//! A row that went in, as its table has it.
use crate::pg::ffi;
use crate::pg::value::sql_value::SqlValue;
use pgrx::pg_sys;
use std::ffi::c_int;
use std::marker::PhantomData;

/// A row that went in, with its columns in the table's order.
#[derive(Clone, Copy)]
pub struct InsertedRow<'i> {
    slot: *mut pg_sys::TupleTableSlot,
    lives: PhantomData<&'i ()>,
}

impl<'i> InsertedRow<'i> {
    /// The row in a slot.
    ///
    /// # Safety
    /// The slot holds a row with all columns read, as long as this lives.
    pub unsafe fn in_slot(slot: *mut pg_sys::TupleTableSlot) -> Self {
        let lives = PhantomData;
        Self { slot, lives }
    }

    /// The value of the column with this number.
    ///
    /// # Panics
    /// If there is no such column.
    pub fn value(self, number: pg_sys::AttrNumber) -> SqlValue<'i> {
        // SAFETY: the slot holds a row with all columns read, as long as this lives; the column is
        // checked to be there, and the value is one of its type.
        unsafe {
            let slot = &*self.slot;
            assert!((1..=slot.tts_nvalid).contains(&number), "no such column");
            let i = number as usize - 1;
            let typid = ffi::attribute(slot.tts_tupleDescriptor, i as c_int).atttypid;
            let value = (!*slot.tts_isnull.add(i)).then(|| *slot.tts_values.add(i));
            SqlValue::of_datum(typid, value)
        }
    }

    /// The slot, which holds the row with all columns read, as long as this lives.
    pub fn slot(self) -> *mut pg_sys::TupleTableSlot {
        self.slot
    }
}
