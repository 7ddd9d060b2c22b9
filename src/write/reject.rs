//! Rows that the server refuses are set aside, and the others go in.
//!
//! # How
//! All rows are tried in a subtransaction, as one statement. An error of class 22 or 23 undoes it.
//! Mostly it is known which row the statement was at ([`RowPosition`](crate::error::RowPosition)).
//! Then the rows before it go in, which it did not refuse; the row is set aside; and those after it
//! are tried. So a row is tried twice at most, but for the few that follow another one that is
//! refused. What is tried after such a row has few rows at first, and more as it goes well.
//!
//! What is found when the statement ends (a foreign key, an AFTER trigger) is about no row that is
//! known. Then the rows are tried in [`PIECES`] parts, until a part has one row.
//!
//! # What comes of it
//! The rows that go in are those that would if each came by itself, in the order of keys. A verdict
//! that was made beside rows which are refused later themselves is not kept: the row is tried once
//! more. Keys still go in in their order, so that calls do not wait for each other in a circle.
use super::context::WriteContext;
use super::outcome_collector::OutcomeCollector;
use super::send;
use super::terms::{Keys, Returning};
use crate::error::{RowError, catch_row_error};
use crate::payload::row::{Mark, RowLayout};
use crate::pg::memory::Memory;
use crate::pg::rows::{Slot, TupleStore};
use crate::pg::transaction::locks;
use crate::pg::transaction::relation_lock::lock_relation;
use crate::pg::transaction::transactions::in_subtransaction;
use crate::pg::value::value_type::JsonForm;
use std::collections::HashSet;

/// In so many parts are rows tried, one of which is refused.
const PIECES: u64 = 16;

/// So many rows at least are tried after one that is refused; then [`GROWTH`] times as many.
const FEW_ROWS: u64 = 16;
const GROWTH: u64 = 4;

/// What became of rows.
pub struct Sent {
    /// Without those that were refused.
    pub rows: TupleStore,
    /// How many were refused,
    pub rejected: u64,
    /// and how many went in.
    pub count: u64,
    /// What the statements returned.
    pub returned: Option<TupleStore>,
}

/// Inserts the plain rows as [`send::insert`] does, but for those that the server refuses, of
/// which the collector is told.
pub fn insert(
    context: &WriteContext<'_>,
    mut rows: TupleStore,
    returning: Returning,
    keys: Keys,
    collector: &mut OutcomeCollector,
) -> Sent {
    // What is undone gives its locks back; nobody is to change the table meanwhile.
    lock_relation(context.target.oid, locks::working_lock_mode() as u32);
    let mut sender = Sender {
        context,
        returning,
        keys,
        collector,
        count: 0,
        returned: send::new_returned_store(context, returning),
        rejected: HashSet::new(),
    };
    let layout = RowLayout::of(context.target);
    if let Err(refusal) = sender.attempt(&mut rows) {
        let mut pending = filtered(&mut rows, |row| {
            matches!(layout.mark(row), Mark::Pending | Mark::Outside)
        });
        sender.send_parts(&mut pending, refusal);
    }
    let rejected = sender.rejected;
    if !rejected.is_empty() {
        rows = filtered(&mut rows, |row| !rejected.contains(&layout.ordinal(row)));
    }
    Sent {
        rows,
        rejected: rejected.len() as u64,
        count: sender.count,
        returned: sender.returned,
    }
}

/// Why rows were refused.
struct Refusal {
    error: RowError,
    /// The ordinal of the row that it is about, if that is known.
    row: Option<i64>,
}

struct Sender<'s, 'a> {
    context: &'s WriteContext<'a>,
    returning: Returning,
    /// What was known of the keys of the rows.
    keys: Keys,
    collector: &'s mut OutcomeCollector,
    count: u64,
    returned: Option<TupleStore>,
    /// By ordinal.
    rejected: HashSet<i64>,
}

impl Sender<'_, '_> {
    /// Sends rows that are plain. Whether none was refused.
    fn send(&mut self, rows: &mut TupleStore) -> bool {
        match self.attempt(rows) {
            Ok(()) => true,
            Err(refusal) => {
                self.send_parts(rows, refusal);
                false
            }
        }
    }

    /// Tries all rows; what it did is undone if one is refused.
    fn attempt(&mut self, rows: &mut TupleStore) -> Result<(), Refusal> {
        pgrx::check_for_interrupts!();
        let context = self.context;
        // Of the call, and not of the subtransaction, with which its files would go.
        let mut returned = send::new_returned_store(context, self.returning);
        let memory = Memory::in_current(c"pg_idempotent attempt");
        context.failing.set(None);
        let count = memory.scope(|| {
            let insert =
                || send::insert_into(context, rows, self.returning, returned.as_mut(), self.keys);
            catch_row_error(|| in_subtransaction(insert))
        });
        let count = count.map_err(|error| Refusal {
            error,
            row: context.failing.get(),
        })?;
        self.count += count;
        if let (Some(all), Some(mut returned)) = (&mut self.returned, returned) {
            returned.each(|row| all.put(row));
        }
        Ok(())
    }

    /// Sends rows of which one was refused.
    fn send_parts(&mut self, rows: &mut TupleStore, refusal: Refusal) {
        rows.rewind();
        let only = rows.len() == 1;
        match refusal.row {
            Some(ordinal) if !only => self.send_around(rows, ordinal, &refusal.error),
            _ if only => self.reject(rows, &refusal.error),
            _ => {
                let size = rows.len().div_ceil(PIECES);
                while let Some(mut piece) = next_rows(rows, size) {
                    self.send(&mut piece);
                }
            }
        }
    }

    /// Sends the rows before the one with this ordinal, and those after it.
    fn send_around(&mut self, rows: &mut TupleStore, ordinal: i64, error: &RowError) {
        let layout = RowLayout::of(self.context.target);
        let mut before = TupleStore::new(rows.desc());
        let mut refused = TupleStore::new(rows.desc());
        let mut row = Slot::for_stored(rows.desc());
        while rows.next(&mut row) {
            pgrx::check_for_interrupts!();
            if layout.ordinal(&row) == ordinal {
                refused.put(&row);
                break;
            }
            before.put(&row);
        }
        let all_went_in = before.len() == 0 || self.send(&mut before);
        if all_went_in {
            self.reject(&mut refused, error);
        } else {
            self.send(&mut refused);
        }
        let mut size = FEW_ROWS.max(GROWTH * before.len());
        while let Some(mut part) = next_rows(rows, size) {
            if self.send(&mut part) {
                size = size.saturating_mul(GROWTH);
            }
        }
    }

    /// Sets the one row aside.
    fn reject(&mut self, rows: &mut TupleStore, error: &RowError) {
        let target = self.context.target;
        let layout = RowLayout::of(target);
        rows.rewind();
        rows.each(|row| {
            let ordinal = layout.ordinal(row);
            let named = &self.context.shapes[layout.shape(row)].named;
            self.rejected.insert(ordinal);
            self.collector.rejected(ordinal, error, || {
                target.object(named.iter().copied(), JsonForm::Recorded, |c| row.value(c))
            });
        });
    }
}

/// The next rows of a store; None at its end.
fn next_rows(rows: &mut TupleStore, most: u64) -> Option<TupleStore> {
    let mut part: Option<TupleStore> = None;
    let mut row = Slot::for_stored(rows.desc());
    for _ in 0..most {
        if !rows.next(&mut row) {
            break;
        }
        pgrx::check_for_interrupts!();
        part.get_or_insert_with(|| TupleStore::new(row.desc()))
            .put(&row);
    }
    part
}

/// A copy of some rows of a store.
fn filtered(rows: &mut TupleStore, keep: impl Fn(&Slot) -> bool) -> TupleStore {
    let mut some = TupleStore::new(rows.desc());
    rows.rewind();
    rows.each(|row| {
        if keep(row) {
            some.put(row);
        }
    });
    some
}
