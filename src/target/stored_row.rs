//! A stored row, read where it lies.
use super::Column;
use crate::pg::backend::is_own_transaction;
use crate::pg::call::trigger::TriggerRow;
use crate::pg::ffi;
use crate::pg::rows::Slot;
use crate::pg::schedule::leaves_out;
use crate::pg::statement::insertion::InsertedRow;
use crate::pg::value::sql_value::SqlValue;
use pgrx::pg_sys;
use std::ffi::c_int;
use std::ops::Range;
use std::ptr;

/// A row of the table: one that a look-up found, where it lies in its buffer, one that an INSERT
/// returned, or one that a trigger is called for.
pub struct StoredRow<'l> {
    slot: *mut pg_sys::TupleTableSlot,
    numbers: &'l [pg_sys::AttrNumber],
}

impl<'l> StoredRow<'l> {
    /// A row that an INSERT returned; `numbers` says where the columns are.
    pub fn returned(row: &'l Slot, numbers: &'l [pg_sys::AttrNumber]) -> Self {
        Self {
            slot: row.raw(),
            numbers,
        }
    }

    /// A row that went in without a statement, likewise.
    pub fn inserted(row: InsertedRow<'l>, numbers: &'l [pg_sys::AttrNumber]) -> Self {
        Self {
            slot: row.slot(),
            numbers,
        }
    }

    /// A row that a trigger is called for, likewise.
    pub fn fired(row: TriggerRow<'l>, numbers: &'l [pg_sys::AttrNumber]) -> Self {
        row.deform();
        Self {
            slot: row.slot(),
            numbers,
        }
    }

    /// Such a row with its first columns readable, up to the one with the number `columns`.
    ///
    /// # Safety
    /// Runs inside `ffi::guard`.
    #[inline]
    pub unsafe fn fired_unguarded(
        row: TriggerRow<'l>,
        columns: c_int,
        numbers: &'l [pg_sys::AttrNumber],
    ) -> Self {
        // SAFETY: the caller's promise.
        unsafe { row.deform_unguarded(columns) };
        Self {
            slot: row.slot(),
            numbers,
        }
    }

    /// The row in a slot of the server's.
    ///
    /// # Safety
    /// The slot holds a row while this lives, deformed as far as it is read.
    pub unsafe fn in_slot(
        slot: *mut pg_sys::TupleTableSlot,
        numbers: &'l [pg_sys::AttrNumber],
    ) -> Self {
        Self { slot, numbers }
    }

    /// The value of a column of the target, by its position. A column that the row does not have
    /// is a panic, so inside `ffi::guard` there is [`StoredRow::get_unguarded`].
    #[inline]
    pub fn get(&self, column: usize) -> Option<pg_sys::Datum> {
        let number = self.numbers[column];
        // SAFETY: the slot holds a row as long as this lives, and counts its deformed columns.
        let deformed = unsafe { (*self.slot).tts_nvalid };
        assert!(
            (1..=deformed).contains(&number),
            "the row has no column {number}"
        );
        // SAFETY: there is such a column of the target, and its number is one of a deformed column.
        unsafe { self.get_unguarded(column) }
    }

    /// The value of a column of the target, by its position, with its type.
    #[inline]
    pub fn value(&self, column: usize) -> SqlValue<'l> {
        let value = self.get(column);
        let i = i32::from(self.numbers[column]) - 1;
        // SAFETY: a column of the slot's row, as `get` has checked; the value lives as long as the
        // row is there.
        unsafe {
            let typid = ffi::attribute((*self.slot).tts_tupleDescriptor, i).atttypid;
            SqlValue::of_datum(typid, value)
        }
    }

    /// The value of a column of the target, without a check that could panic.
    ///
    /// # Safety
    /// `column` is a position in the target's columns, for each of which the row has a number of
    /// a column that is deformed.
    pub unsafe fn get_unguarded(&self, column: usize) -> Option<pg_sys::Datum> {
        // SAFETY: the caller's promise; a slot's arrays have a member for every column, with the
        // value in it once that is deformed.
        unsafe {
            let i = *self.numbers.get_unchecked(column) as usize - 1;
            let slot = &*self.slot;
            (!*slot.tts_isnull.add(i)).then(|| *slot.tts_values.add(i))
        }
    }

    /// The table that holds the row, and its tuple id.
    pub fn table_and_tid(&self) -> (pg_sys::Oid, pg_sys::ItemPointerData) {
        // SAFETY: the slot is alive, and holds the row as long as this lives: both are set then.
        unsafe { ((*self.slot).tts_tableOid, (*self.slot).tts_tid) }
    }

    /// The transaction that wrote this version of the row.
    pub fn xmin(&self) -> pg_sys::TransactionId {
        let mut null = false;
        let number = pg_sys::MinTransactionIdAttributeNumber;
        // SAFETY: the slot holds a row of a table, as the heap has it.
        let xmin = unsafe { pg_sys::slot_getsysattr(self.slot, number, &raw mut null) };
        pg_sys::TransactionId::from(xmin.value() as u32)
    }

    /// Whether this transaction wrote this version of the row.
    pub fn is_ours(&self) -> bool {
        is_own_transaction(self.xmin())
    }

    /// Whether one of these commands of this transaction wrote this version of the
    /// row.
    pub fn is_written_by(&self, commands: &Range<pg_sys::CommandId>) -> bool {
        // SAFETY: the real command is asked for only if the row is ours; what the row
        // itself holds may be a combo command id.
        let command = || unsafe { pg_sys::HeapTupleHeaderGetCmin(self.header()) };
        self.is_ours() && commands.contains(&command())
    }

    /// Whether one of these commands of this transaction inserted this row, and
    /// no command has changed it since.
    pub fn is_inserted_by(&self, commands: &Range<pg_sys::CommandId>) -> bool {
        // SAFETY: the header is in the slot's own tuple, which stays while the row is there.
        let flags = unsafe { u32::from((*self.header()).t_infomask) };
        flags & pg_sys::HEAP_UPDATED == 0 && self.is_written_by(commands)
    }

    fn header(&self) -> pg_sys::HeapTupleHeader {
        // SAFETY: the slot holds a row of a table, as the heap has it.
        unsafe {
            let tuple = pg_sys::ExecFetchSlotHeapTuple(self.slot, false, ptr::null_mut());
            (*tuple).t_data
        }
    }
}

/// Whether a stored row is the payload's tuple, byte by byte: then all columns
/// are equal, and none needs to be looked at. A row that was written by another
/// INSERT of the same values is, unless a value was compressed or moved out of
/// line.
///
/// # Safety
/// The slot holds a row of the table that the tuple is made for. Runs inside
/// `ffi::guard`.
pub unsafe fn same_tuple(stored: *mut pg_sys::TupleTableSlot, payload: pg_sys::HeapTuple) -> bool {
    /// Where a tuple's null bitmap begins (`SizeofHeapTupleHeader`).
    const BITMAP: usize = std::mem::offset_of!(pg_sys::HeapTupleHeaderData, t_bits);
    // SAFETY: the caller's promise; a heap tuple has as many bytes as it says.
    unsafe {
        let Some(tuple_of) = (*(*stored).tts_ops).get_heap_tuple else {
            return false;
        };
        let (stored, payload) = (&*tuple_of(stored), &*payload);
        let (a, b) = (stored.t_data, payload.t_data);
        let columns = |tuple: pg_sys::HeapTupleHeader| {
            u32::from((*tuple).t_infomask2) & pg_sys::HEAP_NATTS_MASK
        };
        let nulls =
            |tuple: pg_sys::HeapTupleHeader| u32::from((*tuple).t_infomask) & pg_sys::HEAP_HASNULL;
        stored.t_len == payload.t_len
            && (*a).t_hoff == (*b).t_hoff
            && columns(a) == columns(b)
            && nulls(a) == nulls(b)
            && {
                let bytes = |tuple: pg_sys::HeapTupleHeader| {
                    let length = stored.t_len as usize - BITMAP;
                    std::slice::from_raw_parts(tuple.cast::<u8>().add(BITMAP), length)
                };
                bytes(a) == bytes(b)
            }
    }
}

/// The first of the compared columns (by position) in which the payload differs
/// from the stored row, as an index into `compared`.
///
/// # Safety
/// Positions are those of `columns`. Runs inside `ffi::guard`, which `payload`
/// keeps to.
pub unsafe fn first_difference(
    columns: &[Column],
    compared: &[usize],
    stored: &StoredRow<'_>,
    payload: impl Fn(usize) -> Option<pg_sys::Datum>,
) -> Option<usize> {
    if leaves_out!("verification") {
        return None;
    }
    // SAFETY: the caller's promise.
    compared.iter().position(|c| unsafe {
        let values = &columns.get_unchecked(*c).values;
        !values.equal(stored.get_unguarded(*c), payload(*c))
    })
}
