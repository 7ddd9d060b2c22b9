//! From a key to the partition that holds it.
//!
//! A unique index of a partitioned table contains the whole partition key, as
//! plain columns, so the key alone decides the partition.
//!
//! The relation cache folds constants in the expressions of a partition key. There are
//! none here: with an expression in the key of a table, or of a partitioned table under
//! it, no unique index covers the tree. Bounds are constants since they were made.
use super::{OpenRelation, Target, UniqueIndex};
use crate::error::Report;
use crate::pg::catalog::relation;
use crate::pg::ffi;
use crate::pg::relation::partition::{PartitionedTable, RoutedPartition, partition_key};
use crate::pg::value::sql_value::SqlValue;
use pgrx::pg_sys;
use std::collections::HashMap;

/// The partitioned tables between the root and its leaf partitions, opened as keys need them.
pub struct PartitionRouter<'t> {
    target: &'t Target,
    root: PartitionedLevel,
    levels: HashMap<pg_sys::Oid, PartitionedLevel>,
    /// Indexes of leaves that were met before.
    leaf_indexes: HashMap<pg_sys::Oid, pg_sys::Oid>,
}

/// One partitioned table.
struct PartitionedLevel {
    /// Positions in the target's columns of the partition key.
    key: Vec<usize>,
    index: pg_sys::Oid,
    table: PartitionedTable,
}

impl<'t> PartitionRouter<'t> {
    /// For the open target.
    pub fn new(target: &'t Target, relation: &OpenRelation, arbiter: &'t UniqueIndex) -> Self {
        let root = PartitionedLevel::open(target, relation.oid(), arbiter.oid);
        Self {
            target,
            root,
            levels: HashMap::new(),
            leaf_indexes: HashMap::new(),
        }
    }

    /// The leaf partition that this key belongs to, and its index; None if
    /// there is no partition for it.
    pub fn leaf<'v>(
        &mut self,
        key: impl Fn(usize) -> SqlValue<'v>,
    ) -> Option<(pg_sys::Oid, pg_sys::Oid)> {
        let mut level = &self.root;
        loop {
            let child = level.child(&key)?;
            let parent_index = level.index;
            let child_index = || OpenRelation::open(child.table).index_of_parents(parent_index);
            if child.is_leaf {
                let index = *self
                    .leaf_indexes
                    .entry(child.table)
                    .or_insert_with(child_index);
                if index == pg_sys::InvalidOid {
                    detached_meanwhile(self.target).raise()
                }
                return Some((child.table, index));
            }
            let target = self.target;
            level = self
                .levels
                .entry(child.table)
                .or_insert_with(|| PartitionedLevel::open(target, child.table, child_index()));
        }
    }
}

/// 40001: a transaction with one snapshot came to a partition that was detached concurrently, and has no
/// index of its table's any more. The next transaction does not find it.
fn detached_meanwhile(target: &Target) -> Report {
    Report::could_not_serialize(&target.schema, &target.name)
        .detail("A partition was detached concurrently.")
}

impl PartitionedLevel {
    fn open(target: &Target, table: pg_sys::Oid, index: pg_sys::Oid) -> Self {
        let table = PartitionedTable::open(table);
        let names = table.key_column_names();
        let key = names
            .into_iter()
            .map(|name| {
                name.and_then(|name| target.column_by_bytes(name.to_bytes()))
                    .expect("a partition's column is its parent's")
            })
            .collect();
        Self { key, index, table }
    }

    /// The partition for this key.
    fn child<'v>(&self, key: impl Fn(usize) -> SqlValue<'v>) -> Option<RoutedPartition> {
        let values = self.key.iter().map(|column| key(*column));
        self.table.partition_of(values)
    }
}

/// What a unique index of a table has to be on for the sake of its partitions.
pub enum PartitionKeyColumns {
    /// It is not partitioned.
    None,
    /// These columns, by position: those by which it, and the partitioned tables under it,
    /// are partitioned.
    By(Vec<usize>),
    /// There can be none; why, as a sentence, with what to do.
    Unindexable(&'static str),
}

/// What a unique index of a table has to be on for the sake of its partitions.
pub fn partition_key_columns(target: &Target) -> PartitionKeyColumns {
    if !target.partitioned {
        return PartitionKeyColumns::None;
    }
    let mut by = Vec::new();
    for table in ffi::partitions(target.oid) {
        match relation::kind(table) {
            pg_sys::RELKIND_FOREIGN_TABLE => {
                return PartitionKeyColumns::Unindexable(
                    "Detach the partitions that are foreign tables, which no unique index covers.",
                );
            }
            pg_sys::RELKIND_PARTITIONED_TABLE => {
                for column in columns_of_key(target, table) {
                    match column {
                        Some(column) if !by.contains(&column) => by.push(column),
                        Some(_) => {}
                        None => {
                            return PartitionKeyColumns::Unindexable(
                                "Partition the table by plain columns of the key: no unique index \
                                 covers partitions by an expression.",
                            );
                        }
                    }
                }
            }
            _ => {}
        }
    }
    PartitionKeyColumns::By(by)
}

/// The columns by which the partitioned tables that a target is a partition of, at whatever
/// depth, are partitioned, by position. Empty for any other table.
pub fn ancestor_partition_columns(target: &Target) -> Vec<usize> {
    let above = ffi::partition_ancestors(target.oid).into_iter();
    let columns = above.flat_map(|table| columns_of_key(target, table));
    columns.flatten().collect()
}

/// The columns by which a table of the target's tree is partitioned; None for an
/// expression. Empty for any other table.
///
/// Read from `pg_partitioned_table`: the relation cache folds constants in expressions,
/// and with that runs what the table's owner wrote, see the head of [`super`].
fn columns_of_key(target: &Target, table: pg_sys::Oid) -> Vec<Option<usize>> {
    let numbers = partition_key(table);
    let places = target.attnums_in(table);
    numbers
        .iter()
        .map(|number| places.iter().position(|place| place == number))
        .collect()
}
