//! What a function is declared with in `pg_proc`.
use crate::pg::catalog::syscache;
use pgrx::pg_sys;

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
        let found = syscache::find(function, |row| {
            let form: &pg_sys::FormData_pg_proc = row.form();
            Self {
                arguments: row.argument_types(),
                result: form.prorettype,
            }
        });
        found.unwrap_or(Self {
            arguments: Vec::new(),
            result: pg_sys::InvalidOid,
        })
    }
}
