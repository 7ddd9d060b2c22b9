//! From a key to the partition that holds it.
//!
//! A unique index of a partitioned table contains the whole partition key, as
//! plain columns, so the key alone decides the partition. The steps are those
//! of core's `get_partition_for_tuple` (`execPartition.c`), which is private to
//! the executor; the searches within bounds are core's exported functions.
//!
//! The relation cache folds constants in the expressions of a partition key. There are
//! none here: with an expression in the key of a table, or of a partitioned table under
//! it, no unique index covers the tree. Bounds are constants since they were made.
use super::{OpenRelation, Target, UniqueIndex};
use crate::pg::catalog::relation;
use crate::pg::catalog::syscache::{self, PartitionedTable, Row};
use crate::pg::ffi;
use crate::pg::list::oids;
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
    partition_key: *mut ffi::PartitionKeyData,
    partition_desc: pg_sys::PartitionDesc,
    /// Keeps key and descriptor alive.
    _relation: OpenRelation,
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
    pub fn leaf(
        &mut self,
        key: impl Fn(usize) -> Option<pg_sys::Datum>,
    ) -> Option<(pg_sys::Oid, pg_sys::Oid)> {
        let mut level = &self.root;
        loop {
            let (child, is_leaf) = level.child(&key)?;
            let parent_index = level.index;
            if is_leaf {
                let index = *self
                    .leaf_indexes
                    .entry(child)
                    .or_insert_with(|| index_in(child, parent_index));
                debug_assert_ne!(index, pg_sys::InvalidOid);
                return Some((child, index));
            }
            let target = self.target;
            level = self.levels.entry(child).or_insert_with(|| {
                let index = index_in(child, parent_index);
                PartitionedLevel::open(target, child, index)
            });
        }
    }
}

/// The index of a partition that belongs to its parent's index.
fn index_in(partition: pg_sys::Oid, parent_index: pg_sys::Oid) -> pg_sys::Oid {
    let partition = OpenRelation::open(partition);
    // SAFETY: the partition is open while it is asked.
    unsafe { ffi::index_get_partition(partition.raw(), parent_index) }
}

impl PartitionedLevel {
    fn open(target: &Target, table: pg_sys::Oid, index: pg_sys::Oid) -> Self {
        let relation = OpenRelation::open(table);
        assert_eq!(relation.kind(), pg_sys::RELKIND_PARTITIONED_TABLE);
        // SAFETY: an open partitioned table; key and descriptor live in its
        // relcache entry while it is open. A snapshot is active, by which
        // partitions that are being detached are left out, as INSERT does.
        unsafe {
            let partition_key = ffi::partition_key(relation.raw());
            let partition_desc = pg_sys::RelationGetPartitionDesc(relation.raw(), true);
            let count = (*partition_key).partnatts as usize;
            let key = std::slice::from_raw_parts((*partition_key).partattrs, count)
                .iter()
                .map(|number| {
                    let name = relation::column_name(table, *number).unwrap_or_default();
                    target
                        .column_by_bytes(name.to_bytes())
                        .expect("a partition's column is its parent's")
                })
                .collect();
            Self {
                key,
                index,
                partition_key,
                partition_desc,
                _relation: relation,
            }
        }
    }

    /// The partition for this key, and whether it is a leaf.
    fn child(&self, key: impl Fn(usize) -> Option<pg_sys::Datum>) -> Option<(pg_sys::Oid, bool)> {
        let parts: Vec<Option<pg_sys::Datum>> = self.key.iter().map(|c| key(*c)).collect();
        let mut values: Vec<pg_sys::Datum> = parts
            .iter()
            .map(|v| v.unwrap_or(pg_sys::Datum::null()))
            .collect();
        let nulls: Vec<bool> = parts.iter().map(Option::is_none).collect();
        // SAFETY: the structures belong to the open relation, which keeps them while it is; without
        // partitions there are no bounds. There are as many oids as partitions, and bounds index
        // these.
        unsafe {
            let desc = &*self.partition_desc;
            if desc.nparts == 0 {
                return None;
            }
            let mut partition = self.index_of(&mut values, &nulls);
            if partition < 0 {
                partition = (*desc.boundinfo).default_index;
            }
            (partition >= 0).then(|| {
                (
                    *desc.oids.add(partition as usize),
                    *desc.is_leaf.add(partition as usize),
                )
            })
        }
    }

    /// The index of the partition whose bounds contain a key; -1 if there is none.
    ///
    /// # Safety
    /// The table has partitions. There is a value for every column of the partition key.
    unsafe fn index_of(&self, values: &mut [pg_sys::Datum], nulls: &[bool]) -> i32 {
        // SAFETY: the caller's promise; core's searches read as many values as the key has
        // columns, by the support functions of the same key, and give an offset within the
        // bounds, or the one before the first.
        unsafe {
            let desc = &*self.partition_desc;
            let bounds = &*desc.boundinfo;
            let partition_key = &*self.partition_key;
            let at = |offset: i32| *bounds.indexes.add(offset as usize);
            let mut equal = false;
            let mut partition = -1;
            match (*self.partition_key).strategy as u8 {
                b'h' => {
                    let hash = pg_sys::compute_partition_hash_value(
                        i32::from(partition_key.partnatts),
                        partition_key.partsupfunc,
                        partition_key.partcollation,
                        values.as_mut_ptr(),
                        nulls.as_ptr().cast_mut(),
                    );
                    partition = at((hash % bounds.nindexes as u64) as i32);
                }
                b'l' if nulls[0] => partition = bounds.null_index,
                b'l' => {
                    let offset = pg_sys::partition_list_bsearch(
                        partition_key.partsupfunc,
                        partition_key.partcollation,
                        desc.boundinfo,
                        values[0],
                        &raw mut equal,
                    );
                    if offset >= 0 && equal {
                        partition = at(offset);
                    }
                }
                _ if nulls.contains(&true) => {}
                _ => {
                    let offset = pg_sys::partition_range_datum_bsearch(
                        partition_key.partsupfunc,
                        partition_key.partcollation,
                        desc.boundinfo,
                        i32::from(partition_key.partnatts),
                        values.as_mut_ptr(),
                        &raw mut equal,
                    );
                    partition = at(offset + 1);
                }
            }
            partition
        }
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
    let columns = ffi::partition_ancestors(target.oid)
        .into_iter()
        .flat_map(|table| columns_of_key(target, table));
    columns.flatten().collect()
}

/// The columns by which a table of the target's tree is partitioned; None for an
/// expression. Empty for any other table.
///
/// Read from `pg_partitioned_table`: the relation cache folds constants in expressions,
/// and with that runs what the table's owner wrote, see the head of [`super`].
fn columns_of_key(target: &Target, table: pg_sys::Oid) -> Vec<Option<usize>> {
    let numbers = syscache::find(table, Row::<PartitionedTable>::key_columns).unwrap_or_default();
    let places = target.attnums_in(table);
    numbers
        .iter()
        .map(|number| places.iter().position(|place| place == number))
        .collect()
}

/// The index of a leaf partition that belongs to an index of a table above it.
pub fn leaf_index(leaf: &OpenRelation, index: pg_sys::Oid) -> Option<pg_sys::Oid> {
    // SAFETY: open; core gives a copy of its list of oids.
    let indexes = unsafe { oids(pg_sys::RelationGetIndexList(leaf.raw())) };
    indexes
        .into_iter()
        .find(|candidate| ffi::partition_ancestors(*candidate).contains(&index))
}
