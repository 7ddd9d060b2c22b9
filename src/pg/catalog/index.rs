//! Indexes, by their rows of `pg_index`: nothing that they contain is evaluated.
use crate::pg::catalog::syscache;
use crate::pg::ffi::plain;
use pgrx::pg_sys;

/// What there is to say of an index.
pub struct IndexShape {
    /// Whether it refuses rows, or has expressions or a predicate.
    pub more_than_plain: bool,
    /// Whether it is a constraint's.
    pub of_constraint: bool,
    /// The operator classes of its columns.
    pub classes: Vec<pg_sys::Oid>,
}

impl IndexShape {
    /// That of an index; None if it is gone.
    pub fn find(index: pg_sys::Oid) -> Option<Self> {
        syscache::find(index, |row| {
            let form: &pg_sys::FormData_pg_index = row.form();
            Self {
                more_than_plain: form.indisunique
                    || form.indisexclusion
                    || row.has_expressions()
                    || row.has_predicate(),
                of_constraint: has_constraint(index),
                classes: row.classes(),
            }
        })
    }
}

/// Whether an index is a constraint's.
pub fn has_constraint(index: pg_sys::Oid) -> bool {
    plain::get_index_constraint(index) != pg_sys::InvalidOid
}
