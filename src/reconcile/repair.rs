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
//! - The new version has the key of the source's row, or the call fails (27000): the columns that are
//!   not set, or a trigger, may make it another one. A dry run fails for the former, too.
//! - A row is inserted with ON CONFLICT DO NOTHING: if another session was faster, that row stays.
//!
//! # Rows of a foreign or distributed table
//! They have no place that could be looked up and trusted. One statement finds a row by its key and all
//! values that were read, and writes it.
//! - The foreign data wrapper reads anew for each statement: a row that has other values by now does
//!   not meet the condition, and is left alone.
//! - It keeps one snapshot, as postgres_fdw does at every isolation level: the row meets the condition
//!   as of that snapshot. If another session has written it since, the other server raises 40001.
//! - A trigger there, or an earlier statement of the repair, has changed the row: our own transaction
//!   sees that, and the row does not meet the condition.
//! - An INSERT into a foreign table is a plain one, since ON CONFLICT (key) cannot be sent: if another session
//!   was faster, the unique index there raises 23505. A row of the source under the key of the one
//!   before is not sent.
//! - Several rows meet the condition: all would be written, so the call fails (21000), and the
//!   transaction with it.
use super::deviation::{Deviation, Status, Teller};
use super::kept_key::KeptKey;
use super::remote_row_write::RemoteStatements;
use super::stored_row_write::{Statements, Written};
use crate::compare::differing;
use crate::enum_text;
use crate::error::{Report, SqlState};
use crate::payload::row::{null_in_key, same_key};
use crate::payload::shape::Shape;
use crate::pg::call::result::ResultSet;
use crate::pg::rows::{Slot, TupleStore};
use crate::pg::transaction::snapshot::FreshSnapshot;
use crate::pg::value::sql_value::SqlValue;
use crate::stats::{FormScope, Rows};
use crate::target::{KeyLookup, StoredRow, Target, UniqueIndex};
use crate::write::{Keys, Returning, WriteContext, insert};
use serde::Serialize;

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

/// What writes.
pub enum Writer<'a> {
    /// Nothing does: deviations are told only.
    Nothing,
    /// What writes rows of a local table, by their place.
    Local(LocalWriter<'a>),
    /// Statements for rows that are in shards or on another server, by their values.
    Remote(RemoteStatements<'a>),
}

/// Writes rows of a local table.
pub struct LocalWriter<'a> {
    context: WriteContext<'a>,
    statements: Statements,
}

impl<'a> LocalWriter<'a> {
    /// For rows of the one shape of the context.
    pub fn new(context: WriteContext<'a>) -> Self {
        Self {
            statements: Statements::of(context.target),
            context,
        }
    }

    /// Looks a row that is stored up again, and deletes it, or updates these columns of it, which
    /// keeps its key.
    fn write(
        &mut self,
        key: &mut KeptKey<'_>,
        stored: &Slot,
        expected: Option<&Slot>,
        columns: &[usize],
    ) -> Written {
        let (context, statements) = (&self.context, &mut self.statements);
        let (target, shape) = (context.target, &context.shapes[0]);
        let snapshot = FreshSnapshot::push();
        let written = context.scratch.scope(|| {
            let mut lookup = KeyLookup::new(target, context.relation, context.arbiter);
            lookup.find(|c| stored.value(c));
            let Some(now) = lookup.stored() else {
                return Written::Nothing;
            };
            if !is_as_read(target, shape, &now, stored) {
                return Written::Nothing;
            }
            context.check_visible(stored, &now);
            if let Some(expected) = expected {
                key.check(|c| now.value(c), expected, columns);
            }
            statements.write(target, context.arbiter, &now, expected, columns)
        });
        drop(snapshot);
        self.context.scratch.reset();
        written
    }

    /// Inserts a row. Gives the number of rows that went in.
    fn insert(&mut self, expected: &Slot) -> u64 {
        let context = &self.context;
        let count = context.scratch.scope(|| {
            let mut row = TupleStore::new(context.target.row_desc());
            row.put(expected);
            insert(context, &mut row, Returning::Count, Keys::Unknown).0
        });
        self.context.scratch.reset();
        count
    }
}

/// Puts deviations right, and tells what became of them.
pub struct Repair<'a, 'c> {
    pub target: &'a Target,
    pub arbiter: &'a UniqueIndex,
    pub shape: &'a Shape,
    pub key: KeptKey<'a>,
    pub writer: Writer<'a>,
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
        while next(&mut unexpected, &mut row) {
            let outcome = self.write_stored(&row, None, &[]);
            self.tell(Status::Unexpected, Some(&row), None, &[], outcome);
        }
        while next(&mut stored, &mut row) && next(&mut expected, &mut other) {
            let was = StoredRow::returned(&row, &numbers);
            let columns = differing(&self.target.columns, &self.shape.compared, &was, |c| {
                other.value(c)
            });
            let outcome = self.write_stored(&row, Some(&other), &columns);
            self.tell(
                Status::Different,
                Some(&row),
                Some(&other),
                &columns,
                outcome,
            );
        }
        let mut before = None;
        while next(&mut missing, &mut row) {
            let outcome = self.insert_missing(&row, &mut before);
            self.tell(Status::Missing, None, Some(&row), &[], outcome);
        }
    }

    /// Deletes a row that is stored, or updates these columns of it.
    ///
    /// # Errors
    /// 21000, 27000, 40001, 42501; and what UPDATE and DELETE raise.
    fn write_stored(
        &mut self,
        stored: &Slot,
        expected: Option<&Slot>,
        columns: &[usize],
    ) -> Option<Outcome> {
        let lone = self.has_lone_key(stored);
        let written = match &mut self.writer {
            Writer::Nothing => {
                if let Some(expected) = expected {
                    self.key.check(|c| stored.value(c), expected, columns);
                }
                return None;
            }
            _ if lone => Written::Nothing,
            Writer::Local(writer) => writer.write(&mut self.key, stored, expected, columns),
            Writer::Remote(statements) => {
                let count = match expected {
                    None => statements.delete(stored),
                    Some(expected) => {
                        self.key.check(|c| stored.value(c), expected, columns);
                        statements.update(stored, expected, columns)
                    }
                };
                match count {
                    0 => Written::Nothing,
                    1 => Written::UnderKey,
                    _ => self.stored_twice().raise(),
                }
            }
        };
        Some(match (written, expected) {
            (Written::Nothing, _) => Outcome::Skipped,
            (Written::UnderKey, None) => Outcome::Deleted,
            (Written::UnderKey, Some(_)) => Outcome::Updated,
            (Written::UnderOtherKey, _) => self.key.moved().raise(),
        })
    }

    /// 21000: one statement has written several rows, which are alike in all that was read of them.
    fn stored_twice(&self) -> Report {
        let target = self.target;
        Report::new(
            SqlState::CardinalityViolation,
            format!(
                "several rows of table \"{}\" have the same key and values",
                target.name
            ),
        )
        .detail("A repair cannot tell them apart.")
        .hint("Remove all but one of them, and create a unique index on the key where they are stored.")
        .table(&target.schema, &target.name)
    }

    /// Inserts a row, unless that `before` has the same key. It is the next one's then.
    fn insert_missing(&mut self, expected: &Slot, before: &mut Option<Slot>) -> Option<Outcome> {
        let lone = self.has_lone_key(expected);
        let count = match &mut self.writer {
            Writer::Nothing => return None,
            _ if lone => 0,
            Writer::Local(writer) => writer.insert(expected),
            Writer::Remote(statements) => {
                let again = before
                    .as_ref()
                    .is_some_and(|before| same_key(self.arbiter, before, expected));
                let kept = expected.to_stored();
                kept.deform();
                *before = Some(kept);
                match again {
                    true => 0,
                    false => statements.insert(expected),
                }
            }
        };
        Some(match count {
            1 => Outcome::Inserted,
            _ => Outcome::Skipped,
        })
    }

    /// Whether a NULL in its key makes it equal to no other.
    fn has_lone_key(&self, row: &Slot) -> bool {
        null_in_key(self.target, self.arbiter, row).is_some()
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
        let counts = FormScope::recorder(self.target.oid);
        match outcome {
            Some(Outcome::Inserted) => counts.count(Rows::Inserted),
            Some(Outcome::Updated) => counts.count(Rows::Updated),
            Some(Outcome::Deleted) => counts.count(Rows::Deleted),
            Some(Outcome::Skipped) | None => {}
        }
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

/// Whether a row has the values that were read. What is generated follows from others.
fn is_as_read(target: &Target, shape: &Shape, now: &StoredRow<'_>, read: &Slot) -> bool {
    let columns = &target.columns;
    let named = shape.named.iter().copied();
    let named: Vec<usize> = named.filter(|c| columns[*c].generated == 0).collect();
    differing(columns, &named, now, |c| read.value(c)).is_empty()
}

fn next(rows: &mut TupleStore, row: &mut Slot) -> bool {
    pgrx::check_for_interrupts!();
    rows.next(row)
}
