//! Values of variable length, and the images of values.
use crate::pg::ffi;
use pgrx::pg_sys;
use std::slice;

/// The content of a bytea, or of another varlena, in memory of Rust's.
///
/// # Safety
/// The datum is a non-null varlena.
pub unsafe fn bytes_of_datum(datum: pg_sys::Datum) -> Vec<u8> {
    // SAFETY: the caller's promise. What was fetched for the copy is freed, once.
    unsafe {
        let value = datum.cast_mut_ptr::<pg_sys::varlena>();
        let whole = pg_sys::pg_detoast_datum_packed(value);
        let bytes = content_of(pg_sys::Datum::from(whole)).to_vec();
        if !std::ptr::eq(whole, value) {
            pg_sys::pfree(whole.cast());
        }
        bytes
    }
}

/// The content of a varlena that is not toasted.
///
/// # Safety
/// The datum is a varlena, neither compressed nor outside of its row, that outlives `'d`.
#[inline]
pub unsafe fn content_of<'d>(datum: pg_sys::Datum) -> &'d [u8] {
    // SAFETY: the caller's promise: behind its header it has as many bytes as that says.
    unsafe {
        let value = datum.cast_mut_ptr::<pg_sys::varlena>();
        slice::from_raw_parts(
            pgrx::varlena::vardata_any(value).cast::<u8>(),
            pgrx::varlena::varsize_any_exhdr(value),
        )
    }
}

/// The content of a varlena, detoasted in the current memory if need be.
///
/// # Safety
/// The datum is a varlena that outlives `'d`, as does the current memory. Runs inside
/// `ffi::guard`.
#[inline]
pub unsafe fn packed_content_of<'d>(datum: pg_sys::Datum) -> &'d [u8] {
    // SAFETY: the caller's promise.
    unsafe {
        let value = ffi::unguarded::pg_detoast_datum_packed(datum.cast_mut_ptr());
        content_of(pg_sys::Datum::from(value))
    }
}

/// Whether two varlenas have the same content, however they are stored.
///
/// # Safety
/// Both are non-null varlenas.
pub unsafe fn same_image(a: pg_sys::Datum, b: pg_sys::Datum) -> bool {
    // SAFETY: the caller's promise; the guard holds nothing but two words.
    unsafe { ffi::guard(|| ffi::unguarded::datum_image_eq(a, b, false, -1)) }
}
