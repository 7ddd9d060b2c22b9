//! The guard: plain INSERT and COPY become insert-or-verify. The row path.
//!
//! A BEFORE INSERT row trigger that looks the key up and returns NULL is what
//! people write by hand, and it is racy: between its look and the insertion
//! another session inserts the same key, and one of the two gets 23505. Here a
//! lock on the key spans that gap.
//!
//! # The protocol
//! For every row, last of the BEFORE triggers:
//!
//! 1. **Probe** the arbiter with a dirty snapshot, which sees rows of transactions
//!    in progress and says who inserts or deletes them.
//! 2. *Found, in progress*: hold no key lock, wait for that transaction (or for
//!    the end of its speculative insertion), start over.
//! 3. *Found, and no transaction in progress writes it*: compare. Duplicate: the row is skipped.
//!    Conflict: an error, or a record, and the row is skipped.
//! 4. *Not found*: take the **key lock** and probe once more. Found now: release
//!    it, go on as above. Not found: the row goes in, with the key lock held.
//! 5. The lock is released when the statement's next row is judged, or when the
//!    statement ends, whichever comes first: by then the row is in the index. So a
//!    statement holds one at most, whatever it loads, and none is left when it
//!    ends.
//!
//! A dirty probe can miss a row that is stored all the time and is being updated:
//! it reads the entry of the old version in the index; the update puts the new
//! version into heap and index, and commits; the probe then fetches the old version
//! and finds it dead. So a probe that met entries in the index and found only dead
//! rows is not believed: in step 4, the key is looked up once more under an MVCC
//! snapshot of that moment. That misses nothing that is committed: the version that
//! is visible to it has its entry in the index before the snapshot is taken, and
//! keeps it as long as the snapshot is held. And a probe that meets no entry at all
//! is right: a stored row has one at any time, since the entry of an old version
//! goes only after that of the new one has come.
//!
//! Where new rows are likely, the lock is taken before the first probe, which then
//! serves as the second.
//!
//! # Why no interleaving goes wrong
//! Let A and B be sessions with a row of one key.
//! - *B probes before A's row is in the index.* The session that lets a row in holds the
//!   key lock from a probe that found nothing until the row is in the index. If A
//!   has the lock, B waits for it, and the probe that B makes with the lock in
//!   hand finds A's row: in progress, or committed. If B has it, the same the other
//!   way round. So at most one of them has a probe that found nothing and no row
//!   in the index, and 23505 cannot arise between them.
//! - *A's row is in, A goes on.* B's probe sees it in progress and waits for A
//!   without a key lock. When A commits, B's next probe finds the row committed: B
//!   judges it, in READ COMMITTED the newest committed version. When A rolls back
//!   (all of it or to a savepoint) the probe finds nothing, and B's row goes in.
//!   When A is prepared, B waits for COMMIT PREPARED or ROLLBACK PREPARED.
//! - *A deletes or updates the stored row.* B waits: the row may go, or be another
//!   afterwards. ON CONFLICT waits here as well.
//! - *A was let through and its row never goes in*: the INSERT fails, or a trigger
//!   behind the guard suppresses it. The key lock goes with the statement, or
//!   with the abort. Others waited for it in vain, that is all.
//! - *A waits for a key lock while it has earlier rows in, and B waits for A's
//!   transaction.* That is a deadlock if B has the lock that A wants. The guard
//!   itself never waits for a transaction with a key lock in hand, other than on a
//!   row that is in the index already, for which A would wait in any case. But after
//!   the guard, and before the arbiter's entry is made, the server may: for a second
//!   unique index, for another key in ON CONFLICT, in a trigger behind the guard. So
//!   there are deadlocks that would be none without a guard, where transactions
//!   insert several rows that meet in two unique keys. As with loads of overlapping
//!   keys in different orders, which deadlock without a guard, too, one of them gets
//!   40P01, and its retry is safe.
//! - *One transaction inserts a key twice.* The second probe finds its own row,
//!   which no dirty snapshot calls in progress: a duplicate, or a conflict.
//! - *REPEATABLE READ, SERIALIZABLE.* A committed row that the transaction's snapshot
//!   cannot see is 40001, as with ON CONFLICT; never judged. A probe leaves no
//!   predicate lock; so under SERIALIZABLE the decisive row is fetched once more
//!   under the transaction's snapshot, which counts as reading it. A key that was
//!   not found needs none: its row goes in, and a session that inserts the same key meets
//!   that.
//! - *An UPDATE that moves a row between partitions* comes to the guard as an
//!   INSERT. It is no payload: skipping it would lose the row. On partitioned
//!   tables the guard fires on UPDATE, too, and notes a row that will leave its
//!   partition: the next row of the statement that comes to another partition is
//!   that one, and is let through.
//! - *Rows of our own functions* take part in 1, 2, 4 and 5, and what is found is
//!   skipped without judgement: the function verifies it (see [`own_insert`]). If the
//!   function is decided by another key, a row that is found is let through, to be the
//!   violation of a second unique index that it is.
//! - *Rows of MERGE* take part in 1, 2, 4 and 5 as well, so that others never meet 23505
//!   because of them. What is found is let through, to be the violation that it is
//!   without a guard: MERGE has decided on its own look at the table that the row is to be
//!   inserted, and who is told 23505 merges again, and updates. A duplicate, or a conflict,
//!   would end that instead.
//! - *An index that is made like the arbiter is being built, or taken away*, by REINDEX CONCURRENTLY and its
//!   kin. The key lock lasts until the row is in all indexes; so whoever finds nothing in the arbiter meets
//!   nothing in that one.
//! - *A partition is detached concurrently.* At REPEATABLE READ and SERIALIZABLE, the server may put a row into a partition
//!   that it locks when it is none any more, and that has lost its guard.
//! - *The arbiter is partial, or on expressions.* What its expressions give for the row takes the
//!   place of columns, in the key lock as well. A row outside of the condition has no key, and is
//!   let through after no step at all: it makes no entry in the arbiter, so that it is in nobody's
//!   way. A stored row that an UPDATE moves out of the condition is to a probe what one
//!   is that is deleted: its new version has no entry, and an UPDATE of what the condition is about is never
//!   a HOT one. One that is moved into it is to the probe one that is inserted, by somebody who
//!   takes no part, as with an UPDATE that changes a key.
//! - *Who takes no part*: sessions with `pg_idempotent.guard` off, or with triggers
//!   disabled, and an UPDATE that changes a key. Against those a guarded INSERT may
//!   meet 23505.
#![deny(unsafe_code)]
#[forbid(unsafe_code)]
mod catalog;
#[forbid(unsafe_code)]
mod clock_key;
#[forbid(unsafe_code)]
mod config;
#[forbid(unsafe_code)]
mod insert_role;
#[forbid(unsafe_code)]
mod install;
#[forbid(unsafe_code)]
mod key_lock;
#[forbid(unsafe_code)]
mod observed;
#[forbid(unsafe_code)]
mod omitted;
#[forbid(unsafe_code)]
mod options;
#[forbid(unsafe_code)]
mod own_insert;
#[forbid(unsafe_code)]
mod partitions;
mod row;
#[forbid(unsafe_code)]
mod statement;
#[forbid(unsafe_code)]
mod trigger_check;

pub use config::GuardConfig;
pub use install::resolve_guard;
pub use options::{
    ConflictAction, GuardOptions, NullKey, call_ignoring, call_passing_null_keys, call_verifying,
    parse_view_on_conflict, view_cannot_observe,
};
pub use own_insert::OwnInsert;
pub use partitions::{own_guard_of_partition, partition_enabled_differently};

use crate::error::{OrRaise, Report, SqlState, with_error_capture};
use crate::pg::call::entry::SqlCall;
use crate::pg::call::result::SqlResult;
use crate::pg::call::trigger::FiredTrigger;
use crate::settings;
use crate::target::{OpenRelation, TriggerInfo};
use pgrx::prelude::*;
use row::{Guard, GuardPlan, TriggerResult};
use std::cell::RefCell;
use std::rc::Rc;

/// `idempotent_guard(target, key, compare, ignore, on_conflict, remember, null_key)`:
/// installs the guard's trigger on a table, or replaces its options.
///
/// Gives the table's row of `idempotent.guards`.
///
/// # Errors
/// 42809 for what is no plain or partitioned table, or is a partition; 42P10
/// without a usable key; 42703, 22023, 22004, 42701, 42804, 428C9 for options that
/// do not fit; 42710 if it has a guard under another name; and what CREATE TRIGGER
/// raises, 42501 among it.
#[pg_extern(sql = false)]
fn idempotent_guard(call: SqlCall<'_>) -> SqlResult {
    with_error_capture(|| install::guard(call))
}

/// `idempotent_unguard(target) → boolean`: removes the guard; false if there was
/// none.
///
/// # Errors
/// 42809 for what is no table, and for a partition that is guarded with its partitioned
/// table; 42P01, 42501; and what DROP TRIGGER raises.
#[pg_extern(sql = false)]
fn idempotent_unguard(call: SqlCall<'_>) -> bool {
    with_error_capture(|| install::unguard(call.arguments().oid(0, "target")))
}

/// `idempotent.guard_options(target regclass, trigger oid)`: what the options of a
/// guard come to, for the view `idempotent.guards`. Without any right on the table: what
/// they are, as `pg_trigger` shows it to everybody.
///
/// Gives `key text[], arbiter name, compared text[], compare text[], ignore
/// text[], on_conflict text, remember name, null_key text, problem text`.
#[pg_extern(sql = false)]
fn guard_options(call: SqlCall<'_>) -> SqlResult {
    with_error_capture(|| {
        let arguments = call.arguments();
        install::describe(arguments.oid(0, "target"), arguments.oid(1, "trigger"))
    })
}

/// The trigger function.
///
/// # Errors
/// 39P01 if it is not called as BEFORE INSERT (or INSERT OR UPDATE) FOR EACH ROW;
/// else as [`Guard::open`] and [`Guard::judge_fired`].
#[pg_extern(sql = false)]
fn idempotent_guard_trigger(call: SqlCall<'_>) -> SqlResult {
    with_error_capture(|| match FiredTrigger::of(call) {
        Some(trigger) => fire(trigger),
        None => Report::new(
            SqlState::TriggerProtocolViolated,
            "idempotent_guard_trigger can only be called as a trigger",
        )
        .raise(),
    })
}

fn fire(trigger: FiredTrigger<'_>) -> SqlResult {
    if !settings::guard() {
        return trigger.unchanged();
    }
    let guard = trigger.kept().unwrap_or_else(|| open(&trigger));
    let mut guard = guard.borrow_mut();
    let Some(guard) = &mut *guard else {
        return trigger.unchanged();
    };
    match guard.judge_fired(trigger) {
        TriggerResult::Unchanged => trigger.unchanged(),
        TriggerResult::Skipped => trigger.skipped(),
        TriggerResult::Modified(number, value) => trigger.with_column(number, value),
    }
}

/// Opens the guard for the first row of a statement, and keeps it until the statement ends: a scan
/// that is opened for every row would cost more than the look itself.
///
/// None if the guard only observes, and does not fit its table any more: that must not fail the
/// statement.
fn open<'c>(fired: &FiredTrigger<'c>) -> &'c RefCell<Option<Guard>> {
    let role = insert_role::insert_role(fired);
    let plan = GuardPlan::kept(fired).or_else(|| plan(fired));
    fired.keep(|statement| plan.map(|plan| Guard::open(fired, statement, plan, role)))
}

/// What has to be known of a guard that has fired. None if it only observes, and does not fit its
/// table any more.
fn plan(fired: &FiredTrigger<'_>) -> Option<Rc<GuardPlan>> {
    let trigger = TriggerInfo::fired(fired);
    let on_partition = fired.is_on_partition();
    // A partition's own guard is refused below, however it is made.
    if trigger.is_clone || !on_partition {
        trigger_check::check_definition(fired.table(), &trigger, on_partition).or_raise();
    }
    if let Some(problem) = observed::problem(fired.table(), &trigger) {
        problem.log();
        return None;
    }
    Some(GuardPlan::make(&OpenRelation::of_fired(fired), trigger))
}
