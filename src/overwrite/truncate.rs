//! A slice that is exactly a partition: emptied without a DELETE of each row.
//!
//! TRUNCATE gives the partition new storage, so the old rows cost nothing and leave nothing
//! to be vacuumed. It is done only where nobody could tell it from the DELETE: the caller
//! may do it, no trigger and no foreign key looks at deleted rows, nobody else uses the
//! partition, and no snapshot is in use that the old rows might still be wanted for. A
//! snapshot that a REPEATABLE READ transaction takes between this check and our commit is
//! the one exception, as with every TRUNCATE: it will find the partition empty.
use super::rows::{Hashing, RowSetHash};
use super::slice::Slice;
use crate::compare::Order;
use crate::payload::source::Source;
use crate::pg::ffi;
use crate::pg::statement::spi::Connection;
use crate::pg::transaction::snapshot::LatestSnapshot;
use crate::pg::value::text;
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
        || snapshots_in_use()
    {
        return false;
    }
    // From here on nobody else uses it; whoever does so now is not waited for.
    let exclusive = pg_sys::AccessExclusiveLock as pg_sys::LOCKMODE;
    // SAFETY: an existing table.
    if !unsafe { pg_sys::ConditionalLockRelationOid(leaf, exclusive) } {
        return false;
    }
    // Asked once more: somebody may have come before the lock.
    let safe = !snapshots_in_use() && {
        let _latest = LatestSnapshot::push();
        RowSetHash::of(hashing, stored_rows) == stored
    };
    if safe {
        let name = qualified(leaf);
        Connection::open().execute(&format!("TRUNCATE ONLY {name}"), &[]);
        if qualified(leaf) != name {
            target.renamed_meanwhile().raise()
        }
    } else {
        // SAFETY: taken above. Others may read the partition while its rows are deleted.
        unsafe { pg_sys::UnlockRelationOid(leaf, exclusive) };
    }
    safe
}

/// Then nothing may be locked so, and the DELETE says that it may not write.
fn transaction_is_read_only() -> bool {
    // SAFETY: reads a backend-local variable.
    unsafe { pg_sys::XactReadOnly }
}

/// Whether a cursor or another statement of this session is reading the partition, for which
/// our own lock is no obstacle (as core's `CheckTableNotInUse`).
fn is_in_use_here(leaf: pg_sys::Oid) -> bool {
    let partition = OpenRelation::open(leaf);
    // SAFETY: an open relation.
    unsafe { (*partition.raw()).rd_refcnt > 1 }
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
    let leaf = connection.first(1)?;
    Some(pg_sys::Oid::from(leaf.value() as u32))
}

/// Whether the constraint of a partition, with those of its ancestors, says what the slice
/// says: each of its columns has the slice's value, and nothing else.
///
/// The server makes the constraint of partition keys whose IMMUTABLE functions it calls as
/// the current user: for a caller who may delete from the table and insert into it, and is
/// doing so. To plan that DELETE the server makes the same constraint in the same way.
fn is_exactly(slice: &Slice<'_>, leaf: pg_sys::Oid) -> bool {
    let partition = OpenRelation::open(leaf);
    // SAFETY: an open relation.
    if unsafe { (*(*partition.raw()).rd_rel).relkind as u8 } != pg_sys::RELKIND_RELATION {
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
    // SAFETY: the constraint of an open relation: a list of expressions, or null.
    unsafe {
        let list = ffi::guard(|| ffi::unguarded::RelationGetPartitionQual(partition.raw()));
        if list.is_null() {
            return false;
        }
        (0..(*list).length as usize)
            .map(|i| (*(*list).elements.add(i)).ptr_value.cast::<pg_sys::Node>())
            .all(|node| bound_match.take(node))
            && bound_match.all()
    }
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
    ///
    /// # Safety
    /// An expression.
    unsafe fn take(&mut self, node: *mut pg_sys::Node) -> bool {
        // SAFETY: nodes are what their tags say.
        unsafe {
            match (*node).type_ {
                pg_sys::NodeTag::T_NullTest => {
                    let test = &*node.cast::<pg_sys::NullTest>();
                    let Some(c) = self.column(test.arg.cast()) else {
                        return false;
                    };
                    let value = self.slice.values.get(c);
                    if test.nulltesttype == pg_sys::NullTestType::IS_NOT_NULL {
                        return value.is_some();
                    }
                    self.columns.push(c);
                    value.is_none()
                }
                pg_sys::NodeTag::T_OpExpr => self.take_operator(&*node.cast()),
                _ => false,
            }
        }
    }

    /// # Safety
    /// An expression.
    unsafe fn take_operator(&mut self, expression: &pg_sys::OpExpr) -> bool {
        // SAFETY: as above; an operator has arguments, and a name.
        unsafe {
            let arguments = expression.args;
            if (*arguments).length != 2 {
                return false;
            }
            let argument = |i: usize| {
                (*(*arguments).elements.add(i))
                    .ptr_value
                    .cast::<pg_sys::Node>()
            };
            let constant = argument(1);
            let Some(c) = self.column(argument(0)) else {
                return false;
            };
            if (*constant).type_ != pg_sys::NodeTag::T_Const {
                return false;
            }
            let constant = &*constant.cast::<pg_sys::Const>();
            let column = &self.slice.target.columns[c];
            let Some(value) = self.slice.values.get(c) else {
                return false;
            };
            let types = [column.typid, column.base_type()];
            if constant.constisnull || !types.contains(&constant.consttype) {
                return false;
            }
            // A partition key may have another collation than its column, or another
            // operator class, and with that another idea of what is equal.
            if expression.inputcollid != column.collation {
                return false;
            }
            let bound = constant.constvalue;
            let list = match strategy(column, expression.opno) {
                pg_sys::BTEqualStrategyNumber if same(column, value, bound) => &mut self.columns,
                pg_sys::BTGreaterEqualStrategyNumber if same(column, value, bound) => {
                    &mut self.from
                }
                pg_sys::BTLessStrategyNumber if follows(column, value, bound) => &mut self.to,
                _ => return false,
            };
            list.push(c);
            true
        }
    }

    /// The target's column that an expression is.
    ///
    /// # Safety
    /// An expression.
    unsafe fn column(&self, node: *mut pg_sys::Node) -> Option<usize> {
        // SAFETY: as above.
        unsafe {
            let node = match (*node).type_ {
                pg_sys::NodeTag::T_RelabelType => (*node.cast::<pg_sys::RelabelType>())
                    .arg
                    .cast::<pg_sys::Node>(),
                _ => node,
            };
            if (*node).type_ != pg_sys::NodeTag::T_Var {
                return None;
            }
            let number = (*node.cast::<pg_sys::Var>()).varattno;
            let c = self.numbers.iter().position(|n| *n == number)?;
            self.slice.columns.contains(&c).then_some(c)
        }
    }

    /// Whether all of the slice's columns have its value.
    fn all(&self) -> bool {
        self.slice
            .columns
            .iter()
            .all(|c| self.columns.contains(c) || (self.from.contains(c) && self.to.contains(c)))
    }
}

/// What an operator is in the default order of a column's type; 0 if it is nothing there.
fn strategy(column: &Column, operator: pg_sys::Oid) -> u32 {
    // SAFETY: look-ups for an existing type and an existing operator.
    unsafe {
        let class = pg_sys::GetDefaultOpClass(column.base_type(), pg_sys::BTREE_AM_OID);
        if class == pg_sys::InvalidOid {
            return 0;
        }
        let family = pg_sys::get_opclass_family(class);
        pg_sys::get_op_opfamily_strategy(operator, family) as u32
    }
}

fn same(column: &Column, a: pg_sys::Datum, b: pg_sys::Datum) -> bool {
    Order::of(column).compare(column, Some(a), Some(b)).is_eq()
}

/// Whether no value of the column's type is between these two.
fn follows(column: &Column, value: pg_sys::Datum, next: pg_sys::Datum) -> bool {
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
    // SAFETY: an open relation; its triggers live with it.
    unsafe {
        let pending = pg_sys::AfterTriggerPendingOnRel(relation.oid());
        let triggers = (*relation.raw()).trigdesc.as_ref();
        pending
            || triggers.is_some_and(|triggers| {
                triggers.trig_delete_before_row
                    || triggers.trig_delete_after_row
                    || triggers.trig_delete_before_statement
                    || triggers.trig_delete_after_statement
                    || triggers.trig_delete_old_table
                    || triggers.trig_truncate_before_statement
                    || triggers.trig_truncate_after_statement
            })
    }
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

/// Whether another transaction of this database has a snapshot in use.
fn snapshots_in_use() -> bool {
    /// Those look at no rows of the user's by it.
    const PASSED_OVER: u32 =
        pg_sys::PROC_IS_AUTOVACUUM | pg_sys::PROC_IN_VACUUM | pg_sys::PROC_IN_SAFE_IC;
    let mut count = 0;
    // SAFETY: core's own look at the other backends, as CREATE INDEX CONCURRENTLY does; the
    // array is left to the memory of the call.
    unsafe {
        pg_sys::GetCurrentVirtualXIDs(
            pg_sys::InvalidTransactionId,
            true,
            false,
            PASSED_OVER as i32,
            &raw mut count,
        );
    }
    count > 0
}

fn qualified(table: pg_sys::Oid) -> String {
    // SAFETY: an existing table, locked.
    unsafe {
        let schema = pg_sys::get_namespace_name(pg_sys::get_rel_namespace(table));
        let name = pg_sys::get_rel_name(table);
        format!(
            "{}.{}",
            text::quote_identifier(&text::from_server(schema)),
            text::quote_identifier(&text::from_server(name))
        )
    }
}
