//! The rounds of one call: look, insert, look again. See the module's head for
//! the protocol.
use super::ledger::Ledger;
use super::statement;
use crate::compare::{Differences, differing};
use crate::error::{Report, SqlState};
use crate::payload::row::{Layout, Mark, same_key};
use crate::payload::shape::Shape;
use crate::pg::memory::Memory;
use crate::pg::rows::{Slot, Sort, SortColumn, Store};
use crate::pg::snapshot::FreshSnapshot;
use crate::target::{Look, OpenRelation, StoredRow, Target, UniqueIndex};
use pgrx::pg_sys;
use std::mem::swap;

/// A row that is neither found nor inserted this often is being suppressed,
/// not raced. A table with BEFORE triggers gets fewer tries, since each runs
/// them.
const MOST_TRIES: i64 = 10;
const MOST_TRIES_WITH_TRIGGERS: i64 = 2;

/// «Less than» of bigint (`pg_operator.dat`).
const INT8_LESS_THAN: u32 = 412;

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
}

/// Collects working rows, to be read in the arbiter's order.
pub struct Input {
    rows: Rows,
    single: bool,
}

/// Working rows in the arbiter's order; payloads with one key in the order of
/// their ordinals.
pub enum Rows {
    /// At most one.
    One(Option<Slot>),
    /// Sorted when read.
    Sorted(Sort),
    /// Already in order.
    Stored(Store),
}

impl Input {
    /// Empty; `single` promises at most one row, which needs no sort.
    pub fn new(job: &Job<'_>, single: bool) -> Self {
        if single {
            return Self {
                rows: Rows::One(None),
                single,
            };
        }
        let mut order = job.arbiter.sort_columns();
        order.push(SortColumn {
            column: Layout::of(job.target).ordinal_column(),
            operator: pg_sys::Oid::from(INT8_LESS_THAN),
            collation: pg_sys::InvalidOid,
        });
        Self {
            rows: Rows::Sorted(Sort::new(job.target.row_desc(), &order)),
            single,
        }
    }

    /// Adds a copy of the row.
    pub fn put(&mut self, row: &Slot) {
        match &mut self.rows {
            Rows::Sorted(sort) => sort.put(row),
            Rows::One(one) => {
                debug_assert!(self.single && one.is_none());
                *one = Some(row.to_stored());
            }
            Rows::Stored(_) => unreachable!("rows are not collected in a store"),
        }
    }

    /// All rows are in.
    pub fn into_rows(mut self) -> Rows {
        if let Rows::Sorted(sort) = &mut self.rows {
            sort.sort();
        }
        self.rows
    }
}

impl Rows {
    /// Puts the next row into the slot; false at the end.
    fn next(&mut self, slot: &mut Slot) -> bool {
        match self {
            Self::One(one) => match one.take() {
                Some(row) => {
                    row.deform();
                    *slot = row;
                    true
                }
                None => false,
            },
            Self::Sorted(sort) => sort.next(slot),
            Self::Stored(store) => store.next(slot),
        }
    }
}

/// What a look left to do, in the arbiter's order.
struct Left {
    /// Rows whose keys were not found.
    missing: Store,
    /// Rows that share their key with one of those.
    later: Store,
}

impl Job<'_> {
    /// Goes round until every row has its outcome in the ledger.
    pub fn run(&self, mut rows: Rows, ledger: &mut Ledger) {
        let mut since = None;
        loop {
            let mut left = self.look(rows, since, ledger);
            let sent = left.missing.len();
            if sent == 0 {
                debug_assert!(left.later.is_empty());
                return;
            }
            // SAFETY: reads a backend-local counter.
            since.get_or_insert_with(|| unsafe { pg_sys::GetCurrentCommandId(false) });
            let inserted = statement::insert(self, &mut left.missing);
            if inserted == sent && !ledger.wants_rows() {
                ledger.went_in(sent);
                if left.later.is_empty() {
                    return;
                }
                rows = Rows::Stored(left.later);
            } else {
                rows = self.again(left, inserted == sent);
            }
        }
    }

    /// The rows of the next round: those that were sent, marked so, and those
    /// that follow them.
    fn again(&self, mut left: Left, all_inserted: bool) -> Rows {
        let layout = Layout::of(self.target);
        let single = left.missing.len() == 1 && left.later.is_empty();
        let mut input = Input::new(self, single);
        let mut row = Slot::for_stored(self.target.row_desc());
        left.missing.rewind();
        while left.missing.next(&mut row) {
            let mark = match layout.mark(&row) {
                _ if all_inserted => Mark::Inserted,
                Mark::Sent(times) => Mark::Sent(times + 1),
                _ => Mark::Sent(1),
            };
            input.put(&self.marked(&row, mark));
        }
        while left.later.next(&mut row) {
            input.put(&row);
        }
        input.into_rows()
    }

    /// A copy of the row with another mark.
    fn marked(&self, row: &Slot, mark: Mark) -> Slot {
        let layout = Layout::of(self.target);
        let mut copy = Slot::for_values(self.target.row_desc());
        copy.clear();
        for c in 0..self.target.columns.len() {
            copy.set(c, row.get(c));
        }
        layout.set(&mut copy, layout.ordinal(row), layout.shape(row), mark);
        copy.store();
        copy
    }

    /// Looks every row's key up and settles what can be settled. `since` is the
    /// command of the call's first INSERT.
    fn look(&self, mut rows: Rows, since: Option<pg_sys::CommandId>, ledger: &mut Ledger) -> Left {
        let _snapshot = FreshSnapshot::push();
        let layout = Layout::of(self.target);
        let mut look = Look::new(self.target, self.relation, self.arbiter);
        let mut left = Left {
            missing: Store::new(),
            later: Store::new(),
        };
        let scratch = Memory::in_current(c"pg_idempotent look");
        let mut row = Slot::for_stored(self.target.row_desc());
        let mut previous = Slot::for_stored(self.target.row_desc());
        // The ordinal of the first row with the key at hand.
        let mut first: Option<i64> = None;
        while rows.next(&mut row) {
            pgrx::check_for_interrupts!();
            scratch.scope(|| {
                let repeated = first.is_some() && same_key(self.arbiter, &previous, &row);
                if !repeated {
                    first = Some(layout.ordinal(&row));
                    look.find(|c| row.get(c));
                }
                match look.stored() {
                    Some(stored) => self.settle(&row, &stored, since, ledger),
                    None if layout.mark(&row) == Mark::Inserted => {
                        ledger.inserted(self, layout.ordinal(&row), None);
                    }
                    None if repeated => {
                        let first = first.expect("set above");
                        left.later.put(&self.marked(&row, Mark::Follows(first)));
                    }
                    None => {
                        self.refuse_suppressed(&row);
                        left.missing.put(&row);
                    }
                }
            });
            scratch.reset();
            swap(&mut row, &mut previous);
        }
        left
    }

    /// The outcome of a row whose key is stored.
    fn settle(
        &self,
        row: &Slot,
        stored: &StoredRow<'_>,
        since: Option<pg_sys::CommandId>,
        ledger: &mut Ledger,
    ) {
        let layout = Layout::of(self.target);
        let ordinal = layout.ordinal(row);
        let mark = layout.mark(row);
        let ours = || since.is_some_and(|since| stored.written_by_us(since));
        if mark == Mark::Inserted || matches!(mark, Mark::Sent(_)) && ours() {
            return ledger.inserted(self, ordinal, Some(stored));
        }
        let shape = &self.shapes[layout.shape(row)];
        let columns = differing(&self.target.columns, &shape.compared, stored, row);
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
            readable: &readable,
        };
        ledger.conflict(self, ordinal, &differences, &shape.named, by);
    }

    fn refuse_suppressed(&self, row: &Slot) {
        let layout = Layout::of(self.target);
        let tries = if self.target.before_insert_triggers || self.target.partitioned {
            MOST_TRIES_WITH_TRIGGERS
        } else {
            MOST_TRIES
        };
        if !matches!(layout.mark(row), Mark::Sent(times) if times >= tries) {
            return;
        }
        let ordinal = layout.ordinal(row);
        let payload = if self.batch {
            format!("payload {ordinal}")
        } else {
            "the payload".to_owned()
        };
        Report::new(
            SqlState::TriggeredDataChangeViolation,
            format!(
                "{payload} was neither inserted nor found in table \"{}\"",
                self.target.name
            ),
        )
        .detail("A BEFORE INSERT trigger may have suppressed the row or changed its key.")
        .hint("Insert into the table that the trigger writes to, or disable the trigger.")
        .table(&self.target.schema, &self.target.name)
        .constraint(self.arbiter.name.clone())
        .raise()
    }
}
