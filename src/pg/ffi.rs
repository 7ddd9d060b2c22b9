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

pub mod plain;
/// Declared without pgrx's guard; to be called inside [`guard`] only.
pub mod unguarded;
pub use plain::{lock_partitions, partition_ancestors, partition_root, partitions};
pub use unguarded::{PartitionKeyData, functions};

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
