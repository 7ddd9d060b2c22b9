//! Functions of the server that pgrx 0.18.1 does not bind, and unguarded ones
//! for inner loops.
//!
//! pgrx guards every call into the server with a `sigsetjmp`, some 20 ns. Where
//! a row costs a dozen calls that is a fifth of its time, so the inner loops
//! call the [`unguarded`] functions inside one [`guard`].
use pgrx::pg_sys;
use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;
use std::ffi::c_int;
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

mod unbound;
/// Declared without pgrx's guard; to be called inside [`guard`] only.
pub mod unguarded;
pub use unguarded::functions;

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
    // SAFETY: reads a flag of the backend's; by the caller's promise there is a guard around,
    // which the ERROR of an interrupt jumps to.
    unsafe {
        if pg_sys::InterruptPending != 0 {
            unguarded::ProcessInterrupts();
        }
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
        // As core's inline `TupleDescAttr`: the rows of `pg_attribute` come after a short form of
        // each.
        #[cfg(feature = "pg18")]
        {
            let short = (*desc).compact_attrs.as_ptr();
            let rows = short
                .add((*desc).natts as usize)
                .cast::<pg_sys::FormData_pg_attribute>();
            &*rows.add(i as usize)
        }
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
    /// The types of its columns.
    pub parttypid: *mut pg_sys::Oid,
}

/// The partition key of a partitioned table (`partcache.c`). When the relation cache first
/// makes it, it calls IMMUTABLE functions in its expressions as the current user: it is
/// for callers who write to the table or read it, and not for those who look at what it
/// is (`target::partition_key_columns`).
///
/// # Safety
/// `rel` is an open partitioned table.
pub unsafe fn partition_key(rel: pg_sys::Relation) -> *mut PartitionKeyData {
    // SAFETY: an open partitioned table by the caller's promise; nothing is owned in the
    // guard.
    unsafe { guard(|| unguarded::RelationGetPartitionKey(rel)) }
}

/// The partitioned tables (or indexes) that a partition is in, the root last
/// (`catalog/partition.c`).
///
/// # Safety
/// `relation` exists, and is a partition.
pub unsafe fn partition_ancestors(relation: pg_sys::Oid) -> Vec<pg_sys::Oid> {
    // SAFETY: a partition by the caller's promise; what comes back is a list of oids that is
    // made for us, and nothing is owned in the guard.
    unsafe { oids(guard(|| unguarded::get_partition_ancestors(relation))) }
}

/// The root of the partition tree that a table is in, itself if it is no partition.
/// A partition that is being detached counts as one until that is done.
///
/// # Safety
/// `table` exists.
pub unsafe fn partition_root(table: pg_sys::Oid) -> pg_sys::Oid {
    let mut root = table;
    // SAFETY: look-ups of a relation that exists by the caller's promise. A parent is asked
    // for only where there is one, and exists as its partition does; nothing is owned in the
    // guard.
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
    // SAFETY: a look-up in a catalog by any oid, which gives a list of oids that is made for
    // us; a lock mode that is none is an ERROR. Nothing is owned in the guard.
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
    // SAFETY: an open relation by the caller's promise, whose indexes are looked at; any oid
    // may be asked for. Nothing is owned in the guard.
    unsafe { guard(|| unguarded::index_get_partition(partition, index)) }
}
