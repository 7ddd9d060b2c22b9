//! What the session has counted, until its transaction ends.
//!
//! A form opens a [`Recorder`] once in a statement or call, and then counts by plain additions. When the
//! transaction ends, what it counted is added to the counters that all sessions share: one lock in shared mode,
//! and an atomic addition for each counter that is not 0. That is so little that it is done at every end;
//! nothing then waits in a session that idles, and nothing is left to do when it ends.
//!
//! # Subtransactions
//! Counts are kept by depth of nesting. What a subtransaction counted is its parent's when it commits. When it
//! is rolled back, that is so only of what survives it (see
//! [`survives_rollback`]).
//!
//! # Callbacks
//! [`transaction_ended`] and [`subtransaction_ended`] are called while a transaction commits or is aborted.
//! They look nothing up, ask the server for no memory, and cannot fail. A session that has counted nothing pays
//! for a look at a variable.
use super::form::{Counter, Form, WAITS, survives_rollback};
use super::report::give_unused_back;
use super::shared;
use super::table::{COUNTERS, Counts, Subject};
use crate::pg::backend;
use crate::pg::transaction::ends::nest_level;
use crate::pg::transaction::waits::take_waits;
use pgrx::pg_sys;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// So many entries stay for the next transaction, which mostly has the same tables.
const KEPT: usize = 32;

/// The counts of one table and form, in one depth of nesting.
pub struct Pending {
    relation: pg_sys::Oid,
    form: Form,
    /// Whether they are added to the shared counters. If not, only an EXPLAIN asks for them.
    counted: bool,
    level: Cell<i32>,
    counts: [Cell<u64>; COUNTERS],
}

impl Pending {
    fn new(relation: pg_sys::Oid, form: Form, counted: bool, level: i32) -> Self {
        Self {
            relation,
            form,
            counted,
            level: Cell::new(level),
            counts: [const { Cell::new(0) }; COUNTERS],
        }
    }

    #[inline(always)]
    fn add(&self, place: usize, more: u64) {
        let count = &self.counts[place];
        count.set(count.get().wrapping_add(more));
    }

    fn take(&self) -> Counts {
        let mut counts = [0; COUNTERS];
        for (to, count) in counts.iter_mut().zip(&self.counts) {
            *to = count.take();
        }
        counts
    }

    /// Forgets what a rollback takes back.
    fn roll_back(&self) {
        for (place, count) in self.counts.iter().enumerate() {
            if !survives_rollback(self.form, place) {
                count.set(0);
            }
        }
    }

    fn is_of(&self, other: &Self, level: i32) -> bool {
        self.relation == other.relation
            && self.form == other.form
            && self.counted == other.counted
            && self.level.get() == level
    }
}

thread_local! {
    static PENDING: RefCell<Vec<Rc<Pending>>> = const { RefCell::new(Vec::new()) };

    /// Who counts nothing adds here.
    static NOBODY: Rc<Pending> = Rc::new(Pending::new(pg_sys::InvalidOid, Form::Guard, false, 0));

    /// The one that was opened last: whose waits they are that nobody has asked for yet.
    static LATEST: RefCell<Option<Rc<Pending>>> = const { RefCell::new(None) };

    /// Whether any was opened in the transaction.
    static OPENED: Cell<bool> = const { Cell::new(false) };

    /// Whether an EXPLAIN wants to show what its statement counts.
    static EXPLAINED: Cell<bool> = const { Cell::new(false) };
}

/// Counts for one table and form.
#[derive(Clone)]
pub struct Recorder(Rc<Pending>);

impl Recorder {
    /// One for a table; for what belongs to no table, without an oid. It is of use until its subtransaction
    /// ends.
    pub fn open(relation: pg_sys::Oid, form: Form) -> Self {
        let counted = shared::counts();
        if !counted && !EXPLAINED.get() {
            return Self::nobody();
        }
        if shared::was_full() {
            give_unused_back();
        }
        let wanted = Pending::new(relation, form, counted, nest_level());
        let found = PENDING.with_borrow_mut(|pending| {
            let level = wanted.level.get();
            let known = pending.iter().rev().find(|one| one.is_of(&wanted, level));
            known.map(Rc::clone).unwrap_or_else(|| {
                let new = Rc::new(wanted);
                pending.push(Rc::clone(&new));
                new
            })
        });
        OPENED.set(true);
        LATEST.set(Some(Rc::clone(&found)));
        Self(found)
    }

    /// The one of all requests of the database.
    pub fn of_requests() -> Self {
        Self::open(pg_sys::InvalidOid, Form::Requests)
    }

    /// The one of all runs of the database.
    pub fn of_runs() -> Self {
        Self::open(pg_sys::InvalidOid, Form::Runs)
    }

    /// One that counts nothing.
    pub fn nobody() -> Self {
        NOBODY.with(|nobody| Self(Rc::clone(nobody)))
    }

    /// Counts one more.
    #[inline(always)]
    pub fn count(&self, counter: impl Counter) {
        self.0.add(counter.place(), 1);
    }

    /// Counts so many more.
    pub fn add(&self, counter: impl Counter, more: i64) {
        self.0
            .add(counter.place(), u64::try_from(more).unwrap_or(0));
    }

    /// Counts the waits that were noted since somebody asked last.
    pub fn settle_waits(&self) {
        self.0.add(WAITS, take_waits());
    }
}

thread_local! {
    /// The form that the running function is.
    static RUNNING: Cell<Option<Form>> = const { Cell::new(None) };
}

/// Says, until it is dropped, of which form the rows are that the running function writes.
pub struct FormScope {
    outer: Option<Form>,
    outer_latest: Option<Rc<Pending>>,
}

impl FormScope {
    /// Begins.
    pub fn of(form: Form) -> Self {
        Self {
            outer: RUNNING.replace(Some(form)),
            outer_latest: LATEST.take(),
        }
    }

    /// Begins for a function of requests, whose commands may run other forms.
    pub fn of_requests() -> Self {
        let scope = Self::of(Form::Requests);
        Recorder::of_requests();
        scope
    }

    /// Counts rows of a table for the form that runs; for nobody if none does.
    pub fn recorder(relation: pg_sys::Oid) -> Recorder {
        match RUNNING.get() {
            Some(form) => Recorder::open(relation, form),
            None => Recorder::nobody(),
        }
    }
}

impl Drop for FormScope {
    fn drop(&mut self) {
        settle_waits();
        RUNNING.set(self.outer);
        LATEST.set(self.outer_latest.take());
    }
}

/// Waits that nobody has asked for are those of the one that was opened last.
fn settle_waits() {
    let waits = take_waits();
    if waits != 0 {
        LATEST.with(|latest| {
            if let Ok(latest) = latest.try_borrow()
                && let Some(latest) = &*latest
            {
                latest.add(WAITS, waits);
            }
        });
    }
}

/// The subtransaction of this depth ends.
pub fn subtransaction_ended(committed: bool, level: i32) {
    if !OPENED.get() {
        return;
    }
    settle_waits();
    PENDING.with(|pending| {
        let Ok(mut pending) = pending.try_borrow_mut() else {
            return;
        };
        let is_inner = |one: &Rc<Pending>| one.level.get() >= level;
        for at in (0..pending.len()).rev() {
            let one = Rc::clone(&pending[at]);
            if !is_inner(&one) {
                continue;
            }
            if !committed {
                one.roll_back();
            }
            let mut others = pending.iter();
            match others.find(|other| other.is_of(&one, level - 1)) {
                // Its recorders are gone with the statements of the subtransaction.
                Some(outer) => {
                    let counts = one.take();
                    counts
                        .iter()
                        .enumerate()
                        .for_each(|(place, more)| outer.add(place, *more));
                    pending.swap_remove(at);
                }
                None => one.level.set(level - 1),
            }
        }
    });
}

/// The transaction has ended.
pub fn transaction_ended(committed: bool) {
    if !OPENED.replace(false) {
        // Whatever was noted, nobody counts it.
        take_waits();
        return;
    }
    settle_waits();
    EXPLAINED.set(false);
    LATEST.with(|latest| {
        let latest = latest
            .try_borrow_mut()
            .ok()
            .and_then(|mut latest| latest.take());
        drop(latest);
    });
    PENDING.with(|pending| {
        let Ok(mut pending) = pending.try_borrow_mut() else {
            return;
        };
        if !committed {
            pending.iter().for_each(|one| one.roll_back());
        }
        let database = backend::current_database().to_u32();
        shared::add(pending.iter().filter(|one| one.counted).filter_map(|one| {
            let subject = Subject {
                database,
                relation: one.relation.to_u32(),
                form: one.form as u32,
            };
            let counts = one.take();
            (counts != [0; COUNTERS]).then_some((subject, counts))
        }));
        pending.retain(|one| one.counted && one.level.get() <= 1);
        pending.truncate(KEPT);
    });
}

/// Until [`end_explained`], or the end of the transaction, what is counted is kept for an EXPLAIN even if the
/// shared counters do not get it.
#[cfg(feature = "pg18")]
pub fn begin_explained() -> Explained {
    EXPLAINED.set(true);
    Explained(snapshot())
}

/// See [`begin_explained`].
#[cfg(feature = "pg18")]
pub fn end_explained() {
    EXPLAINED.set(false);
}

/// What was counted when an EXPLAIN began.
#[cfg(feature = "pg18")]
pub struct Explained(Vec<(pg_sys::Oid, Form, Counts)>);

#[cfg(feature = "pg18")]
impl Explained {
    /// What was counted since, for each table and form for which anything was.
    pub fn since(&self) -> Vec<(pg_sys::Oid, Form, Counts)> {
        settle_waits();
        let mut now = snapshot();
        for (relation, form, counts) in &mut now {
            let of = |one: &&(pg_sys::Oid, Form, Counts)| one.0 == *relation && one.1 == *form;
            for before in self.0.iter().filter(of) {
                for (count, before) in counts.iter_mut().zip(&before.2) {
                    *count = count.wrapping_sub(*before);
                }
            }
        }
        now.retain(|(_, _, counts)| *counts != [0; COUNTERS]);
        now
    }
}

/// What was counted so far, by table and form.
#[cfg(feature = "pg18")]
fn snapshot() -> Vec<(pg_sys::Oid, Form, Counts)> {
    let mut sums: Vec<(pg_sys::Oid, Form, Counts)> = Vec::new();
    PENDING.with_borrow(|pending| {
        for one in pending {
            let place = sums
                .iter()
                .position(|(relation, form, _)| *relation == one.relation && *form == one.form);
            let place = place.unwrap_or_else(|| {
                sums.push((one.relation, one.form, [0; COUNTERS]));
                sums.len() - 1
            });
            for (sum, count) in sums[place].2.iter_mut().zip(&one.counts) {
                *sum = sum.wrapping_add(count.get());
            }
        }
    });
    sums
}
