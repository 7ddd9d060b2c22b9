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
use super::deviation::{Deviation, Status, Teller};
use super::kept_key::KeptKey;
use super::stored_row_write::{Statements, Written};
use crate::compare::differing;
use crate::enum_text;
use crate::payload::row::null_in_key;
use crate::payload::shape::Shape;
use crate::pg::call::result::ResultSet;
use crate::pg::rows::{Slot, TupleStore};
use crate::pg::transaction::snapshot::FreshSnapshot;
use crate::pg::value::sql_value::SqlValue;
use crate::target::{KeyLookup, StoredRow, Target, UniqueIndex};
use crate::write::{Returning, WriteContext, insert};
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

/// Puts deviations right, and tells what became of them.
pub struct Repair<'a, 'c> {
    pub target: &'a Target,
    pub arbiter: &'a UniqueIndex,
    pub shape: &'a Shape,
    pub key: KeptKey<'a>,
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
        let mut statements = Statements::of(self.target);
        while next(&mut unexpected, &mut row) {
            let outcome = self.write_stored(&mut statements, &row, None, &[]);
            self.tell(Status::Unexpected, Some(&row), None, &[], outcome);
        }
        while next(&mut stored, &mut row) && next(&mut expected, &mut other) {
            let was = StoredRow::returned(&row, &numbers);
            let columns = differing(&self.target.columns, &self.shape.compared, &was, |c| {
                other.value(c)
            });
            let outcome = self.write_stored(&mut statements, &row, Some(&other), &columns);
            self.tell(
                Status::Different,
                Some(&row),
                Some(&other),
                &columns,
                outcome,
            );
        }
        while next(&mut missing, &mut row) {
            let outcome = self.insert_missing(&row);
            self.tell(Status::Missing, None, Some(&row), &[], outcome);
        }
    }

    /// Deletes a row that is stored, or updates these columns of it.
    ///
    /// # Errors
    /// 27000, 40001, 42501; and what UPDATE and DELETE raise.
    fn write_stored(
        &mut self,
        statements: &mut Statements,
        stored: &Slot,
        expected: Option<&Slot>,
        columns: &[usize],
    ) -> Option<Outcome> {
        let Some(context) = self.context.as_ref() else {
            if let Some(expected) = expected {
                self.key.check(|c| stored.value(c), expected, columns);
            }
            return None;
        };
        if self.has_lone_key(stored) {
            return Some(Outcome::Skipped);
        }
        let (target, shape, key) = (self.target, self.shape, &mut self.key);
        let snapshot = FreshSnapshot::push();
        let written = context.scratch.scope(|| {
            let mut lookup = KeyLookup::new(context.target, context.relation, context.arbiter);
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
        context.scratch.reset();
        Some(match (written, expected) {
            (Written::Nothing, _) => Outcome::Skipped,
            (Written::UnderKey, None) => Outcome::Deleted,
            (Written::UnderKey, Some(_)) => Outcome::Updated,
            (Written::UnderOtherKey, _) => self.key.moved().raise(),
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
