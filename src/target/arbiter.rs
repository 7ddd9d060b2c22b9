//! Looking a key up in the arbiter.
//!
//! The look reads the unique index directly, under an MVCC snapshot of the
//! caller's transaction, and returns the stored row where it lies. It needs no
//! executor, takes no row lock and writes nothing; under SERIALIZABLE the index
//! scan takes the predicate locks that make the row, or its absence, count as
//! read.
//!
//! A look that finds nothing is *not* a promise that the key is free: another
//! transaction may be inserting it. Only the INSERT … ON CONFLICT that follows
//! decides that.
use super::partition::Route;
use super::{OpenRelation, Target, UniqueIndex};
use crate::pg::memory::Memory;
use crate::pg::{ffi, unwinding};
use pgrx::pg_sys;
use std::collections::HashMap;
use std::ffi::c_int;
use std::ptr;

/// Looks up keys of one arbiter under one snapshot.
pub struct Look<'t> {
    target: &'t Target,
    index: &'t UniqueIndex,
    route: Option<Route<'t>>,
    leaves: HashMap<pg_sys::Oid, Leaf>,
    /// The table in which the last look found a row.
    found: Option<pg_sys::Oid>,
    /// Scans and slots live here, and are closed before it goes.
    memory: Memory,
}

impl<'t> Look<'t> {
    /// Looks under the active snapshot, which must stay active while it lives.
    pub fn new(target: &'t Target, relation: &OpenRelation, index: &'t UniqueIndex) -> Self {
        let route = target
            .partitioned
            .then(|| Route::new(target, relation, index));
        let memory = Memory::in_current(c"pg_idempotent index scans");
        Self {
            target,
            index,
            route,
            leaves: HashMap::new(),
            found: None,
            memory,
        }
    }

    /// Looks for the row under this key; `key` gives the value of a column by
    /// its position. What was found is [`Look::stored`].
    pub fn find(&mut self, key: impl Fn(usize) -> Option<pg_sys::Datum>) {
        let Self {
            target,
            index,
            route,
            leaves,
            found,
            memory,
        } = self;
        *found = memory.scope(|| {
            let (table, table_index) = match route {
                None => (target.oid, index.oid),
                Some(route) => route.leaf(&key)?,
            };
            leaves
                .entry(table)
                .or_insert_with(|| Leaf::open(target, index, table, table_index))
                .find(index, key)
                .then_some(table)
        });
    }

    /// A key is passed over, as if it had not been found.
    pub fn skip(&mut self) {
        self.found = None;
    }

    /// The row that the last look found, where it lies.
    pub fn stored(&self) -> Option<StoredRow<'_>> {
        self.found.map(|table| StoredRow {
            leaf: &self.leaves[&table],
        })
    }
}

/// A plain table (a partition, or the target itself) with a scan of its index.
struct Leaf {
    /// Where the target's columns are in this table, from 1.
    numbers: Vec<pg_sys::AttrNumber>,
    keys: Vec<pg_sys::ScanKeyData>,
    slot: *mut pg_sys::TupleTableSlot,
    scan: pg_sys::IndexScanDesc,
    /// Closed after the scan, in this order.
    _index: OpenRelation,
    _table: OpenRelation,
}

impl Leaf {
    fn open(
        target: &Target,
        arbiter: &UniqueIndex,
        table: pg_sys::Oid,
        index: pg_sys::Oid,
    ) -> Self {
        let table = OpenRelation::open(table);
        let index = OpenRelation::open(index);
        let numbers = target
            .columns
            .iter()
            .map(|column| {
                if table.oid() == target.oid {
                    column.attnum
                } else {
                    // SAFETY: an existing table; partitions have all columns of
                    // their parent, by name.
                    unsafe { pg_sys::get_attnum(table.oid(), column.c_name.as_ptr()) }
                }
            })
            .collect();
        // SAFETY: table and index are open and belong together; the active
        // snapshot outlives the scan.
        unsafe {
            let keys = arbiter
                .keys
                .iter()
                .enumerate()
                .map(|(i, key)| {
                    let mut scan_key = pg_sys::ScanKeyData::default();
                    pg_sys::ScanKeyEntryInitialize(
                        &raw mut scan_key,
                        0,
                        i as pg_sys::AttrNumber + 1,
                        pg_sys::BTEqualStrategyNumber as pg_sys::StrategyNumber,
                        pg_sys::InvalidOid,
                        key.collation,
                        key.equality_function,
                        pg_sys::Datum::null(),
                    );
                    scan_key
                })
                .collect::<Vec<_>>();
            let scan = index_beginscan(
                table.raw(),
                index.raw(),
                pg_sys::GetActiveSnapshot(),
                keys.len() as c_int,
            );
            let slot = pg_sys::table_slot_create(table.raw(), ptr::null_mut());
            Self {
                numbers,
                keys,
                slot,
                scan,
                _index: index,
                _table: table,
            }
        }
    }

    fn find(
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
        // SAFETY: the scan is open; it copies the keys. The slot fits the table
        // and is deformed whole, so that columns are read without calls. The
        // guard holds nothing.
        unsafe {
            ffi::guard(|| {
                ffi::unguarded::index_rescan(
                    self.scan,
                    self.keys.as_mut_ptr(),
                    self.keys.len() as c_int,
                    ptr::null_mut(),
                    0,
                );
                let found = ffi::unguarded::index_getnext_slot(
                    self.scan,
                    pg_sys::ScanDirection::ForwardScanDirection,
                    self.slot,
                );
                if found {
                    let natts = (*(*self.slot).tts_tupleDescriptor).natts;
                    ffi::unguarded::slot_getsomeattrs_int(self.slot, natts);
                }
                found
            })
        }
    }
}

impl Drop for Leaf {
    fn drop(&mut self) {
        if !unwinding() {
            // SAFETY: opened by us, in this order's reverse.
            unsafe {
                pg_sys::ExecDropSingleTupleTableSlot(self.slot);
                pg_sys::index_endscan(self.scan);
            }
        }
    }
}

/// # Safety
/// `table` and `index` are open and belong together.
unsafe fn index_beginscan(
    table: pg_sys::Relation,
    index: pg_sys::Relation,
    snapshot: pg_sys::Snapshot,
    keys: c_int,
) -> pg_sys::IndexScanDesc {
    // SAFETY: the caller's promise.
    unsafe {
        #[cfg(feature = "pg18")]
        return pg_sys::index_beginscan(table, index, snapshot, ptr::null_mut(), keys, 0);
        #[cfg(not(feature = "pg18"))]
        return pg_sys::index_beginscan(table, index, snapshot, keys, 0);
    }
}

/// The row that a look found, where it lies in its buffer.
pub struct StoredRow<'l> {
    leaf: &'l Leaf,
}

impl StoredRow<'_> {
    /// The value of a column of the target, by its position.
    pub fn get(&self, column: usize) -> Option<pg_sys::Datum> {
        assert!(column < self.leaf.numbers.len());
        // SAFETY: checked.
        unsafe { self.get_unguarded(column) }
    }

    /// Likewise, without a check that could panic.
    ///
    /// # Safety
    /// `column` is a position in the target's columns.
    pub unsafe fn get_unguarded(&self, column: usize) -> Option<pg_sys::Datum> {
        // SAFETY: the look deformed the row.
        unsafe {
            let i = *self.leaf.numbers.get_unchecked(column) as usize - 1;
            let slot = &*self.leaf.slot;
            (!*slot.tts_isnull.add(i)).then(|| *slot.tts_values.add(i))
        }
    }

    /// The table that holds the row, and its tuple id.
    pub fn place(&self) -> (pg_sys::Oid, pg_sys::ItemPointerData) {
        // SAFETY: the slot holds the row.
        unsafe { ((*self.leaf.slot).tts_tableOid, (*self.leaf.slot).tts_tid) }
    }

    /// Whether this transaction wrote this version of the row, in the command
    /// `since` or a later one.
    pub fn written_by_us(&self, since: pg_sys::CommandId) -> bool {
        let system = |number: i32| {
            let mut null = false;
            // SAFETY: the slot holds a row of a table with system columns.
            unsafe { pg_sys::slot_getsysattr(self.leaf.slot, number, &raw mut null) }
        };
        let xmin = system(pg_sys::MinTransactionIdAttributeNumber);
        // SAFETY: asks about a transaction id.
        let ours = unsafe {
            pg_sys::TransactionIdIsCurrentTransactionId(pg_sys::TransactionId::from(
                xmin.value() as u32
            ))
        };
        ours && system(pg_sys::MinCommandIdAttributeNumber).value() as u32 >= since
    }
}

/// The oid of the arbiter's index on a partition, one level down.
///
/// # Safety
/// `partition` is open.
pub unsafe fn index_of_partition(
    partition: &OpenRelation,
    parent_index: pg_sys::Oid,
) -> pg_sys::Oid {
    // SAFETY: the caller's promise.
    unsafe { ffi::index_get_partition(partition.raw(), parent_index) }
}
