//! Functions of the server that pgrx does not bind, by the header that each comes from. Nothing
//! checks these declarations but the eye: they are compared with the headers of all versions
//! that are built for.
use super::PartitionKeyData;
use pgrx::pg_sys::{self, Datum, Oid};
use std::ffi::{c_char, c_int, c_void};

type Walker = unsafe extern "C-unwind" fn(*mut pg_sys::Node, *mut c_void) -> bool;
/// `pg_locale_t`
#[cfg(not(feature = "pg15"))]
pub type Locale = *mut c_void;

// catalog/partition.h
unsafe extern "C-unwind" {
    pub fn index_get_partition(partition: pg_sys::Relation, index: Oid) -> Oid;
    pub fn get_partition_ancestors(relation: Oid) -> *mut pg_sys::List;
    pub fn get_partition_parent(relation: Oid, even_if_detached: bool) -> Oid;
}

// catalog/pg_inherits.h
unsafe extern "C-unwind" {
    pub fn has_superclass(relation: Oid) -> bool;
    pub fn find_all_inheritors(
        parent: Oid,
        lock: pg_sys::LOCKMODE,
        parents: *mut *mut pg_sys::List,
    ) -> *mut pg_sys::List;
}

// commands/sequence.h
unsafe extern "C-unwind" {
    pub fn nextval_internal(sequence: Oid, check_permissions: bool) -> i64;
}

// executor/tstoreReceiver.h
unsafe extern "C-unwind" {
    pub fn SetTuplestoreDestReceiverParams(
        receiver: *mut pg_sys::DestReceiver,
        store: *mut pg_sys::Tuplestorestate,
        memory: pg_sys::MemoryContext,
        detoast: bool,
        target: pg_sys::TupleDesc,
        map_failure: *const c_char,
    );
}

// nodes/nodeFuncs.h
unsafe extern "C-unwind" {
    #[cfg_attr(not(feature = "pg15"), link_name = "expression_tree_walker_impl")]
    pub fn expression_tree_walker(
        node: *mut pg_sys::Node,
        walker: Walker,
        context: *mut c_void,
    ) -> bool;
}

// utils/datum.h
unsafe extern "C-unwind" {
    pub fn datum_image_eq(a: Datum, b: Datum, by_value: bool, length: c_int) -> bool;
    pub fn datumCopy(value: Datum, by_value: bool, length: c_int) -> Datum;
}

// utils/multirangetypes.h
unsafe extern "C-unwind" {
    pub fn multirange_deserialize(
        entry: *mut pg_sys::TypeCacheEntry,
        multirange: *const pg_sys::varlena,
        count: *mut i32,
        ranges: *mut *mut *mut pg_sys::RangeType,
    );
}

// utils/partcache.h
unsafe extern "C-unwind" {
    pub fn RelationGetPartitionKey(rel: pg_sys::Relation) -> *mut PartitionKeyData;
    /// Calls IMMUTABLE functions of partition keys, as [`super::partition_key`] does.
    pub fn RelationGetPartitionQual(rel: pg_sys::Relation) -> *mut pg_sys::List;
}

// utils/pg_locale.h
unsafe extern "C-unwind" {
    #[cfg(not(feature = "pg15"))]
    pub fn pg_newlocale_from_collation(collation: Oid) -> Locale;
    /// Gives the length of the key, whatever `room` is.
    #[cfg(not(feature = "pg15"))]
    pub fn pg_strnxfrm(
        to: *mut c_char,
        room: usize,
        text: *const c_char,
        length: isize,
        locale: Locale,
    ) -> usize;
}
