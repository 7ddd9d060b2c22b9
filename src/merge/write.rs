//! The statement that updates and deletes: rows are addressed by place and version. It runs as
//! the caller, and so does what the table's owner wrote, as with an UPDATE or DELETE of theirs.
use crate::error::RowPosition;
use crate::payload::row::{Mark, RowLayout};
use crate::payload::shape::Shape;
use crate::pg::rows::{RowBuilder, Slot, TupleStore};
use crate::pg::statement::spi::{Connection, SpiPlan};
use crate::pg::transaction::local_settings::LocalSettings;
use crate::pg::transaction::snapshot::FreshSnapshot;
use crate::pg::value::sql_value::SqlValue;
use crate::target::{StoredRow, Target};
use crate::write::WriteContext;
use pgrx::pg_sys;
use std::ffi::CStr;

/// The name under which the statement sees the rows.
const ROWS: &CStr = c"pg_idempotent_changed";

/// Rows are written in the order in which they come, each found by its place: a join that
/// hashed or sorted them, or began with the table, would lose the order of keys, in which
/// no two merges can wait for each other.
const IN_ORDER: [(&CStr, &CStr); 8] = [
    (c"enable_nestloop", c"on"),
    (c"enable_tidscan", c"on"),
    (c"enable_indexscan", c"on"),
    (c"enable_hashjoin", c"off"),
    (c"enable_mergejoin", c"off"),
    (c"enable_seqscan", c"off"),
    (c"enable_bitmapscan", c"off"),
    (c"jit", c"off"),
];

/// Where in the columns behind those of the target it is whether a row is deleted.
const DELETES: usize = 4;

/// Rows that are to replace stored ones, or to delete them: what working rows begin with, then
/// the ordinal (`bigint`), where the stored row is (`tid`), which transaction wrote it (`xid`),
/// in which table (`oid`), whether it is deleted (`boolean`), and the shape of the payload
/// (`int`).
///
/// A column that a payload leaves out, and others name, has the value of the stored row: to that
/// very version of it the update writes what is there.
pub struct ChangedRows {
    rows: TupleStore,
    columns: usize,
    builder: RowBuilder,
    /// How many of them delete.
    deletes: u64,
    /// By shape, the columns that an update sets and payloads leave out.
    left_out: Vec<Vec<usize>>,
}

impl ChangedRows {
    /// None yet, for updates of these columns; for the memory of the call.
    pub fn new(target: &Target, shapes: &[Shape], updated: &[usize]) -> Self {
        let left_out = |shape: &Shape| {
            let updated = updated.iter().copied();
            updated.filter(|c| !shape.named.contains(c)).collect()
        };
        let columns = target.working_columns();
        let desc = target.row_desc_with(&[
            pg_sys::INT8OID,
            pg_sys::TIDOID,
            pg_sys::XIDOID,
            pg_sys::OIDOID,
            pg_sys::BOOLOID,
            pg_sys::INT4OID,
        ]);
        Self {
            rows: TupleStore::new(&desc),
            columns,
            builder: RowBuilder::new(&desc),
            deletes: 0,
            left_out: shapes.iter().map(left_out).collect(),
        }
    }

    /// Adds a working row of the target, and what it is to replace.
    pub fn put(&mut self, target: &Target, row: &Slot, stored: &StoredRow<'_>) {
        let (table, place) = stored.table_and_tid();
        let layout = RowLayout::of(target);
        let deletes = layout.mark(row) == Mark::Delete;
        self.deletes += u64::from(deletes);
        let own = [
            SqlValue::bigint(layout.ordinal(row)),
            SqlValue::tid(&place),
            SqlValue::xid(stored.xmin()),
            SqlValue::oid(table),
            SqlValue::boolean(deletes),
            SqlValue::int(layout.shape(row) as i32),
        ];
        let mut changed = self.builder.start();
        changed.copy_first(row, self.columns);
        for c in &self.left_out[layout.shape(row)] {
            changed.set(*c, stored.value(*c));
        }
        for (i, value) in own.into_iter().enumerate() {
            changed.set(self.columns + i, value);
        }
        self.rows.put(changed.finish());
    }

    /// How many there are.
    pub fn len(&self) -> u64 {
        self.rows.len()
    }

    /// How many of them delete the stored row.
    pub fn deletes(&self) -> u64 {
        self.deletes
    }

    /// Gives every row as a working row of the target.
    pub fn each(&mut self, target: &Target, mut take: impl FnMut(&Slot)) {
        self.rows.rewind();
        let mut row = Slot::for_stored(self.rows.desc());
        let mut builder = RowBuilder::new(target.row_desc());
        while self.rows.next(&mut row) {
            pgrx::check_for_interrupts!();
            let mut working = builder.start();
            working.copy_first(&row, self.columns);
            let ordinal = row.get(self.columns).map_or(0, |d| d.value() as i64);
            let deletes = row.get(self.columns + DELETES);
            let mark = match deletes.map(|d| d.value()) {
                Some(0) | None => Mark::Pending,
                Some(_) => Mark::Delete,
            };
            let shape = row.get(self.columns + DELETES + 1);
            let shape = shape.map_or(0, |d| d.value() as i32 as usize);
            for c in &self.left_out[shape] {
                working.set(*c, SqlValue::null(target.columns[*c].typid));
            }
            RowLayout::of(target).set(&mut working, ordinal, shape, mark);
            take(working.finish());
        }
    }
}

/// Replaces or deletes the stored rows, as far as they are the versions that were judged. Gives
/// how many.
///
/// Where a row turns out to have a later version, the place alone does not keep that from
/// being overwritten: not all minor versions of the server check it again. The transaction
/// does.
///
/// It is run under the snapshot of the look. So a row that was changed since is met in its
/// turn and locked, though not changed, and who comes back to it does not wait for anybody.
pub fn replace(
    context: &WriteContext<'_>,
    updated: &[usize],
    changed: &ChangedRows,
    snapshot: &FreshSnapshot,
) -> u64 {
    let connection = Connection::open();
    changed.rows.as_table(ROWS, || {
        let plan = {
            let _settings = LocalSettings::set(&IN_ORDER);
            let plan = SpiPlan::prepare(&connection, &write_sql(context, updated, changed));
            plan.plan_now(&connection);
            plan
        };
        let position =
            RowPosition::watch(context.origin, changed.rows.raw(), changed.columns, None);
        let count = connection.write_under(&plan, snapshot);
        drop(position);
        context.target.check_still_named(&plan);
        count
    })
}

/// `UPDATE ONLY shop.orders AS stored SET amount = row.a1 FROM pg_idempotent_changed AS row
/// WHERE stored.ctid = row.a3 AND stored.xmin = row.a4`; or a DELETE, likewise; or, where there
/// are rows of both kinds, a MERGE. Two statements would not go by the order of keys.
fn write_sql(context: &WriteContext<'_>, updated: &[usize], changed: &ChangedRows) -> String {
    let target = context.target;
    // Tables that inherit from it are tables of their own.
    let stored = format!("{} AS stored", target.own_rows());
    let rows = format!("{} AS row", ROWS.to_str().expect("ASCII"));
    let set = updated
        .iter()
        .map(|c| format!("{} = row.a{c}", target.column_list([*c])))
        .collect::<Vec<_>>()
        .join(", ");
    let conditions = same_version(context).join(" AND ");
    if changed.deletes() == 0 {
        return format!("UPDATE {stored} SET {set} FROM {rows} WHERE {conditions}");
    }
    if changed.deletes() == changed.len() {
        return format!("DELETE FROM {stored} USING {rows} WHERE {conditions}");
    }
    let deletes = target.working_columns() + DELETES;
    format!(
        "MERGE INTO {stored} USING {rows} ON {conditions} \
         WHEN MATCHED AND row.a{deletes} THEN DELETE WHEN MATCHED THEN UPDATE SET {set}"
    )
}

/// The conditions that a stored row is the version that was judged.
fn same_version(context: &WriteContext<'_>) -> Vec<String> {
    let target = context.target;
    let own = target.working_columns();
    let (place, version, table) = (own + 1, own + 2, own + 3);
    let mut conditions = vec![
        format!("stored.ctid OPERATOR(pg_catalog.=) row.a{place}"),
        format!("stored.xmin OPERATOR(pg_catalog.=) row.a{version}"),
    ];
    if target.partitioned {
        conditions.push(format!(
            "stored.tableoid OPERATOR(pg_catalog.=) row.a{table}"
        ));
        if !context.arbiter.nulls_equal {
            // The server finds the partition by its key, which is part of ours.
            let keys = context.arbiter.keys.iter();
            let keys = keys.filter(|key| key.expression.is_none());
            conditions.extend(keys.map(|key| {
                let column = format!("stored.{}", target.column_list([key.column]));
                key.equals(&column, &format!("row.a{}", key.column))
            }));
        }
    }
    conditions
}
