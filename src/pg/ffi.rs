//! Functions of the server that pgrx 0.18.1 does not bind, and unguarded ones
//! for inner loops.
//!
//! pgrx guards every call into the server with a `sigsetjmp`, some 20 ns. Where
//! a row costs a dozen calls that is a fifth of its time, so the inner loops
//! call the [`unguarded`] functions inside one [`guard`].
use pgrx::pg_sys;
use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;
use std::ffi::c_int;

/// Runs a piece of an inner loop under one guard: an ERROR inside becomes a
/// panic outside.
///
/// # Safety
/// An ERROR jumps straight out of `work`, so nothing in it, or in what it calls,
/// may own anything that needs dropping; and it must not panic.
#[inline(always)]
pub unsafe fn guard<R>(work: impl FnOnce() -> R) -> R {
    // SAFETY: the caller's promise.
    unsafe { pg_guard_ffi_boundary(work) }
}

/// Declared without pgrx's guard; to be called inside [`guard`] only.
pub mod unguarded {
    use pgrx::pg_sys::{self, Datum, FunctionCallInfo, Oid};
    use std::ffi::{c_char, c_int, c_void};

    type Function = unsafe extern "C-unwind" fn(FunctionCallInfo) -> Datum;
    type Walker = unsafe extern "C-unwind" fn(*mut pg_sys::Node, *mut c_void) -> bool;
    /// `pg_locale_t`
    #[cfg(not(feature = "pg15"))]
    pub type Locale = *mut c_void;
    type Checker = unsafe extern "C-unwind" fn(Oid, *mut c_void) -> bool;

    unsafe extern "C-unwind" {
        #[cfg_attr(not(feature = "pg15"), link_name = "expression_tree_walker_impl")]
        pub fn expression_tree_walker(
            node: *mut pg_sys::Node,
            walker: Walker,
            context: *mut c_void,
        ) -> bool;
        pub fn check_functions_in_node(
            node: *mut pg_sys::Node,
            checker: Checker,
            context: *mut c_void,
        ) -> bool;
        pub fn datum_image_eq(a: Datum, b: Datum, by_value: bool, length: c_int) -> bool;
        pub fn datumCopy(value: Datum, by_value: bool, length: c_int) -> Datum;
        pub fn RelationGetPartitionKey(rel: pg_sys::Relation) -> *mut super::PartitionKeyData;
        /// Calls IMMUTABLE functions of partition keys, as [`super::partition_key`] does.
        pub fn RelationGetPartitionQual(rel: pg_sys::Relation) -> *mut pg_sys::List;
        pub fn index_get_partition(partition: pg_sys::Relation, index: Oid) -> Oid;

        pub fn ProcessInterrupts();
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
        pub fn palloc(size: usize) -> *mut c_void;
        pub fn palloc0(size: usize) -> *mut c_void;
        pub fn lappend(list: *mut pg_sys::List, datum: *mut c_void) -> *mut pg_sys::List;
        pub fn bms_add_member(set: *mut pg_sys::Bitmapset, member: c_int)
        -> *mut pg_sys::Bitmapset;
        pub fn pnstrdup(text: *const c_char, length: usize) -> *mut c_char;
        pub fn cstring_to_text_with_len(text: *const c_char, length: c_int)
        -> *mut pg_sys::varlena;
        pub fn SetTuplestoreDestReceiverParams(
            receiver: *mut pg_sys::DestReceiver,
            store: *mut pg_sys::Tuplestorestate,
            memory: pg_sys::MemoryContext,
            detoast: bool,
            target: pg_sys::TupleDesc,
            map_failure: *const c_char,
        );
        pub fn pushJsonbValue(
            state: *mut *mut pg_sys::JsonbParseState,
            token: pg_sys::JsonbIteratorToken::Type,
            value: *mut pg_sys::JsonbValue,
        ) -> *mut pg_sys::JsonbValue;
        pub fn detoast_external_attr(datum: *mut pg_sys::varlena) -> *mut pg_sys::varlena;
        pub fn pg_detoast_datum(datum: *mut pg_sys::varlena) -> *mut pg_sys::varlena;
        pub fn check_stack_depth();
        pub fn heap_deform_tuple(
            tuple: pg_sys::HeapTuple,
            desc: pg_sys::TupleDesc,
            values: *mut Datum,
            nulls: *mut bool,
        );
        pub fn deconstruct_array(
            array: *mut pg_sys::ArrayType,
            element: Oid,
            length: c_int,
            by_value: bool,
            align: c_char,
            values: *mut *mut Datum,
            nulls: *mut *mut bool,
            count: *mut c_int,
        );
        pub fn range_deserialize(
            entry: *mut pg_sys::TypeCacheEntry,
            range: *const pg_sys::RangeType,
            lower: *mut pg_sys::RangeBound,
            upper: *mut pg_sys::RangeBound,
            empty: *mut bool,
        );
        pub fn multirange_deserialize(
            entry: *mut pg_sys::TypeCacheEntry,
            multirange: *const pg_sys::varlena,
            count: *mut i32,
            ranges: *mut *mut *mut pg_sys::RangeType,
        );
        pub fn pg_server_to_any(text: *const c_char, length: c_int, encoding: c_int)
        -> *mut c_char;
        pub fn pg_detoast_datum_packed(datum: *mut pg_sys::varlena) -> *mut pg_sys::varlena;
        pub fn int64_to_numeric(value: i64) -> pg_sys::Numeric;
        pub fn OutputFunctionCall(function: *mut pg_sys::FmgrInfo, value: Datum) -> *mut c_char;
        pub fn JsonbValueToJsonb(value: *mut pg_sys::JsonbValue) -> *mut pg_sys::Jsonb;
        pub fn JsonbToCString(
            out: pg_sys::StringInfo,
            container: *mut pg_sys::JsonbContainer,
            length: c_int,
        ) -> *mut c_char;
        pub fn InputFunctionCall(
            function: *mut pg_sys::FmgrInfo,
            text: *mut c_char,
            parameter: Oid,
            typmod: i32,
        ) -> Datum;
        pub fn DirectFunctionCall1Coll(function: Function, collation: Oid, a: Datum) -> Datum;
        pub fn DirectFunctionCall2Coll(
            function: Function,
            collation: Oid,
            a: Datum,
            b: Datum,
        ) -> Datum;
        pub fn FunctionCall1Coll(
            function: *mut pg_sys::FmgrInfo,
            collation: Oid,
            a: Datum,
        ) -> Datum;
        pub fn initArrayResult(
            element: Oid,
            memory: pg_sys::MemoryContext,
            own_memory: bool,
        ) -> *mut pg_sys::ArrayBuildState;
        pub fn accumArrayResult(
            state: *mut pg_sys::ArrayBuildState,
            value: Datum,
            null: bool,
            element: Oid,
            memory: pg_sys::MemoryContext,
        ) -> *mut pg_sys::ArrayBuildState;
        pub fn makeMdArrayResult(
            state: *mut pg_sys::ArrayBuildState,
            dimensions: c_int,
            lengths: *mut c_int,
            bounds: *mut c_int,
            memory: pg_sys::MemoryContext,
            release: bool,
        ) -> Datum;
        pub fn heap_form_tuple(
            desc: pg_sys::TupleDesc,
            values: *const Datum,
            nulls: *const bool,
        ) -> pg_sys::HeapTuple;
        pub fn HeapTupleHeaderGetDatum(tuple: pg_sys::HeapTupleHeader) -> Datum;
        pub fn domain_check(
            value: Datum,
            null: bool,
            domain: Oid,
            extra: *mut *mut c_void,
            memory: pg_sys::MemoryContext,
        );
        pub fn GetUserId() -> Oid;
        #[cfg(feature = "pg15")]
        pub fn pg_proc_aclcheck(
            function: Oid,
            role: Oid,
            mode: pg_sys::AclMode,
        ) -> pg_sys::AclResult::Type;
        #[cfg(not(feature = "pg15"))]
        pub fn object_aclcheck(
            class: Oid,
            object: Oid,
            role: Oid,
            mode: pg_sys::AclMode,
        ) -> pg_sys::AclResult::Type;
        pub fn aclcheck_error(
            result: pg_sys::AclResult::Type,
            kind: pg_sys::ObjectType::Type,
            name: *const c_char,
        );
        pub fn get_func_name(function: Oid) -> *mut c_char;
        pub fn FunctionCall2Coll(
            function: *mut pg_sys::FmgrInfo,
            collation: Oid,
            a: Datum,
            b: Datum,
        ) -> Datum;
        pub fn index_rescan(
            scan: pg_sys::IndexScanDesc,
            keys: *mut pg_sys::ScanKeyData,
            nkeys: c_int,
            orderbys: *mut pg_sys::ScanKeyData,
            norderbys: c_int,
        );
        pub fn index_getnext_tid(
            scan: pg_sys::IndexScanDesc,
            direction: pg_sys::ScanDirection::Type,
        ) -> pg_sys::ItemPointer;
        pub fn index_fetch_heap(
            scan: pg_sys::IndexScanDesc,
            slot: *mut pg_sys::TupleTableSlot,
        ) -> bool;
        pub fn LockAcquire(
            tag: *const pg_sys::LOCKTAG,
            mode: pg_sys::LOCKMODE,
            session: bool,
            dont_wait: bool,
        ) -> pg_sys::LockAcquireResult::Type;
        pub fn LockRelease(
            tag: *const pg_sys::LOCKTAG,
            mode: pg_sys::LOCKMODE,
            session: bool,
        ) -> bool;
        pub fn nextval_internal(sequence: Oid, check_permissions: bool) -> i64;
        pub fn get_partition_ancestors(relation: Oid) -> *mut pg_sys::List;
        pub fn get_partition_parent(relation: Oid, even_if_detached: bool) -> Oid;
        pub fn has_superclass(relation: Oid) -> bool;
        pub fn find_all_inheritors(
            parent: Oid,
            lock: pg_sys::LOCKMODE,
            parents: *mut *mut pg_sys::List,
        ) -> *mut pg_sys::List;
        pub fn slot_getsomeattrs_int(slot: *mut pg_sys::TupleTableSlot, attnum: c_int);
        pub fn tuplesort_puttupleslot(
            sort: *mut pg_sys::Tuplesortstate,
            slot: *mut pg_sys::TupleTableSlot,
        );
        pub fn MemoryContextReset(context: pg_sys::MemoryContext);
        pub fn tuplesort_gettupleslot(
            sort: *mut pg_sys::Tuplesortstate,
            forward: bool,
            copy: bool,
            slot: *mut pg_sys::TupleTableSlot,
            abbreviated: *mut Datum,
        ) -> bool;
        pub fn CreateTupleDescCopy(desc: pg_sys::TupleDesc) -> pg_sys::TupleDesc;
        pub fn tuplestore_puttupleslot(
            store: *mut pg_sys::Tuplestorestate,
            slot: *mut pg_sys::TupleTableSlot,
        );
        pub fn tuplestore_gettupleslot(
            store: *mut pg_sys::Tuplestorestate,
            forward: bool,
            copy: bool,
            slot: *mut pg_sys::TupleTableSlot,
        ) -> bool;
    }
}

/// Deforms a slot's row up to this many columns, as core's inline `slot_getsomeattrs`: a row
/// without columns, or one that is deformed already, is left as it is.
///
/// # Safety
/// The slot holds a row. Runs inside [`guard`].
#[inline]
pub unsafe fn slot_getsomeattrs_unguarded(slot: *mut pg_sys::TupleTableSlot, columns: c_int) {
    // SAFETY: the caller's promise.
    unsafe {
        if c_int::from((*slot).tts_nvalid) < columns {
            unguarded::slot_getsomeattrs_int(slot, columns);
        }
    }
}

/// Serves an interrupt if one is waiting, as `CHECK_FOR_INTERRUPTS` does.
///
/// # Safety
/// Runs inside [`guard`].
#[inline(always)]
pub unsafe fn check_for_interrupts_unguarded() {
    // SAFETY: reads a flag of the backend's; as the function's.
    unsafe {
        if pg_sys::InterruptPending != 0 {
            unguarded::ProcessInterrupts();
        }
    }
}

/// SQL functions by their C names, to be called through `DirectFunctionCall…`.
pub mod functions {
    use pgrx::pg_sys::{Datum, FunctionCallInfo};
    unsafe extern "C-unwind" {
        /// `=` of jsonb.
        pub fn jsonb_eq(fcinfo: FunctionCallInfo) -> Datum;
        /// Three-way comparison of jsonb.
        pub fn jsonb_cmp(fcinfo: FunctionCallInfo) -> Datum;
        /// `=` of numeric.
        pub fn numeric_eq(fcinfo: FunctionCallInfo) -> Datum;
        /// Output of numeric.
        pub fn numeric_out(fcinfo: FunctionCallInfo) -> Datum;
        /// Applies a type modifier to a numeric.
        pub fn numeric(fcinfo: FunctionCallInfo) -> Datum;
        /// Sum of a timestamptz and an interval.
        pub fn timestamptz_pl_interval(fcinfo: FunctionCallInfo) -> Datum;
        /// Three-way comparison of intervals.
        pub fn interval_cmp(fcinfo: FunctionCallInfo) -> Datum;
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

/// The partition key of a partitioned table (`partcache.c`). When the relation cache first
/// makes it, it calls IMMUTABLE functions in its expressions as the current user: it is
/// for callers who write to the table or read it, and not for those who look at what it
/// is (`target::partition_key_columns`).
///
/// # Safety
/// `rel` is an open partitioned table.
pub unsafe fn partition_key(rel: pg_sys::Relation) -> *mut PartitionKeyData {
    // SAFETY: as above.
    unsafe { guard(|| unguarded::RelationGetPartitionKey(rel)) }
}

/// The partitioned tables (or indexes) that a partition is in, the root last
/// (`catalog/partition.c`).
///
/// # Safety
/// `relation` exists, and is a partition.
pub unsafe fn partition_ancestors(relation: pg_sys::Oid) -> Vec<pg_sys::Oid> {
    // SAFETY: as above; a fresh list.
    unsafe { oids(guard(|| unguarded::get_partition_ancestors(relation))) }
}

/// The root of the partition tree that a table is in, itself if it is no partition.
/// A partition that is being detached counts as one until that is done.
///
/// # Safety
/// `table` exists.
pub unsafe fn partition_root(table: pg_sys::Oid) -> pg_sys::Oid {
    let mut root = table;
    // SAFETY: as above; a partition has a parent.
    unsafe {
        while pg_sys::get_rel_relispartition(root) {
            root = guard(|| unguarded::get_partition_parent(root, true));
        }
    }
    root
}

/// A partitioned table and all that is under it, not locked (`pg_inherits.c`).
pub fn partitions(root: pg_sys::Oid) -> Vec<pg_sys::Oid> {
    inheritors(root, pg_sys::NoLock as pg_sys::LOCKMODE)
}

/// Locks all that is under a partitioned table, which the caller has locked.
pub fn lock_partitions(root: pg_sys::Oid, mode: pg_sys::LOCKMODE) {
    inheritors(root, mode);
}

fn inheritors(root: pg_sys::Oid, mode: pg_sys::LOCKMODE) -> Vec<pg_sys::Oid> {
    let none = std::ptr::null_mut();
    // SAFETY: a look-up in a catalog; a fresh list.
    unsafe { oids(guard(|| unguarded::find_all_inheritors(root, mode, none))) }
}

/// The members of a list, which is freed.
///
/// # Safety
/// The list is one of oids, and ours.
pub unsafe fn oids(list: *mut pg_sys::List) -> Vec<pg_sys::Oid> {
    if list.is_null() {
        return Vec::new();
    }
    // SAFETY: the caller's promise.
    unsafe {
        let oids = (0..(*list).length as usize)
            .map(|i| (*(*list).elements.add(i)).oid_value)
            .collect();
        pg_sys::list_free(list);
        oids
    }
}

/// The index of `partition` that belongs to its parent's `index`, or
/// `InvalidOid` (`catalog/partition.c`).
///
/// # Safety
/// `partition` is an open relation.
pub unsafe fn index_get_partition(partition: pg_sys::Relation, index: pg_sys::Oid) -> pg_sys::Oid {
    // SAFETY: as above.
    unsafe { guard(|| unguarded::index_get_partition(partition, index)) }
}
