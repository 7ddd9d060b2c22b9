//! Relations by oid. What is asked of an open one is with the relation itself.
use crate::pg::ffi;
use pgrx::pg_sys;
use std::ffi::CStr;

/// The kind of a relation (`pg_class.relkind`); 0 if it is gone.
pub fn kind(relation: pg_sys::Oid) -> u8 {
    // SAFETY: a look-up by number; what is gone has the kind NUL.
    unsafe { pg_sys::get_rel_relkind(relation) as u8 }
}

/// The number of a table's column of this name, in the server's encoding; 0 if there is none.
pub fn column_number(table: pg_sys::Oid, name: &CStr) -> pg_sys::AttrNumber {
    // SAFETY: a look-up by number and by a C string.
    unsafe { pg_sys::get_attnum(table, name.as_ptr()) }
}

/// Whether a plain table, which is there, is unlogged.
pub fn is_unlogged_table(relation: pg_sys::Oid) -> bool {
    // SAFETY: a look-up by number. Its error for a relation that has gone since the kind was
    // looked up becomes a panic here.
    kind(relation) == pg_sys::RELKIND_RELATION
        && unsafe { pg_sys::get_rel_persistence(relation) as u8 } == pg_sys::RELPERSISTENCE_UNLOGGED
}

/// Whether a relation inherits from another one, or is a partition.
pub fn has_parent(relation: pg_sys::Oid) -> bool {
    // SAFETY: a scan of a catalog by number; the guard holds nothing but that number.
    unsafe { ffi::guard(|| ffi::unguarded::has_superclass(relation)) }
}

/// The root of the partition tree that a table is in, itself if it is no partition or is gone.
/// A partition that is being detached counts as one until that is done.
///
/// # Errors
/// XX000, in core's words, if a partition has lost its parent meanwhile.
pub fn partition_root(table: pg_sys::Oid) -> pg_sys::Oid {
    // SAFETY: look-ups by number. What is gone is no partition; core raises an error, and does
    // not read on, where a partition has no parent.
    unsafe { ffi::partition_root(table) }
}

/// Whether events of AFTER triggers wait for a table in this transaction.
pub fn has_pending_triggers(table: pg_sys::Oid) -> bool {
    // SAFETY: core searches its own queues for a number.
    unsafe { pg_sys::AfterTriggerPendingOnRel(table) }
}
