//! Arrays of texts, to the server and from it.
use crate::pg::value::text;
use pgrx::pg_sys;
use std::ffi::c_int;
use std::ptr;

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
            pg_sys::TYPALIGN_INT as std::ffi::c_char,
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
            pg_sys::TYPALIGN_INT as std::ffi::c_char,
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
