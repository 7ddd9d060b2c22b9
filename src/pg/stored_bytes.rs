//! The rows of a table by the bytes in which they are stored, without a look at their values.
use super::ffi::{self, unguarded};
use super::relation::OpenRelation;
use pgrx::pg_sys;
use std::mem::offset_of;
use std::ops::ControlFlow;
use std::{ptr, slice};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// So many rows are read under one guard.
const ROWS_AT_ONCE: usize = 256;

/// Where the part of a tuple begins that the row alone decides: which values are NULL, and the values.
const CONTENT: usize = offset_of!(pg_sys::HeapTupleHeaderData, t_bits);

/// `ATTRIBUTE_GENERATED_VIRTUAL`, since 18.
const VIRTUAL: u8 = b'v';

/// What two tables with the same rows have in common, in whatever order the rows lie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoredSum {
    rows: u64,
    hashes: u64,
}

impl OpenRelation {
    /// Whether rows that are stored here and there in the same bytes are equal, column by column: both are
    /// plain tables with the server's own storage, and their columns have the same names and types, in the
    /// same order. None of them was dropped, is computed when it is read, or has a value that rows from before
    /// it was added do not contain.
    pub fn stores_rows_as(&self, other: &Self) -> bool {
        let columns = |relation: &Self| {
            let columns = relation.attribute_rows();
            // SAFETY: an open relation has a descriptor.
            let count = unsafe { (*relation.desc()).natts } as usize;
            let is_stored = |column: &pg_sys::FormData_pg_attribute| {
                let is_virtual = column.attgenerated as u8 == VIRTUAL;
                !column.atthasmissing && !is_virtual
            };
            (columns.len() == count && columns.iter().all(is_stored)).then_some(columns)
        };
        if !self.is_heap_table() || !other.is_heap_table() {
            return false;
        }
        let (Some(own), Some(others)) = (columns(self), columns(other)) else {
            return false;
        };
        own.len() == others.len()
            && own.iter().zip(&others).all(|(own, other)| {
                own.attname.data == other.attname.data && own.atttypid == other.atttypid
            })
    }

    /// The sum of keyed hashes of all rows that the active snapshot shows; None if a value of one is stored
    /// outside of it.
    ///
    /// # Panics
    /// If it is no plain table with the server's own storage.
    pub fn stored_sum(&self, seed: u64) -> Option<StoredSum> {
        assert!(self.is_heap_table(), "a relation is no table in a heap");
        let flags = pg_sys::ScanOptions::SO_TYPE_SEQSCAN
            | pg_sys::ScanOptions::SO_ALLOW_STRAT
            | pg_sys::ScanOptions::SO_ALLOW_SYNC
            | pg_sys::ScanOptions::SO_ALLOW_PAGEMODE;
        // SAFETY: an open, locked table in a heap; a function that runs has an active snapshot, which
        // stays until the scan is ended here, or by the abort.
        let scan = unsafe {
            let snapshot = pg_sys::GetActiveSnapshot();
            let (keys, parallel) = (ptr::null_mut(), ptr::null_mut());
            pg_sys::heap_beginscan(self.raw(), snapshot, 0, keys, parallel, flags)
        };
        let mut sum = StoredSum::default();
        let is_whole = loop {
            // SAFETY: the scan is open. What runs under the guard owns nothing.
            match unsafe { ffi::guard(|| add_rows(scan, seed, &mut sum)) } {
                ControlFlow::Continue(()) => {}
                ControlFlow::Break(is_whole) => break is_whole,
            }
        };
        // SAFETY: it was begun above, and is ended once.
        unsafe { pg_sys::heap_endscan(scan) };
        is_whole.then_some(sum)
    }
}

/// Adds the next rows of a scan. Breaks off at its end, with true, and where a value is stored outside of its
/// row, with false.
///
/// # Safety
/// An open scan of a heap; called inside the guard.
unsafe fn add_rows(
    scan: pg_sys::TableScanDesc,
    seed: u64,
    sum: &mut StoredSum,
) -> ControlFlow<bool> {
    let forward = pg_sys::ScanDirection::ForwardScanDirection;
    for _ in 0..ROWS_AT_ONCE {
        // SAFETY: the caller's promise. A tuple is pinned until the next one is fetched, has a header, and as
        // many bytes as it says.
        let (header, bytes) = unsafe {
            let Some(tuple) = unguarded::heap_getnext(scan, forward).as_ref() else {
                return ControlFlow::Break(true);
            };
            let length = (tuple.t_len as usize).saturating_sub(CONTENT);
            let content = tuple.t_data.cast::<u8>().add(CONTENT);
            (&*tuple.t_data, slice::from_raw_parts(content, length))
        };
        let (flags, columns) = (u32::from(header.t_infomask), u32::from(header.t_infomask2));
        if flags & pg_sys::HEAP_HASEXTERNAL != 0 {
            return ControlFlow::Break(false);
        }
        // With fewer columns than the table has now, or without a map of NULLs, the bytes mean something else.
        let columns = columns & pg_sys::HEAP_NATTS_MASK;
        let form = u64::from(columns << 1 | u32::from(flags & pg_sys::HEAP_HASNULL != 0));
        let hash = xxh3_64_with_seed(bytes, seed ^ form);
        sum.rows += 1;
        sum.hashes = sum.hashes.wrapping_add(hash);
    }
    ControlFlow::Continue(())
}
