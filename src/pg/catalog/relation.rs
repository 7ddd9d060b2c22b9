//! Relations by oid. What is asked of an open one is with the relation itself.
use crate::pg::ffi::plain;
use pgrx::pg_sys;
use std::ffi::{CStr, CString};

pub use crate::pg::ffi::partition_root;

/// The kind of a relation (`pg_class.relkind`); 0 if it is gone.
pub fn kind(relation: pg_sys::Oid) -> u8 {
    plain::get_rel_relkind(relation) as u8
}

/// Whether a table, or what else has columns, has this number.
pub fn relation_exists(relation: pg_sys::Oid) -> bool {
    kind(relation) != 0
}

/// Whether there is a database with this number.
pub fn database_exists(database: pg_sys::Oid) -> bool {
    plain::get_database_name(database).is_some()
}

/// Whether a table or view is a temporary one.
///
/// # Errors
/// XX000 if there is none with this number.
pub fn is_temporary(relation: pg_sys::Oid) -> bool {
    plain::get_rel_persistence(relation) as u8 == pg_sys::RELPERSISTENCE_TEMP
}

/// The oid of a relation's schema; `InvalidOid` if the relation is gone.
pub fn schema(relation: pg_sys::Oid) -> pg_sys::Oid {
    plain::get_rel_namespace(relation)
}

/// Whether a plain table, which is there, is unlogged.
///
/// # Errors
/// XX000 if it goes meanwhile.
pub fn is_unlogged_table(relation: pg_sys::Oid) -> bool {
    kind(relation) == pg_sys::RELKIND_RELATION
        && plain::get_rel_persistence(relation) as u8 == pg_sys::RELPERSISTENCE_UNLOGGED
}

/// Whether a relation inherits from another one, or is a partition.
pub fn has_parent(relation: pg_sys::Oid) -> bool {
    plain::has_superclass(relation)
}

/// The relation of this name in the schema of another one; invalid if there is none.
pub fn relation_beside(relation: pg_sys::Oid, name: &CStr) -> pg_sys::Oid {
    plain::get_relname_relid(name, plain::get_rel_namespace(relation))
}

/// The number of a relation's column of this name, in the server's encoding; 0 if there is none.
pub fn column_number(relation: pg_sys::Oid, name: &CStr) -> pg_sys::AttrNumber {
    plain::get_attnum(relation, name)
}

/// The name of a relation's column, in the server's encoding; None if there is none.
pub fn column_name(relation: pg_sys::Oid, number: pg_sys::AttrNumber) -> Option<CString> {
    plain::get_attname(relation, number, true)
}

/// Whether events of AFTER triggers wait for a table in this transaction.
pub fn has_pending_triggers(table: pg_sys::Oid) -> bool {
    plain::AfterTriggerPendingOnRel(table)
}

/// The next number of a sequence, whatever rights the caller has on it.
///
/// # Errors
/// 42P01 or 42809 for what is no sequence, 2200H at its end.
pub fn next_number(sequence: pg_sys::Oid) -> i64 {
    plain::nextval_internal(sequence, false)
}
