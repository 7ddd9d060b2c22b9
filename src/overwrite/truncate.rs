//! A slice whose rows are in partitions that hold nothing else: emptied without a DELETE of each
//! row.
//!
//! TRUNCATE gives a partition new storage, so the old rows cost nothing and leave nothing
//! to be vacuumed. It is done only where its effect is that of the DELETE: the caller may
//! do it, no trigger and no foreign key looks at deleted rows, no other session uses one of the
//! partitions, and no snapshot is in use that might still need the old rows. A
//! snapshot that a REPEATABLE READ transaction takes between this check and our commit is
//! the one exception, as with every TRUNCATE: it will find the partitions empty.
use super::rows::{Hashing, RowSetHash};
use super::slice::{RangeColumn, Slice};
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

/// Empties the partitions that the slice's rows are in, if they hold nothing else and this is
/// safe; false if not. `stored` is what the slice holds, by `stored_rows`.
pub fn truncate_partitions(
    slice: &Slice<'_>,
    relation: &OpenRelation,
    hashing: &Hashing,
    stored_rows: &Source<'_>,
    stored: RowSetHash,
) -> bool {
    let target = slice.target;
    if !target.partitioned
        || target.is_in_shards()
        || row_security_is_active(target)
        || !may_select(target)
        // Then nothing may be locked so, and the DELETE says that it may not write.
        || transaction_is_read_only()
    {
        return false;
    }
    let leaves = partitions_of_rows(slice);
    if leaves.is_empty()
        || !leaves.iter().all(|leaf| may_be_emptied(*leaf))
        || observes_deletes(relation)
        || subscriber_may_miss_truncate()
        || others_hold_snapshots()
    {
        return false;
    }
    // From here on no other session uses them. If one does so now, it is not waited for.
    let locked = lock_all(&leaves);
    // Asked once more: another session may have come before the lock.
    let safe = locked == leaves.len() && !others_hold_snapshots() && {
        let _latest = LatestSnapshot::push();
        RowSetHash::of(hashing, stored_rows) == stored
    };
    if safe {
        truncate_all(slice, &leaves);
    } else {
        // Others may read the partitions while rows are deleted.
        for leaf in &leaves[..locked] {
            unlock_relation(*leaf, pg_sys::AccessExclusiveLock);
        }
    }
    safe
}

/// Locks the partitions, up to the first one that another session uses; gives how many.
fn lock_all(leaves: &[pg_sys::Oid]) -> usize {
    let is_in_use = |leaf: &pg_sys::Oid| !try_lock_relation(*leaf, pg_sys::AccessExclusiveLock);
    leaves.iter().position(is_in_use).unwrap_or(leaves.len())
}

fn truncate_all(slice: &Slice<'_>, leaves: &[pg_sys::Oid]) {
    let names = || {
        let names = leaves.iter().map(|leaf| qualified_name(*leaf));
        names.collect::<Option<Vec<_>>>()
    };
    let renamed = || slice.target.renamed_meanwhile();
    let before = names().unwrap_or_else(|| renamed().raise());
    let only = before.iter().map(|name| format!("ONLY {name}"));
    let only = only.collect::<Vec<_>>().join(", ");
    Connection::open().execute(&format!("TRUNCATE {only}"), &[]);
    if names() != Some(before) {
        renamed().raise()
    }
}

/// Whether nobody can tell by this partition that it was not a DELETE that emptied it.
fn may_be_emptied(leaf: pg_sys::Oid) -> bool {
    may_truncate(leaf) && !observes_deletes(&OpenRelation::open(leaf)) && !is_in_use_here(leaf)
}

/// Whether a cursor or another statement of this session is reading the partition, for which
/// our own lock is no obstacle (as core's `CheckTableNotInUse`).
fn is_in_use_here(leaf: pg_sys::Oid) -> bool {
    OpenRelation::open(leaf).reference_count() > 1
}

/// The partitions that rows of the slice are in; none if one of them may hold other rows, too.
fn partitions_of_rows(slice: &Slice<'_>) -> Vec<pg_sys::Oid> {
    let (condition, parameters) = slice.condition();
    let table = slice.target.qualified();
    let connection = Connection::open();
    // Where the slice is a part of its partitions, the first row says so.
    for sql in [
        format!("SELECT tableoid FROM {table} WHERE {condition} LIMIT 1"),
        format!("SELECT DISTINCT tableoid FROM {table} WHERE {condition}"),
    ] {
        if connection.query(&sql, &parameters) == 0
            || !connection
                .all_oids()
                .iter()
                .all(|leaf| is_inside(slice, *leaf))
        {
            return Vec::new();
        }
    }
    connection.all_oids()
}

/// Whether the constraint of a partition, with those of its ancestors, says at least what the
/// slice says of each of its columns.
///
/// The server makes the constraint of partition keys whose IMMUTABLE functions it calls as
/// the current user: for a caller who may delete from the table and insert into it, and is
/// doing so. To plan that DELETE the server makes the same constraint in the same way.
fn is_inside(slice: &Slice<'_>, leaf: pg_sys::Oid) -> bool {
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
    for condition in partition.partition_conditions() {
        bound_match.take(&condition);
    }
    bound_match.all()
}

/// What a partition's constraint says of the slice's columns. Its conditions are joined by AND,
/// so those that are not known here only leave it less to say.
struct BoundMatch<'a> {
    slice: &'a Slice<'a>,
    /// The target's columns by their numbers in the partition.
    numbers: &'a [pg_sys::AttrNumber],
    /// Those that have the slice's value.
    columns: Vec<usize>,
    /// Those that have at least the slice's value, or the lower bound of its range,
    from: Vec<usize>,
    /// and less than the value that follows, or than the upper bound.
    to: Vec<usize>,
}

impl BoundMatch<'_> {
    /// Takes a condition that all rows of the partition meet.
    fn take(&mut self, condition: &PartitionCondition) {
        match condition {
            PartitionCondition::IsNull(number) => {
                let is_null = |c: &usize| self.slice.values.get(*c).is_none();
                self.columns
                    .extend(self.column_of_value(*number).filter(is_null));
            }
            PartitionCondition::Compared(comparison) => self.take_comparison(comparison),
            PartitionCondition::Other => (),
        }
    }

    fn take_comparison(&mut self, comparison: &ColumnComparison) {
        let Some(c) = self.column(comparison.column) else {
            return;
        };
        let column = &self.slice.target.columns[c];
        // A partition key may have another collation than its column, or another
        // operator class, and with that another idea of what is equal.
        if ![column.typid, column.base_type()].contains(&comparison.value.typid())
            || comparison.collation != column.collation
        {
            return;
        }
        let strategy = btree_strategy(column.base_type(), comparison.operator);
        match self.slice.ranges.iter().find(|range| range.column == c) {
            Some(range) => self.take_bound(*range, strategy, comparison.value),
            None => self.take_value(c, strategy, comparison.value),
        }
    }

    /// What a condition says of a column of which the slice has a value.
    fn take_value(&mut self, c: usize, strategy: u32, bound: SqlValue<'_>) {
        let column = &self.slice.target.columns[c];
        let value = self.slice.values.value(c);
        if value.is_null() {
            return;
        }
        match strategy {
            pg_sys::BTEqualStrategyNumber if same(column, value, bound) => self.columns.push(c),
            pg_sys::BTGreaterEqualStrategyNumber if same(column, value, bound) => self.from.push(c),
            pg_sys::BTLessStrategyNumber if follows(column, value, bound) => self.to.push(c),
            _ => (),
        }
    }

    /// What a condition says of a column of which the slice has a range.
    fn take_bound(&mut self, range: RangeColumn, strategy: u32, bound: SqlValue<'_>) {
        let (c, column) = (range.column, &self.slice.target.columns[range.column]);
        let [from, to] = [&self.slice.values, &self.slice.ends].map(|row| row.value(c));
        let compare = |end| range.order.compare(column, bound, end);
        let (at_least, at_most) = match strategy {
            pg_sys::BTEqualStrategyNumber => (true, true),
            pg_sys::BTGreaterEqualStrategyNumber | pg_sys::BTGreaterStrategyNumber => (true, false),
            pg_sys::BTLessEqualStrategyNumber | pg_sys::BTLessStrategyNumber => (false, true),
            _ => return,
        };
        // A comparison says that there is a value: without a bound, that is all.
        if from.is_null() || at_least && compare(from).is_ge() {
            self.from.push(c);
        }
        let excluded = strategy == pg_sys::BTLessStrategyNumber;
        if to.is_null() || at_most && (compare(to).is_lt() || excluded && compare(to).is_eq()) {
            self.to.push(c);
        }
    }

    /// The slice's column that has this number in the partition.
    fn column(&self, number: pg_sys::AttrNumber) -> Option<usize> {
        let c = self.numbers.iter().position(|n| *n == number)?;
        self.slice.named().contains(&c).then_some(c)
    }

    /// Likewise, if the slice has a value of it.
    fn column_of_value(&self, number: pg_sys::AttrNumber) -> Option<usize> {
        self.column(number)
            .filter(|c| self.slice.columns.contains(c))
    }

    /// Whether all of the slice's columns have its value, or lie in its range.
    fn all(&self) -> bool {
        let inside = |c: &usize| self.from.contains(c) && self.to.contains(c);
        let named = self.slice.named();
        named.iter().all(|c| self.columns.contains(c) || inside(c))
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
