//! Looking keys up in the arbiter.
//!
//! A look-up reads the unique index directly, under an MVCC snapshot of the
//! caller's transaction, and gives the stored row where it lies. It needs no
//! executor, takes no row lock and writes nothing; under SERIALIZABLE the index
//! scan takes the predicate locks that make the row, or its absence, count as
//! read.
//!
//! Nothing of the table's owner is evaluated: the values of expressions in the key come with the
//! key, its condition is not looked at, and its operator classes are superusers'. A row that a
//! partial arbiter leads to meets its condition: an UPDATE that changes this puts the new version
//! where the index does not lead.
//!
//! A look-up that finds nothing is *not* a promise that the key is free: another
//! transaction may be inserting it. Only the INSERT … ON CONFLICT that follows
//! decides that.
use super::merge_scan::MergeScan;
use super::partition::PartitionRouter;
use super::scan::Scan;
use super::triggers::may_change_updates;
use super::{OpenRelation, StoredRow, Target, UniqueIndex};
use crate::pg::memory::Memory;
use crate::pg::value::sql_value::SqlValue;
use pgrx::pg_sys;
use std::collections::HashMap;

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
    /// Whether the last look may have met an entry of the key.
    met_entry: bool,
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
    /// Whether the last look may have met an entry of the key.
    met_entry: bool,
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
            met_entry: false,
            memory,
        }
    }

    /// Looks for the row under this key; `key` gives the value of a column by
    /// its position. Keys must come in the arbiter's order. What was found is
    /// [`KeyLookup::stored`].
    ///
    /// # Panics
    /// If a value is of another type than its column.
    pub fn find<'v>(&mut self, key: impl Fn(usize) -> SqlValue<'v>) {
        let Self {
            target,
            relation,
            index,
            router,
            leaves,
            leaf_of,
            found,
            met_entry,
            memory,
        } = self;
        let key = |column: usize| {
            let value = key(column);
            assert_eq!(value.typid(), target.column(column).typid);
            value
        };
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
                    let (table, table_index) = router.leaf(key)?;
                    *leaf_of.entry(table).or_insert_with(|| {
                        let table = OpenRelation::open(table);
                        leaves.push(LeafPartition::open(target, index, table, table_index));
                        leaves.len() - 1
                    })
                }
            };
            let leaf_at_hand = &mut leaves[leaf];
            let by = leaf_at_hand.find(index, key);
            *met_entry = leaf_at_hand.met_entry;
            by.map(|by| (leaf, by))
        });
    }

    /// A key is passed over, as if it had not been found.
    pub fn skip(&mut self) {
        self.found = None;
    }

    /// Whether the last look, which found nothing, may have met an entry in the index: that of a
    /// row that is not visible.
    pub fn met_entry(&self) -> bool {
        self.met_entry
    }

    /// Whether triggers may change what an UPDATE writes to tables that were looked at.
    pub fn triggers_may_change_updates(&self) -> bool {
        let mut tables = self.leaves.iter().map(|leaf| &leaf.table);
        tables.any(may_change_updates)
    }

    /// The row that the last look found, where it lies.
    pub fn stored(&self) -> Option<StoredRow<'_>> {
        let (leaf, by) = self.found?;
        let leaf = &self.leaves[leaf];
        let scan = match by {
            FoundBy::IndexProbe => &leaf.index_probe,
            FoundBy::MergeScan => leaf.merge_scan.scan()?,
        };
        scan.row(&leaf.numbers)
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
            met_entry: false,
            index,
            table,
        }
    }

    fn find<'v>(
        &mut self,
        arbiter: &UniqueIndex,
        key: impl Fn(usize) -> SqlValue<'v>,
    ) -> Option<FoundBy> {
        match self
            .merge_scan
            .find(&self.table, &self.index, arbiter, &self.numbers, &key)
        {
            Some(found) => {
                // It passes by entries whose rows are not visible.
                self.met_entry = true;
                found.then_some(FoundBy::MergeScan)
            }
            None => {
                let found = self.index_probe.find(key);
                self.met_entry = self.index_probe.saw_entry();
                found.then_some(FoundBy::IndexProbe)
            }
        }
    }
}
