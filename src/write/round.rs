//! The rounds of one call: look, insert, look again. See the module's head for
//! the protocol.
use super::context::{MAX_ROUNDS, WriteContext};
use super::input::SortedRows;
use super::new_key_estimator::{NewKeyEstimator, note_whether_new};
use super::outcome_collector::OutcomeCollector;
use super::statement::{self, Returning};
use crate::compare::{Differences, differing};
use crate::payload::row::{Mark, RowLayout, has_key, same_key};
use crate::payload::shape::Shape;
use crate::pg::rows::{Slot, TupleStore};
use crate::pg::transaction::snapshot::{FreshSnapshot, next_command};
use crate::remember::{Presence, Remember};
use crate::target::{KeyLookup, StoredRow, VisibleColumns};
use pgrx::pg_sys;
use std::ops::Range;
use std::rc::Rc;

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
enum InsertResult {
    /// None of them went in (or there was no round before).
    None,
    /// All of them went in.
    All,
    /// Some did; which, their transaction and command ids tell.
    Some,
}

/// One round.
struct Round {
    /// From 1.
    number: u32,
    /// How many rows may be inserted in it.
    chunk_rows: u64,
    /// Whether keys may be assumed to be new, see [`super::new_key_estimator`].
    estimates: bool,
    last_insert: InsertResult,
    /// The commands of the INSERT of the round before.
    commands: Range<pg_sys::CommandId>,
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
    /// Whether some of them are likely to be skipped, so that it pays to ask
    /// INSERT which went in.
    expects_skips: bool,
}

impl WriteContext<'_> {
    /// Gives the collector the outcome of every row, chunk by chunk.
    /// `expected` says how many rows there are, as far as that is known.
    pub fn run(&self, rows: &mut SortedRows, expected: u64, collector: &mut OutcomeCollector) {
        let plain = expected >= LOOKUP_MIN_ROWS
            && self.can_insert_plainly(expected)
            && !collector.wants_rows();
        let mut first = Round {
            number: 1,
            chunk_rows: CHUNK_ROWS,
            estimates: !plain,
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
            let (count, returned) =
                statement::insert(self, &mut store, returning, !remaining.assumed_new);
            let all_went_in = count == remaining.to_insert;
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
        } else if remaining.expects_skips || self.target.triggers_touch_rows {
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
        let desc = if whole {
            self.target.row_desc()
        } else {
            self.arbiter.key_desc
        };
        let numbers: Vec<pg_sys::AttrNumber> = (1..)
            .take(if whole { self.target.columns.len() } else { 0 })
            .collect();
        let mut rest: Option<TupleStore> = None;
        // SAFETY: the target's descriptor, and that of what was returned, both of which outlive
        // this function.
        let (mut row, mut was_inserted) = unsafe {
            (
                Slot::for_stored(self.target.row_desc()),
                Slot::for_stored(desc),
            )
        };
        // SAFETY: made above for what was returned; and for working rows of the target.
        let mut more = unsafe { returned.next(&mut was_inserted) };
        while unsafe { rows.next(&mut row) } {
            pgrx::check_for_interrupts!();
            self.scratch.scope(|| {
                let mut keep = |row: &Slot| {
                    rest.get_or_insert_with(|| self.scratch.outside(TupleStore::new))
                        .put(row);
                };
                let same = || match returning {
                    Returning::Rows => same_key(self.arbiter, &row, &was_inserted),
                    _ => has_key(self.arbiter, &row, &was_inserted),
                };
                if !more || layout.mark(&row) != Mark::Pending || !same() {
                    keep(&row);
                    return;
                }
                if whole {
                    let stored = StoredRow::returned(&was_inserted, &numbers);
                    collector.inserted(self, layout.ordinal(&row), Some(&stored));
                } else if collector.wants_rows() {
                    keep(&layout.marked(&row, Mark::Inserted));
                } else {
                    collector.add_inserted(1);
                }
                // SAFETY: as for the first of them, the slot was made for what was returned.
                more = unsafe { returned.next(&mut was_inserted) };
            });
            self.scratch.reset();
        }
        if more {
            self.not_stored_as_given("a payload was stored under another key than its own")
                .raise()
        }
        rest
    }

    /// Looks every row's key up and judges the rows whose key is stored.
    fn look_up(
        &self,
        rows: &mut SortedRows,
        round: &Round,
        collector: &mut OutcomeCollector,
    ) -> Remaining {
        let _snapshot = FreshSnapshot::push();
        let layout = RowLayout::of(self.target);
        let mut lookup = KeyLookup::new(self.target, self.relation, self.arbiter);
        let mut remaining = Remaining::default();
        let mut estimator = NewKeyEstimator::new(self, round.estimates);
        // The row before, whose key the one at hand may have.
        let mut previous: Option<Slot> = None;
        let mut free: Option<Slot> = None;
        // The ordinal of the first row with the key at hand.
        let mut first: Option<i64> = None;
        while let Some(row) = rows.next(self.target, free.take()) {
            pgrx::check_for_interrupts!();
            let mark = layout.mark(&row);
            let was_inserted = match mark {
                Mark::Inserted => true,
                Mark::Pending => round.last_insert == InsertResult::All,
                Mark::SameKeyAs(_) => false,
            };
            if was_inserted && !collector.wants_rows() {
                free = Some(row);
                continue;
            }
            let repeated = previous
                .as_ref()
                .is_some_and(|previous| same_key(self.arbiter, previous, &row));
            if rows.is_beyond_batch() && !repeated {
                rows.push_back(row);
                break;
            }
            let full = remaining.to_insert >= round.chunk_rows;
            if full && !repeated && self.target.can_chunk {
                rows.push_back(row);
                remaining.more = true;
                break;
            }
            self.scratch.scope(|| {
                if !repeated {
                    first = Some(layout.ordinal(&row));
                    if estimator.predicts_new(&row, layout.shape(&row)) {
                        lookup.skip();
                        remaining.assumed_new = true;
                    } else {
                        lookup.find(|c| row.value(c));
                        estimator.record(lookup.stored().is_none());
                    }
                }
                match lookup.stored() {
                    stored if was_inserted => {
                        collector.inserted(self, layout.ordinal(&row), stored.as_ref());
                    }
                    Some(stored) => self.judge(&row, &stored, round, collector),
                    None if repeated => {
                        let first = first.expect("the row before has the same key");
                        self.retain(&mut remaining, &row, Mark::SameKeyAs(first));
                    }
                    None => {
                        self.refuse_suppressed(&row, round);
                        self.retain(&mut remaining, &row, Mark::Pending);
                        remaining.to_insert += 1;
                    }
                }
            });
            self.scratch.reset();
            free = previous.replace(row);
        }
        remaining.expects_skips = estimator.expects_skips();
        remaining.all_new = estimator.all_new();
        if round.number == 1 && !remaining.all_new {
            note_whether_new(self.target, false);
        }
        remaining
    }

    /// Keeps the row for INSERT and the next round.
    fn retain(&self, remaining: &mut Remaining, row: &Slot, mark: Mark) {
        let rows = remaining
            .rows
            .get_or_insert_with(|| self.scratch.outside(TupleStore::new));
        let layout = RowLayout::of(self.target);
        if layout.mark(row) == mark {
            rows.put(row);
        } else {
            rows.put(&layout.marked(row, mark));
        }
    }

    /// Judges a row whose key is stored: the collector gets its outcome.
    fn judge(
        &self,
        row: &Slot,
        stored: &StoredRow<'_>,
        round: &Round,
        collector: &mut OutcomeCollector,
    ) {
        let layout = RowLayout::of(self.target);
        let ordinal = layout.ordinal(row);
        let ours = || stored.is_inserted_by(&round.commands);
        let mark = layout.mark(row);
        if mark == Mark::Pending && round.last_insert == InsertResult::Some && ours() {
            return collector.inserted(self, ordinal, Some(stored));
        }
        self.check_visible(row, stored);
        let shape = &self.shapes[layout.shape(row)];
        if let Some(remember) = self
            .guard
            .as_ref()
            .and_then(|guard| guard.remember.as_ref())
        {
            return self.judge_against_original(remember, row, stored, collector);
        }
        let columns = differing(&self.target.columns, &shape.compared, stored, |c| {
            row.get(c)
        });
        if columns.is_empty() {
            return collector.duplicate(self, ordinal, stored);
        }
        let by = match mark {
            Mark::SameKeyAs(first) if ours() => Some(first),
            _ => None,
        };
        let readable = collector.readable(self);
        let differences = Differences {
            target: self.target,
            arbiter: self.arbiter,
            stored,
            payload: |c| row.get(c),
            columns: &columns,
            against_original: false,
            readable: &readable,
            sent: &VisibleColumns::everything(),
        };
        collector.conflict(
            self,
            ordinal,
            stored,
            &differences,
            &self.known_columns(shape),
            by,
        );
    }

    /// What is known of a payload of this shape: what it names, and its key.
    fn known_columns(&self, shape: &Shape) -> Vec<usize> {
        let left_out = self.arbiter.columns().filter(|c| !shape.named.contains(c));
        shape.named.iter().copied().chain(left_out).collect()
    }

    /// Judges a row whose key is stored where a guard remembers the original payload.
    fn judge_against_original(
        &self,
        remember: &Remember,
        row: &Slot,
        stored: &StoredRow<'_>,
        collector: &mut OutcomeCollector,
    ) {
        let layout = RowLayout::of(self.target);
        let ordinal = layout.ordinal(row);
        let shape = &self.shapes[layout.shape(row)];
        let guard_omits = |c: usize| {
            let guard = self.guard.as_ref();
            guard.is_some_and(|guard| guard.compared_if_supplied.contains(&c))
        };
        let presence = |c: usize| {
            if shape.named.contains(&c) {
                return Presence::Present;
            }
            if guard_omits(c) {
                return Presence::Omitted;
            }
            match self.target.columns[c].constant_default(self.relation) {
                Some(value) => Presence::Default(value),
                None => Presence::Unknown,
            }
        };
        let readable = collector.readable(self);
        let readable = readable.of_remembered(self.target, remember.column);
        let verdict = remember.compare(
            self.target,
            &shape.compared,
            stored,
            |c| row.get(c),
            presence,
            &|c| readable.shows(c),
        );
        if verdict.same {
            return collector.duplicate(self, ordinal, stored);
        }
        let numbers = self.target.attnums_in_order();
        let first = verdict
            .first()
            .map(|first| StoredRow::returned(first, &numbers));
        let readable = if first.is_some() {
            Rc::new(readable)
        } else {
            collector.readable(self)
        };
        let differences = Differences {
            target: self.target,
            arbiter: self.arbiter,
            stored: first.as_ref().unwrap_or(stored),
            payload: |c| verdict.payload(c, row.get(c)),
            columns: &verdict.columns,
            against_original: first.is_some(),
            readable: &readable,
            sent: &VisibleColumns::everything(),
        };
        collector.conflict(
            self,
            ordinal,
            stored,
            &differences,
            &self.known_columns(shape),
            None,
        );
    }

    fn refuse_suppressed(&self, row: &Slot, round: &Round) {
        if round.number <= MAX_ROUNDS {
            return;
        }
        let ordinal = RowLayout::of(self.target).ordinal(row);
        let payload = if self.batch {
            format!("payload {ordinal}")
        } else {
            "the payload".to_owned()
        };
        self.not_stored_as_given(&format!("{payload} was neither inserted nor found"))
            .raise()
    }
}
