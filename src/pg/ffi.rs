//! Functions of the server that pgrx 0.18.1 does not bind.
//!
//! They are declared without pgrx's guard, so each is wrapped here in
//! `pg_guard_ffi_boundary`, which turns an ERROR into a panic.
use pgrx::pg_sys;
use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;
use std::ffi::c_int;

mod unguarded {
    use pgrx::pg_sys;
    use std::ffi::c_int;
    unsafe extern "C-unwind" {
        pub fn datum_image_eq(
            value1: pg_sys::Datum,
            value2: pg_sys::Datum,
            typByVal: bool,
            typLen: c_int,
        ) -> bool;
        pub fn RelationGetPartitionKey(rel: pg_sys::Relation) -> *mut super::PartitionKeyData;
        pub fn index_get_partition(
            partition: pg_sys::Relation,
            indexId: pg_sys::Oid,
        ) -> pg_sys::Oid;
    }
}

/// SQL functions by their C names, to be called through `DirectFunctionCall…`,
/// which is guarded.
pub mod functions {
    use pgrx::pg_sys::{Datum, FunctionCallInfo};
    unsafe extern "C-unwind" {
        /// `=` of jsonb.
        pub fn jsonb_eq(fcinfo: FunctionCallInfo) -> Datum;
        /// Output of numeric.
        pub fn numeric_out(fcinfo: FunctionCallInfo) -> Datum;
        /// Input of name.
        pub fn namein(fcinfo: FunctionCallInfo) -> Datum;
    }
}

/// Column `i` (from 0) of a row descriptor.
///
/// # Safety
/// `desc` is valid, and has such a column.
pub unsafe fn attribute<'a>(
    desc: pg_sys::TupleDesc,
    i: c_int,
) -> &'a pg_sys::FormData_pg_attribute {
    // SAFETY: the caller's promise.
    unsafe {
        #[cfg(feature = "pg18")]
        return &*pg_sys::TupleDescAttr(desc, i);
        #[cfg(not(feature = "pg18"))]
        return &*(*desc).attrs.as_ptr().add(i as usize);
    }
}

/// `PartitionKeyData` of `partcache.h`, which pgrx binds as an opaque type.
#[repr(C)]
pub struct PartitionKeyData {
    /// `h`, `l` or `r`.
    #[cfg(feature = "pg15")]
    pub strategy: std::ffi::c_char,
    /// `h`, `l` or `r`.
    #[cfg(not(feature = "pg15"))]
    pub strategy: std::ffi::c_uint,
    /// How many columns the key has.
    pub partnatts: i16,
    /// Their numbers; 0 for an expression.
    pub partattrs: *mut pg_sys::AttrNumber,
    partexprs: *mut pg_sys::List,
    partopfamily: *mut pg_sys::Oid,
    partopcintype: *mut pg_sys::Oid,
    /// Support functions, for the searches within bounds.
    pub partsupfunc: *mut pg_sys::FmgrInfo,
    /// Collations, likewise.
    pub partcollation: *mut pg_sys::Oid,
}

/// Whether two values are the same bytes once detoasted (`datum.c`).
///
/// # Safety
/// Both are valid, non-null values of a type with this storage.
pub unsafe fn datum_image_eq(
    value1: pg_sys::Datum,
    value2: pg_sys::Datum,
    by_value: bool,
    length: c_int,
) -> bool {
    // SAFETY: the caller's promise; the closure holds nothing to drop.
    unsafe { pg_guard_ffi_boundary(|| unguarded::datum_image_eq(value1, value2, by_value, length)) }
}

/// The partition key of a partitioned table (`partcache.c`).
///
/// # Safety
/// `rel` is an open partitioned table.
pub unsafe fn partition_key(rel: pg_sys::Relation) -> *mut PartitionKeyData {
    // SAFETY: as above.
    unsafe { pg_guard_ffi_boundary(|| unguarded::RelationGetPartitionKey(rel)) }
}

/// The index of `partition` that belongs to its parent's `index`, or
/// `InvalidOid` (`catalog/partition.c`).
///
/// # Safety
/// `partition` is an open relation.
pub unsafe fn index_get_partition(partition: pg_sys::Relation, index: pg_sys::Oid) -> pg_sys::Oid {
    // SAFETY: as above.
    unsafe { pg_guard_ffi_boundary(|| unguarded::index_get_partition(partition, index)) }
}
