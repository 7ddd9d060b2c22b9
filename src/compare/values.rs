//! What is asked of the values of columns: the part of the room that calls the server.
use crate::pg::ffi;
use crate::pg::value::comparison;
use crate::pg::value::sql_value::SqlValue;
use crate::pg::value::value_type::ValueType;
use crate::target::{Column, StoredRow};
use pgrx::pg_sys;
use std::cmp::Ordering;

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
        let values = &columns.get_unchecked(*c).values;
        !values.equal(stored.get_unguarded(*c), payload(*c))
    })
}

/// So many columns are compared under one guard.
const AT_ONCE: usize = 16;

/// The compared columns (by position) in which the payload differs from the
/// stored row.
///
/// # Panics
/// If a value is of another type than its column.
pub fn differing<'v>(
    columns: &[Column],
    compared: &[usize],
    stored: &StoredRow<'_>,
    payload: impl Fn(usize) -> SqlValue<'v>,
) -> Vec<usize> {
    let mut differing = Vec::new();
    for compared in compared.chunks(AT_ONCE) {
        // The caller's function may own things and may panic: it runs outside of the guard.
        let values: [_; AT_ONCE] = std::array::from_fn(|i| {
            let c = *compared.get(i)?;
            let column = &columns[c];
            let value = |value| column.values.datum_of(value);
            Some((column, value(stored.value(c)), value(payload(c))))
        });
        // SAFETY: values of these columns, as was checked; inside, nothing is owned and nothing
        // panics.
        let found = unsafe {
            ffi::guard(|| {
                values.iter().flatten().fold(0u32, |found, (column, a, b)| {
                    found << 1 | u32::from(!column.values.equal(*a, *b))
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

/// How values of a column are ordered: by the type's own order, or else by their bytes.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    typid: pg_sys::Oid,
    order: comparison::Order,
}

impl Order {
    /// The order of the values of a column.
    pub fn of(column: &Column) -> Self {
        Self::of_values(&column.values)
    }

    /// The order of the values of a type.
    pub fn of_values(values: &ValueType) -> Self {
        Self {
            typid: values.typid,
            order: comparison::Order::of(values.typid, values.base),
        }
    }

    /// Compares two values of the column. NULL comes before every value.
    ///
    /// # Panics
    /// If the column or a value is of another type.
    pub fn compare(self, column: &Column, a: SqlValue<'_>, b: SqlValue<'_>) -> Ordering {
        self.compare_values(&column.values, a, b)
    }

    /// Compares two values of a type, likewise.
    pub fn compare_values(self, values: &ValueType, a: SqlValue<'_>, b: SqlValue<'_>) -> Ordering {
        assert_eq!(self.typid, values.typid, "a column has another order");
        match (values.datum_of(a), values.datum_of(b)) {
            (None, None) => Ordering::Equal,
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            // SAFETY: non-null values of the type, whose order this is, as was checked; the
            // guard holds nothing.
            (Some(a), Some(b)) => unsafe { ffi::guard(|| values.compare(self.order, a, b)) },
        }
    }

    /// Compares two values that are not NULL.
    ///
    /// # Safety
    /// Values of the column, as the order is. Runs inside `ffi::guard`.
    pub unsafe fn compare_unguarded(
        self,
        column: &Column,
        a: pg_sys::Datum,
        b: pg_sys::Datum,
    ) -> Ordering {
        // SAFETY: the caller's promise.
        unsafe { column.values.compare(self.order, a, b) }
    }
}
