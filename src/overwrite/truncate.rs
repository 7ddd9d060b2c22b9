//! A slice that is exactly a partition: emptied without a DELETE of each row.
//!
//! TRUNCATE gives the partition new storage, so the old rows cost nothing and leave nothing
//! to be vacuumed. It is done only where its effect is that of the DELETE: the caller may
//! do it, no trigger and no foreign key looks at deleted rows, no other session uses the
//! partition, and no snapshot is in use that might still need the old rows. A
//! snapshot that a REPEATABLE READ transaction takes between this check and our commit is
//! the one exception, as with every TRUNCATE: it will find the partition empty.
use super::rows::{Hashing, RowSetHash};
use super::slice::Slice;
use crate::compare::Order;
use crate::payload::source::Source;
use crate::pg::backend::{others_hold_snapshots, transaction_is_read_only};
use crate::pg::catalog::name::qualified_name;
use crate::pg::catalog::operator::btree_strategy;
use crate::pg::catalog::relation::has_pending_triggers;
use crate::pg::relation::partition::{ColumnComparison, PartitionCondition};
use crate::pg::statement::spi::Connection;
use crate::pg::transaction::relation_lock::{try_lock_relation, unlock_relation};
use crate::pg::transaction::snapshot::LatestSnapshot;
use crate::pg::value::sql_value::SqlValue;
use crate::target::{Column, OpenRelation, may_select, may_truncate, row_security_is_active};
use pgrx::pg_sys;

/// Empties the partition that the slice is, if it is one and this is safe; false if not.
/// `stored` is what the slice holds, by `stored_rows`.
pub fn truncate_partition(
    slice: &Slice<'_>,
    relation: &OpenRelation,
    hashing: &Hashing,
    stored_rows: &Source<'_>,
    stored: RowSetHash,
) -> bool {
    let target = slice.target;
    if !target.partitioned
        || row_security_is_active(target)
        || !may_select(target)
        // Then nothing may be locked so, and the DELETE says that it may not write.
        || transaction_is_read_only()
    {
        return false;
    }
    let Some(leaf) = partition_of_rows(slice).filter(|leaf| is_exactly(slice, *leaf)) else {
        return false;
    };
    if !may_truncate(leaf)
        || observes_deletes(relation)
        || observes_deletes(&OpenRelation::open(leaf))
        || is_in_use_here(leaf)
        || subscriber_may_miss_truncate()
        || others_hold_snapshots()
    {
        return false;
    }
    // From here on no other session uses it. If one does so now, it is not waited for.
    if !try_lock_relation(leaf, pg_sys::AccessExclusiveLock) {
        return false;
    }
    // Asked once more: another session may have come before the lock.
    let safe = !others_hold_snapshots() && {
        let _latest = LatestSnapshot::push();
        RowSetHash::of(hashing, stored_rows) == stored
    };
    if safe {
        let name = qualified_name(leaf).unwrap_or_else(|| target.renamed_meanwhile().raise());
        Connection::open().execute(&format!("TRUNCATE ONLY {name}"), &[]);
        if qualified_name(leaf) != Some(name) {
            target.renamed_meanwhile().raise()
        }
    } else {
        // Others may read the partition while its rows are deleted.
        unlock_relation(leaf, pg_sys::AccessExclusiveLock);
    }
    safe
}

/// Whether a cursor or another statement of this session is reading the partition, for which
/// our own lock is no obstacle (as core's `CheckTableNotInUse`).
fn is_in_use_here(leaf: pg_sys::Oid) -> bool {
    OpenRelation::open(leaf).reference_count() > 1
}

/// The partition that a row of the slice is in.
fn partition_of_rows(slice: &Slice<'_>) -> Option<pg_sys::Oid> {
    let (condition, parameters) = slice.condition();
    let sql = format!(
        "SELECT tableoid FROM {} WHERE {condition} LIMIT 1",
        slice.target.qualified()
    );
    let connection = Connection::open();
    if connection.query(&sql, &parameters) == 0 {
        return None;
    }
    connection.first_oid(1)
}

/// Whether the constraint of a partition, with those of its ancestors, says what the slice
/// says: each of its columns has the slice's value, and nothing else.
///
/// The server makes the constraint of partition keys whose IMMUTABLE functions it calls as
/// the current user: for a caller who may delete from the table and insert into it, and is
/// doing so. To plan that DELETE the server makes the same constraint in the same way.
fn is_exactly(slice: &Slice<'_>, leaf: pg_sys::Oid) -> bool {
    let partition = OpenRelation::open(leaf);
    if partition.kind() != pg_sys::RELKIND_RELATION {
        return false;
    }
    let numbers = slice.target.attnums_in(leaf);
    let mut bound_match = BoundMatch {
        slice,
        numbers: &numbers,
        columns: Vec::new(),
        from: Vec::new(),
        to: Vec::new(),
    };
    let conditions = partition.partition_conditions();
    !conditions.is_empty()
        && conditions
            .iter()
            .all(|condition| bound_match.take(condition))
        && bound_match.all()
}

/// What a partition's constraint says of the slice's columns.
struct BoundMatch<'a> {
    slice: &'a Slice<'a>,
    /// The target's columns by their numbers in the partition.
    numbers: &'a [pg_sys::AttrNumber],
    /// Those that have the slice's value.
    columns: Vec<usize>,
    /// Those that have at least the slice's value,
    from: Vec<usize>,
    /// and less than the one that follows it.
    to: Vec<usize>,
}

impl BoundMatch<'_> {
    /// Takes a condition that all rows meet; false if it is not one of those known here, or
    /// one that not all rows of the slice meet.
    fn take(&mut self, condition: &PartitionCondition) -> bool {
        match condition {
            PartitionCondition::IsNotNull(number) => self
                .column(*number)
                .is_some_and(|c| self.slice.values.get(c).is_some()),
            PartitionCondition::IsNull(number) => {
                let Some(c) = self.column(*number) else {
                    return false;
                };
                self.columns.push(c);
                self.slice.values.get(c).is_none()
            }
            PartitionCondition::Compared(comparison) => self.take_comparison(comparison),
            PartitionCondition::Other => false,
        }
    }

    fn take_comparison(&mut self, comparison: &ColumnComparison) -> bool {
        let Some(c) = self.column(comparison.column) else {
            return false;
        };
        let column = &self.slice.target.columns[c];
        let value = self.slice.values.value(c);
        if value.is_null() {
            return false;
        }
        // A partition key may have another collation than its column, or another
        // operator class, and with that another idea of what is equal.
        if ![column.typid, column.base_type()].contains(&comparison.value.typid())
            || comparison.collation != column.collation
        {
            return false;
        }
        let bound = comparison.value;
        let list = match btree_strategy(column.base_type(), comparison.operator) {
            pg_sys::BTEqualStrategyNumber if same(column, value, bound) => &mut self.columns,
            pg_sys::BTGreaterEqualStrategyNumber if same(column, value, bound) => &mut self.from,
            pg_sys::BTLessStrategyNumber if follows(column, value, bound) => &mut self.to,
            _ => return false,
        };
        list.push(c);
        true
    }

    /// The slice's column that has this number in the partition.
    fn column(&self, number: pg_sys::AttrNumber) -> Option<usize> {
        let c = self.numbers.iter().position(|n| *n == number)?;
        self.slice.columns.contains(&c).then_some(c)
    }

    /// Whether all of the slice's columns have its value.
    fn all(&self) -> bool {
        self.slice
            .columns
            .iter()
            .all(|c| self.columns.contains(c) || (self.from.contains(c) && self.to.contains(c)))
    }
}

fn same(column: &Column, a: SqlValue<'_>, b: SqlValue<'_>) -> bool {
    Order::of(column).compare(column, a, b).is_eq()
}

/// Whether no value of the column's type is between these two.
fn follows(column: &Column, value: SqlValue<'_>, next: SqlValue<'_>) -> bool {
    let (Some(value), Some(next)) = (value.to_datum(), next.to_datum()) else {
        return false;
    };
    let (value, next) = match column.base_type() {
        pg_sys::INT2OID => (
            i64::from(value.value() as i16),
            i64::from(next.value() as i16),
        ),
        pg_sys::INT4OID | pg_sys::DATEOID => (
            i64::from(value.value() as i32),
            i64::from(next.value() as i32),
        ),
        pg_sys::INT8OID => (value.value() as i64, next.value() as i64),
        _ => return false,
    };
    value.checked_add(1) == Some(next)
}

/// Whether a trigger, or a foreign key that refers to the table, wants to know of deleted
/// rows, or of a TRUNCATE.
fn observes_deletes(relation: &OpenRelation) -> bool {
    has_pending_triggers(relation.oid()) || relation.trigger_events().delete_or_truncate
}

/// Whether a subscriber somewhere might be told of deletes and not of a TRUNCATE: its
/// publication leaves that out, or speaks of the root only, to which a TRUNCATE of one
/// partition says nothing; or it decodes the log by other means than publications.
fn subscriber_may_miss_truncate() -> bool {
    let sql = "SELECT FROM pg_catalog.pg_publication \
               WHERE pubdelete AND (NOT pubtruncate OR pubviaroot) \
               UNION ALL \
               SELECT FROM pg_catalog.pg_replication_slots \
               WHERE slot_type OPERATOR(pg_catalog.=) 'logical' \
               AND database OPERATOR(pg_catalog.=) pg_catalog.current_database() \
               AND plugin OPERATOR(pg_catalog.<>) 'pgoutput'";
    let _latest = LatestSnapshot::push();
    Connection::open().query(sql, &[]) > 0
}
