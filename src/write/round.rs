//! The rounds of one call: look, insert, look again. See the module's head for
//! the protocol.
use super::context::{MAX_ROUNDS, WriteContext};
use super::direct;
use super::input::SortedRows;
use super::lookup::Lookup;
use super::new_key_estimator::{NewKeyEstimator, note_whether_new};
use super::outcome_collector::OutcomeCollector;
use super::reject;
use super::returned_keys::ReturnedKeys;
use super::send;
use super::terms::{Keys, Returning};
use crate::payload::row::{Mark, RowLayout, same_key};
use crate::pg::rows::{Slot, TupleStore};
use crate::pg::schedule::wait_at;
use crate::pg::transaction::snapshot::{FreshSnapshot, next_command};
use crate::stats::Rows;
use crate::target::{StoredRow, hidden_by_policy};
use pgrx::pg_sys;
use std::ops::Range;

/// So many rows are inserted by the first statement: more would leave the processor's
/// caches, and spill to disk, before they are read again. Each later one may have twice
/// as many as the one before: statements may be subtransactions, and of those a
/// transaction is to have few.
const CHUNK_ROWS: u64 = 10_000;

/// Of so many rows, which are sorted, enough lie beside each other for a look to cost
/// little. With fewer, where most keys are new, ON CONFLICT without a look costs less than
/// a look and a plain INSERT.
const LOOKUP_MIN_ROWS: u64 = 5000;

/// What is known of the plain rows: those that were handed to INSERT in the
/// round before.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum InsertResult {
    /// None of them went in (or there was no round before).
    None,
    /// All of them went in.
    All,
    /// Some did; which, their transaction and command ids tell.
    Some,
}

/// One round.
pub(super) struct Round {
    /// From 1.
    number: u32,
    /// How many rows may be inserted in it.
    chunk_rows: u64,
    /// Whether keys may be assumed to be new, see [`super::new_key_estimator`].
    estimates: bool,
    pub(super) last_insert: InsertResult,
    /// The commands of the INSERT of the round before.
    pub(super) commands: Range<pg_sys::CommandId>,
}

/// What the look-ups left to do, in the arbiter's order.
#[derive(Default)]
struct Remaining {
    /// Made with the first row: most calls are pure retries.
    rows: Option<TupleStore>,
    /// How many of the rows are to be inserted; the others have the key of one of those.
    to_insert: u64,
    /// Whether rows were left unread, for another chunk.
    more: bool,
    /// Whether no key of the call was found so far.
    all_new: bool,
    /// Whether some keys were not looked up, but assumed to be new.
    assumed_new: bool,
    /// Whether the arbiter may have entries of keys that were not found.
    met_entries: bool,
    /// Whether some of them are likely to be skipped, so that it pays to ask
    /// INSERT which went in.
    expects_skips: bool,
}

impl Remaining {
    /// What is known of the keys of the rows that are to be inserted.
    fn keys(&self) -> Keys {
        match (self.assumed_new, self.met_entries) {
            (true, _) => Keys::Unknown,
            (false, true) => Keys::New,
            (false, false) => Keys::Absent,
        }
    }
}

impl Round {
    /// One with a row that was not handed to INSERT.
    pub(super) fn single() -> Self {
        Self {
            number: 1,
            chunk_rows: u64::MAX,
            estimates: false,
            last_insert: InsertResult::None,
            commands: 0..0,
        }
    }
}

impl WriteContext<'_> {
    /// Gives the collector the outcome of every row, chunk by chunk.
    /// `expected` says how many rows there are, as far as that is known.
    pub fn run(&self, rows: &mut SortedRows, expected: u64, collector: &mut OutcomeCollector) {
        if let Some(row) = rows.single()
            && !collector.rejections.are_wanted()
            && direct::takes_single(self)
            && self.run_single(row, collector)
        {
            return;
        }
        let plain = expected >= LOOKUP_MIN_ROWS
            && self.can_insert_plainly(expected)
            && !collector.wants_rows();
        let mut first = Round {
            number: 1,
            chunk_rows: CHUNK_ROWS,
            estimates: !plain && !self.distributed,
            last_insert: InsertResult::None,
            commands: 0..0,
        };
        loop {
            let remaining = self.look_up(rows, &first, collector);
            let more = remaining.more;
            self.run_rounds(remaining, collector);
            if !more {
                return;
            }
            first.chunk_rows *= 2;
        }
    }

    /// Runs rounds until every row of a chunk has its outcome.
    fn run_rounds(&self, mut remaining: Remaining, collector: &mut OutcomeCollector) {
        let mut number = 1;
        while let Some(mut store) = remaining.rows.take() {
            let first_command = next_command();
            let returning = self.returning(&remaining, collector);
            let keys = remaining.keys();
            let (count, returned);
            wait_at!("write: insert");
            if collector.rejections.are_wanted() {
                let sent = reject::insert(self, store, returning, keys, collector);
                remaining.to_insert -= sent.rejected;
                (store, count, returned) = (sent.rows, sent.count, sent.returned);
            } else {
                (count, returned) = send::insert(self, &mut store, returning, keys);
            }
            let all_went_in = count == remaining.to_insert;
            if !remaining.assumed_new && !self.target.triggers_touch_rows {
                // Their keys were free a moment ago.
                let met = remaining.to_insert.saturating_sub(count);
                self.counts.add(Rows::Waits, met as i64);
            }
            note_whether_new(self.target, remaining.all_new && all_went_in);
            store.rewind();
            let mut last_insert = InsertResult::None;
            match returned {
                Some(returned) => {
                    let rest = self.match_returned(store, returning, returned, collector);
                    match rest {
                        Some(rest) => store = rest,
                        None => return,
                    }
                }
                None if all_went_in => {
                    last_insert = InsertResult::All;
                    if !collector.wants_rows() {
                        collector.add_inserted(count);
                        if store.len() == remaining.to_insert {
                            return;
                        }
                    }
                }
                None if count > 0 => last_insert = InsertResult::Some,
                None => {}
            }
            number += 1;
            let commands = first_command..next_command();
            let round = Round {
                number,
                chunk_rows: u64::MAX,
                estimates: false,
                last_insert,
                commands,
            };
            remaining = self.look_up(&mut SortedRows::from_store(store), &round, collector);
        }
    }

    /// What INSERT is asked to return: its rows, where they are wanted and no
    /// AFTER trigger can change them any more; their keys, where nothing else
    /// tells which went in: triggers may change a key, insert it themselves, or
    /// update what is stored under it; and where skips are likely, since asking
    /// is cheaper than looking all keys up.
    fn returning(&self, remaining: &Remaining, collector: &mut OutcomeCollector) -> Returning {
        let final_rows = !self.target.after_insert_triggers;
        if collector.wants_rows() && final_rows && collector.readable(self).shows_all() {
            Returning::Rows
        } else if remaining.expects_skips || self.target.triggers_touch_rows || self.distributed {
            Returning::Keys
        } else {
            Returning::Count
        }
    }

    /// Collects the rows that INSERT returned, and gives those that it did not, with those of the
    /// same key. A row that went in but is to be looked at again is marked.
    ///
    /// # Errors
    /// 27000 if it returned a key that was not sent: the payload is stored under
    /// another key than its own, where no retry would find it.
    pub fn match_returned(
        &self,
        mut rows: TupleStore,
        returning: Returning,
        mut returned: TupleStore,
        collector: &mut OutcomeCollector,
    ) -> Option<TupleStore> {
        let layout = RowLayout::of(self.target);
        let whole = returning == Returning::Rows;
        let numbers = self.target.attnums_in_order();
        let mut returned_keys = ReturnedKeys::new(self, returning);
        let mut rest: Option<TupleStore> = None;
        let mut row = Slot::for_stored(rows.desc());
        let mut was_inserted = Slot::for_stored(returned.desc());
        let mut more = returned.next(&mut was_inserted);
        // Whether the last row that was sent went in.
        let mut went_in = false;
        while rows.next(&mut row) {
            pgrx::check_for_interrupts!();
            self.scratch.scope(|| {
                let mut keep = |row: &Slot| {
                    rest.get_or_insert_with(|| self.new_store()).put(row);
                };
                let outside = self.is_outside(&row);
                let sent = outside || layout.mark(&row) == Mark::Pending;
                let is_returned = more && sent && returned_keys.is_that_of(&row, &was_inserted);
                if sent {
                    went_in = is_returned;
                }
                if !is_returned {
                    if outside {
                        self.refuse_suppressed(&row);
                    }
                    match went_in || sent {
                        true => keep(&row),
                        // The row with the same key that was sent did not go in.
                        false => layout.with_mark(&row, Mark::Pending, keep),
                    }
                    return;
                }
                if whole {
                    let stored = StoredRow::returned(&was_inserted, &numbers);
                    collector.inserted(self, layout.ordinal(&row), Some(&stored));
                } else if collector.wants_rows() && outside {
                    collector.inserted(self, layout.ordinal(&row), None);
                } else if collector.wants_rows() {
                    layout.with_mark(&row, Mark::Inserted, keep);
                } else {
                    collector.add_inserted(1);
                }
                more = returned.next(&mut was_inserted);
            });
            self.scratch.reset();
        }
        if more {
            self.refuse_other_key()
        }
        rest
    }

    /// A row went in under a key that was not sent.
    fn refuse_other_key(&self) -> ! {
        let any = self.origin.any();
        let what = format!("{any} was stored under another key than its own");
        let report = self.not_stored_as_given(&what);
        match self.target.foreign {
            true => report
                .detail("A trigger changed the key, or its columns have other types on the other server.")
                .hint("Look at the table on the other server."),
            false => report,
        }
        .raise()
    }

    /// Looks every row's key up and judges the rows whose key is stored.
    fn look_up(
        &self,
        rows: &mut SortedRows,
        round: &Round,
        collector: &mut OutcomeCollector,
    ) -> Remaining {
        wait_at!("write: look");
        let _snapshot = FreshSnapshot::push();
        let mut look = Look::new(self, round, collector);
        // The row before, whose key the one at hand may have.
        let mut previous: Option<Slot> = None;
        let mut free: Option<Slot> = None;
        while let Some(row) = look.lookup.next_row(self, rows, free.take()) {
            pgrx::check_for_interrupts!();
            if look.is_done_with(&row) {
                free = Some(row);
                continue;
            }
            let outside = self.is_outside(&row);
            let repeated = !outside
                && previous
                    .as_ref()
                    .is_some_and(|previous| same_key(self.arbiter, previous, &row));
            if !repeated && (rows.is_beyond_batch() || look.chunk_is_full()) {
                look.remaining.more = !rows.is_beyond_batch();
                rows.push_back(row);
                break;
            }
            if outside {
                self.scratch.scope(|| look.take_outside(&row));
                self.scratch.reset();
                free = Some(row);
                continue;
            }
            self.scratch.scope(|| look.take(&row, repeated));
            self.scratch.reset();
            free = previous.replace(row);
        }
        look.finish()
    }

    /// An empty store for working rows, in memory that lives as long as the call.
    fn new_store(&self) -> TupleStore {
        self.in_call_memory(|| TupleStore::new(self.target.row_desc()))
    }

    /// Keeps the row for INSERT and the next round.
    fn retain(&self, remaining: &mut Remaining, row: &Slot, mark: Mark) {
        let rows = remaining.rows.get_or_insert_with(|| self.new_store());
        let layout = RowLayout::of(self.target);
        if layout.mark(row) == mark {
            rows.put(row);
        } else {
            layout.with_mark(row, mark, |row| rows.put(row));
        }
    }

    /// A row is neither found nor inserted, however often it is sent.
    pub(super) fn refuse_unfound(&self, row: &Slot) -> ! {
        if self.distributed && self.by_policy {
            // A SELECT does not show the row that is in the way.
            hidden_by_policy(self.target).raise()
        }
        if self.target.foreign {
            self.refuse_unseen(row)
        }
        self.refuse_suppressed(row)
    }

    fn refuse_unseen(&self, row: &Slot) -> ! {
        let what = self
            .origin
            .numbered(RowLayout::of(self.target).ordinal(row));
        self.not_stored_there(&format!("{what} was neither inserted nor found"))
            .raise()
    }

    fn refuse_suppressed(&self, row: &Slot) -> ! {
        let ordinal = RowLayout::of(self.target).ordinal(row);
        let row = self.origin.numbered(ordinal);
        self.not_stored_as_given(&format!("{row} was neither inserted nor found"))
            .raise()
    }
}

/// One look at the keys of rows, which come in their order.
struct Look<'a> {
    context: &'a WriteContext<'a>,
    round: &'a Round,
    collector: &'a mut OutcomeCollector,
    lookup: Lookup<'a>,
    estimator: NewKeyEstimator<'a>,
    /// The ordinal of the first row with the key at hand.
    first: Option<i64>,
    remaining: Remaining,
}

impl<'a> Look<'a> {
    fn new(
        context: &'a WriteContext<'a>,
        round: &'a Round,
        collector: &'a mut OutcomeCollector,
    ) -> Self {
        Self {
            context,
            round,
            collector,
            lookup: Lookup::new(context),
            estimator: NewKeyEstimator::new(context, round.estimates),
            first: None,
            remaining: Remaining::default(),
        }
    }

    /// Whether the row went in and is counted, and nobody wants to see what is stored.
    fn is_done_with(&self, row: &Slot) -> bool {
        let is_counted =
            || self.round.last_insert != InsertResult::Some || !self.context.is_outside(row);
        !self.collector.wants_rows() && self.was_inserted(row) && is_counted()
    }

    fn was_inserted(&self, row: &Slot) -> bool {
        match RowLayout::of(self.context.target).mark(row) {
            Mark::Inserted => true,
            // Nothing is in its way, so it went in with the first statement.
            Mark::Outside => self.round.number > 1,
            Mark::Pending => self.round.last_insert == InsertResult::All,
            Mark::SameKeyAs(_) | Mark::Delete | Mark::DeleteOutside => false,
        }
    }

    /// Whether the chunk has all the rows that one statement is to insert.
    fn chunk_is_full(&self) -> bool {
        self.remaining.to_insert >= self.round.chunk_rows && self.context.target.can_chunk
    }

    /// Looks the key of a row up, unless it is that of the row before, and says what becomes of
    /// the row.
    fn take(&mut self, row: &Slot, repeated: bool) {
        let (context, round) = (self.context, self.round);
        let ordinal = RowLayout::of(context.target).ordinal(row);
        if !repeated {
            self.first = Some(ordinal);
            self.find(row);
        }
        let was_inserted = self.was_inserted(row);
        match self.lookup.stored() {
            stored if was_inserted => {
                self.collector.inserted(context, ordinal, stored.as_ref());
            }
            Some(stored) => context.judge(row, &stored, round, self.collector),
            None if repeated => {
                let first = self.first.expect("the row before has the same key");
                context.retain(&mut self.remaining, row, Mark::SameKeyAs(first));
            }
            None => {
                if round.number > MAX_ROUNDS {
                    context.refuse_unfound(row);
                }
                context.retain(&mut self.remaining, row, Mark::Pending);
                self.remaining.to_insert += 1;
            }
        }
    }

    /// Says what becomes of a row that has no key: it goes in. Where INSERT does not return it,
    /// there is no way to read it again.
    fn take_outside(&mut self, row: &Slot) {
        let ordinal = RowLayout::of(self.context.target).ordinal(row);
        if self.was_inserted(row) {
            self.collector.inserted(self.context, ordinal, None);
        } else {
            let context = self.context;
            context.retain(&mut self.remaining, row, Mark::Outside);
            self.remaining.to_insert += 1;
        }
    }

    /// Looks a key up, or assumes that it is new.
    fn find(&mut self, row: &Slot) {
        let shape = RowLayout::of(self.context.target).shape(row);
        if self.estimator.predicts_new(row, shape) {
            self.lookup.skip();
            self.remaining.assumed_new = true;
        } else {
            self.lookup.find(row);
            let new = self.lookup.stored().is_none();
            self.remaining.met_entries |= new && self.lookup.met_entry();
            self.estimator.record(new);
        }
    }

    /// What is left to do.
    fn finish(mut self) -> Remaining {
        // A key that was looked for and not found is skipped only if another session was faster.
        self.remaining.expects_skips = self.remaining.assumed_new && self.estimator.expects_skips();
        self.remaining.all_new = self.estimator.all_new();
        if self.round.number == 1 && !self.remaining.all_new {
            note_whether_new(self.context.target, false);
        }
        self.remaining
    }
}
