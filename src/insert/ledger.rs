//! The outcomes of one call, and what is made of them in the end.
use super::round::Job;
use crate::compare::{Arriving, Differences};
use crate::error::Report;
use crate::outcome::{OnConflict, Outcome, conflict_report};
use crate::pg::ffi;
use crate::pg::jsonb::ObjectBuilder;
use crate::quarantine::Records;
use crate::target::{Readable, StoredRow, Target};
use pgrx::pg_sys;
use std::rc::Rc;

/// How many conflicts the DETAIL of a batch shows.
const SHOWN_CONFLICTS: usize = 5;

/// What the caller wants to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// How many of each outcome.
    Counts,
    /// The outcome of each payload, with rows.
    Rows,
}

/// The result for one payload.
#[derive(Clone, Copy)]
pub struct Settled {
    /// Its outcome.
    pub outcome: Outcome,
    /// The row now in the table, as far as the caller may read it.
    pub stored: Option<pg_sys::Datum>,
    /// For a conflict.
    pub differences: Option<pg_sys::Datum>,
}

/// One conflict that the DETAIL may show.
struct Shown {
    ordinal: i64,
    sentence: String,
}

/// Takes the outcomes as they are found, in any order.
pub struct Ledger {
    wanted: Wanted,
    on_conflict: OnConflict,
    /// How many payloads came.
    pub received: i64,
    /// How many went in.
    pub inserted: i64,
    /// How many were stored already.
    pub duplicates: i64,
    /// How many differ from what is stored.
    pub conflicts: i64,
    settled: Vec<Option<Settled>>,
    /// The conflicts with the lowest ordinals, in their order.
    shown: Vec<Shown>,
    /// The one column that differs in all conflicts so far.
    only_column: Option<usize>,
    readable: Option<Rc<Readable>>,
    records: Option<Records>,
    /// Where results live: the memory of the call.
    memory: pg_sys::MemoryContext,
}

impl Ledger {
    /// Empty, for a known number of payloads (0 where it is not known yet, and
    /// only counts are wanted).
    pub fn new(wanted: Wanted, payloads: usize, on_conflict: OnConflict) -> Self {
        let rows = if wanted == Wanted::Rows { payloads } else { 0 };
        Self {
            wanted,
            on_conflict,
            received: payloads as i64,
            inserted: 0,
            duplicates: 0,
            conflicts: 0,
            settled: vec![None; rows],
            shown: Vec::new(),
            only_column: None,
            readable: None,
            records: None,
            // SAFETY: the context of the running call.
            memory: unsafe { pg_sys::CurrentMemoryContext },
        }
    }

    /// Whether every inserted row is to be looked at once more.
    pub fn wants_rows(&self) -> bool {
        self.wanted == Wanted::Rows
    }

    /// The result of every payload, by ordinal.
    pub fn rows(&self) -> Vec<Settled> {
        self.settled
            .iter()
            .map(|row| row.expect("every payload has its outcome"))
            .collect()
    }

    /// What the caller may see of stored rows.
    pub fn readable(&mut self, job: &Job<'_>) -> Rc<Readable> {
        let readable = || Rc::new(Readable::by_caller(job.target));
        Rc::clone(self.readable.get_or_insert_with(readable))
    }

    /// This many rows went in.
    pub fn went_in(&mut self, rows: u64) {
        self.inserted += rows as i64;
    }

    /// This payload went in; the row is None if it is not there any more.
    pub fn inserted(&mut self, job: &Job<'_>, ordinal: i64, stored: Option<&StoredRow<'_>>) {
        self.inserted += 1;
        self.settle(job, ordinal, Outcome::Inserted, stored, None);
    }

    /// This payload was stored already.
    pub fn duplicate(&mut self, job: &Job<'_>, ordinal: i64, stored: &StoredRow<'_>) {
        self.duplicates += 1;
        self.settle(job, ordinal, Outcome::Duplicate, Some(stored), None);
    }

    /// This payload differs from the stored row, or from what first arrived under
    /// its key, as the differences tell. `named` are the columns that it names, `by` is the
    /// ordinal of the payload of this call that stored the row, if one did.
    pub fn conflict<P: Fn(usize) -> Option<pg_sys::Datum>>(
        &mut self,
        job: &Job<'_>,
        ordinal: i64,
        stored: &StoredRow<'_>,
        differences: &Differences<'_, P>,
        named: &[usize],
        by: Option<i64>,
    ) {
        self.conflicts += 1;
        match self.on_conflict {
            OnConflict::Error => self.show(ordinal, differences, by),
            OnConflict::Report => {}
            OnConflict::Quarantine => {
                let memory = self.memory;
                self.records
                    .get_or_insert_with(|| Records::new(memory))
                    .add(job.target, job.arbiter, stored, differences, named);
            }
        }
        if self.wants_rows() && self.on_conflict != OnConflict::Error {
            let json = self.keep(|| differences.to_jsonb(Arriving::Payload));
            self.settle(job, ordinal, Outcome::Conflict, Some(stored), Some(json));
        }
    }

    fn settle(
        &mut self,
        job: &Job<'_>,
        ordinal: i64,
        outcome: Outcome,
        stored: Option<&StoredRow<'_>>,
        differences: Option<pg_sys::Datum>,
    ) {
        if !self.wants_rows() {
            return;
        }
        let readable = self.readable(job);
        let stored = stored
            .filter(|_| !readable.nothing())
            .map(|stored| self.keep(|| row_to_jsonb(job.target, stored, &readable)));
        self.settled[ordinal as usize - 1] = Some(Settled {
            outcome,
            stored,
            differences,
        });
    }

    /// Runs `make` in memory that lives as long as the call.
    fn keep<R>(&self, make: impl FnOnce() -> R) -> R {
        // SAFETY: the call's memory; switched back at once, or by the error.
        unsafe {
            let caller = pg_sys::MemoryContextSwitchTo(self.memory);
            let made = make();
            pg_sys::MemoryContextSwitchTo(caller);
            made
        }
    }

    fn show<P: Fn(usize) -> Option<pg_sys::Datum>>(
        &mut self,
        ordinal: i64,
        differences: &Differences<'_, P>,
        by: Option<i64>,
    ) {
        let only = match differences.columns {
            [column] => Some(*column),
            _ => None,
        };
        self.only_column = match self.conflicts {
            1 => only,
            _ => self.only_column.filter(|column| Some(*column) == only),
        };
        let at = self.shown.partition_point(|shown| shown.ordinal < ordinal);
        if at < SHOWN_CONFLICTS {
            let sentence = differences.to_sentence(by);
            self.shown.insert(at, Shown { ordinal, sentence });
            self.shown.truncate(SHOWN_CONFLICTS);
        }
    }

    /// All outcomes are in: conflicts are raised or recorded.
    pub fn close(&mut self, job: &Job<'_>) {
        if let Some(records) = self.records.take() {
            records.write(job.target);
        }
        if self.on_conflict == OnConflict::Error && self.conflicts > 0 {
            self.report(job).raise()
        }
    }

    fn report(&self, job: &Job<'_>) -> Report {
        let mut detail = self
            .shown
            .iter()
            .map(|shown| {
                if job.batch {
                    format!("Payload {}: {}", shown.ordinal, shown.sentence)
                } else {
                    shown.sentence.clone()
                }
            })
            .collect::<Vec<_>>()
            .join("\n");
        let more = self.conflicts - self.shown.len() as i64;
        if more > 0 {
            detail.push_str(&format!("\nAnd {more} more."));
        }
        conflict_report(
            job.target,
            job.arbiter,
            self.conflicts,
            detail,
            self.only_column,
        )
    }
}

/// The stored row as jsonb, without what may not be read, and without virtual
/// columns, which are not stored.
fn row_to_jsonb(target: &Target, stored: &StoredRow<'_>, readable: &Readable) -> pg_sys::Datum {
    let columns = target
        .columns
        .iter()
        .enumerate()
        .filter(|(c, column)| readable.column(*c) && !column.virtual_generated());
    // SAFETY: the names live with the target, the values until the look goes
    // on; the guard holds nothing, and positions are those of the columns.
    unsafe {
        ffi::guard(|| {
            let mut object = ObjectBuilder::new();
            for (c, column) in columns {
                object.key(&column.c_name);
                column.put_into(&mut object, stored.get_unguarded(c));
            }
            object.finish()
        })
    }
}
