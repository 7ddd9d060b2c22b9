//! Equality and order of two column values, and what differs.
//!
//! This is the one judgement of the extension: all code that reports a duplicate or a
//! conflict asks here.
mod differences;
mod order;

pub use differences::{Arriving, Differences, show_value};
pub use order::Order;

use crate::pg::ffi;
use crate::target::{Column, Equality, StoredRow};
use pgrx::pg_sys;
use std::ffi::c_int;

/// Whether two values of a column are equal. NULL equals NULL.
///
/// # Safety
/// Both are values of the column's type. Runs inside `ffi::guard`.
pub unsafe fn equal(column: &Column, a: Option<pg_sys::Datum>, b: Option<pg_sys::Datum>) -> bool {
    let (a, b) = match (a, b) {
        (None, None) => return true,
        (Some(a), Some(b)) => (a, b),
        _ => return false,
    };
    // SAFETY: the functions are those of the column's type.
    unsafe {
        match column.equality {
            Equality::Function(function) => {
                ffi::unguarded::FunctionCall2Coll(function, column.collation, a, b).value() != 0
            }
            Equality::Image => same_image(column, a, b),
            // Equal texts first: a stored json may hold what jsonb refuses. Then it differs from
            // every other; an error would quote it to the sender of the payload.
            Equality::Json => {
                let refused = |value| column.refused_json(value).is_some();
                same_image(column, a, b)
                    || (!refused(a) && !refused(b) && equal_as_jsonb(column, a, b))
            }
        }
    }
}

/// # Safety
/// As [`equal`], and neither is NULL.
unsafe fn same_image(column: &Column, a: pg_sys::Datum, b: pg_sys::Datum) -> bool {
    let (by_value, length) = column.storage();
    // SAFETY: the caller's promise.
    unsafe { ffi::unguarded::datum_image_eq(a, b, by_value, c_int::from(length)) }
}

/// # Safety
/// As [`equal`], and neither is NULL; the column is a json.
unsafe fn equal_as_jsonb(column: &Column, a: pg_sys::Datum, b: pg_sys::Datum) -> bool {
    // SAFETY: both values are of the column's type, by the caller's promise, and `to_jsonb` gives
    // what `jsonb_eq` takes: documents in the current memory.
    unsafe {
        let (a, b) = (column.to_jsonb(a), column.to_jsonb(b));
        let equal = ffi::functions::jsonb_eq;
        ffi::unguarded::DirectFunctionCall2Coll(Some(equal), pg_sys::InvalidOid, a, b).value() != 0
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
    // SAFETY: the caller's promise.
    compared.iter().position(|c| unsafe {
        !equal(
            columns.get_unchecked(*c),
            stored.get_unguarded(*c),
            payload(*c),
        )
    })
}

/// So many columns are compared under one guard.
const AT_ONCE: usize = 16;

/// The compared columns (by position) in which the payload differs from the
/// stored row.
pub fn differing(
    columns: &[Column],
    compared: &[usize],
    stored: &StoredRow<'_>,
    payload: impl Fn(usize) -> Option<pg_sys::Datum>,
) -> Vec<usize> {
    let mut differing = Vec::new();
    for compared in compared.chunks(AT_ONCE) {
        // The caller's function may own things and may panic: it runs outside of the guard.
        let values: [_; AT_ONCE] = std::array::from_fn(|i| {
            let c = *compared.get(i)?;
            Some((&columns[c], stored.get(c), payload(c)))
        });
        // SAFETY: values of these columns; inside, nothing is owned and nothing panics.
        let found = unsafe {
            ffi::guard(|| {
                values.iter().flatten().fold(0u32, |found, (column, a, b)| {
                    found << 1 | u32::from(!equal(column, *a, *b))
                })
            })
        };
        // Almost always there is none.
        if found != 0 {
            let differs = |i: usize| found >> (compared.len() - 1 - i) & 1 != 0;
            differing.extend(
                (0..compared.len())
                    .filter(|i| differs(*i))
                    .map(|i| compared[i]),
            );
        }
    }
    differing
}
