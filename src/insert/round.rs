//! The rounds of one call: look, insert, look again. See the module's head for
//! the protocol.
use super::guess::Guess;
use super::input::Rows;
use super::ledger::Ledger;
use super::statement::{self, Returning};
use crate::compare::{Differences, differing};
use crate::error::{Report, SqlState};
use crate::guard;
use crate::payload::row::{Layout, Mark, has_key, same_key};
use crate::payload::shape::Shape;
use crate::pg::memory::Memory;
use crate::pg::rows::{Slot, Store};
use crate::pg::snapshot::{FreshSnapshot, next_command};
use crate::remember::{Absent, Remember};
use crate::target::{
    Look, OpenRelation, Readable, Role, StoredRow, Target, UniqueIndex, hidden_by_policy,
    policies_show, row_security_is_active,
};
use pgrx::pg_sys;
use std::ops::Range;
use std::rc::Rc;

/// A row that is neither found nor inserted in this many rounds is being
/// suppressed, not raced: a race would have to be lost that often in a row.
pub const MOST_ROUNDS: u32 = 16;

/// So many rows are sent in the first statement: more would leave the processor's
/// caches, and spill to disk, before they are read again. Each later one may have twice
/// as many as the one before: statements may be subtransactions, and of those a
/// transaction is to have few.
const PORTION: u64 = 10_000;

/// So many rows are worth a subtransaction, see [`statement::insert`].
const PLAINLY_FROM: u64 = 1000;

/// Of so many rows, which are sorted, enough lie beside each other for a look to cost
/// little. With fewer, where most keys are new, ON CONFLICT without a look costs less than
/// a look and a plain INSERT.
const LOOKED_UP_FROM: u64 = 5000;

/// What a call works on.
pub struct Job<'a> {
    /// The table.
    pub target: &'a Target,
    /// The table, open.
    pub relation: &'a OpenRelation,
    /// The index that decides.
    pub arbiter: &'a UniqueIndex,
    /// The shapes of the payloads.
    pub shapes: &'a [Shape],
    /// Whether ordinals mean something to the caller.
    pub batch: bool,
    /// The guard of the target, if it is decided by the same index.
    guard: Option<Rc<guard::Plan>>,
    /// Whether policies may hide stored rows from the caller.
    by_policy: bool,
    /// Reset for every row.
    pub scratch: Memory,
}

impl<'a> Job<'a> {
    /// A job in the memory of the call.
    pub fn new(
        target: &'a Target,
        relation: &'a OpenRelation,
        arbiter: &'a UniqueIndex,
        shapes: &'a [Shape],
        batch: bool,
        guard: Option<Rc<guard::Plan>>,
    ) -> Self {
        let guard = guard.filter(|guard| guard.arbiter(target).oid == arbiter.oid);
        let scratch = Memory::in_current(c"pg_idempotent row");
        let by_policy = row_security_is_active(target);
        if by_policy {
            // What is stored is asked for by a SELECT, see `policies_show`, and the INSERT
            // may come after it.
            target.lock_to_write();
        }
        Self {
            target,
            relation,
            arbiter,
            shapes,
            batch,
            guard,
            by_policy,
            scratch,
        }
    }
}

/// What is known of the plain rows: those that were handed to INSERT in the
/// round before.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sent {
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
    /// How many rows may be sent in it.
    portion: u64,
    /// Whether keys may be guessed to be new, see [`super::guess`].
    guesses: bool,
    sent: Sent,
    /// The commands of the INSERT of the round before.
    commands: Range<pg_sys::CommandId>,
}

/// What a look left to do, in the arbiter's order.
#[derive(Default)]
struct Left {
    /// Made with the first row: most calls are pure retries.
    rows: Option<Store>,
    /// How many of the rows are to be sent; the others follow one of those.
    to_send: u64,
    /// Whether rows were left unread, for another portion.
    more: bool,
    /// Whether no key of the call was found so far.
    all_new: bool,
    /// Whether some keys were not looked up, but guessed to be new.
    guessed: bool,
    /// Whether some of them are likely to be skipped, so that it pays to ask
    /// INSERT which went in.
    expects_skips: bool,
}

impl Job<'_> {
    /// Gives every row its outcome in the ledger, portion by portion.
    /// `expected` says how many rows there are, as far as that is known.
    pub fn run(&self, rows: &mut Rows, expected: u64, ledger: &mut Ledger) {
        let plainly =
            expected >= LOOKED_UP_FROM && self.inserts_plainly(expected) && !ledger.wants_rows();
        let mut first = Round {
            number: 1,
            portion: PORTION,
            guesses: !plainly,
            sent: Sent::None,
            commands: 0..0,
        };
        loop {
            let left = self.look(rows, &first, ledger);
            let more = left.more;
            self.go_round(left, ledger);
            if !more {
                return;
            }
            first.portion *= 2;
        }
    }

    /// Goes round until every row of a portion has its outcome.
    fn go_round(&self, mut left: Left, ledger: &mut Ledger) {
        let mut number = 1;
        while let Some(mut store) = left.rows.take() {
            let first_command = next_command();
            let returning = self.returning(&left, ledger);
            let (count, returned) = statement::insert(self, &mut store, returning, !left.guessed);
            let all_went_in = count == left.to_send;
            self.target.expects_new.set(left.all_new && all_went_in);
            store.rewind();
            let mut sent = Sent::None;
            match returned {
                Some(returned) => {
                    let rest = self.match_returned(store, returning, returned, ledger);
                    match rest {
                        Some(rest) => store = rest,
                        None => return,
                    }
                }
                None if all_went_in => {
                    sent = Sent::All;
                    if !ledger.wants_rows() {
                        ledger.went_in(count);
                        if store.len() == left.to_send {
                            return;
                        }
                    }
                }
                None if count > 0 => sent = Sent::Some,
                None => {}
            }
            number += 1;
            let commands = first_command..next_command();
            let round = Round {
                number,
                portion: u64::MAX,
                guesses: false,
                sent,
                commands,
            };
            left = self.look(&mut Rows::stored(store), &round, ledger);
        }
    }

    /// Whether so many rows that are not stored are inserted without ON CONFLICT: that
    /// pays, and being undone and done again has no effect but once, since nothing (a
    /// trigger, a policy) looks at it.
    pub fn inserts_plainly(&self, rows: u64) -> bool {
        rows >= PLAINLY_FROM
            && !self.target.triggers_touch_rows
            && self.target.takes_portions
            && !self.by_policy
    }

    /// What INSERT is asked to return: its rows, where they are wanted and no
    /// AFTER trigger can change them any more; their keys, where nothing else
    /// tells which went in: triggers may change a key, insert it themselves, or
    /// update what is stored under it; and where skips are likely, since asking
    /// is cheaper than looking all keys up.
    fn returning(&self, left: &Left, ledger: &mut Ledger) -> Returning {
        let final_rows = !self.target.after_insert_triggers;
        if ledger.wants_rows() && final_rows && ledger.readable(self).all() {
            Returning::Rows
        } else if left.expects_skips || self.target.triggers_touch_rows {
            Returning::Keys
        } else {
            Returning::Count
        }
    }

    /// Settles the rows that INSERT returned, and gives those that it did not,
    /// with those that follow. A row that went in but is to be looked at again
    /// is marked.
    ///
    /// # Errors
    /// 27000 if it returned a key that was not sent: the payload is stored under
    /// another key than its own, where no retry would find it.
    pub fn match_returned(
        &self,
        mut rows: Store,
        returning: Returning,
        mut returned: Store,
        ledger: &mut Ledger,
    ) -> Option<Store> {
        let layout = Layout::of(self.target);
        let whole = returning == Returning::Rows;
        let desc = if whole {
            self.target.row_desc()
        } else {
            self.arbiter.key_desc
        };
        let numbers: Vec<pg_sys::AttrNumber> = (1..)
            .take(if whole { self.target.columns.len() } else { 0 })
            .collect();
        let mut rest: Option<Store> = None;
        let mut row = Slot::for_stored(self.target.row_desc());
        let mut went_in = Slot::for_stored(desc);
        let mut more = returned.next(&mut went_in);
        while rows.next(&mut row) {
            pgrx::check_for_interrupts!();
            self.scratch.scope(|| {
                let mut keep = |row: &Slot| {
                    rest.get_or_insert_with(|| self.scratch.outside(Store::new))
                        .put(row);
                };
                let same = || match returning {
                    Returning::Rows => same_key(self.arbiter, &row, &went_in),
                    _ => has_key(self.arbiter, &row, &went_in),
                };
                if !more || layout.mark(&row) != Mark::Plain || !same() {
                    keep(&row);
                    return;
                }
                if whole {
                    let stored = StoredRow::returned(&went_in, &numbers);
                    ledger.inserted(self, layout.ordinal(&row), Some(&stored));
                } else if ledger.wants_rows() {
                    keep(&layout.marked(&row, Mark::WentIn));
                } else {
                    ledger.went_in(1);
                }
                more = returned.next(&mut went_in);
            });
            self.scratch.reset();
        }
        if more {
            self.not_stored_as_sent("a payload was stored under another key than its own")
                .raise()
        }
        rest
    }

    /// Looks every row's key up and settles what can be settled.
    fn look(&self, rows: &mut Rows, round: &Round, ledger: &mut Ledger) -> Left {
        let _snapshot = FreshSnapshot::push();
        let layout = Layout::of(self.target);
        let mut look = Look::new(self.target, self.relation, self.arbiter);
        let mut left = Left::default();
        let mut guess = Guess::new(self, round.guesses);
        // The row before, whose key the one at hand may have.
        let mut previous: Option<Slot> = None;
        let mut free: Option<Slot> = None;
        // The ordinal of the first row with the key at hand.
        let mut first: Option<i64> = None;
        while let Some(row) = rows.next(self.target, free.take()) {
            pgrx::check_for_interrupts!();
            let mark = layout.mark(&row);
            let went_in = match mark {
                Mark::WentIn => true,
                Mark::Plain => round.sent == Sent::All,
                Mark::Follows(_) => false,
            };
            if went_in && !ledger.wants_rows() {
                free = Some(row);
                continue;
            }
            let repeated = previous
                .as_ref()
                .is_some_and(|previous| same_key(self.arbiter, previous, &row));
            if rows.is_beyond_batch() && !repeated {
                rows.unread(row);
                break;
            }
            let full = left.to_send >= round.portion;
            if full && !repeated && self.target.takes_portions {
                rows.unread(row);
                left.more = true;
                break;
            }
            self.scratch.scope(|| {
                if !repeated {
                    first = Some(layout.ordinal(&row));
                    if guess.is_new(&row, layout.shape(&row)) {
                        look.skip();
                        left.guessed = true;
                    } else {
                        look.find(|c| row.get(c));
                        guess.learn(look.stored().is_none());
                    }
                }
                match look.stored() {
                    stored if went_in => {
                        ledger.inserted(self, layout.ordinal(&row), stored.as_ref());
                    }
                    Some(stored) => self.settle(&row, &stored, round, ledger),
                    None if repeated => {
                        let first = first.expect("the row before has the same key");
                        self.keep(&mut left, &row, Mark::Follows(first));
                    }
                    None => {
                        self.refuse_suppressed(&row, round);
                        self.keep(&mut left, &row, Mark::Plain);
                        left.to_send += 1;
                    }
                }
            });
            self.scratch.reset();
            free = previous.replace(row);
        }
        left.expects_skips = guess.expects_skips();
        left.all_new = guess.all_new();
        if round.number == 1 && !left.all_new {
            self.target.expects_new.set(false);
        }
        left
    }

    /// Keeps the row for INSERT and the next round.
    fn keep(&self, left: &mut Left, row: &Slot, mark: Mark) {
        let rows = left
            .rows
            .get_or_insert_with(|| self.scratch.outside(Store::new));
        let layout = Layout::of(self.target);
        if layout.mark(row) == mark {
            rows.put(row);
        } else {
            rows.put(&layout.marked(row, mark));
        }
    }

    /// The outcome of a row whose key is stored.
    fn settle(&self, row: &Slot, stored: &StoredRow<'_>, round: &Round, ledger: &mut Ledger) {
        let layout = Layout::of(self.target);
        let ordinal = layout.ordinal(row);
        let ours = || stored.inserted_by(&round.commands);
        let mark = layout.mark(row);
        if mark == Mark::Plain && round.sent == Sent::Some && ours() {
            return ledger.inserted(self, ordinal, Some(stored));
        }
        self.demand_seen(row, stored);
        let shape = &self.shapes[layout.shape(row)];
        if let Some(remember) = self
            .guard
            .as_ref()
            .and_then(|guard| guard.remember.as_ref())
        {
            return self.settle_remembered(remember, row, stored, ledger);
        }
        let columns = differing(&self.target.columns, &shape.compared, stored, |c| {
            row.get(c)
        });
        if columns.is_empty() {
            return ledger.duplicate(self, ordinal, stored);
        }
        let by = match mark {
            Mark::Follows(first) if ours() => Some(first),
            _ => None,
        };
        let readable = ledger.readable(self);
        let differences = Differences {
            target: self.target,
            arbiter: self.arbiter,
            stored,
            payload: |c| row.get(c),
            columns: &columns,
            first_arrived: false,
            readable: &readable,
            sent: &Readable::everything(),
        };
        ledger.conflict(self, ordinal, stored, &differences, &self.told(shape), by);
    }

    /// What is known of a payload of this shape: what it names, and its key.
    fn told(&self, shape: &Shape) -> Vec<usize> {
        let left_out = self.arbiter.columns().filter(|c| !shape.named.contains(c));
        shape.named.iter().copied().chain(left_out).collect()
    }

    /// Where policies are in force, nothing is said of a row that they hide.
    ///
    /// # Errors
    /// 42501
    pub fn demand_seen(&self, row: &Slot, stored: &StoredRow<'_>) {
        let shown = || {
            policies_show(
                self.target,
                Role::caller(),
                self.arbiter,
                stored.place(),
                |c| row.get(c),
            )
        };
        if self.by_policy && !shown() {
            hidden_by_policy(self.target).raise()
        }
    }

    /// Likewise, where a guard remembers what first arrived.
    fn settle_remembered(
        &self,
        remember: &Remember,
        row: &Slot,
        stored: &StoredRow<'_>,
        ledger: &mut Ledger,
    ) {
        let layout = Layout::of(self.target);
        let ordinal = layout.ordinal(row);
        let shape = &self.shapes[layout.shape(row)];
        let guard_leaves_out = |c: usize| {
            let guard = self.guard.as_ref();
            guard.is_some_and(|guard| guard.unless_left_out.contains(&c))
        };
        let absent = |c: usize| {
            if shape.named.contains(&c) {
                return Absent::No;
            }
            if guard_leaves_out(c) {
                return Absent::LeftOut;
            }
            match self.target.columns[c].constant_default(self.relation) {
                Some(value) => Absent::Default(value),
                None => Absent::Unknown,
            }
        };
        let readable = ledger.readable(self);
        let readable = readable.of_remembered(self.target, remember.column);
        let verdict = remember.compare(
            self.target,
            &shape.compared,
            stored,
            |c| row.get(c),
            absent,
            &|c| readable.column(c),
        );
        if verdict.same {
            return ledger.duplicate(self, ordinal, stored);
        }
        let numbers = self.target.numbers_in_order();
        let first = verdict
            .first()
            .map(|first| StoredRow::returned(first, &numbers));
        let readable = if first.is_some() {
            Rc::new(readable)
        } else {
            ledger.readable(self)
        };
        let differences = Differences {
            target: self.target,
            arbiter: self.arbiter,
            stored: first.as_ref().unwrap_or(stored),
            payload: |c| verdict.payload(c, row.get(c)),
            columns: &verdict.columns,
            first_arrived: first.is_some(),
            readable: &readable,
            sent: &Readable::everything(),
        };
        ledger.conflict(self, ordinal, stored, &differences, &self.told(shape), None);
    }

    fn refuse_suppressed(&self, row: &Slot, round: &Round) {
        if round.number <= MOST_ROUNDS {
            return;
        }
        let ordinal = Layout::of(self.target).ordinal(row);
        let payload = if self.batch {
            format!("payload {ordinal}")
        } else {
            "the payload".to_owned()
        };
        self.not_stored_as_sent(&format!("{payload} was neither inserted nor found"))
            .raise()
    }

    pub fn not_stored_as_sent(&self, what: &str) -> Report {
        Report::new(
            SqlState::TriggeredDataChangeViolation,
            format!("{what} in table \"{}\"", self.target.name),
        )
        .detail("A BEFORE INSERT trigger suppressed the row or changed its key.")
        .hint("Insert into the table that the trigger writes to, or disable the trigger.")
        .table(&self.target.schema, &self.target.name)
        .constraint(self.arbiter.name.clone())
    }
}
