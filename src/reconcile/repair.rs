//! `idempotent_repair`: makes a target equal to its source, row by row.
//!
//! # The protocol
//! The deviations are found first, as `idempotent_reconcile` finds them, under the snapshot of the
//! calling statement. Then they are put right one after the other: first the rows that are
//! unexpected are deleted, then those that are different updated, then those that are missing
//! inserted, so that a value of another unique index is free before it is needed; each of these in
//! the order of the key.
//!
//! # Why nothing is overwritten blindly
//! - A row is looked up again by its key under a fresh snapshot, and left alone (`skipped`) if it is
//!   not there any more, or not with the values that were read.
//! - It is then addressed by its place and by the transaction that wrote it. If another session
//!   writes it at this moment, the statement waits for that, finds another version, and passes over
//!   it, or raises 40001 (REPEATABLE READ and up).
//! - A row is inserted with ON CONFLICT DO NOTHING: if another session was faster, that row stays.
use super::deviation::{Deviation, Status, Teller};
use crate::compare::differing;
use crate::enum_text;
use crate::payload::shape::Shape;
use crate::pg::call::result::ResultSet;
use crate::pg::rows::{Slot, TupleStore};
use crate::pg::statement::spi::{Connection, Parameter, SpiPlan};
use crate::pg::transaction::snapshot::FreshSnapshot;
use crate::pg::value::sql_value::SqlValue;
use crate::target::{KeyLookup, StoredRow, Target, UniqueIndex};
use crate::write::{Returning, WriteContext, insert};
use pgrx::pg_sys;
use serde::Serialize;
use std::collections::HashMap;

/// What became of a deviation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Inserted,
    Updated,
    Deleted,
    /// The row was changed since it was read, or has a key that equals no other.
    Skipped,
}

/// Deviations that were found, as working rows of the target.
pub struct Deviations {
    unexpected: TupleStore,
    /// What is stored, and what is expected in its place.
    different: (TupleStore, TupleStore),
    missing: TupleStore,
}

impl Deviations {
    /// None yet.
    pub fn new(target: &Target) -> Self {
        let rows = || TupleStore::new(target.row_desc());
        Self {
            unexpected: rows(),
            different: (rows(), rows()),
            missing: rows(),
        }
    }

    /// Keeps one more.
    pub fn put(&mut self, deviation: &Deviation<'_>) {
        let (stored, expected) = match deviation.status {
            Status::Unexpected => (&mut self.unexpected, &mut self.missing),
            Status::Missing => (&mut self.unexpected, &mut self.missing),
            Status::Different => (&mut self.different.0, &mut self.different.1),
        };
        if let Some(row) = deviation.stored {
            stored.put(row);
        }
        if let Some(row) = deviation.expected {
            expected.put(row);
        }
    }
}

/// Puts deviations right, and tells what became of them.
pub struct Repair<'a, 'c> {
    pub target: &'a Target,
    pub arbiter: &'a UniqueIndex,
    pub shape: &'a Shape,
    /// None if nothing is to be written.
    pub context: Option<WriteContext<'a>>,
    pub teller: Teller<'a>,
    pub set: &'a mut ResultSet<'c>,
}

impl Repair<'_, '_> {
    /// All of them.
    pub fn run(&mut self, deviations: Deviations) {
        let Deviations {
            mut unexpected,
            different: (mut stored, mut expected),
            mut missing,
        } = deviations;
        let numbers = self.target.attnums_in_order();
        let desc = self.target.row_desc();
        let (mut row, mut other) = (Slot::for_stored(desc), Slot::for_stored(desc));
        self.with_statements(|this, statements| {
            while next(&mut unexpected, &mut row) {
                let outcome = this.write_stored(statements, &row, None, &[], Outcome::Deleted);
                this.tell(Status::Unexpected, Some(&row), None, &[], outcome);
            }
        });
        self.with_statements(|this, statements| {
            while next(&mut stored, &mut row) && next(&mut expected, &mut other) {
                let was = StoredRow::returned(&row, &numbers);
                let columns = differing(&this.target.columns, &this.shape.compared, &was, |c| {
                    other.value(c)
                });
                let outcome =
                    this.write_stored(statements, &row, Some(&other), &columns, Outcome::Updated);
                this.tell(
                    Status::Different,
                    Some(&row),
                    Some(&other),
                    &columns,
                    outcome,
                );
            }
        });
        while next(&mut missing, &mut row) {
            let outcome = self.insert_missing(&row);
            self.tell(Status::Missing, None, Some(&row), &[], outcome);
        }
    }

    fn with_statements(&mut self, work: impl FnOnce(&mut Self, &mut Option<Statements<'_>>)) {
        if self.context.is_none() {
            return work(self, &mut None);
        }
        let connection = Connection::open();
        work(self, &mut Some(Statements::new(&connection)));
    }

    /// Deletes a row that is stored, or updates these columns of it.
    fn write_stored(
        &mut self,
        statements: &mut Option<Statements<'_>>,
        stored: &Slot,
        expected: Option<&Slot>,
        columns: &[usize],
        written: Outcome,
    ) -> Option<Outcome> {
        let context = self.context.as_ref()?;
        let statements = statements.as_mut()?;
        if self.has_lone_key(stored) {
            return Some(Outcome::Skipped);
        }
        let snapshot = FreshSnapshot::push();
        let count = context.scratch.scope(|| {
            let mut lookup = KeyLookup::new(context.target, context.relation, context.arbiter);
            lookup.find(|c| stored.value(c));
            let Some(now) = lookup.stored() else {
                return 0;
            };
            if !self.is_as_read(&now, stored) {
                return 0;
            }
            context.check_visible(stored, &now);
            statements.write(context.target, &now, expected, columns)
        });
        drop(snapshot);
        context.scratch.reset();
        Some(if count == 1 {
            written
        } else {
            Outcome::Skipped
        })
    }

    fn insert_missing(&self, expected: &Slot) -> Option<Outcome> {
        let context = self.context.as_ref()?;
        if self.has_lone_key(expected) {
            return Some(Outcome::Skipped);
        }
        let count = context.scratch.scope(|| {
            let mut row = TupleStore::new(self.target.row_desc());
            row.put(expected);
            insert(context, &mut row, Returning::Count, false).0
        });
        context.scratch.reset();
        Some(if count == 1 {
            Outcome::Inserted
        } else {
            Outcome::Skipped
        })
    }

    /// Whether a NULL in its key makes it equal to no other.
    fn has_lone_key(&self, row: &Slot) -> bool {
        let mut keys = self.arbiter.keys.iter();
        !self.arbiter.nulls_equal && keys.any(|key| row.get(key.column).is_none())
    }

    /// Whether a row has the values that were read. What is generated follows from others.
    fn is_as_read(&self, now: &StoredRow<'_>, read: &Slot) -> bool {
        let columns = &self.target.columns;
        let named = self.shape.named.iter().copied();
        let named: Vec<usize> = named.filter(|c| columns[*c].generated == 0).collect();
        differing(columns, &named, now, |c| read.value(c)).is_empty()
    }

    fn tell(
        &mut self,
        status: Status,
        stored: Option<&Slot>,
        expected: Option<&Slot>,
        columns: &[usize],
        outcome: Option<Outcome>,
    ) {
        let deviation = Deviation {
            status,
            stored,
            expected,
            columns,
        };
        let set = &mut *self.set;
        let outcome = SqlValue::optional_text(outcome.map(enum_text::name));
        self.teller.tell(
            &deviation,
            |[status, key, stored, expected, differences]| {
                set.row(&[status, key, stored, expected, differences, outcome]);
            },
        );
    }
}

fn next(rows: &mut TupleStore, row: &mut Slot) -> bool {
    pgrx::check_for_interrupts!();
    rows.next(row)
}

/// The statements that write rows which are stored, by the columns that they update; without any,
/// they delete.
struct Statements<'c> {
    connection: &'c Connection,
    plans: HashMap<Vec<usize>, SpiPlan>,
}

/// The parameters that address a row.
const ADDRESS: [pg_sys::Oid; 3] = [pg_sys::TIDOID, pg_sys::XIDOID, pg_sys::OIDOID];

impl<'c> Statements<'c> {
    fn new(connection: &'c Connection) -> Self {
        Self {
            connection,
            plans: HashMap::new(),
        }
    }

    /// Writes this version of a row; gives how many rows that were.
    fn write(
        &mut self,
        target: &Target,
        now: &StoredRow<'_>,
        expected: Option<&Slot>,
        columns: &[usize],
    ) -> u64 {
        let connection = self.connection;
        let values = expected.map(|row| columns.iter().map(|c| row.value(*c)));
        let (table, place) = now.table_and_tid();
        let mut parameters: Vec<Parameter<'_>> = vec![
            SqlValue::tid(&place),
            SqlValue::xid(now.xmin()),
            SqlValue::oid(table),
        ];
        parameters.extend(values.into_iter().flatten());
        let prepare = || {
            let mut types = ADDRESS.to_vec();
            types.extend(columns.iter().map(|c| target.columns[*c].typid));
            SpiPlan::prepare_with(connection, &sql(target, columns), &types)
        };
        let plan = self.plans.entry(columns.to_vec()).or_insert_with(prepare);
        let count = connection.execute_plan(plan, &parameters);
        if !plan.concerns(target.oid) {
            target.renamed_meanwhile().raise()
        }
        count
    }
}

/// `UPDATE ONLY shop.orders AS stored SET amount = $4 WHERE stored.ctid = $1 AND stored.xmin = $2 AND
/// stored.tableoid = $3`, or a DELETE.
fn sql(target: &Target, columns: &[usize]) -> String {
    // Tables that inherit from it are tables of their own.
    let only = if target.partitioned { "" } else { "ONLY " };
    let table = format!("{only}{} AS stored", target.qualified());
    let set = columns.iter().zip(ADDRESS.len() + 1..);
    let set = set
        .map(|(c, number)| format!("{} = ${number}", target.column_list([*c])))
        .collect::<Vec<_>>()
        .join(", ");
    let command = if columns.is_empty() {
        format!("DELETE FROM {table}")
    } else {
        format!("UPDATE {table} SET {set}")
    };
    format!(
        "{command} WHERE stored.ctid OPERATOR(pg_catalog.=) $1 \
         AND stored.xmin OPERATOR(pg_catalog.=) $2 \
         AND stored.tableoid OPERATOR(pg_catalog.=) $3"
    )
}
