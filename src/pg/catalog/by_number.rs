//! Relations by their numbers: look-ups, and numbers of sequences.
use crate::pg::ffi;
use pgrx::pg_sys;
use std::ffi::CStr;

/// Whether a table, or what else has columns, has this number.
pub fn relation_exists(relation: pg_sys::Oid) -> bool {
    // SAFETY: a look-up in the catalogs, which takes any number.
    unsafe { !pg_sys::get_rel_name(relation).is_null() }
}

/// Whether a table or view is a temporary one.
///
/// # Errors
/// XX000 if there is none with this number.
pub fn is_temporary(relation: pg_sys::Oid) -> bool {
    // SAFETY: a look-up in the catalogs, which takes any number.
    let persistence = unsafe { pg_sys::get_rel_persistence(relation) };
    persistence as u8 == pg_sys::RELPERSISTENCE_TEMP
}

/// The relation of this name in the schema of another one; invalid if there is none.
pub fn relation_beside(relation: pg_sys::Oid, name: &CStr) -> pg_sys::Oid {
    // SAFETY: look-ups in the catalogs, which take any number and any name.
    unsafe {
        let schema = pg_sys::get_rel_namespace(relation);
        pg_sys::get_relname_relid(name.as_ptr(), schema)
    }
}

/// The next number of a sequence, whatever rights the caller has on it.
///
/// # Errors
/// 42P01 or 42809 for what is no sequence, 2200H at its end.
pub fn next_number(sequence: pg_sys::Oid) -> i64 {
    // SAFETY: core opens the sequence by its number, and raises an error for what is none; the
    // guard holds nothing that needs dropping.
    unsafe { ffi::guard(|| ffi::unguarded::nextval_internal(sequence, false)) }
}
