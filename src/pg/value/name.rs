//! Names of the catalogs.
use crate::pg::ffi::functions::namein;
use crate::text::to_server;
use pgrx::pg_sys;

/// A name datum, in the current context.
pub fn to_name(name: &str) -> pg_sys::Datum {
    let name = to_server(name);
    // SAFETY: core's input function for names, which copies.
    unsafe {
        pg_sys::DirectFunctionCall1Coll(
            Some(namein),
            pg_sys::InvalidOid,
            pg_sys::Datum::from(name.as_ptr()),
        )
    }
}
