//! One scan of a unique index with the rows it points to.
use super::{OpenRelation, UniqueIndex};
use crate::pg::memory::Memory;
use crate::pg::{ffi, unwinding};
use pgrx::pg_sys;
use std::ffi::c_int;
use std::ptr;

/// An index scan under the snapshot that was active when it began. Relations
/// and snapshot outlive it.
pub struct Scan {
    scan: pg_sys::IndexScanDesc,
    slot: *mut pg_sys::TupleTableSlot,
    keys: Vec<pg_sys::ScanKeyData>,
    /// How many columns of a row are deformed.
    columns: c_int,
    /// Whether the scan is at its start, without a row or a page in hand.
    paused: bool,
    /// Whether the last look for a key met an entry in the index, be its row
    /// visible or not.
    saw_entry: bool,
}

impl Scan {
    /// A scan that finds one key at a time, under the active snapshot.
    pub fn by_equality(table: &OpenRelation, index: &OpenRelation, arbiter: &UniqueIndex) -> Self {
        // SAFETY: a snapshot is active, as in every call.
        let snapshot = unsafe { pg_sys::GetActiveSnapshot() };
        Self::by_equality_under(table, index, arbiter, snapshot)
    }

    /// A scan that finds one key at a time, under a snapshot of the caller's, which outlives it.
    pub fn by_equality_under(
        table: &OpenRelation,
        index: &OpenRelation,
        arbiter: &UniqueIndex,
        snapshot: pg_sys::Snapshot,
    ) -> Self {
        let keys = arbiter.keys.iter().enumerate().map(|(i, key)| {
            let mut scan_key = pg_sys::ScanKeyData::default();
            // SAFETY: the arbiter's look-up is copied into the current context, which is
            // that of the scan: to look an operator of a type of SQL's up takes longer than
            // to find a row.
            unsafe {
                pg_sys::ScanKeyEntryInitializeWithInfo(
                    &raw mut scan_key,
                    0,
                    i as pg_sys::AttrNumber + 1,
                    pg_sys::BTEqualStrategyNumber as pg_sys::StrategyNumber,
                    pg_sys::InvalidOid,
                    key.collation,
                    key.equality,
                    pg_sys::Datum::null(),
                );
            }
            scan_key
        });
        let count = arbiter.keys.len() as c_int;
        Self::begin(table, index, keys.collect(), count, snapshot)
    }

    /// A scan that starts at a key and goes on in the index's order. A key of
    /// several columns is a row comparison: its scan keys follow a header, which
    /// [`Scan::start_at`] points at them.
    pub fn from_key(table: &OpenRelation, index: &OpenRelation, arbiter: &UniqueIndex) -> Self {
        let strategy = pg_sys::BTGreaterEqualStrategyNumber;
        // SAFETY: as above.
        let snapshot = unsafe { pg_sys::GetActiveSnapshot() };
        if let [key] = arbiter.keys.as_slice() {
            let key = scan_key(0, key.collation, strategy, key.greater_equal_function);
            return Self::begin(table, index, vec![key], 1, snapshot);
        }
        let mut keys = vec![pg_sys::ScanKeyData {
            sk_flags: pg_sys::SK_ROW_HEADER as c_int,
            sk_attno: 1,
            sk_strategy: strategy as pg_sys::StrategyNumber,
            ..Default::default()
        }];
        keys.extend(
            arbiter
                .keys
                .iter()
                .enumerate()
                .map(|(i, key)| scan_key(i, key.collation, strategy, key.order_function)),
        );
        Self::begin(table, index, keys, 1, snapshot)
    }

    fn begin(
        table: &OpenRelation,
        index: &OpenRelation,
        keys: Vec<pg_sys::ScanKeyData>,
        count: c_int,
        snapshot: pg_sys::Snapshot,
    ) -> Self {
        // SAFETY: table and index are open and belong together.
        unsafe {
            #[cfg(feature = "pg18")]
            let scan = pg_sys::index_beginscan(
                table.raw(),
                index.raw(),
                snapshot,
                ptr::null_mut(),
                count,
                0,
            );
            #[cfg(not(feature = "pg18"))]
            let scan = pg_sys::index_beginscan(table.raw(), index.raw(), snapshot, count, 0);
            let slot = pg_sys::table_slot_create(table.raw(), ptr::null_mut());
            Self {
                scan,
                slot,
                keys,
                columns: (*(*slot).tts_tupleDescriptor).natts,
                paused: false,
                saw_entry: false,
            }
        }
    }

    /// Rows are left as they come: columns are deformed by whoever reads them.
    pub fn skip_deforming(&mut self) {
        self.columns = 0;
    }

    /// Finds the row under a key. NULLs are looked for as such.
    pub fn find(
        &mut self,
        arbiter: &UniqueIndex,
        key: impl Fn(usize) -> Option<pg_sys::Datum>,
    ) -> bool {
        // SAFETY: the guard holds nothing.
        unsafe { ffi::guard(|| self.find_unguarded(arbiter, key)) }
    }

    /// Finds the row under a key, as [`Scan::find`] does.
    ///
    /// # Safety
    /// Runs inside `ffi::guard`.
    pub unsafe fn find_unguarded(
        &mut self,
        arbiter: &UniqueIndex,
        key: impl Fn(usize) -> Option<pg_sys::Datum>,
    ) -> bool {
        for (scan_key, part) in self.keys.iter_mut().zip(&arbiter.keys) {
            match key(part.column) {
                Some(value) => {
                    scan_key.sk_flags = 0;
                    scan_key.sk_argument = value;
                }
                None => {
                    scan_key.sk_flags = (pg_sys::SK_ISNULL | pg_sys::SK_SEARCHNULL) as c_int;
                    scan_key.sk_argument = pg_sys::Datum::null();
                }
            }
        }
        let count = self.keys.len() as c_int;
        // SAFETY: the scan is open and has this many keys, which it reads when it
        // is asked for its first row.
        unsafe {
            if self.paused {
                let keys = (*self.scan).keyData;
                keys.copy_from_nonoverlapping(self.keys.as_ptr(), self.keys.len());
                self.paused = false;
            } else {
                self.rescan(count);
            }
            self.saw_entry = false;
            self.next_unguarded()
        }
    }

    /// Whether the last [`Scan::find`] met an entry in the index, be its row
    /// visible or not.
    pub fn saw_entry(&self) -> bool {
        self.saw_entry
    }

    /// Lets go of the row at hand and of the pages that it was found through: a
    /// scan that rests must not be in VACUUM's way.
    ///
    /// # Safety
    /// Runs inside `ffi::guard`.
    pub unsafe fn pause_unguarded(&mut self) {
        // SAFETY: the scan is open; given none, it keeps the keys that it has, if it is
        // told how many those are.
        unsafe {
            if let Some(clear) = (*(*self.slot).tts_ops).clear {
                clear(self.slot);
            }
            let count = (*self.scan).numberOfKeys;
            ffi::unguarded::index_rescan(self.scan, ptr::null_mut(), count, ptr::null_mut(), 0);
        }
        self.paused = true;
    }

    /// Starts at this key, which has no NULL, or the first one behind it. False
    /// if there is none. The scan goes on to compare with the key, whose copy is
    /// made in `copies`.
    pub fn start_at(
        &mut self,
        copies: &Memory,
        arbiter: &UniqueIndex,
        key: impl Fn(usize) -> Option<pg_sys::Datum>,
    ) -> bool {
        let first = usize::from(arbiter.keys.len() > 1);
        let last = self.keys.len() - 1;
        for (i, (scan_key, part)) in self
            .keys
            .iter_mut()
            .skip(first)
            .zip(&arbiter.keys)
            .enumerate()
        {
            let value = key(part.column).expect("the key has no NULL");
            let (by_value, length) = part.storage;
            // SAFETY: a non-null value of this storage.
            scan_key.sk_argument = copies.scope(|| unsafe {
                ffi::guard(|| ffi::unguarded::datumCopy(value, by_value, length.into()))
            });
            if first == 1 {
                // Core changes the flags of row members with every start.
                let end = if i + first == last {
                    pg_sys::SK_ROW_END
                } else {
                    0
                };
                scan_key.sk_flags = (pg_sys::SK_ROW_MEMBER | end) as c_int;
            }
        }
        if first == 1 {
            self.keys[0].sk_argument = pg_sys::Datum::from(&raw const self.keys[1]);
        }
        // SAFETY: as above; the header points at members in the same vector,
        // which does not grow any more.
        unsafe {
            ffi::guard(|| {
                self.rescan(1);
                self.next_unguarded()
            })
        }
    }

    /// Goes on to the next row; false at the end.
    pub fn next(&mut self) -> bool {
        // SAFETY: as above.
        unsafe { ffi::guard(|| self.next_unguarded()) }
    }

    /// # Safety
    /// The scan was begun with this many keys. Runs inside `ffi::guard`.
    unsafe fn rescan(&mut self, count: c_int) {
        // SAFETY: the caller's promise; core copies the keys.
        unsafe {
            ffi::unguarded::index_rescan(
                self.scan,
                self.keys.as_mut_ptr(),
                count,
                ptr::null_mut(),
                0,
            );
        }
    }

    /// The next row, deformed whole, so that columns are read without calls.
    ///
    /// # Safety
    /// Runs inside `ffi::guard`.
    unsafe fn next_unguarded(&mut self) -> bool {
        // SAFETY: the scan is open, and the slot fits the table.
        unsafe {
            // As index_getnext_slot.
            let forward = pg_sys::ScanDirection::ForwardScanDirection;
            let mut found = false;
            while !found {
                if !(*self.scan).xs_heap_continue {
                    if ffi::unguarded::index_getnext_tid(self.scan, forward).is_null() {
                        break;
                    }
                    self.saw_entry = true;
                }
                found = ffi::unguarded::index_fetch_heap(self.scan, self.slot);
            }
            if found {
                ffi::slot_getsomeattrs_unguarded(self.slot, self.columns);
            }
            found
        }
    }

    /// The slot with the row at hand.
    pub fn slot(&self) -> *mut pg_sys::TupleTableSlot {
        self.slot
    }
}

impl Drop for Scan {
    fn drop(&mut self) {
        if !unwinding() {
            // SAFETY: opened by us, closed in the reverse order.
            unsafe {
                pg_sys::ExecDropSingleTupleTableSlot(self.slot);
                pg_sys::index_endscan(self.scan);
            }
        }
    }
}

fn scan_key(
    i: usize,
    collation: pg_sys::Oid,
    strategy: u32,
    function: pg_sys::RegProcedure,
) -> pg_sys::ScanKeyData {
    let mut key = pg_sys::ScanKeyData::default();
    // SAFETY: an existing function; its look-up lives in the current context,
    // which is that of the scan.
    unsafe {
        pg_sys::ScanKeyEntryInitialize(
            &raw mut key,
            0,
            i as pg_sys::AttrNumber + 1,
            strategy as pg_sys::StrategyNumber,
            pg_sys::InvalidOid,
            collation,
            function,
            pg_sys::Datum::null(),
        );
    }
    key
}
