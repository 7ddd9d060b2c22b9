//! Functions of the server that take and give plain values: numbers, booleans, oids and C
//! strings. Nothing that they take or give points into the server's memory.
//!
//! They are safe, because each of them is defined for every argument. What is looked up by an
//! oid or a name need not be there: the answer is then the one for nothing (`InvalidOid`, 0,
//! null), or an ERROR, which pgrx's guard makes a panic. A function that reads beyond an array
//! for some number, or takes for granted that something is open, has no place here. That there
//! is a transaction may be taken for granted: only callbacks of ours run outside of one, and they
//! look nothing up.
use super::inline::oids;
use super::{guard, unguarded};
use pgrx::pg_sys::{self, Datum, Oid};
use std::ffi::{CStr, CString, c_char, c_int};

/// `pg_inherits`, its index by child and place, and `oideq(oid, oid)`: the numbers are the same on all servers.
const PG_INHERITS: Oid = Oid::from_u32(2611);
const PG_INHERITS_BY_CHILD: Oid = Oid::from_u32(2680);
const F_OIDEQ: Oid = Oid::from_u32(184);

/// A value that the server takes: as it is, or as a pointer to what lives for the call.
trait Plain: Copy {
    type InC;
    fn in_c(self) -> Self::InC;
}

macro_rules! plain {
    ($($type:ty),*) => {
        $(impl Plain for $type {
            type InC = Self;
            #[inline]
            fn in_c(self) -> Self {
                self
            }
        })*
    };
}

plain!(
    (),
    bool,
    i8,
    i16,
    i32,
    i64,
    u32,
    u64,
    Oid,
    pg_sys::TransactionId
);

impl Plain for &CStr {
    type InC = *const c_char;
    #[inline]
    fn in_c(self) -> *const c_char {
        self.as_ptr()
    }
}

/// Functions of `pg_sys` with these arguments and results. The compiler checks that they are
/// those of the binding, and plain.
macro_rules! functions {
    ($(
        $(#[$attribute:meta])*
        fn $name:ident($($argument:ident: $type:ty),* $(,)?) $(-> $result:ty)?;
    )*) => {
        $(
            $(#[$attribute])*
            #[inline]
            #[allow(non_snake_case)]
            pub fn $name($($argument: $type),*) $(-> $result)? {
                // SAFETY: defined for every argument, see the head of this file.
                Plain::in_c(unsafe { pg_sys::$name($($argument.in_c()),*) })
            }
        )*
    };
}

/// Variables of `pg_sys`, of these types.
macro_rules! variables {
    ($(
        $(#[$attribute:meta])*
        $name:ident: $type:ty;
    )*) => {
        $(
            $(#[$attribute])*
            #[inline]
            #[allow(non_snake_case)]
            pub fn $name() -> $type {
                // SAFETY: a plain value, which is read at once; no other thread writes it.
                Plain::in_c(unsafe { pg_sys::$name })
            }
        )*
    };
}

/// Functions of `pg_sys` that give a C string which is a whole allocation of the caller's, or
/// null.
macro_rules! names {
    ($(
        $(#[$attribute:meta])*
        fn $name:ident($($argument:ident: $type:ty),* $(,)?);
    )*) => {
        $(
            $(#[$attribute])*
            #[allow(non_snake_case)]
            pub fn $name($($argument: $type),*) -> Option<CString> {
                // SAFETY: defined for every argument, see the head of this file; core has
                // allocated the text for us, and it begins where the allocation does.
                unsafe { taken(pg_sys::$name($($argument.in_c()),*)) }
            }
        )*
    };
}

/// Copies a text that a look-up has made in the current memory; None if it is null.
///
/// # Safety
/// `name` is null, or a C string of palloc's that nobody else has.
unsafe fn taken(name: *mut c_char) -> Option<CString> {
    if name.is_null() {
        return None;
    }
    // SAFETY: the caller's promise: it is read before it is freed, and nobody has it afterwards.
    unsafe {
        let copy = CStr::from_ptr(name).to_owned();
        pg_sys::pfree(name.cast());
        Some(copy)
    }
}

/// What the server calls when something changed in the catalogs. It is safe, whatever it is given.
pub type RelcacheCallback = extern "C-unwind" fn(pg_sys::Datum, Oid);
/// Likewise.
pub type SyscacheCallback = extern "C-unwind" fn(pg_sys::Datum, c_int, u32);

/// Has the server call for the life of the backend when a relation changed; a FATAL error if too
/// many are called.
pub fn on_relcache_change(callback: RelcacheCallback) {
    let none = pg_sys::Datum::null();
    // SAFETY: a function lives as long as the backend, and takes whatever it is given.
    unsafe { pg_sys::CacheRegisterRelcacheCallback(Some(callback), none) };
}

/// Likewise when a row of a system cache changed.
pub fn on_syscache_change(cache: pg_sys::SysCacheIdentifier::Type, callback: SyscacheCallback) {
    let none = pg_sys::Datum::null();
    // SAFETY: likewise; a cache that is none is a FATAL error.
    unsafe { pg_sys::CacheRegisterSyscacheCallback(cache as c_int, Some(callback), none) };
}

/// The hash by which the server announces that the row with this oid of a system cache changed.
pub fn hash_in_syscache(cache: pg_sys::SysCacheIdentifier::Type, oid: Oid) -> u32 {
    let none = pg_sys::Datum::null();
    // SAFETY: a hash of a number; a cache that is none is an ERROR or, as the caller's choice of a
    // cache of another key is, a hash that means nothing.
    unsafe { pg_sys::GetSysCacheHashValue(cache as c_int, oid.into(), none, none, none) }
}

// Variables of the backend, which is a process with one thread.
variables! {
    /// The database, which is set once when the backend connects.
    MyDatabaseId: Oid;
    /// The number of the process.
    MyProcPid: c_int;
    /// Whether the transaction is READ ONLY. On a standby every one is.
    XactReadOnly: bool;
    /// The transaction's isolation level.
    XactIsoLevel: c_int;
    /// The setting `session_replication_role`.
    SessionReplicationRole: c_int;
    /// The setting `lock_timeout`.
    LockTimeout: c_int;
    /// The setting `allow_system_table_mods`.
    allowSystemTableMods: bool;
}

// The backend, its transaction and its user: core reads variables of the process, or counts.
functions! {
    /// Whether the current user is a superuser.
    fn superuser() -> bool;
    /// The current user.
    fn GetUserId() -> Oid;
    /// Makes another role the current user; one that is not there has no rights.
    fn SetUserIdAndSecContext(user: Oid, context: c_int);
    /// The number of the cluster, of the control file's copy in shared memory, which the
    /// postmaster has made before any backend starts.
    fn GetSystemIdentifier() -> u64;
    /// A flag of this process, and one in shared memory.
    fn RecoveryInProgress() -> bool;
    /// The clock.
    fn GetCurrentTimestamp() -> pg_sys::TimestampTz;
    /// Whether a transaction is going on, and has not failed.
    fn IsTransactionState() -> bool;
    /// Whether it is in a subtransaction.
    fn IsSubTransaction() -> bool;
    /// The number of the subtransaction; 0 outside of a transaction.
    fn GetCurrentSubTransactionId() -> pg_sys::SubTransactionId;
    fn GetCurrentTransactionNestLevel() -> c_int;
    /// The transaction's id, which it gets now if it has none.
    fn GetTopTransactionId() -> pg_sys::TransactionId;
    /// Whether the transaction has this id, or has a subtransaction that has it.
    fn TransactionIdIsCurrentTransactionId(id: pg_sys::TransactionId) -> bool;
    /// Makes what was done so far visible to what comes next.
    fn CommandCounterIncrement();
    /// The number of the command, and whether it is used for rows.
    fn GetCurrentCommandId(used: bool) -> pg_sys::CommandId;
    /// Whether there is an active snapshot.
    fn ActiveSnapshotSet() -> bool;
    /// An ERROR in a READ ONLY transaction; the name is for its message.
    fn PreventCommandIfReadOnly(command: &CStr);
    /// An ERROR in a parallel operation; the name is for its message.
    fn PreventCommandIfParallelMode(command: &CStr);
    /// An ERROR where the stack is nearly used up.
    fn check_stack_depth();
    /// The prefix is copied.
    fn MarkGUCPrefixReserved(prefix: &CStr);
    /// Opens a level of settings.
    fn NewGUCNestLevel() -> c_int;
    /// Searches the queues of AFTER triggers.
    fn AfterTriggerPendingOnRel(relation: Oid) -> bool;
}

// Locks on numbers: a mode that is none is an ERROR, and a lock that is not held a WARNING.
functions! {
    /// Waits.
    fn LockRelationOid(relation: Oid, mode: pg_sys::LOCKMODE);
    /// Does not wait; whether it has the lock.
    fn ConditionalLockRelationOid(relation: Oid, mode: pg_sys::LOCKMODE) -> bool;
    /// Gives it back.
    fn UnlockRelationOid(relation: Oid, mode: pg_sys::LOCKMODE);
}

// Oids by names: look-ups. `missing_ok` is whether it is an ERROR that there is none.
functions! {
    /// Of a schema.
    fn get_namespace_oid(name: &CStr, missing_ok: bool) -> Oid;
    /// Of a role.
    fn get_role_oid(name: &CStr, missing_ok: bool) -> Oid;
    /// Of a language of functions.
    fn get_language_oid(name: &CStr, missing_ok: bool) -> Oid;
    /// Of an extension.
    fn get_extension_oid(name: &CStr, missing_ok: bool) -> Oid;
    /// Of a relation in a schema.
    fn get_relname_relid(name: &CStr, schema: Oid) -> Oid;
    /// Of a relation, by the `search_path`.
    fn RelnameGetRelid(name: &CStr) -> Oid;
}

// Columns by their names: 0 if there is none.
functions! {
    /// Its number.
    fn get_attnum(relation: Oid, name: &CStr) -> pg_sys::AttrNumber;
}

// Names by oids: null, or an ERROR, for what is gone.
names! {
    /// Of a database.
    fn get_database_name(database: Oid);
    /// Of a relation.
    fn get_rel_name(relation: Oid);
    /// Of a relation's column.
    fn get_attname(relation: Oid, number: pg_sys::AttrNumber, missing_ok: bool);
    /// Of a schema.
    fn get_namespace_name(schema: Oid);
    /// Of a function.
    fn get_func_name(function: Oid);
    /// Of an extension.
    fn get_extension_name(extension: Oid);
    /// Of a role.
    fn GetUserNameFromId(role: Oid, missing_ok: bool);
    /// Of a type, as SQL has it; `???` if it is gone.
    fn format_type_be(typid: Oid);
    /// Likewise, with its schema.
    fn format_type_be_qualified(typid: Oid);
    /// Likewise, with the type's modifier, which its own function writes.
    fn format_type_with_typemod(typid: Oid, typmod: i32);
    /// Of a collation, as SQL has it.
    fn generate_collation_name(collation: Oid);
}

// Properties of relations and functions: look-ups, and scans of `pg_depend` and `pg_inherits`.
functions! {
    /// NUL if it is gone.
    fn get_rel_relkind(relation: Oid) -> c_char;
    /// An ERROR if it is gone.
    fn get_rel_persistence(relation: Oid) -> c_char;
    /// Its schema.
    fn get_rel_namespace(relation: Oid) -> Oid;
    /// Whether it is a partition.
    fn get_rel_relispartition(relation: Oid) -> bool;
    /// The constraint that an index belongs to.
    fn get_index_constraint(index: Oid) -> Oid;
    /// Whether it is a table of the catalogs, by its number.
    fn IsCatalogRelationOid(relation: Oid) -> bool;
    /// The schema of a function.
    fn get_func_namespace(function: Oid) -> Oid;
    /// Whether its name finds it by the `search_path`; an ERROR if it is gone.
    fn FunctionIsVisible(function: Oid) -> bool;
    /// How many arguments it has; an ERROR if it is gone.
    fn get_func_nargs(function: Oid) -> c_int;
    /// The extension that an object belongs to.
    fn getExtensionOfObject(class: Oid, object: Oid) -> Oid;
    /// Whether a role has the privileges of another one.
    fn has_privs_of_role(member: Oid, role: Oid) -> bool;
    /// Whether a role has rights on a relation; an ERROR if that is gone.
    fn pg_class_aclcheck(relation: Oid, role: Oid, mode: pg_sys::AclMode) -> pg_sys::AclResult::Type;
    /// Likewise on a column, or on the whole relation; an ERROR if one of them is gone.
    fn pg_attribute_aclcheck(
        relation: Oid,
        number: pg_sys::AttrNumber,
        role: Oid,
        mode: pg_sys::AclMode,
    ) -> pg_sys::AclResult::Type;
    /// Whether policies of a relation are in force for a role; no role is the current user.
    fn check_enable_rls(relation: Oid, role: Oid, no_error: bool) -> c_int;
    /// What a relation of a kind is called in messages; an ERROR for what is no kind.
    fn get_relkind_objtype(kind: c_char) -> pg_sys::ObjectType::Type;
    /// The ERROR about a right that is missing, or none; the name is for its message.
    fn aclcheck_error(
        result: pg_sys::AclResult::Type,
        kind: pg_sys::ObjectType::Type,
        name: &CStr,
    );
}

/// Whether a role owns a relation; an ERROR if that is gone.
pub fn owns_relation(relation: Oid, role: Oid) -> bool {
    // SAFETY: defined for every argument.
    unsafe {
        #[cfg(feature = "pg15")]
        return pg_sys::pg_class_ownercheck(relation, role);
        #[cfg(not(feature = "pg15"))]
        return pg_sys::object_ownercheck(pg_sys::RelationRelationId, relation, role);
    }
}

/// Whether a role has rights on a schema; an ERROR if that is gone.
pub fn schema_aclcheck(schema: Oid, role: Oid, mode: pg_sys::AclMode) -> pg_sys::AclResult::Type {
    // SAFETY: defined for every argument.
    unsafe {
        #[cfg(feature = "pg15")]
        return pg_sys::pg_namespace_aclcheck(schema, role, mode);
        #[cfg(not(feature = "pg15"))]
        return pg_sys::object_aclcheck(pg_sys::NamespaceRelationId, schema, role, mode);
    }
}

/// Whether a role has one of these rights on a relation, or one of those on a column of it; false
/// if it is gone.
pub fn has_any_right(
    relation: Oid,
    role: Oid,
    on_relation: pg_sys::AclMode,
    on_column: pg_sys::AclMode,
) -> bool {
    let (ok, any) = (
        pg_sys::AclResult::ACLCHECK_OK,
        pg_sys::AclMaskHow::ACLMASK_ANY,
    );
    let mut gone = false;
    // SAFETY: defined for every argument; core writes to the variable.
    unsafe {
        pg_sys::pg_class_aclcheck_ext(relation, role, on_relation, &raw mut gone) == ok
            || (!gone && pg_sys::pg_attribute_aclcheck_all(relation, role, on_column, any) == ok)
    }
}

// Properties of types, collations and operators: look-ups.
functions! {
    /// An ERROR if it is gone.
    fn getBaseType(typid: Oid) -> Oid;
    /// NUL if it is gone.
    fn get_typtype(typid: Oid) -> c_char;
    /// Whether its values are compared under a collation.
    fn type_is_collatable(typid: Oid) -> bool;
    /// Of the arrays whose members are of this type.
    fn get_array_type(typid: Oid) -> Oid;
    /// Of an array's members.
    fn get_element_type(typid: Oid) -> Oid;
    /// Of a range's bounds.
    fn get_range_subtype(range: Oid) -> Oid;
    /// That a range's bounds are compared under.
    fn get_range_collation(range: Oid) -> Oid;
    /// Of what a multirange consists.
    fn get_multirange_range(multirange: Oid) -> Oid;
    /// A type's own.
    fn get_typcollation(typid: Oid) -> Oid;
    /// An ERROR if it is gone.
    fn get_collation_isdeterministic(collation: Oid) -> bool;
    /// The class of a type that is the default of an access method.
    fn GetDefaultOpClass(typid: Oid, access_method: Oid) -> Oid;
    /// The support function that is this in a family.
    fn get_opfamily_proc(family: Oid, left: Oid, right: Oid, number: i16) -> Oid;
    /// The operator that is this in a family.
    fn get_opfamily_member(family: Oid, left: Oid, right: Oid, strategy: i16) -> Oid;
    /// An ERROR if it is gone.
    fn get_opclass_input_type(class: Oid) -> Oid;
    /// An ERROR if it is gone.
    fn get_opclass_family(class: Oid) -> Oid;
    /// What an operator is in a family.
    fn get_op_opfamily_strategy(operator: Oid, family: Oid) -> c_int;
}

// Those that write to variables of ours, or whose results are put into another form.

/// The current user, and the context of security in which it works.
#[allow(non_snake_case)]
pub fn GetUserIdAndSecContext() -> (Oid, c_int) {
    let (mut user, mut context) = (pg_sys::InvalidOid, 0);
    // SAFETY: core reads variables of the process, and writes to ours.
    unsafe { pg_sys::GetUserIdAndSecContext(&raw mut user, &raw mut context) };
    (user, context)
}

/// Sets a setting until the level of settings is closed that was opened last; an ERROR for one
/// that does not exist, or that not every role may change (`set_config_option`).
pub fn set_option_in_level(name: &CStr, value: &CStr) {
    // SAFETY: two C strings, which core copies.
    unsafe {
        pg_sys::set_config_option(
            name.as_ptr(),
            value.as_ptr(),
            pg_sys::GucContext::PGC_USERSET,
            pg_sys::GucSource::PGC_S_SESSION,
            pg_sys::GucAction::GUC_ACTION_SAVE,
            true,
            0,
            false,
        );
    }
}

/// Closes a level of settings, which [`NewGUCNestLevel`] has given, and those above it: settings
/// have the values that they had before (`AtEOXact_GUC`).
pub fn close_settings_level(level: c_int) {
    assert!(level > 0, "{level} is no level of settings");
    // SAFETY: core gives back what each setting keeps for this level and those above it; where
    // the level is closed already, there is nothing.
    unsafe { pg_sys::AtEOXact_GUC(true, level) };
}

/// Closes a level of settings as after an error: what was set in it, by whomever, is undone.
pub fn abandon_settings_level(level: c_int) {
    assert!(level > 0, "{level} is no level of settings");
    // SAFETY: as in `close_settings_level`.
    unsafe { pg_sys::AtEOXact_GUC(false, level) };
}

/// Fills a buffer with bytes that nobody can foresee; false if the machine has none to give.
pub fn pg_strong_random(bytes: &mut [u8]) -> bool {
    // SAFETY: core writes no more bytes than it is told, and there are as many.
    unsafe { pg_sys::pg_strong_random(bytes.as_mut_ptr().cast(), bytes.len()) }
}

/// A time in the form that the server's own log has it in.
pub fn timestamptz_to_str(time: pg_sys::TimestampTz) -> CString {
    // SAFETY: core takes any number, and gives a C string in a buffer of its own, which is
    // copied before it is used again.
    unsafe { CStr::from_ptr(pg_sys::timestamptz_to_str(time)).to_owned() }
}

/// How many other transactions of this database have a snapshot in use, those of backends with
/// one of these flags (`PROC_…`) left out (`GetCurrentVirtualXIDs`).
pub fn count_of_virtual_xids(left_out: c_int) -> c_int {
    let mut count = 0;
    // SAFETY: defined for every argument; core takes and releases the lock that it needs, and
    // writes to the variable. The array is left to the current memory.
    unsafe {
        pg_sys::GetCurrentVirtualXIDs(
            pg_sys::InvalidTransactionId,
            true,
            false,
            left_out,
            &raw mut count,
        );
    }
    count
}

/// What a domain is over in the end, and its modifier; another type with this modifier. An
/// ERROR if the type is gone.
#[allow(non_snake_case)]
pub fn getBaseTypeAndTypmod(typid: Oid, typmod: i32) -> (Oid, i32) {
    let mut typmod = typmod;
    // SAFETY: defined for every argument; core writes to the variable.
    let base = unsafe { pg_sys::getBaseTypeAndTypmod(typid, &raw mut typmod) };
    (base, typmod)
}

/// What the support function of a btree's operator class says of the images of equal values;
/// false if there is none (`BTEQUALIMAGE_PROC` of `nbtree.h`).
pub fn btree_class_has_equal_image(class: Oid, collation: Oid) -> bool {
    const EQUAL_IMAGE: i16 = 4;
    let (family, input) = (get_opclass_family(class), get_opclass_input_type(class));
    let function = get_opfamily_proc(family, input, input, EQUAL_IMAGE);
    if function == pg_sys::InvalidOid {
        return false;
    }
    // SAFETY: the server lets in under this number only a function of an oid that gives a
    // boolean.
    let answer = unsafe { pg_sys::OidFunctionCall1Coll(function, collation, input.into()) };
    answer.value() != 0
}

/// The operator of a type's default equality, or `InvalidOid`.
pub fn equality_operator(typid: Oid) -> Oid {
    let wanted = pg_sys::TYPECACHE_EQ_OPR as c_int;
    // SAFETY: core makes the entry, or raises an error; entries stay as long as the backend.
    unsafe { (*pg_sys::lookup_type_cache(typid, wanted)).eq_opr }
}

/// Sleeps for so many seconds, by core's `pg_sleep`. A cancel ends it.
pub fn sleep(seconds: f64) {
    let (sleep, none) = (unguarded::functions::pg_sleep, pg_sys::InvalidOid);
    // SAFETY: core's own function takes a float8, by value.
    unsafe { pg_sys::DirectFunctionCall1Coll(Some(sleep), none, seconds.to_bits().into()) };
}

/// Whether the stack is nearly used up.
#[inline]
pub fn stack_is_too_deep() -> bool {
    // SAFETY: core compares the address of a variable with the base of the stack, and raises
    // nothing, so that this needs no guard.
    unsafe { unguarded::stack_is_too_deep() }
}

/// How a type is stored.
#[derive(Clone, Copy)]
pub struct Storage {
    /// In bytes; -1 for a varlena, -2 for a C string.
    pub length: i16,
    pub by_value: bool,
    pub align: c_char,
}

/// How a type is stored; an ERROR if it is gone (`get_typlenbyvalalign`).
pub fn storage_of_type(typid: Oid) -> Storage {
    let mut storage = Storage {
        length: 0,
        by_value: false,
        align: 0,
    };
    // SAFETY: defined for every argument; core writes to the variables.
    unsafe {
        pg_sys::get_typlenbyvalalign(
            typid,
            &raw mut storage.length,
            &raw mut storage.by_value,
            &raw mut storage.align,
        );
    }
    storage
}

/// The output function of a type; an ERROR if it has none, or is gone (`getTypeOutputInfo`).
pub fn output_function(typid: Oid) -> Oid {
    let (mut function, mut is_varlena) = (pg_sys::InvalidOid, false);
    // SAFETY: defined for every argument; core writes to the variables.
    unsafe { pg_sys::getTypeOutputInfo(typid, &raw mut function, &raw mut is_varlena) };
    function
}

/// The function that receives values of a type in the binary protocol; an ERROR if it has none, or is
/// gone (`getTypeBinaryInputInfo`).
pub fn receive_function(typid: Oid) -> Oid {
    let (mut function, mut parameter) = (pg_sys::InvalidOid, pg_sys::InvalidOid);
    // SAFETY: defined for every argument; core writes to the variables.
    unsafe { pg_sys::getTypeBinaryInputInfo(typid, &raw mut function, &raw mut parameter) };
    function
}

/// The input function of a type, and the oid that it is given with the text; an ERROR if it has
/// none, or is gone (`getTypeInputInfo`).
pub fn input_function(typid: Oid) -> (Oid, Oid) {
    let (mut function, mut parameter) = (pg_sys::InvalidOid, pg_sys::InvalidOid);
    // SAFETY: defined for every argument; core writes to the variables.
    unsafe { pg_sys::getTypeInputInfo(typid, &raw mut function, &raw mut parameter) };
    (function, parameter)
}

/// The function that casts a type to another, in a context; None where another way leads there,
/// or none (`find_coercion_pathway`).
pub fn cast_function(from: Oid, to: Oid, context: pg_sys::CoercionContext::Type) -> Option<Oid> {
    let mut function = pg_sys::InvalidOid;
    // SAFETY: defined for every argument; core writes to the variable.
    let path = unsafe { pg_sys::find_coercion_pathway(to, from, context, &raw mut function) };
    (path == pg_sys::CoercionPathType::COERCION_PATH_FUNC).then_some(function)
}

/// Whether a relation inherits from another one: a scan of `pg_inherits`.
pub fn has_superclass(relation: Oid) -> bool {
    // SAFETY: defined for every argument; the guard holds nothing but the number.
    unsafe { guard(|| unguarded::has_superclass(relation)) }
}

/// The next number of a sequence, which core opens by its oid; an ERROR for what is none.
pub fn nextval_internal(sequence: Oid, check_permissions: bool) -> i64 {
    // SAFETY: defined for every argument; the guard holds nothing but them.
    unsafe { guard(|| unguarded::nextval_internal(sequence, check_permissions)) }
}

/// The partitioned tables that a partition is in, the root last; none for what is no partition
/// (`catalog/partition.c`).
pub fn partition_ancestors(relation: Oid) -> Vec<Oid> {
    // A table that inherits otherwise has entries in the same catalog.
    if !get_rel_relispartition(relation) {
        return Vec::new();
    }
    // SAFETY: scans of a catalog by any oid, which give a list of oids that is made for us;
    // nothing is owned in the guard.
    unsafe { oids(guard(|| unguarded::get_partition_ancestors(relation))) }
}

/// What `pg_inherits` says a partition, or the index of one, is directly under; also while it is being
/// detached. None for what is under nothing.
///
/// Core's `get_partition_parent` raises XX000 then. But whether a relation is a partition is known from a
/// cache, and where it is from a catalog that has gone on: an index leaves its place while it is
/// rebuilt concurrently, and a table when it is detached.
pub fn partition_parent(relation: Oid) -> Option<Oid> {
    const COLUMNS: usize = 4;
    let lock = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
    // SAFETY: a catalog that every server has, with an index that begins with the column of the key. Its row
    // has four columns that are not NULL, and is read while the scan holds it; the scan is ended and the
    // catalog closed here, or by the abort.
    unsafe {
        let catalog = pg_sys::table_open(PG_INHERITS, lock);
        let mut key = pg_sys::ScanKeyData::default();
        let equal = pg_sys::BTEqualStrategyNumber as pg_sys::StrategyNumber;
        pg_sys::ScanKeyInit(&raw mut key, 1, equal, F_OIDEQ, Datum::from(relation));
        let by_child = PG_INHERITS_BY_CHILD;
        let none = std::ptr::null_mut();
        let scan = pg_sys::systable_beginscan(catalog, by_child, true, none, 1, &raw mut key);
        let tuple = pg_sys::systable_getnext(scan);
        let mut parent = None;
        if !tuple.is_null() {
            let (mut values, mut nulls) = ([Datum::null(); COLUMNS], [true; COLUMNS]);
            let desc = (*catalog).rd_att;
            assert_eq!((*desc).natts as usize, COLUMNS);
            pg_sys::heap_deform_tuple(tuple, desc, values.as_mut_ptr(), nulls.as_mut_ptr());
            parent = Some(Oid::from(values[1].value() as u32));
        }
        pg_sys::systable_endscan(scan);
        pg_sys::table_close(catalog, lock);
        parent
    }
}

/// The root of the partition tree that a table is in, itself if it is no partition or is gone.
/// A partition that is being detached counts as one until that is done.
pub fn partition_root(table: Oid) -> Oid {
    let mut root = table;
    // A table that inherits otherwise has entries in the same catalog.
    while get_rel_relispartition(root)
        && let Some(parent) = partition_parent(root)
    {
        root = parent;
    }
    root
}

/// A partitioned table and all that is under it, not locked (`pg_inherits.c`).
pub fn partitions(root: Oid) -> Vec<Oid> {
    inheritors(root, pg_sys::NoLock as pg_sys::LOCKMODE)
}

/// Locks all that is under a partitioned table, which the caller has locked.
pub fn lock_partitions(root: Oid, mode: pg_sys::LOCKMODE) {
    inheritors(root, mode);
}

fn inheritors(root: Oid, mode: pg_sys::LOCKMODE) -> Vec<Oid> {
    let none = std::ptr::null_mut();
    // SAFETY: a look-up in a catalog by any oid, which gives a list of oids that is made for
    // us; a lock mode that is none is an ERROR. Nothing is owned in the guard.
    unsafe { oids(guard(|| unguarded::find_all_inheritors(root, mode, none))) }
}

/// An identifier in the server's encoding, quoted where SQL needs it.
pub fn quote_identifier(name: &CStr) -> CString {
    // SAFETY: core gives back its argument or a C string of palloc's; both live until they are
    // copied here.
    unsafe { CStr::from_ptr(pg_sys::quote_identifier(name.as_ptr())).to_owned() }
}
