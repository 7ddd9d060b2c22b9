//! Names of the catalogs.
use crate::pg::ffi::functions::namein;
use crate::text::to_server;
use pgrx::pg_sys;
use std::ffi::CStr;

/// A name datum, in the current context.
pub fn to_name(name: &str) -> pg_sys::Datum {
    to_name_datum(&to_server(name))
}

/// That of a text in the server's encoding. What is too long is cut.
pub fn to_name_datum(name: &CStr) -> pg_sys::Datum {
    // SAFETY: core's input function for names, which copies.
    unsafe {
        pg_sys::DirectFunctionCall1Coll(
            Some(namein),
            pg_sys::InvalidOid,
            pg_sys::Datum::from(name.as_ptr()),
        )
    }
}
