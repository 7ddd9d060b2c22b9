//! Columns of slots in inner loops.
use super::rows::Slot;
use pgrx::pg_sys;

/// The values of all columns of a slot of the server's.
///
/// # Safety
/// The slot holds a row.
pub unsafe fn all_of(slot: *mut pg_sys::TupleTableSlot) -> Vec<Option<pg_sys::Datum>> {
    // SAFETY: the caller's promise; a slot's arrays have a member for every column, with the value
    // in it once that is deformed.
    unsafe {
        pg_sys::slot_getallattrs(slot);
        let count = (*(*slot).tts_tupleDescriptor).natts as usize;
        (0..count)
            .map(|i| (!*(*slot).tts_isnull.add(i)).then(|| *(*slot).tts_values.add(i)))
            .collect()
    }
}

impl Slot {
    /// Sets column `i` (from 0) of a cleared slot, as [`Slot::set`] does, without a check that
    /// could panic.
    ///
    /// # Safety
    /// The slot is one for values and has such a column; the value is one of the column's type,
    /// and outlives the row in the slot.
    #[inline]
    pub unsafe fn set_unguarded(&mut self, i: usize, value: Option<pg_sys::Datum>) {
        // SAFETY: the caller's promise; a slot's arrays have a member for every column.
        unsafe {
            let slot = &mut *self.raw();
            *slot.tts_values.add(i) = value.unwrap_or(pg_sys::Datum::null());
            *slot.tts_isnull.add(i) = value.is_none();
        }
    }

    /// Column `i` (from 0) of a row that was stored or deformed, as [`Slot::get`] gives it,
    /// without a check that could panic.
    ///
    /// # Safety
    /// The slot holds a row, of which this column is deformed.
    #[inline]
    pub unsafe fn get_unguarded(&self, i: usize) -> Option<pg_sys::Datum> {
        // SAFETY: the caller's promise; a slot's arrays have a member for every column.
        unsafe {
            let slot = &*self.raw();
            (!*slot.tts_isnull.add(i)).then(|| *slot.tts_values.add(i))
        }
    }
}
