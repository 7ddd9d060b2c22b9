//! The rounds of one merge: look, insert, update, look again. See the module's head for
//! the protocol.
use super::latest::{LatestOrder, MergeVerdict};
use super::write::{ChangedRows, update};
use crate::error::Report;
use crate::outcome::OnConflict;
use crate::payload::row::same_key;
use crate::pg::rows::{Slot, TupleStore};
use crate::pg::transaction::snapshot::{FreshSnapshot, next_command};
use crate::target::{KeyLookup, StoredRow, kept_by_policy, row_security_is_active};
use crate::write::{
    InputSorter, MAX_ROUNDS, OutcomeCollector, ResultDetail, Returning, SortedRows, WriteContext,
    insert,
};
use pgrx::pg_sys;
use std::ops::Range;

/// What became of the source's rows.
#[derive(Default)]
pub struct MergeCounts {
    pub received: i64,
    pub inserted: i64,
    pub updated: i64,
    pub unchanged: i64,
    /// What is stored is later.
    pub stale: i64,
    /// Another row of the source is later.
    pub superseded: i64,
}

/// The source's rows in key order, of those under one key only the latest.
struct LatestRows<'a> {
    context: &'a WriteContext<'a>,
    latest: &'a LatestOrder<'a>,
    rows: SortedRows,
    /// The row after the last one that was given.
    ahead: Option<Slot>,
    /// How many were passed over.
    superseded: i64,
    /// The rows outside of the arbiter's condition, which come last: they have no key.
    outside: Option<TupleStore>,
}

impl LatestRows<'_> {
    fn next(&mut self, mut free: Option<Slot>) -> Option<Slot> {
        let target = self.context.target;
        let first = self.ahead.take();
        let Some(mut best) = first.or_else(|| self.next_with_key(&mut free)) else {
            let outside = self.outside.as_mut()?;
            let mut row = Slot::for_stored(target.row_desc());
            return outside.next(&mut row).then_some(row);
        };
        while let Some(row) = self.next_with_key(&mut free) {
            if !same_key(self.context.arbiter, &best, &row) {
                self.ahead = Some(row);
                break;
            }
            pgrx::check_for_interrupts!();
            self.superseded += 1;
            let scratch = &self.context.scratch;
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

    /// The next row that has a key; others are set aside.
    fn next_with_key(&mut self, free: &mut Option<Slot>) -> Option<Slot> {
        let context = self.context;
        loop {
            let row = self.rows.next(context.target, free.take())?;
            if !context.is_outside(&row) {
                return Some(row);
            }
            pgrx::check_for_interrupts!();
            let new = || TupleStore::new(context.target.row_desc());
            self.outside.get_or_insert_with(new).put(&row);
            *free = Some(row);
        }
    }
}

/// Gives every row of the source, which come in key order, its place in the counts.
pub fn merge_rows(
    context: &WriteContext<'_>,
    latest: &LatestOrder<'_>,
    updated: &[usize],
    rows: SortedRows,
    counts: &mut MergeCounts,
) {
    let mut reduced = LatestRows {
        context,
        latest,
        rows,
        ahead: None,
        superseded: 0,
        outside: None,
    };
    let mut pending = look_up(
        context,
        latest,
        &mut |free| reduced.next(free),
        &WrittenCommands::default(),
        counts,
    );
    counts.superseded = reduced.superseded;
    for _ in 0..MAX_ROUNDS {
        let (written, left) = write(context, updated, pending, counts);
        let Some(mut rows) = left.in_key_order(context) else {
            return;
        };
        let next = &mut |free| rows.next(context.target, free);
        pending = look_up(context, latest, next, &written, counts);
    }
    not_written(context, &pending).raise()
}

/// Rows of which it is not known that they were written.
struct LeftRows {
    new: Option<TupleStore>,
    changed: Option<ChangedRows>,
}

impl LeftRows {
    /// All of them; None if there are none.
    fn in_key_order(self, context: &WriteContext<'_>) -> Option<SortedRows> {
        let Self { new, changed } = self;
        let Some(mut changed) = changed else {
            return new.map(SortedRows::from_store);
        };
        let mut input = InputSorter::new(context, false);
        if let Some(mut new) = new {
            let mut row = Slot::for_stored(new.desc());
            while new.next(&mut row) {
                pgrx::check_for_interrupts!();
                input.put(&row);
            }
        }
        changed.each(context.target, |row| input.put(row));
        Some(input.into_rows())
    }
}

/// Inserts what is new, and updates what is changed once all of that went in: updates come after
/// all inserts, see the head of the module. Gives the commands that did so, and what is left.
fn write(
    context: &WriteContext<'_>,
    updated: &[usize],
    pending: PendingChanges,
    counts: &mut MergeCounts,
) -> (WrittenCommands, LeftRows) {
    let PendingChanges {
        new,
        changed,
        snapshot,
    } = pending;
    let first_command = next_command();
    let new = new.and_then(|new| insert_new(context, new, counts));
    let after_inserts = next_command();
    let changed = changed.filter(|changed| {
        if new.is_some() {
            return true;
        }
        let count = update(context, updated, changed, &snapshot);
        // If not all of them were updated, the rows tell which.
        let all = count == changed.len();
        if all {
            counts.updated += count as i64;
        }
        !all
    });
    drop(snapshot);
    let written = WrittenCommands {
        inserted: first_command..after_inserts,
        updated: after_inserts..next_command(),
    };
    (written, LeftRows { new, changed })
}

/// For rows that are neither inserted nor updated nor in anybody's way.
fn not_written(context: &WriteContext<'_>, pending: &PendingChanges) -> Report {
    if pending.new.is_none() && row_security_is_active(context.target) {
        return kept_by_policy(context.target);
    }
    context
        .not_stored_as_given("a row of the source was neither inserted nor updated")
        .detail("A BEFORE trigger suppressed the row or changed its key.")
}

/// What the statements of the round before have written.
#[derive(Default)]
struct WrittenCommands {
    inserted: Range<pg_sys::CommandId>,
    updated: Range<pg_sys::CommandId>,
}

impl WrittenCommands {
    /// Counts a row that the round before has written.
    fn count_if_written(&self, stored: &StoredRow<'_>, counts: &mut MergeCounts) -> bool {
        if !self.updated.is_empty() && stored.is_written_by(&self.updated) {
            counts.updated += 1;
        } else if !self.inserted.is_empty() && stored.is_inserted_by(&self.inserted) {
            counts.inserted += 1;
        } else {
            return false;
        }
        true
    }
}

/// What the look-ups left to do, in key order.
struct PendingChanges {
    /// Working rows.
    new: Option<TupleStore>,
    changed: Option<ChangedRows>,
    /// The snapshot of the look-ups.
    snapshot: FreshSnapshot,
}

/// Looks every row's key up and counts the rows that need not be written.
fn look_up(
    context: &WriteContext<'_>,
    latest: &LatestOrder<'_>,
    next: &mut dyn FnMut(Option<Slot>) -> Option<Slot>,
    before: &WrittenCommands,
    counts: &mut MergeCounts,
) -> PendingChanges {
    let mut pending = PendingChanges {
        new: None,
        changed: None,
        snapshot: FreshSnapshot::push(),
    };
    let mut lookup = KeyLookup::new(context.target, context.relation, context.arbiter);
    let mut free: Option<Slot> = None;
    while let Some(row) = next(free.take()) {
        pgrx::check_for_interrupts!();
        context.scratch.scope(|| {
            let outside = context.is_outside(&row);
            if outside && !before.inserted.is_empty() {
                // Nothing was in its way.
                counts.inserted += 1;
                return;
            }
            lookup.skip();
            if !outside {
                lookup.find(|c| row.value(c));
            }
            let Some(stored) = lookup.stored() else {
                let desc = context.target.row_desc();
                let new = || context.in_call_memory(|| TupleStore::new(desc));
                return pending.new.get_or_insert_with(new).put(&row);
            };
            if before.count_if_written(&stored, counts) {
                return;
            }
            context.check_visible(&row, &stored);
            match latest.judge(&row, &stored) {
                MergeVerdict::Equal => counts.unchanged += 1,
                MergeVerdict::Earlier => counts.stale += 1,
                MergeVerdict::Later => {
                    let new = || context.in_call_memory(|| ChangedRows::new(context.target));
                    pending
                        .changed
                        .get_or_insert_with(new)
                        .put(context.target, &row, &stored);
                }
            }
        });
        context.scratch.reset();
        free = Some(row);
    }
    pending
}

/// Inserts new rows; gives those of which it is not known that they went in.
fn insert_new(
    context: &WriteContext<'_>,
    mut new: TupleStore,
    counts: &mut MergeCounts,
) -> Option<TupleStore> {
    let returning = if context.target.triggers_touch_rows {
        Returning::Keys
    } else {
        Returning::Count
    };
    let (count, returned) = insert(context, &mut new, returning, true);
    new.rewind();
    if let Some(returned) = returned {
        let mut collector = OutcomeCollector::new(ResultDetail::Counts, 0, OnConflict::Report);
        let rest = context.match_returned(new, returning, returned, &mut collector);
        counts.inserted += collector.inserted;
        return rest;
    }
    if count == new.len() {
        counts.inserted += count as i64;
        return None;
    }
    Some(new)
}
