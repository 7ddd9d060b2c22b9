//! What a function is declared with in `pg_proc`.
use pgrx::pg_sys;
use std::ffi::c_int;

/// The types of a function's arguments, and of its result.
pub struct Declaration {
    /// Of the arguments, in their order.
    pub arguments: Vec<pg_sys::Oid>,
    /// Of the result.
    pub result: pg_sys::Oid,
}

impl Declaration {
    /// That of a function; without arguments, and of no result, if it does not exist.
    pub fn of(function: pg_sys::Oid) -> Self {
        // SAFETY: a look-up in the catalog; the row is read before it is released, and has as
        // many types as it says.
        unsafe {
            let id = pg_sys::SysCacheIdentifier::PROCOID as c_int;
            let row = pg_sys::SearchSysCache1(id, pg_sys::Datum::from(function));
            if row.is_null() {
                return Self {
                    arguments: Vec::new(),
                    result: pg_sys::InvalidOid,
                };
            }
            let form = &*pg_sys::GETSTRUCT(row).cast::<pg_sys::FormData_pg_proc>();
            let count = form.pronargs as usize;
            let declaration = Self {
                arguments: form.proargtypes.values.as_slice(count).to_vec(),
                result: form.prorettype,
            };
            pg_sys::ReleaseSysCache(row);
            declaration
        }
    }
}
