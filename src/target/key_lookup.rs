//! Looking keys up in the arbiter.
//!
//! A look-up reads the unique index directly, under an MVCC snapshot of the
//! caller's transaction, and gives the stored row where it lies. It needs no
//! executor, takes no row lock and writes nothing; under SERIALIZABLE the index
//! scan takes the predicate locks that make the row, or its absence, count as
//! read.
//!
//! Nothing of the table's owner is evaluated: the arbiter is on plain columns, without a
//! condition, and its operator classes are superusers'.
//!
//! A look-up that finds nothing is *not* a promise that the key is free: another
//! transaction may be inserting it. Only the INSERT … ON CONFLICT that follows
//! decides that.
use super::merge_scan::MergeScan;
use super::partition::PartitionRouter;
use super::scan::Scan;
use super::{OpenRelation, Target, UniqueIndex};
use crate::pg::memory::Memory;
use crate::pg::rows::Slot;
use pgrx::pg_sys;
use std::collections::HashMap;
use std::ops::Range;
use std::ptr;

/// Looks up keys of one arbiter under one snapshot, in the arbiter's order.
pub struct KeyLookup<'t> {
    target: &'t Target,
    relation: &'t OpenRelation,
    index: &'t UniqueIndex,
    router: Option<PartitionRouter<'t>>,
    leaves: Vec<LeafPartition>,
    /// The leaf of each table that was met.
    leaf_of: HashMap<pg_sys::Oid, usize>,
    /// The leaf in which the last look found a row, and which of its scans did.
    found: Option<(usize, FoundBy)>,
    /// Scans and slots live here, and are closed before it goes.
    memory: Memory,
}

/// Which of the scans found a row.
#[derive(Clone, Copy)]
enum FoundBy {
    IndexProbe,
    MergeScan,
}

/// A plain table (a partition, or the target itself) with its scans.
struct LeafPartition {
    /// Where the target's columns are in this table, from 1.
    numbers: Vec<pg_sys::AttrNumber>,
    index_probe: Scan,
    merge_scan: MergeScan,
    /// Closed after the scans, in this order.
    index: OpenRelation,
    table: OpenRelation,
}

impl<'t> KeyLookup<'t> {
    /// Looks under the active snapshot, which must stay active while it lives.
    pub fn new(target: &'t Target, relation: &'t OpenRelation, index: &'t UniqueIndex) -> Self {
        let router = target
            .partitioned
            .then(|| PartitionRouter::new(target, relation, index));
        let memory = Memory::in_current(c"pg_idempotent index scans");
        Self {
            target,
            relation,
            index,
            router,
            leaves: Vec::new(),
            leaf_of: HashMap::new(),
            found: None,
            memory,
        }
    }

    /// Looks for the row under this key; `key` gives the value of a column by
    /// its position. Keys must come in the arbiter's order. What was found is
    /// [`KeyLookup::stored`].
    pub fn find(&mut self, key: impl Fn(usize) -> Option<pg_sys::Datum>) {
        let Self {
            target,
            relation,
            index,
            router,
            leaves,
            leaf_of,
            found,
            memory,
        } = self;
        *found = memory.scope(|| {
            let leaf = match router {
                None if leaves.is_empty() => {
                    leaves.push(LeafPartition::open(
                        target,
                        index,
                        relation.reopen(),
                        index.oid,
                    ));
                    0
                }
                None => 0,
                Some(router) => {
                    let (table, table_index) = router.leaf(&key)?;
                    *leaf_of.entry(table).or_insert_with(|| {
                        let table = OpenRelation::open(table);
                        leaves.push(LeafPartition::open(target, index, table, table_index));
                        leaves.len() - 1
                    })
                }
            };
            leaves[leaf].find(index, key).map(|by| (leaf, by))
        });
    }

    /// A key is passed over, as if it had not been found.
    pub fn skip(&mut self) {
        self.found = None;
    }

    /// The row that the last look found, where it lies.
    pub fn stored(&self) -> Option<StoredRow<'_>> {
        let (leaf, by) = self.found?;
        let leaf = &self.leaves[leaf];
        let scan = match by {
            FoundBy::IndexProbe => &leaf.index_probe,
            FoundBy::MergeScan => leaf.merge_scan.scan()?,
        };
        Some(StoredRow {
            slot: scan.slot(),
            numbers: &leaf.numbers,
        })
    }
}

impl LeafPartition {
    fn open(
        target: &Target,
        arbiter: &UniqueIndex,
        table: OpenRelation,
        index: pg_sys::Oid,
    ) -> Self {
        let index = OpenRelation::open_index(index);
        let numbers = target.attnums_in(table.oid());
        let index_probe = Scan::by_equality(&table, &index, arbiter);
        Self {
            numbers,
            index_probe,
            merge_scan: MergeScan::new(arbiter),
            index,
            table,
        }
    }

    fn find(
        &mut self,
        arbiter: &UniqueIndex,
        key: impl Fn(usize) -> Option<pg_sys::Datum>,
    ) -> Option<FoundBy> {
        match self
            .merge_scan
            .find(&self.table, &self.index, arbiter, &self.numbers, &key)
        {
            Some(found) => found.then_some(FoundBy::MergeScan),
            None => self
                .index_probe
                .find(arbiter, key)
                .then_some(FoundBy::IndexProbe),
        }
    }
}

/// A row of the table: one that a look-up found, where it lies in its buffer, or
/// one that an INSERT returned.
pub struct StoredRow<'l> {
    slot: *mut pg_sys::TupleTableSlot,
    numbers: &'l [pg_sys::AttrNumber],
}

impl<'l> StoredRow<'l> {
    /// A row that an INSERT returned; `numbers` says where the columns are.
    pub fn returned(row: &'l Slot, numbers: &'l [pg_sys::AttrNumber]) -> Self {
        Self {
            slot: row.raw(),
            numbers,
        }
    }

    /// The row in a slot of the server's.
    ///
    /// # Safety
    /// The slot holds a row while this lives, deformed as far as it is read.
    pub unsafe fn in_slot(
        slot: *mut pg_sys::TupleTableSlot,
        numbers: &'l [pg_sys::AttrNumber],
    ) -> Self {
        Self { slot, numbers }
    }

    /// The value of a column of the target, by its position.
    pub fn get(&self, column: usize) -> Option<pg_sys::Datum> {
        assert!(column < self.numbers.len());
        // SAFETY: checked.
        unsafe { self.get_unguarded(column) }
    }

    /// The value of a column of the target, without a check that could panic.
    ///
    /// # Safety
    /// `column` is a position in the target's columns.
    pub unsafe fn get_unguarded(&self, column: usize) -> Option<pg_sys::Datum> {
        // SAFETY: the scan deformed the row.
        unsafe {
            let i = *self.numbers.get_unchecked(column) as usize - 1;
            let slot = &*self.slot;
            (!*slot.tts_isnull.add(i)).then(|| *slot.tts_values.add(i))
        }
    }

    /// The table that holds the row, and its tuple id.
    pub fn table_and_tid(&self) -> (pg_sys::Oid, pg_sys::ItemPointerData) {
        // SAFETY: the slot holds the row.
        unsafe { ((*self.slot).tts_tableOid, (*self.slot).tts_tid) }
    }

    /// The transaction that wrote this version of the row.
    pub fn xmin(&self) -> pg_sys::TransactionId {
        let mut null = false;
        let number = pg_sys::MinTransactionIdAttributeNumber;
        // SAFETY: the slot holds a row of a table, as the heap has it.
        let xmin = unsafe { pg_sys::slot_getsysattr(self.slot, number, &raw mut null) };
        pg_sys::TransactionId::from(xmin.value() as u32)
    }

    /// Whether one of these commands of this transaction wrote this version of the
    /// row.
    pub fn is_written_by(&self, commands: &Range<pg_sys::CommandId>) -> bool {
        // SAFETY: the real command is asked for only if the row is ours; what the row
        // itself holds may be a combo command id.
        unsafe {
            pg_sys::TransactionIdIsCurrentTransactionId(self.xmin())
                && commands.contains(&pg_sys::HeapTupleHeaderGetCmin(self.header()))
        }
    }

    /// Whether one of these commands of this transaction inserted this row, and
    /// nobody changed it since.
    pub fn is_inserted_by(&self, commands: &Range<pg_sys::CommandId>) -> bool {
        // SAFETY: the header is the row's.
        let flags = unsafe { u32::from((*self.header()).t_infomask) };
        flags & pg_sys::HEAP_UPDATED == 0 && self.is_written_by(commands)
    }

    fn header(&self) -> pg_sys::HeapTupleHeader {
        // SAFETY: the slot holds a row of a table, as the heap has it.
        unsafe {
            let tuple = pg_sys::ExecFetchSlotHeapTuple(self.slot, false, ptr::null_mut());
            (*tuple).t_data
        }
    }
}
