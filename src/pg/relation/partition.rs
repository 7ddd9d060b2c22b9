//! What a relation is a partition of, what its constraint says in terms that need no tree of nodes,
//! and the way from a key to the partition that holds it.
//!
//! The steps of that way are those of core's `get_partition_for_tuple` (`execPartition.c`), which
//! is private to the executor; the searches within bounds are core's exported functions.
use super::OpenRelation;
use crate::pg::catalog::relation;
use crate::pg::catalog::syscache::{self, PartitionedTable as PartitionedTableRow, Row};
use crate::pg::ffi::{self, inline::members};
use crate::pg::transaction::snapshot::uses_transaction_snapshot;
use crate::pg::value::sql_value::SqlValue;
use pgrx::pg_sys;
use std::ffi::CString;
use std::iter::successors;
use std::slice;

impl OpenRelation {
    /// The partitioned tables that it is in, the root last; empty if it is no partition.
    pub fn partition_ancestors(&self) -> Vec<pg_sys::Oid> {
        ffi::partition_ancestors(self.oid())
    }

    /// The root of the partition tree that it is in, itself if it is no partition.
    pub fn partition_root(&self) -> pg_sys::Oid {
        relation::partition_root(self.oid())
    }

    /// What its rows meet because it is a partition, see [`PartitionCondition`].
    pub fn partition_conditions(&self) -> Vec<PartitionCondition> {
        // SAFETY: open.
        unsafe { conditions_of(self.raw()) }
    }

    /// Its index that belongs to an index of the partitioned table right above it; `InvalidOid` if
    /// there is none.
    pub fn index_of_parents(&self, parents_index: pg_sys::Oid) -> pg_sys::Oid {
        let index = self.find_index(|index| ffi::partition_parent(index) == Some(parents_index));
        index.unwrap_or(pg_sys::InvalidOid)
    }

    /// Its index that belongs to an index of a table above it, at whatever height.
    pub fn index_of_ancestors(&self, ancestors_index: pg_sys::Oid) -> Option<pg_sys::Oid> {
        self.find_index(|index| index_is_under(index, ancestors_index))
    }

    /// An index may give its place to its successor while they are looked at, if it is rebuilt
    /// concurrently: a second look finds that one.
    fn find_index(&self, is_it: impl Fn(pg_sys::Oid) -> bool) -> Option<pg_sys::Oid> {
        let find = || self.index_oids().into_iter().find(|index| is_it(*index));
        find().or_else(find)
    }
}

/// Whether an index belongs to an index of a table above its own, at whatever height.
pub fn index_is_under(index: pg_sys::Oid, ancestors_index: pg_sys::Oid) -> bool {
    let parent = |index: &pg_sys::Oid| ffi::partition_parent(*index);
    successors(parent(&index), parent).any(|above| above == ancestors_index)
}

/// The numbers of the columns by which a table is partitioned, 0 for an expression; none for any
/// other table. Read from `pg_partitioned_table`, so that no expression is evaluated.
pub fn partition_key(table: pg_sys::Oid) -> Vec<pg_sys::AttrNumber> {
    syscache::find(table, Row::<PartitionedTableRow>::key_columns).unwrap_or_default()
}

/// A partitioned table that is open, with the bounds of its partitions.
pub struct PartitionedTable {
    key: *mut ffi::PartitionKeyData,
    partitions: pg_sys::PartitionDesc,
    /// Keeps both: the server frees neither while the relation is open, not even if it has to
    /// rebuild the relation's entry.
    relation: OpenRelation,
}

/// The partition that a key belongs to.
pub struct RoutedPartition {
    /// Its oid.
    pub table: pg_sys::Oid,
    /// Whether it is not partitioned itself.
    pub is_leaf: bool,
}

impl PartitionedTable {
    /// Opens a partitioned table, as [`OpenRelation::open`] does. Partitions that are being
    /// detached are left out where INSERT leaves them out: at READ COMMITTED. Where the transaction has
    /// one snapshot, INSERT goes on to use them until they are gone.
    ///
    /// When the relation cache first makes the key, it calls IMMUTABLE functions in its
    /// expressions as the current user.
    ///
    /// # Panics
    /// If it is a relation of another kind.
    pub fn open(table: pg_sys::Oid) -> Self {
        let relation = OpenRelation::open(table);
        assert_eq!(relation.kind(), pg_sys::RELKIND_PARTITIONED_TABLE);
        // SAFETY: an open partitioned table, as was checked; the guard owns nothing.
        let (key, partitions) = unsafe {
            let key = ffi::guard(|| ffi::unguarded::RelationGetPartitionKey(relation.raw()));
            let omit_detached = !uses_transaction_snapshot();
            let partitions = pg_sys::RelationGetPartitionDesc(relation.raw(), omit_detached);
            (key, partitions)
        };
        Self {
            key,
            partitions,
            relation,
        }
    }

    fn key(&self) -> &ffi::PartitionKeyData {
        // SAFETY: the key of the relation, which is open as long as this.
        unsafe { &*self.key }
    }

    /// How many columns it has.
    fn key_length(&self) -> usize {
        usize::try_from(self.key().partnatts).unwrap_or(0)
    }

    fn partitions(&self) -> &pg_sys::PartitionDescData {
        // SAFETY: likewise.
        unsafe { &*self.partitions }
    }

    /// The names of the columns of its key, in the server's encoding; None for an expression.
    pub fn key_column_names(&self) -> Vec<Option<CString>> {
        // SAFETY: a key has a number for each of its columns.
        let numbers = unsafe { slice::from_raw_parts(self.key().partattrs, self.key_length()) };
        let name =
            |number: &pg_sys::AttrNumber| relation::column_name(self.relation.oid(), *number);
        numbers.iter().map(name).collect()
    }

    /// The partition whose bounds contain a key, whose values come in the order of its columns;
    /// None if there is none.
    ///
    /// # Panics
    /// If there are not as many values as the key has columns, of the same types.
    pub fn partition_of<'v>(
        &self,
        key: impl Iterator<Item = SqlValue<'v>>,
    ) -> Option<RoutedPartition> {
        // SAFETY: a key has a type for each of its columns.
        let types = unsafe { slice::from_raw_parts(self.key().parttypid, self.key_length()) };
        let (mut values, mut nulls) = (Vec::with_capacity(types.len()), Vec::new());
        for value in key {
            assert_eq!(types.get(values.len()), Some(&value.typid()));
            nulls.push(value.is_null());
            values.push(value.to_datum().unwrap_or(pg_sys::Datum::null()));
        }
        assert_eq!(types.len(), values.len());
        let partitions = self.partitions();
        if partitions.nparts == 0 {
            return None;
        }
        // SAFETY: there are partitions, so there are bounds, and as many values as columns in the
        // key, of their types, as was checked. An index of the bounds is one of the partitions, of
        // which there are as many as oids.
        unsafe {
            let mut partition = self.index_of(&mut values, &nulls);
            if partition < 0 {
                partition = (*partitions.boundinfo).default_index;
            }
            let partition = usize::try_from(partition).ok()?;
            Some(RoutedPartition {
                table: *partitions.oids.add(partition),
                is_leaf: *partitions.is_leaf.add(partition),
            })
        }
    }

    /// The index of the partition whose bounds contain a key; -1 if there is none.
    ///
    /// # Safety
    /// The table has partitions. There is a value for every column of the key, of its type.
    unsafe fn index_of(&self, values: &mut [pg_sys::Datum], nulls: &[bool]) -> i32 {
        let key = self.key();
        // SAFETY: the caller's promise; core's searches read as many values as the key has
        // columns, by the support functions of the same key, and give an offset within the
        // bounds, or the one before the first.
        unsafe {
            let boundinfo = self.partitions().boundinfo;
            let bounds = &*boundinfo;
            let at = |offset: i32| *bounds.indexes.add(offset as usize);
            let mut equal = false;
            let mut partition = -1;
            match key.strategy as u8 {
                b'h' => {
                    let hash = pg_sys::compute_partition_hash_value(
                        i32::from(key.partnatts),
                        key.partsupfunc,
                        key.partcollation,
                        values.as_mut_ptr(),
                        nulls.as_ptr().cast_mut(),
                    );
                    partition = at((hash % bounds.nindexes as u64) as i32);
                }
                b'l' if nulls[0] => partition = bounds.null_index,
                b'l' => {
                    let offset = pg_sys::partition_list_bsearch(
                        key.partsupfunc,
                        key.partcollation,
                        boundinfo,
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
                        key.partsupfunc,
                        key.partcollation,
                        boundinfo,
                        i32::from(key.partnatts),
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

/// A condition that all rows of a partition meet.
pub enum PartitionCondition {
    /// A column, by its number in the partition, is NULL.
    IsNull(pg_sys::AttrNumber),
    /// A column compared with a constant that is not NULL.
    Compared(ColumnComparison),
    /// Anything else.
    Other,
}

/// `column operator constant`
pub struct ColumnComparison {
    /// The column's number in the partition.
    pub column: pg_sys::AttrNumber,
    pub operator: pg_sys::Oid,
    /// The collation under which it compares.
    pub collation: pg_sys::Oid,
    /// The constant, which lives as long as the memory that was current.
    pub value: SqlValue<'static>,
}

/// The conditions of a partition's constraint, those of its ancestors included; none for a table
/// that is no partition, or a default partition without siblings.
///
/// When the server first makes the constraint, it calls IMMUTABLE functions of partition keys as
/// the current user.
///
/// # Safety
/// The relation is open.
unsafe fn conditions_of(partition: pg_sys::Relation) -> Vec<PartitionCondition> {
    // SAFETY: the caller's promise. Core gives a list of expressions in the current memory; the
    // guard holds nothing but the pointer.
    unsafe {
        let list = ffi::guard(|| ffi::unguarded::RelationGetPartitionQual(partition));
        members(list).map(|node| condition(node)).collect()
    }
}

/// # Safety
/// An expression.
unsafe fn condition(node: *mut pg_sys::Node) -> PartitionCondition {
    // SAFETY: a node is what its tag says.
    let known = unsafe {
        match (*node).type_ {
            pg_sys::NodeTag::T_NullTest => {
                let test = &*node.cast::<pg_sys::NullTest>();
                let is_null = test.nulltesttype == pg_sys::NullTestType::IS_NULL;
                let column = column(test.arg.cast()).filter(|_| is_null);
                column.map(PartitionCondition::IsNull)
            }
            pg_sys::NodeTag::T_OpExpr => {
                comparison(&*node.cast()).map(PartitionCondition::Compared)
            }
            _ => None,
        }
    };
    known.unwrap_or(PartitionCondition::Other)
}

/// # Safety
/// An expression of an analyzed query.
unsafe fn comparison(expression: &pg_sys::OpExpr) -> Option<ColumnComparison> {
    // SAFETY: the arguments of an operator are a list of expressions, each of which is what its
    // tag says.
    unsafe {
        let arguments: Vec<*mut pg_sys::Node> = members(expression.args).collect();
        let &[first, second] = arguments.as_slice() else {
            return None;
        };
        let column = column(first)?;
        if (*second).type_ != pg_sys::NodeTag::T_Const {
            return None;
        }
        let constant = &*second.cast::<pg_sys::Const>();
        (!constant.constisnull).then_some(ColumnComparison {
            column,
            operator: expression.opno,
            collation: expression.inputcollid,
            value: SqlValue::of_datum(constant.consttype, Some(constant.constvalue)),
        })
    }
}

/// The number of the column that an expression is, perhaps taken as another type of the same
/// representation.
///
/// # Safety
/// An expression.
unsafe fn column(node: *mut pg_sys::Node) -> Option<pg_sys::AttrNumber> {
    // SAFETY: a node is what its tag says.
    unsafe {
        let node = match (*node).type_ {
            pg_sys::NodeTag::T_RelabelType => (*node.cast::<pg_sys::RelabelType>())
                .arg
                .cast::<pg_sys::Node>(),
            _ => node,
        };
        ((*node).type_ == pg_sys::NodeTag::T_Var).then(|| (*node.cast::<pg_sys::Var>()).varattno)
    }
}
