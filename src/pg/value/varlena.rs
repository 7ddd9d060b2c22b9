//! Values of variable length: bytea, arrays of texts, and what else is laid out as one.
use crate::pg::ffi;
use crate::pg::value::text;
use pgrx::pg_sys;
use std::ffi::{c_char, c_int};
use std::{ptr, slice};

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

/// A bytea, in the current context.
pub fn to_bytea(bytes: &[u8]) -> pg_sys::Datum {
    // SAFETY: as many bytes as are copied; a bytea is laid out as a text.
    unsafe {
        let bytea = pg_sys::cstring_to_text_with_len(bytes.as_ptr().cast(), bytes.len() as i32);
        pg_sys::Datum::from(bytea)
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

/// A text[] of the server.
pub fn text_array(texts: &[String]) -> pg_sys::Datum {
    // SAFETY: texts of the server, in an array that core copies.
    unsafe {
        let mut elements: Vec<pg_sys::Datum> = texts
            .iter()
            .map(|text| text::to_server(text))
            .map(|text| pg_sys::Datum::from(pg_sys::cstring_to_text(text.as_ptr())))
            .collect();
        pg_sys::Datum::from(pg_sys::construct_array(
            elements.as_mut_ptr(),
            elements.len() as c_int,
            pg_sys::TEXTOID,
            -1,
            false,
            pg_sys::TYPALIGN_INT as c_char,
        ))
    }
}

/// The members of an array of texts.
///
/// # Safety
/// `datum` is a non-null text[].
pub unsafe fn texts_of_datum(datum: pg_sys::Datum) -> Vec<Option<String>> {
    // SAFETY: the caller's promise; core allocates both arrays with `count`
    // members.
    unsafe {
        let array = pg_sys::pg_detoast_datum(datum.cast_mut_ptr()).cast::<pg_sys::ArrayType>();
        let (mut elements, mut nulls, mut count) = (ptr::null_mut(), ptr::null_mut(), 0 as c_int);
        pg_sys::deconstruct_array(
            array,
            pg_sys::TEXTOID,
            -1,
            false,
            pg_sys::TYPALIGN_INT as c_char,
            &raw mut elements,
            &raw mut nulls,
            &raw mut count,
        );
        (0..count as usize)
            .map(|i| {
                pgrx::check_for_interrupts!();
                (!*nulls.add(i)).then(|| text::from_datum(*elements.add(i)))
            })
            .collect()
    }
}
