//! What a function is declared with in `pg_proc`.
use crate::pg::catalog::syscache;
use pgrx::pg_sys;

/// The types of a function's arguments, and of its result.
pub struct Declaration {
    function: pg_sys::Oid,
    arguments: Vec<pg_sys::Oid>,
    result: pg_sys::Oid,
}

impl Declaration {
    /// That of a function; without arguments, and of no result, if it does not exist.
    pub fn of(function: pg_sys::Oid) -> Self {
        let found = syscache::find(function, |row| {
            let form: &pg_sys::FormData_pg_proc = row.form();
            Self {
                function,
                arguments: row.argument_types(),
                result: form.prorettype,
            }
        });
        found.unwrap_or(Self {
            function,
            arguments: Vec::new(),
            result: pg_sys::InvalidOid,
        })
    }

    /// The type of an argument; None without such an argument.
    pub fn argument(&self, i: usize) -> Option<pg_sys::Oid> {
        self.arguments.get(i).copied()
    }

    /// The type of the result.
    pub fn result(&self) -> pg_sys::Oid {
        self.result
    }

    /// The function that is declared so.
    pub fn function(&self) -> pg_sys::Oid {
        self.function
    }
}
