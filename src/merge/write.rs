//! The statement that updates: rows are addressed by place and version. It runs as the
//! caller, and so does what the table's owner wrote, as with an UPDATE of theirs.
use crate::error::RowPosition;
use crate::payload::row::{Mark, RowLayout};
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

/// Rows are updated in the order in which they come, each found by its place: a join that
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

/// Rows that are to replace stored ones: what working rows begin with, then the ordinal
/// (`bigint`), where the stored row is (`tid`), which transaction wrote it (`xid`), and in
/// which table (`oid`).
pub struct ChangedRows {
    rows: TupleStore,
    columns: usize,
    builder: RowBuilder,
}

impl ChangedRows {
    /// None yet; for the memory of the call.
    pub fn new(target: &Target) -> Self {
        let columns = target.working_columns();
        let desc = target.row_desc_with(&[
            pg_sys::INT8OID,
            pg_sys::TIDOID,
            pg_sys::XIDOID,
            pg_sys::OIDOID,
        ]);
        Self {
            rows: TupleStore::new(&desc),
            columns,
            builder: RowBuilder::new(&desc),
        }
    }

    /// Adds a working row of the target, and what it is to replace.
    pub fn put(&mut self, target: &Target, row: &Slot, stored: &StoredRow<'_>) {
        let (table, place) = stored.table_and_tid();
        let ordinal = RowLayout::of(target).ordinal(row);
        let own = [
            SqlValue::bigint(ordinal),
            SqlValue::tid(&place),
            SqlValue::xid(stored.xmin()),
            SqlValue::oid(table),
        ];
        let mut changed = self.builder.start();
        changed.copy_first(row, self.columns);
        for (i, value) in own.into_iter().enumerate() {
            changed.set(self.columns + i, value);
        }
        self.rows.put(changed.finish());
    }

    /// How many there are.
    pub fn len(&self) -> u64 {
        self.rows.len()
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
            RowLayout::of(target).set(&mut working, ordinal, 0, Mark::Pending);
            take(working.finish());
        }
    }
}

/// Replaces the stored rows, as far as they are the versions that were judged. Gives how
/// many.
///
/// Where a row turns out to have a later version, the place alone does not keep that from
/// being overwritten: not all minor versions of the server check it again. The transaction
/// does.
///
/// It is run under the snapshot of the look. So a row that was changed since is met in its
/// turn and locked, though not changed, and who comes back to it does not wait for anybody.
pub fn update(
    context: &WriteContext<'_>,
    updated: &[usize],
    changed: &ChangedRows,
    snapshot: &FreshSnapshot,
) -> u64 {
    let connection = Connection::open();
    changed.rows.as_table(ROWS, || {
        let plan = {
            let _settings = LocalSettings::set(&IN_ORDER);
            let plan = SpiPlan::prepare(&connection, &update_sql(context, updated));
            plan.plan_now(&connection);
            plan
        };
        let position = RowPosition::watch(changed.rows.raw(), changed.columns, None);
        let count = connection.write_under(&plan, snapshot);
        drop(position);
        if !plan.concerns(context.target.oid) {
            context.target.renamed_meanwhile().raise()
        }
        count
    })
}

/// `UPDATE ONLY shop.orders AS stored SET amount = row.a1 FROM pg_idempotent_changed AS row
/// WHERE stored.ctid = row.a3 AND stored.xmin = row.a4`.
fn update_sql(context: &WriteContext<'_>, updated: &[usize]) -> String {
    let target = context.target;
    let set = updated
        .iter()
        .map(|c| format!("{} = row.a{c}", target.column_list([*c])))
        .collect::<Vec<_>>()
        .join(", ");
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
    format!(
        "UPDATE {}{} AS stored SET {set} FROM {} AS row WHERE {}",
        // Tables that inherit from it are tables of their own.
        if target.partitioned { "" } else { "ONLY " },
        target.qualified(),
        ROWS.to_str().expect("ASCII"),
        conditions.join(" AND "),
    )
}
