//! Functions of the server without pgrx's guard, to be called inside [`guard`] only.
//!
//! Those that pgrx binds behind its guard are declared again without it. Each is checked against
//! pgrx's binding, for the version of the server that is built for: one whose signature differs
//! does not compile. The others follow, by the header that each comes from. Nothing checks their
//! declarations but the eye: they are compared with the headers of all versions that are built
//! for.
use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;
use pgrx::pg_sys::{self, Datum, Oid};
use std::ffi::{c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Runs a piece of an inner loop under one guard: an ERROR inside becomes a
/// panic outside. So does a panic: it is caught inside, since the guard would abort the
/// process, and goes on behind it.
///
/// # Safety
/// An ERROR jumps straight out of `work`, so nothing in it, or in what it calls,
/// may own anything that needs dropping.
#[inline(always)]
pub unsafe fn guard<R>(work: impl FnOnce() -> R) -> R {
    // SAFETY: the caller's promise. What is caught owns its cause only after all has been
    // unwound, when no ERROR can jump any more.
    let result = unsafe { pg_guard_ffi_boundary(|| catch_unwind(AssertUnwindSafe(work))) };
    result.unwrap_or_else(|panic| resume_unwind(panic))
}

/// Declares functions, and checks each against the binding of the same name in `pg_sys`.
macro_rules! checked {
    ($(
        $(#[$attribute:meta])*
        fn $name:ident($($(#[$only:meta])* $argument:ident: $type:ty),* $(,)?) $(-> $result:ty)?;
    )*) => {
        unsafe extern "C-unwind" {
            $(
                $(#[$attribute])*
                pub fn $name($($(#[$only])* $argument: $type),*) $(-> $result)?;
            )*
        }
        $(
            $(#[$attribute])*
            const _: unsafe fn($($(#[$only])* $type),*) $(-> $result)? = pg_sys::$name;
        )*
    };
}

checked! {
    fn check_functions_in_node(
        node: *mut pg_sys::Node,
        checker: pg_sys::check_function_callback,
        context: *mut c_void,
    ) -> bool;
    fn ProcessInterrupts();
    fn GetUserIdAndSecContext(user: *mut Oid, context: *mut c_int);
    fn SetUserIdAndSecContext(user: Oid, context: c_int);
    fn NewGUCNestLevel() -> c_int;
    fn AtEOXact_GUC(is_commit: bool, level: c_int);
    fn set_config_option(
        name: *const c_char,
        value: *const c_char,
        context: pg_sys::GucContext::Type,
        source: pg_sys::GucSource::Type,
        action: pg_sys::GucAction::Type,
        change: bool,
        elevel: c_int,
        is_reload: bool,
    ) -> c_int;
    fn palloc(size: usize) -> *mut c_void;
    fn palloc0(size: usize) -> *mut c_void;
    fn lappend(list: *mut pg_sys::List, datum: *mut c_void) -> *mut pg_sys::List;
    fn bms_add_member(set: *mut pg_sys::Bitmapset, member: c_int)
    -> *mut pg_sys::Bitmapset;
    fn pnstrdup(text: *const c_char, length: usize) -> *mut c_char;
    fn cstring_to_text_with_len(text: *const c_char, length: c_int)
    -> *mut pg_sys::varlena;
    fn pushJsonbValue(
        state: *mut *mut pg_sys::JsonbParseState,
        token: pg_sys::JsonbIteratorToken::Type,
        value: *mut pg_sys::JsonbValue,
    ) -> *mut pg_sys::JsonbValue;
    fn detoast_external_attr(datum: *mut pg_sys::varlena) -> *mut pg_sys::varlena;
    fn pg_detoast_datum(datum: *mut pg_sys::varlena) -> *mut pg_sys::varlena;
    fn check_stack_depth();
    fn stack_is_too_deep() -> bool;
    fn heap_deform_tuple(
        tuple: pg_sys::HeapTuple,
        desc: pg_sys::TupleDesc,
        values: *mut Datum,
        nulls: *mut bool,
    );
    fn heap_getnext(
        scan: pg_sys::TableScanDesc,
        direction: pg_sys::ScanDirection::Type,
    ) -> pg_sys::HeapTuple;
    fn deconstruct_array(
        array: *mut pg_sys::ArrayType,
        element: Oid,
        length: c_int,
        by_value: bool,
        align: c_char,
        values: *mut *mut Datum,
        nulls: *mut *mut bool,
        count: *mut c_int,
    );
    fn range_deserialize(
        entry: *mut pg_sys::TypeCacheEntry,
        range: *const pg_sys::RangeType,
        lower: *mut pg_sys::RangeBound,
        upper: *mut pg_sys::RangeBound,
        empty: *mut bool,
    );
    fn pg_server_to_any(text: *const c_char, length: c_int, encoding: c_int)
    -> *mut c_char;
    fn pg_detoast_datum_packed(datum: *mut pg_sys::varlena) -> *mut pg_sys::varlena;
    fn int64_to_numeric(value: i64) -> pg_sys::Numeric;
    /// An integer; `overflow` says whether there is none, instead of an error.
    fn numeric_int4_opt_error(number: pg_sys::Numeric, overflow: *mut bool) -> i32;
    fn date2j(year: c_int, month: c_int, day: c_int) -> c_int;
    /// Not 0 for what is out of range.
    fn tm2timestamp(
        time: *mut pg_sys::pg_tm,
        microsecond: pg_sys::fsec_t,
        seconds_behind_utc: *mut c_int,
        result: *mut pg_sys::Timestamp,
    ) -> c_int;
    fn numeric_is_nan(number: pg_sys::Numeric) -> bool;
    fn numeric_is_inf(number: pg_sys::Numeric) -> bool;
    fn JsonEncodeDateTime(
        buffer: *mut c_char,
        value: Datum,
        typid: Oid,
        zone: *const c_int,
    ) -> *mut c_char;
    fn OutputFunctionCall(function: *mut pg_sys::FmgrInfo, value: Datum) -> *mut c_char;
    fn JsonbValueToJsonb(value: *mut pg_sys::JsonbValue) -> *mut pg_sys::Jsonb;
    fn JsonbToCString(
        out: pg_sys::StringInfo,
        container: *mut pg_sys::JsonbContainer,
        length: c_int,
    ) -> *mut c_char;
    fn InputFunctionCall(
        function: *mut pg_sys::FmgrInfo,
        text: *mut c_char,
        parameter: Oid,
        typmod: i32,
    ) -> Datum;
    fn DirectFunctionCall1Coll(function: pg_sys::PGFunction, collation: Oid, a: Datum) -> Datum;
    fn DirectFunctionCall2Coll(
        function: pg_sys::PGFunction,
        collation: Oid,
        a: Datum,
        b: Datum,
    ) -> Datum;
    fn FunctionCall1Coll(
        function: *mut pg_sys::FmgrInfo,
        collation: Oid,
        a: Datum,
    ) -> Datum;
    fn initArrayResult(
        element: Oid,
        memory: pg_sys::MemoryContext,
        own_memory: bool,
    ) -> *mut pg_sys::ArrayBuildState;
    fn accumArrayResult(
        state: *mut pg_sys::ArrayBuildState,
        value: Datum,
        null: bool,
        element: Oid,
        memory: pg_sys::MemoryContext,
    ) -> *mut pg_sys::ArrayBuildState;
    fn makeMdArrayResult(
        state: *mut pg_sys::ArrayBuildState,
        dimensions: c_int,
        lengths: *mut c_int,
        bounds: *mut c_int,
        memory: pg_sys::MemoryContext,
        release: bool,
    ) -> Datum;
    #[cfg(any(feature = "pg15", feature = "pg16"))]
    fn heap_form_tuple(
    desc: pg_sys::TupleDesc,
    values: *mut Datum,
    nulls: *mut bool,
    ) -> pg_sys::HeapTuple;
    #[cfg(not(any(feature = "pg15", feature = "pg16")))]
    fn heap_form_tuple(
    desc: pg_sys::TupleDesc,
    values: *const Datum,
    nulls: *const bool,
    ) -> pg_sys::HeapTuple;
    fn HeapTupleHeaderGetDatum(tuple: pg_sys::HeapTupleHeader) -> Datum;
    fn domain_check(
        value: Datum,
        null: bool,
        domain: Oid,
        extra: *mut *mut c_void,
        memory: pg_sys::MemoryContext,
    );
    fn GetUserId() -> Oid;
    #[cfg(feature = "pg15")]
    fn pg_proc_aclcheck(
        function: Oid,
        role: Oid,
        mode: pg_sys::AclMode,
    ) -> pg_sys::AclResult::Type;
    #[cfg(not(feature = "pg15"))]
    fn object_aclcheck(
        class: Oid,
        object: Oid,
        role: Oid,
        mode: pg_sys::AclMode,
    ) -> pg_sys::AclResult::Type;
    fn aclcheck_error(
        result: pg_sys::AclResult::Type,
        kind: pg_sys::ObjectType::Type,
        name: *const c_char,
    );
    fn get_func_name(function: Oid) -> *mut c_char;
    fn FunctionCall2Coll(
        function: *mut pg_sys::FmgrInfo,
        collation: Oid,
        a: Datum,
        b: Datum,
    ) -> Datum;
    fn index_rescan(
        scan: pg_sys::IndexScanDesc,
        keys: *mut pg_sys::ScanKeyData,
        nkeys: c_int,
        orderbys: *mut pg_sys::ScanKeyData,
        norderbys: c_int,
    );
    fn index_getnext_tid(
        scan: pg_sys::IndexScanDesc,
        direction: pg_sys::ScanDirection::Type,
    ) -> pg_sys::ItemPointer;
    fn index_fetch_heap(
        scan: pg_sys::IndexScanDesc,
        slot: *mut pg_sys::TupleTableSlot,
    ) -> bool;
    fn LockAcquire(
        tag: *const pg_sys::LOCKTAG,
        mode: pg_sys::LOCKMODE,
        session: bool,
        dont_wait: bool,
    ) -> pg_sys::LockAcquireResult::Type;
    fn LockRelease(
        tag: *const pg_sys::LOCKTAG,
        mode: pg_sys::LOCKMODE,
        session: bool,
    ) -> bool;
    fn CreateExecutorState() -> *mut pg_sys::EState;
    fn FreeExecutorState(estate: *mut pg_sys::EState);
    fn MakePerTupleExprContext(estate: *mut pg_sys::EState) -> *mut pg_sys::ExprContext;
    fn ExecInitRangeTable(
        estate: *mut pg_sys::EState,
        entries: *mut pg_sys::List,
        #[cfg(not(feature = "pg15"))] permissions: *mut pg_sys::List,
        #[cfg(feature = "pg18")] unpruned: *mut pg_sys::Bitmapset,
    );
    fn InitResultRelInfo(
        table: *mut pg_sys::ResultRelInfo,
        relation: pg_sys::Relation,
        number: pg_sys::Index,
        root: *mut pg_sys::ResultRelInfo,
        instrument: c_int,
    );
    fn ExecOpenIndices(table: *mut pg_sys::ResultRelInfo, speculative: bool);
    fn ExecCloseResultRelations(estate: *mut pg_sys::EState);
    fn ExecResetTupleTable(slots: *mut pg_sys::List, free: bool);
    fn table_slot_create(
        relation: pg_sys::Relation,
        slots: *mut *mut pg_sys::List,
    ) -> *mut pg_sys::TupleTableSlot;
    fn ExecFetchSlotHeapTuple(
        slot: *mut pg_sys::TupleTableSlot,
        materialize: bool,
        free: *mut bool,
    ) -> pg_sys::HeapTuple;
    fn ExecStoreVirtualTuple(slot: *mut pg_sys::TupleTableSlot) -> *mut pg_sys::TupleTableSlot;
    fn ExecBRInsertTriggers(
        estate: *mut pg_sys::EState,
        table: *mut pg_sys::ResultRelInfo,
        slot: *mut pg_sys::TupleTableSlot,
    ) -> bool;
    fn ExecARInsertTriggers(
        estate: *mut pg_sys::EState,
        table: *mut pg_sys::ResultRelInfo,
        slot: *mut pg_sys::TupleTableSlot,
        recheck: *mut pg_sys::List,
        capture: *mut pg_sys::TransitionCaptureState,
    );
    fn ExecConstraints(
        table: *mut pg_sys::ResultRelInfo,
        slot: *mut pg_sys::TupleTableSlot,
        estate: *mut pg_sys::EState,
    );
    fn ExecPartitionCheck(
        table: *mut pg_sys::ResultRelInfo,
        slot: *mut pg_sys::TupleTableSlot,
        estate: *mut pg_sys::EState,
        error: bool,
    ) -> bool;
    fn BuildSpeculativeIndexInfo(index: pg_sys::Relation, info: *mut pg_sys::IndexInfo);
    fn ExecCheckIndexConstraints(
        table: *mut pg_sys::ResultRelInfo,
        slot: *mut pg_sys::TupleTableSlot,
        estate: *mut pg_sys::EState,
        conflict: pg_sys::ItemPointer,
        #[cfg(feature = "pg18")] own: pg_sys::ItemPointer,
        arbiters: *mut pg_sys::List,
    ) -> bool;
    fn ExecInsertIndexTuples(
        table: *mut pg_sys::ResultRelInfo,
        slot: *mut pg_sys::TupleTableSlot,
        estate: *mut pg_sys::EState,
        update: bool,
        no_duplicate_error: bool,
        conflict: *mut bool,
        arbiters: *mut pg_sys::List,
        #[cfg(not(feature = "pg15"))] only_summarizing: bool,
    ) -> *mut pg_sys::List;
    fn SpeculativeInsertionLockAcquire(transaction: pg_sys::TransactionId) -> u32;
    fn SpeculativeInsertionLockRelease(transaction: pg_sys::TransactionId);
    fn GetCurrentTransactionId() -> pg_sys::TransactionId;
    fn GetCurrentCommandId(used: bool) -> pg_sys::CommandId;
    fn TransactionIdIsCurrentTransactionId(transaction: pg_sys::TransactionId) -> bool;
    fn list_free(list: *mut pg_sys::List);
    fn lappend_oid(list: *mut pg_sys::List, oid: Oid) -> *mut pg_sys::List;
    fn slot_getsomeattrs_int(slot: *mut pg_sys::TupleTableSlot, attnum: c_int);
    fn tuplesort_puttupleslot(
        sort: *mut pg_sys::Tuplesortstate,
        slot: *mut pg_sys::TupleTableSlot,
    );
    fn MemoryContextReset(context: pg_sys::MemoryContext);
    fn tuplesort_gettupleslot(
        sort: *mut pg_sys::Tuplesortstate,
        forward: bool,
        copy: bool,
        slot: *mut pg_sys::TupleTableSlot,
        abbreviated: *mut Datum,
    ) -> bool;
    fn CreateTupleDescCopy(desc: pg_sys::TupleDesc) -> pg_sys::TupleDesc;
    fn tuplestore_puttupleslot(
        store: *mut pg_sys::Tuplestorestate,
        slot: *mut pg_sys::TupleTableSlot,
    );
    fn tuplestore_gettupleslot(
        store: *mut pg_sys::Tuplestorestate,
        forward: bool,
        copy: bool,
        slot: *mut pg_sys::TupleTableSlot,
    ) -> bool;
}

// What pgrx does not bind.

type Walker = unsafe extern "C-unwind" fn(*mut pg_sys::Node, *mut c_void) -> bool;
/// `pg_locale_t`
#[cfg(not(feature = "pg15"))]
pub type Locale = *mut c_void;

// catalog/partition.h
unsafe extern "C-unwind" {
    pub fn get_partition_ancestors(relation: Oid) -> *mut pg_sys::List;
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

// executor/nodeModifyTable.h
unsafe extern "C-unwind" {
    pub fn ExecComputeStoredGenerated(
        table: *mut pg_sys::ResultRelInfo,
        estate: *mut pg_sys::EState,
        slot: *mut pg_sys::TupleTableSlot,
        command: pg_sys::CmdType::Type,
    );
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
    /// The types of its columns.
    pub parttypid: *mut pg_sys::Oid,
}

// utils/partcache.h
unsafe extern "C-unwind" {
    /// When the relation cache first makes it, it calls IMMUTABLE functions in its expressions as
    /// the current user: it is for callers who write to the table or read it, and not for those
    /// who look at what it is ([`partition_key`](crate::pg::relation::partition::partition_key)).
    pub fn RelationGetPartitionKey(rel: pg_sys::Relation) -> *mut PartitionKeyData;
    /// Likewise.
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

/// SQL functions by their C names, to be called through `DirectFunctionCall…`.
pub mod functions {
    use pgrx::pg_sys::{self, Datum, FunctionCallInfo};

    checked! {
        /// `=` of jsonb.
        fn jsonb_eq(fcinfo: FunctionCallInfo) -> Datum;
        /// Three-way comparison of jsonb.
        fn jsonb_cmp(fcinfo: FunctionCallInfo) -> Datum;
        /// `=` of numeric.
        fn numeric_eq(fcinfo: FunctionCallInfo) -> Datum;
        /// Output of numeric.
        fn numeric_out(fcinfo: FunctionCallInfo) -> Datum;
        /// Applies a type modifier to a numeric.
        fn numeric(fcinfo: FunctionCallInfo) -> Datum;
        /// Sum of a timestamptz and an interval.
        fn timestamptz_pl_interval(fcinfo: FunctionCallInfo) -> Datum;
        /// Three-way comparison of intervals.
        fn interval_cmp(fcinfo: FunctionCallInfo) -> Datum;
        /// Sleeps for so many seconds.
        fn pg_sleep(fcinfo: FunctionCallInfo) -> Datum;
        /// Input of name.
        fn namein(fcinfo: FunctionCallInfo) -> Datum;
    }
}
