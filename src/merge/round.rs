//! The rounds of one merge: look, insert, update, look again. See the module's head for
//! the protocol.
use super::Counts;
use super::latest::{Latest, Verdict};
use super::write::{Changed, update};
use crate::error::Report;
use crate::insert::{Input, Job, Ledger, MOST_ROUNDS, Returning, Rows, Wanted, insert};
use crate::outcome::OnConflict;
use crate::payload::row::same_key;
use crate::pg::rows::{Slot, Store};
use crate::pg::snapshot::{FreshSnapshot, next_command};
use crate::target::{Look, StoredRow, kept_by_policy, row_security_is_active};
use pgrx::pg_sys;
use std::ops::Range;

/// The source's rows in key order, of those under one key only the latest.
struct Reduced<'a> {
    job: &'a Job<'a>,
    latest: &'a Latest<'a>,
    rows: Rows,
    /// The row after the last one that was given.
    ahead: Option<Slot>,
    /// How many were passed over.
    superseded: i64,
}

impl Reduced<'_> {
    fn next(&mut self, mut free: Option<Slot>) -> Option<Slot> {
        let target = self.job.target;
        let mut best = match self.ahead.take() {
            Some(row) => row,
            None => self.rows.next(target, free.take())?,
        };
        while let Some(row) = self.rows.next(target, free.take()) {
            if !same_key(self.job.arbiter, &best, &row) {
                self.ahead = Some(row);
                break;
            }
            pgrx::check_for_interrupts!();
            self.superseded += 1;
            let scratch = &self.job.scratch;
            let passed_over = if scratch.scope(|| self.latest.supersedes(&row, &best)) {
                std::mem::replace(&mut best, row)
            } else {
                row
            };
            scratch.reset();
            free = Some(passed_over);
        }
        Some(best)
    }
}

/// Gives every row of the source, which come in key order, its place in the counts.
pub fn settle(
    job: &Job<'_>,
    latest: &Latest<'_>,
    updated: &[usize],
    rows: Rows,
    counts: &mut Counts,
) {
    let mut before = Round::default();
    let mut reduced = Reduced {
        job,
        latest,
        rows,
        ahead: None,
        superseded: 0,
    };
    let mut left = look(job, latest, &mut |free| reduced.next(free), &before, counts);
    counts.superseded = reduced.superseded;
    for _ in 0..MOST_ROUNDS {
        let Left {
            new,
            changed,
            snapshot,
        } = left;
        let first_command = next_command();
        let not_inserted = new.and_then(|new| insert_new(job, new, counts));
        let after_inserts = next_command();
        let not_updated = changed.and_then(|changed| {
            if not_inserted.is_some() {
                // Updates come after all inserts, see the head of the module.
                return Some(changed);
            }
            let count = update(job, updated, &changed, &snapshot);
            if count == changed.len() {
                counts.updated += count as i64;
                return None;
            }
            // Which of them were, the rows tell.
            Some(changed)
        });
        drop(snapshot);
        before = Round {
            inserted: first_command..after_inserts,
            updated: after_inserts..next_command(),
        };
        let mut rows = match (not_inserted, not_updated) {
            (None, None) => return,
            (Some(new), None) => Rows::stored(new),
            (new, Some(mut changed)) => {
                let mut input = Input::new(job, false);
                if let Some(mut new) = new {
                    let mut row = Slot::for_stored(job.target.row_desc());
                    while new.next(&mut row) {
                        pgrx::check_for_interrupts!();
                        input.put(&row);
                    }
                }
                changed.each(job.target, |row| input.put(row));
                input.into_rows()
            }
        };
        let next = &mut |free| rows.next(job.target, free);
        left = look(job, latest, next, &before, counts);
    }
    not_taken(job, &left).raise()
}

/// For rows that are neither inserted nor updated nor in anybody's way.
fn not_taken(job: &Job<'_>, left: &Left) -> Report {
    if left.new.is_none() && row_security_is_active(job.target) {
        return kept_by_policy(job.target);
    }
    job.not_stored_as_sent("a row of the source was neither inserted nor updated")
        .detail("A BEFORE trigger suppressed the row or changed its key.")
}

/// What the statements of the round before have written.
#[derive(Default)]
struct Round {
    inserted: Range<pg_sys::CommandId>,
    updated: Range<pg_sys::CommandId>,
}

impl Round {
    /// Counts a row that the round before has written.
    fn wrote(&self, stored: &StoredRow<'_>, counts: &mut Counts) -> bool {
        if !self.updated.is_empty() && stored.written_by(&self.updated) {
            counts.updated += 1;
        } else if !self.inserted.is_empty() && stored.inserted_by(&self.inserted) {
            counts.inserted += 1;
        } else {
            return false;
        }
        true
    }
}

/// What a look left to do, in key order.
struct Left {
    /// Working rows.
    new: Option<Store>,
    changed: Option<Changed>,
    /// What it looked under.
    snapshot: FreshSnapshot,
}

/// Looks every row's key up and settles what need not be written.
fn look(
    job: &Job<'_>,
    latest: &Latest<'_>,
    next: &mut dyn FnMut(Option<Slot>) -> Option<Slot>,
    before: &Round,
    counts: &mut Counts,
) -> Left {
    let mut left = Left {
        new: None,
        changed: None,
        snapshot: FreshSnapshot::push(),
    };
    let mut look = Look::new(job.target, job.relation, job.arbiter);
    let mut free: Option<Slot> = None;
    while let Some(row) = next(free.take()) {
        pgrx::check_for_interrupts!();
        job.scratch.scope(|| {
            look.find(|c| row.get(c));
            let Some(stored) = look.stored() else {
                let new = || job.scratch.outside(Store::new);
                return left.new.get_or_insert_with(new).put(&row);
            };
            if before.wrote(&stored, counts) {
                return;
            }
            job.demand_seen(&row, &stored);
            match latest.judge(&row, &stored) {
                Verdict::Equal => counts.unchanged += 1,
                Verdict::Earlier => counts.stale += 1,
                Verdict::Later => {
                    let new = || job.scratch.outside(|| Changed::new(job.target));
                    left.changed
                        .get_or_insert_with(new)
                        .put(job.target, &row, &stored);
                }
            }
        });
        job.scratch.reset();
        free = Some(row);
    }
    left
}

/// Inserts new rows; gives those of which it is not known that they went in.
fn insert_new(job: &Job<'_>, mut new: Store, counts: &mut Counts) -> Option<Store> {
    let returning = if job.target.triggers_touch_rows {
        Returning::Keys
    } else {
        Returning::Count
    };
    let (count, returned) = insert(job, &mut new, returning, true);
    new.rewind();
    if let Some(returned) = returned {
        let mut ledger = Ledger::new(Wanted::Counts, 0, OnConflict::Report);
        let rest = job.match_returned(new, returning, returned, &mut ledger);
        counts.inserted += ledger.inserted;
        return rest;
    }
    if count == new.len() {
        counts.inserted += count as i64;
        return None;
    }
    Some(new)
}
