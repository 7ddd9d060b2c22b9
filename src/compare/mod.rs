//! Equality of two column values, and what differs.
//!
//! This is the one judgement of the extension: whoever reports a duplicate or a
//! conflict asks here.
mod differences;

pub use differences::Differences;

use crate::pg::ffi;
use crate::target::{Column, Equality, StoredRow};
use pgrx::pg_sys;
use std::ffi::c_int;

/// Whether two values of a column are equal. NULL equals NULL.
pub fn equal(column: &Column, a: Option<pg_sys::Datum>, b: Option<pg_sys::Datum>) -> bool {
    let (a, b) = match (a, b) {
        (None, None) => return true,
        (Some(a), Some(b)) => (a, b),
        _ => return false,
    };
    // SAFETY: both are non-null values of the column's type, and the functions
    // are that type's.
    unsafe {
        match column.equality {
            Equality::Function(function) => {
                pg_sys::FunctionCall2Coll(function, column.collation, a, b).value() != 0
            }
            Equality::Image => same_image(column, a, b),
            // Equal texts first: a stored json may hold what jsonb refuses.
            Equality::Json => same_image(column, a, b) || equal_as_jsonb(column, a, b),
        }
    }
}

/// # Safety
/// Both are non-null values of the column's type.
unsafe fn same_image(column: &Column, a: pg_sys::Datum, b: pg_sys::Datum) -> bool {
    let (by_value, length) = column.storage();
    // SAFETY: the caller's promise.
    unsafe { ffi::datum_image_eq(a, b, by_value, c_int::from(length)) }
}

/// # Safety
/// Both are non-null values of a json column.
unsafe fn equal_as_jsonb(column: &Column, a: pg_sys::Datum, b: pg_sys::Datum) -> bool {
    // SAFETY: core's to_jsonb and jsonb_eq.
    unsafe {
        let (a, b) = (column.to_jsonb(a), column.to_jsonb(b));
        pg_sys::DirectFunctionCall2Coll(Some(ffi::functions::jsonb_eq), pg_sys::InvalidOid, a, b)
            .value()
            != 0
    }
}

/// The compared columns (by position) in which the payload differs from the
/// stored row.
pub fn differing(
    columns: &[Column],
    compared: &[usize],
    stored: &StoredRow<'_>,
    payload: impl Fn(usize) -> Option<pg_sys::Datum>,
) -> Vec<usize> {
    compared
        .iter()
        .copied()
        .filter(|c| !equal(&columns[*c], stored.get(*c), payload(*c)))
        .collect()
}
