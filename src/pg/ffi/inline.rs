//! Inline functions and macros of the server's headers, which nothing can bind: lists, interrupts,
//! columns of descriptors and slots.
use super::unguarded;
use pgrx::pg_sys;
use std::ffi::c_int;

/// The members of a list of pointers.
///
/// # Safety
/// The list is null, or one of pointers to `T`, and stays as it is meanwhile.
pub unsafe fn members<T>(list: *mut pg_sys::List) -> impl Iterator<Item = *mut T> {
    // SAFETY: the caller's promise.
    let length = unsafe { list.as_ref() }.map_or(0, |list| list.length as usize);
    // SAFETY: within the length that the list had, and by the caller's promise still has.
    (0..length).map(move |i| unsafe { (*(*list).elements.add(i)).ptr_value.cast() })
}

/// The member with this number, from 1, as indexes into range tables count; none has 0.
///
/// # Safety
/// As [`members`].
pub unsafe fn member<T>(list: *mut pg_sys::List, number: pg_sys::Index) -> Option<*mut T> {
    let place = (number as usize).checked_sub(1)?;
    // SAFETY: the caller's promise.
    unsafe { members(list).nth(place) }
}

/// The members of a list of oids, which is freed.
///
/// # Safety
/// The list is null, or one of oids, and ours.
pub unsafe fn oids(list: *mut pg_sys::List) -> Vec<pg_sys::Oid> {
    if list.is_null() {
        return Vec::new();
    }
    // SAFETY: the caller's promise: it has as many members as its length says, and nobody else
    // frees it.
    unsafe {
        let oids = (0..(*list).length as usize)
            .map(|i| (*(*list).elements.add(i)).oid_value)
            .collect();
        pg_sys::list_free(list);
        oids
    }
}

/// Deforms a slot's row up to this many columns, as core's inline `slot_getsomeattrs`: a row
/// without columns, or one that is deformed already, is left as it is.
///
/// # Safety
/// The slot holds a row. Runs inside [`guard`](super::guard).
#[inline]
pub unsafe fn slot_getsomeattrs_unguarded(slot: *mut pg_sys::TupleTableSlot, columns: c_int) {
    // SAFETY: the caller's promise.
    unsafe {
        if c_int::from((*slot).tts_nvalid) < columns {
            unguarded::slot_getsomeattrs_int(slot, columns);
        }
    }
}

/// Empties a slot, as core's inline `ExecClearTuple`.
///
/// # Safety
/// A valid slot. Runs inside [`guard`](super::guard).
#[inline]
pub unsafe fn exec_clear_tuple_unguarded(slot: *mut pg_sys::TupleTableSlot) {
    // SAFETY: the caller's promise; every kind of slot has this method.
    unsafe { (*(*slot).tts_ops).clear.unwrap_unchecked()(slot) };
}

/// The transaction that wrote the row in a slot.
///
/// # Safety
/// The slot holds a row of a table. Runs inside [`guard`](super::guard).
pub unsafe fn slot_xmin_unguarded(slot: *mut pg_sys::TupleTableSlot) -> pg_sys::TransactionId {
    let mut null = false;
    let number = pg_sys::MinTransactionIdAttributeNumber;
    // SAFETY: the caller's promise; every kind of slot has this method, as core's inline
    // `slot_getsysattr` calls it.
    unsafe {
        let read = (*(*slot).tts_ops).getsysattr.unwrap_unchecked();
        pg_sys::TransactionId::from(read(slot, number, &raw mut null).value() as u32)
    }
}

/// Serves an interrupt if one is waiting, as `CHECK_FOR_INTERRUPTS` does.
///
/// # Safety
/// Runs inside [`guard`](super::guard).
#[inline(always)]
pub unsafe fn check_for_interrupts_unguarded() {
    // SAFETY: reads a flag of the backend's; by the caller's promise there is a guard around,
    // which the ERROR of an interrupt jumps to.
    unsafe {
        if pg_sys::InterruptPending != 0 {
            unguarded::ProcessInterrupts();
        }
    }
}

/// Column `i` (from 0) of a row descriptor.
///
/// # Safety
/// `desc` is valid, and has such a column.
pub unsafe fn attribute<'a>(
    desc: pg_sys::TupleDesc,
    i: c_int,
) -> &'a pg_sys::FormData_pg_attribute {
    // SAFETY: the caller's promise.
    unsafe {
        // As core's inline `TupleDescAttr`: the rows of `pg_attribute` come after a short form of
        // each.
        #[cfg(feature = "pg18")]
        {
            let short = (*desc).compact_attrs.as_ptr();
            let rows = short
                .add((*desc).natts as usize)
                .cast::<pg_sys::FormData_pg_attribute>();
            &*rows.add(i as usize)
        }
        #[cfg(not(feature = "pg18"))]
        return &*(*desc).attrs.as_ptr().add(i as usize);
    }
}
