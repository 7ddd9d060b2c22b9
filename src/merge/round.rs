//! The rounds of one merge: look, insert, update and delete, look again. See the module's head for
//! the protocol.
use super::changes::Changes;
use super::kept_key::mixes_columns;
use super::latest::{LatestOrder, MergeVerdict};
use super::write::replace;
use crate::error::{Report, RowOrigin};
use crate::outcome::OnConflict;
use crate::payload::row::{Mark, RowLayout, same_key};
use crate::payload::shape::{KeyPlace, Shape, key_violation};
use crate::pg::rows::{RowBuilder, Slot, TupleStore};
use crate::pg::transaction::snapshot::{
    FreshSnapshot, LatestSnapshot, next_command, uses_transaction_snapshot,
};
use crate::stats::Rows;
use crate::target::{
    KeyLookup, StoredRow, Target, UniqueIndex, hidden_by_policy, kept_by_policy,
    row_security_is_active,
};
use crate::write::{
    InputSorter, Keys, Lookup, MAX_ROUNDS, OutcomeCollector, Replacements, ResultDetail, Returning,
    SortedRows, WriteContext, insert,
};
use pgrx::pg_sys;
use std::ops::Range;

/// What became of the source's rows.
#[derive(Default)]
pub struct MergeCounts {
    pub received: i64,
    pub inserted: i64,
    pub updated: i64,
    pub deleted: i64,
    /// What is stored is equal, or nothing is stored that could be deleted.
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
    /// How many such rows delete, and so do nothing.
    gone: i64,
}

/// Takes columns that are not stored off working rows.
pub struct StoredColumns {
    columns: usize,
    builder: RowBuilder,
}

impl StoredColumns {
    /// For working rows of a target, which may have columns behind their own.
    pub fn of(target: &Target) -> Self {
        let desc = target.row_desc();
        Self {
            columns: desc.types().len(),
            builder: RowBuilder::new(desc),
        }
    }

    /// Hands a row on without them.
    pub fn hand_on(&mut self, row: &Slot, take: &mut dyn FnMut(&Slot)) {
        if row.desc().types().len() == self.columns {
            return take(row);
        }
        let mut stored = self.builder.start();
        stored.copy_first(row, self.columns);
        take(stored.finish());
    }
}

impl MergeCounts {
    /// Adds them to the statistics.
    pub fn record(&self, context: &WriteContext<'_>) {
        context.counts.add(Rows::Inserted, self.inserted);
        context.counts.add(Rows::Updated, self.updated);
        context.counts.add(Rows::Deleted, self.deleted);
        context.counts.add(Rows::Duplicates, self.unchanged);
        let superseded = self.stale + self.superseded;
        context.counts.add(Rows::Superseded, superseded);
        context.counts.settle_waits();
    }

    /// As results have them.
    pub fn in_order(&self) -> [i64; 7] {
        [
            self.received,
            self.inserted,
            self.updated,
            self.deleted,
            self.unchanged,
            self.stale,
            self.superseded,
        ]
    }
}

impl MergeCounts {
    /// Counts rows that delete, and find nothing. What the round before wrote, and is not updated,
    /// it has deleted: `written` rows. The others were deleted by somebody else, or never there.
    /// False if it wrote more than that: rows that are not under their keys any more.
    fn add_gone(&mut self, gone: i64, written: i64) -> bool {
        let deleted = written.clamp(0, gone);
        self.deleted += deleted;
        self.unchanged += gone - deleted;
        written <= gone
    }
}

/// The rows of a round, in key order.
enum RoundRows<'r, 'a> {
    /// The source's.
    Latest(&'r mut LatestRows<'a>),
    /// Rows that are kept.
    Kept(SortedRows),
}

impl RoundRows<'_, '_> {
    /// Hands each of them on, with what looks up its key.
    fn each<'l>(
        self,
        context: &WriteContext<'_>,
        lookup: &mut Lookup<'l>,
        take: &mut dyn FnMut(&mut Lookup<'l>, &Slot),
    ) {
        match self {
            Self::Latest(rows) => rows.each(&mut |row| take(lookup, row)),
            Self::Kept(mut rows) => {
                let mut free = None;
                while let Some(row) = lookup.next_row(context, &mut rows, free.take()) {
                    take(lookup, &row);
                    free = Some(row);
                }
            }
        }
    }
}

impl LatestRows<'_> {
    /// All of them, without the columns that are not stored: many are looked up at once.
    fn read_all(&mut self) -> SortedRows {
        let mut kept = TupleStore::new(self.context.target.row_desc());
        self.each(&mut |row| kept.put(row));
        SortedRows::from_store(kept)
    }

    /// Hands each of them on, without the columns that are not stored.
    fn each(&mut self, take: &mut dyn FnMut(&Slot)) {
        let mut stored = StoredColumns::of(self.context.target);
        let mut free = None;
        while let Some(row) = self.next(free.take()) {
            stored.hand_on(&row, take);
            free = Some(row);
        }
        if let Some(mut outside) = self.outside.take() {
            outside.each(take);
        }
    }

    fn next(&mut self, mut free: Option<Slot>) -> Option<Slot> {
        let first = self.ahead.take();
        let mut best = first.or_else(|| self.next_with_key(&mut free))?;
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

    /// The next row that has a key; others are set aside, or do nothing if they delete.
    fn next_with_key(&mut self, free: &mut Option<Slot>) -> Option<Slot> {
        let context = self.context;
        loop {
            let row = self.rows.next(context.target, free.take())?;
            match RowLayout::of(context.target).mark(&row) {
                Mark::Outside => {
                    let new = || TupleStore::new(context.target.row_desc());
                    let outside = self.outside.get_or_insert_with(new);
                    let mut stored = StoredColumns::of(context.target);
                    stored.hand_on(&row, &mut |row| outside.put(row));
                }
                Mark::DeleteOutside => {
                    let (arbiter, shapes) = (context.arbiter, context.shapes);
                    check_is_outside(context.target, arbiter, shapes, &row, context.origin);
                    self.gone += 1;
                }
                _ => return Some(row),
            }
            pgrx::check_for_interrupts!();
            *free = Some(row);
        }
    }
}

/// A row that deletes and has no key has to say so itself: the condition is not met where a column
/// is NULL that the row leaves out, and which has no default.
///
/// # Errors
/// 23502
pub fn check_is_outside(
    target: &Target,
    arbiter: &UniqueIndex,
    shapes: &[Shape],
    row: &Slot,
    origin: RowOrigin,
) {
    let layout = RowLayout::of(target);
    let shape = &shapes[layout.shape(row)];
    let mut columns = arbiter.condition_columns().iter();
    let left_out = |c: &&usize| !shape.named.contains(c) && !target.columns[**c].has_default;
    if let Some(column) = columns.find(left_out) {
        let place = match origin {
            RowOrigin::Source => KeyPlace::Source,
            _ => KeyPlace::Row(origin.numbered(layout.ordinal(row))),
        };
        key_violation(target, arbiter, *column, place, "missing from").raise()
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
        gone: 0,
    };
    let rows = match context.distributed {
        true => RoundRows::Kept(reduced.read_all()),
        false => RoundRows::Latest(&mut reduced),
    };
    let none = WrittenCommands::default();
    let mut pending = look_up(context, latest, updated, rows, &none, counts);
    counts.superseded += reduced.superseded;
    counts.unchanged += reduced.gone;
    for _ in 0..MAX_ROUNDS {
        let (written, left) = write(context, updated, pending, counts);
        let Some(rows) = left.in_key_order(context) else {
            return;
        };
        let rows = RoundRows::Kept(rows);
        pending = look_up(context, latest, updated, rows, &written, counts);
    }
    not_written(context, &pending).raise()
}

/// Rows of which it is not known that they were written.
struct LeftRows {
    /// In key order.
    rows: Option<TupleStore>,
    changed: Option<Changes>,
}

impl LeftRows {
    /// All of them; None if there are none.
    fn in_key_order(self, context: &WriteContext<'_>) -> Option<SortedRows> {
        let Self { rows, changed } = self;
        let Some(mut changed) = changed else {
            return rows.map(SortedRows::from_store);
        };
        let mut input = InputSorter::new(context, false);
        if let Some(mut rows) = rows {
            rows.each(|row| input.put(row));
        }
        changed.each(context, |row| input.put(row));
        Some(input.into_rows())
    }
}

/// Inserts what is new, and writes what is changed once all of that went in: updates and deletes
/// come after all inserts, see the head of the module. Gives the commands that did so, and what is left.
fn write(
    context: &WriteContext<'_>,
    updated: &[usize],
    pending: PendingChanges,
    counts: &mut MergeCounts,
) -> (WrittenCommands, LeftRows) {
    let PendingChanges {
        new,
        changed,
        may_move,
        snapshot,
    } = pending;
    let first_command = next_command();
    let rows = new.and_then(|new| insert_new(context, new, counts));
    let after_inserts = next_command();
    let mut left = LeftRows {
        rows,
        changed: None,
    };
    let mut replaced = 0;
    match changed {
        Some(changed) if left.rows.is_some() => left.changed = Some(changed),
        Some(Changes::ByPlace(changed)) => {
            replaced = replace(context, updated, &changed, &snapshot);
            // If not all of them were written, the rows tell which; and whether they are still under
            // their keys, where it is not known.
            let updates = replaced != changed.deletes();
            if replaced == changed.len() && !(may_move && updates) {
                counts.updated += (changed.len() - changed.deletes()) as i64;
                counts.deleted += changed.deletes() as i64;
            } else {
                left.changed = Some(Changes::ByPlace(changed));
            }
        }
        Some(Changes::ByValue(changed)) => {
            left.rows = replace_by_value(context, updated, changed, may_move, counts);
        }
        None => {}
    }
    drop(snapshot);
    if context.distributed {
        // The statements have returned what they wrote.
        return (WrittenCommands::default(), left);
    }
    let written = WrittenCommands {
        inserted: first_command..after_inserts,
        updated: after_inserts..next_command(),
        replaced,
    };
    (written, left)
}

/// Replaces rows that are found by their values. Gives those that were not written.
fn replace_by_value(
    context: &WriteContext<'_>,
    updated: &[usize],
    mut changed: Replacements,
    may_move: bool,
    counts: &mut MergeCounts,
) -> Option<TupleStore> {
    let replaced = changed.write(context, may_move);
    counts.updated += replaced.updated;
    counts.deleted += replaced.deleted;
    if let Some(updates) = replaced.updates {
        check_found(context, updated, updates);
    }
    replaced.left
}

/// Demands that rows that were updated are found under their keys.
///
/// # Errors
/// 27000
fn check_found(context: &WriteContext<'_>, updated: &[usize], rows: TupleStore) {
    let _snapshot = FreshSnapshot::push();
    let rows = RoundRows::Kept(SortedRows::from_store(rows));
    rows.each(context, &mut Lookup::new(context), &mut |lookup, row| {
        context.scratch.scope(|| lookup.find(row));
        context.scratch.reset();
        if lookup.stored().is_none() {
            moved(context, updated).raise()
        }
    });
}

/// For rows that are neither inserted nor updated nor in anybody's way.
fn not_written(context: &WriteContext<'_>, pending: &PendingChanges) -> Report {
    let by_policy = row_security_is_active(context.target);
    if by_policy && context.distributed && pending.new.is_some() {
        // A SELECT does not show the row that is in the way.
        return hidden_by_policy(context.target);
    }
    if pending.new.is_none() && by_policy {
        // Of a statement that does both, the server refuses such a row.
        let deletes = pending.changed.as_ref().map_or(0, Changes::deletes);
        let what = if deletes > 0 { "a delete" } else { "an update" };
        return kept_by_policy(context.target, what);
    }
    let what = context.origin.any();
    let what = format!("{what} was neither inserted nor updated nor deleted");
    if context.target.foreign {
        return context.not_stored_there(&what);
    }
    context
        .not_stored_as_given(&what)
        .detail("A BEFORE trigger suppressed the row or changed its key.")
}

/// What the statements of the round before have written.
#[derive(Default)]
struct WrittenCommands {
    inserted: Range<pg_sys::CommandId>,
    updated: Range<pg_sys::CommandId>,
    /// How many rows the latter have updated or deleted.
    replaced: u64,
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
    changed: Option<Changes>,
    /// Whether an update may move some of the latter out of their keys.
    may_move: bool,
    /// The snapshot of the look-ups.
    snapshot: FreshSnapshot,
}

impl PendingChanges {
    fn put_new(&mut self, context: &WriteContext<'_>, row: &Slot) {
        let desc = context.target.row_desc();
        let new = || context.in_call_memory(|| TupleStore::new(desc));
        self.new.get_or_insert_with(new).put(row);
    }

    fn put_changed(
        &mut self,
        context: &WriteContext<'_>,
        updated: &[usize],
        row: &Slot,
        stored: &StoredRow<'_>,
    ) {
        let make = || Changes::new(context, updated);
        let changed = self
            .changed
            .get_or_insert_with(|| context.in_call_memory(make));
        changed.put(context, row, stored);
    }
}

/// Rows that delete, and find nothing, or what policies hide.
#[derive(Default)]
struct GoneRows {
    count: i64,
    /// Those that find nothing, in key order, where others may have written what the transaction does not see.
    rows: Option<TupleStore>,
}

impl GoneRows {
    fn add(&mut self, context: &WriteContext<'_>, row: &Slot) {
        self.count += 1;
        // The snapshot of a transaction on another server cannot be left for a look.
        if uses_transaction_snapshot() && !context.distributed {
            let new = || context.in_call_memory(|| TupleStore::new(context.target.row_desc()));
            self.rows.get_or_insert_with(new).put(row);
        }
    }

    /// Demands that nothing was written since the transaction's snapshot that they would delete.
    /// An insert and an update meet such a row when they write; there is nothing to write here.
    ///
    /// # Errors
    /// 40001
    fn check_snapshot(&mut self, context: &WriteContext<'_>) {
        let Some(rows) = &mut self.rows else { return };
        let target = context.target;
        let _latest = LatestSnapshot::push();
        let mut lookup = KeyLookup::new(target, context.relation, context.arbiter);
        let mut row = Slot::for_stored(rows.desc());
        while rows.next(&mut row) {
            pgrx::check_for_interrupts!();
            context.scratch.scope(|| lookup.find(|c| row.value(c)));
            context.scratch.reset();
            if lookup.stored().is_some() {
                Report::could_not_serialize(&target.schema, &target.name).raise()
            }
        }
    }
}

/// Looks every row's key up and counts the rows that need not be written.
fn look_up(
    context: &WriteContext<'_>,
    latest: &LatestOrder<'_>,
    updated: &[usize],
    rows: RoundRows<'_, '_>,
    before: &WrittenCommands,
    counts: &mut MergeCounts,
) -> PendingChanges {
    let mut pending = PendingChanges {
        new: None,
        changed: None,
        may_move: false,
        snapshot: FreshSnapshot::push(),
    };
    let mut lookup = Lookup::new(context);
    let updated_before = counts.updated;
    let mut gone = GoneRows::default();
    rows.each(context, &mut lookup, &mut |lookup, row| {
        pgrx::check_for_interrupts!();
        context.scratch.scope(|| {
            let outside = context.is_outside(row);
            if outside && !before.inserted.is_empty() {
                // Nothing was in its way.
                counts.inserted += 1;
                return;
            }
            if !outside {
                lookup.find(row);
            }
            let Some(stored) = lookup.stored().filter(|_| !outside) else {
                if latest.deletes(row) {
                    return gone.add(context, row);
                }
                return pending.put_new(context, row);
            };
            if before.count_if_written(&stored, counts) {
                return;
            }
            if !context.shows(row, &stored) {
                // As for the server's MERGE, to the caller there is nothing to delete.
                if latest.deletes(row) {
                    gone.count += 1;
                    return;
                }
                hidden_by_policy(context.target).raise()
            }
            match latest.judge(row, &stored) {
                MergeVerdict::Equal => counts.unchanged += 1,
                MergeVerdict::Earlier => counts.stale += 1,
                MergeVerdict::Later => pending.put_changed(context, updated, row, &stored),
            }
        });
        context.scratch.reset();
    });
    pending.may_move = pending.changed.is_some()
        && (lookup.triggers_may_change_updates(context) || mixes_key(context, updated));
    drop(lookup);
    gone.check_snapshot(context);
    let newly_updated = counts.updated - updated_before;
    if !counts.add_gone(gone.count, before.replaced as i64 - newly_updated) {
        moved(context, updated).raise()
    }
    pending
}

/// See [`mixes_columns`].
fn mixes_key(context: &WriteContext<'_>, updated: &[usize]) -> bool {
    mixes_columns(context.target, context.relation, context.arbiter, updated)
}

/// 27000: an update has put a row where its key does not lead.
fn moved(context: &WriteContext<'_>, updated: &[usize]) -> Report {
    let what = context.origin.any();
    let report =
        context.not_stored_as_given(&format!("{what} was stored under another key than its own"));
    if context.target.foreign {
        return report
            .detail("On the other server, a trigger changed the key.")
            .hint("Look at the table on the other server.");
    }
    let report = report.detail(
        "A BEFORE UPDATE trigger changed the key, or moved the row out of the condition of the \
         index.",
    );
    if !mixes_key(context, updated) {
        return report;
    }
    report.more_detail(
        "Or the key is also computed from a column of the key, of which an update leaves the stored \
         spelling.",
    )
}

/// Inserts new rows; gives those of which it is not known that they went in.
fn insert_new(
    context: &WriteContext<'_>,
    mut new: TupleStore,
    counts: &mut MergeCounts,
) -> Option<TupleStore> {
    let returning = if context.target.triggers_touch_rows || context.distributed {
        Returning::Keys
    } else {
        Returning::Count
    };
    let (count, returned) = insert(context, &mut new, returning, Keys::New);
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
