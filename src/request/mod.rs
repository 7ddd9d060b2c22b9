//! Requests: an operation runs once, and its retries get the first answer.
//!
//! A request is known by role, scope and key, and has one row in
//! `idempotent.request_records`. `idempotent_execute` does it all in the caller's
//! transaction: key, effect and answer commit together, so nothing can be left half
//! done. For work with effects outside of the database there are
//! `idempotent_request_begin`, `_advance`, `_finish` and `_abandon`, in transactions
//! of their own, with a lease: one attempt works on a request at a time, and the next
//! one resumes where the last came to.
//!
//! # Why no interleaving goes wrong
//! An answer that is committed is given without ado. Where something is to be written, a
//! call takes the *key lock* (see [`lock`]), looks whether a transaction in progress is
//! writing the row, decides once more by what is committed, writes the row, and gives the
//! lock back. From then on the row tells the others, committed or not.
//! - *A key that is probably new*, because the last one was: the call takes the lock first,
//!   if it is free, and looks once at all versions of the row. Only if there is none, and
//!   none in progress, does it go on with the lock; else it gives it back and begins as
//!   above. Not under SERIALIZABLE, where the look that finds nothing has to count as read.
//! - *An attempt's row* is looked up where this session has put it (`record::AttemptTids`). If the
//!   transaction may see a row there, and it has the key, it is the one: no two under a
//!   key are visible at once. Else the index is asked.
//! - *Two calls with one key at once.* The lock lets one look and write at a time; the
//!   other then finds a row of a transaction in progress. If its request is another, that
//!   is 23I02. If it is the same, 55I01; or, as long as `lock_timeout` allows, the call
//!   waits for that transaction, without the lock, and looks again: it finds the answer,
//!   or, if the other rolled back, nothing, and does the work.
//! - *A holder dies.* Its transaction is rolled back. Of a request that it had begun
//!   before, the row stays, and the lease runs out.
//! - *A lease is taken over.* The attempt that resumes gets a number of its own, from a sequence
//!   that goes with the clock, so that no two attempts ever share one. The holder of before is told
//!   by its number, whatever it tries, and whatever became of the row meanwhile.
//! - *What was decided is not so any more when the row is written* (an old holder has
//!   finished just now, a purge has removed the row): a row is
//!   replaced only if it is the version that was looked at. If not, the call goes round, or
//!   40001.
//! - *REPEATABLE READ, SERIALIZABLE.* The row is looked up under the transaction's
//!   snapshot. What that cannot see is met when the row is written: 40001.
//! - *A key expires* when it is read, by `clock_timestamp()`, purged or not. A purge
//!   deletes rows that have expired, and passes over those that are locked.
mod answer;
mod command;
mod decision;
mod key;
mod lock;
mod purge;
mod record;
mod row;
mod table;
mod wait;
mod write;

use crate::error::{Report, SqlState, with_error_capture};
use crate::pg::backend;
use crate::pg::call::entry::SqlCall;
use crate::pg::call::result::SqlResult;
use crate::pg::schedule::{leaves_out, wait_at};
use crate::pg::transaction::snapshot::uses_transaction_snapshot;
use crate::pg::value::sql_value::SqlValue;
use crate::stats::{FormScope, Recorder, Requests};
use answer::BeginStatus;
use decision::RequestDecision;
use key::RequestKey;
use lock::KeyLock;
use pgrx::prelude::*;
use record::{RequestRecord, RequestStatus};
use table::RequestTable;
use wait::WaitLimit;
use write::Claim;

/// `idempotent_execute(key, command, arguments, scope, ttl, wait, operation)`: runs one
/// parameterised statement in the caller's transaction and with the caller's rights, once.
/// Its rows, as a JSON array, are the response; a retry gets that again. `operation`, if it is
/// given, stands for the text of the command when a retry is told from another request.
///
/// Gives `response jsonb, replayed boolean`.
///
/// # Errors
/// 23I02 if the key came with another command or other arguments, 55I01 if it is under
/// way elsewhere, 22004 and 22023 for arguments that do not fit, 42601 for what is not
/// one statement, 42P18 for a parameter whose type cannot be told, 0A000 for a command
/// that cannot run in a function, 40001; and what the command raises.
#[pg_extern(sql = false)]
fn idempotent_execute(call: SqlCall<'_>) -> SqlResult {
    let arguments = call.arguments();
    with_error_capture(|| {
        let _form = FormScope::of_requests();
        let key = RequestKey::new(&arguments, 0, 3);
        let command = arguments.text(1, "command");
        let parameters = arguments.jsonb(2, "arguments");
        let ttl = arguments.interval(4, "ttl");
        let operation = arguments.optional_text(6);
        let mut wait = WaitLimit::of(&arguments, 5);
        let request = match &operation {
            Some(operation) => (c"operation", operation.as_str()),
            None => (c"command", command.as_str()),
        };
        let request = command::request(request, arguments.jsonb_datum(2, "arguments"));
        let request = record::Request(request);
        let table = RequestTable::open();
        let mut held = lock_if_probably_new(&table, &key);
        loop {
            let found = find(&table, &key, held.as_ref());
            table.record_whether_new(found.is_none());
            let known = match RequestDecision::of(found, &request) {
                RequestDecision::InProgress(known) => {
                    held = None;
                    wait_for_lease(&table, &key, &known, &mut wait);
                    continue;
                }
                RequestDecision::Replay(known) => {
                    Recorder::of_requests().count(Requests::Replayed);
                    return answer::answer_row(known.response(), true);
                }
                // All else takes the lock; with it, look again: another session may be writing.
                _ if held.is_none() => {
                    held = Some(key.lock(&table, &request, &wait));
                    continue;
                }
                RequestDecision::Mismatch(known) => known.reused(&key, &request).raise(),
                RequestDecision::Resume(known) => Some(known),
                RequestDecision::Start(known) => known,
            };
            let claim = Claim {
                request: &request,
                ttl,
                lease: None,
            };
            let Some(attempt) = start(&table, &key, &claim, known.as_ref(), held.take()) else {
                continue;
            };
            // The command may alter the table.
            drop(table);
            wait_at!("request: command");
            let response = command::run(&command, parameters);
            let table = RequestTable::open();
            match row_of(&table, &key, attempt) {
                Some(known) if write::finish(&table, &known, response) => {
                    return answer::answer_row(SqlValue::jsonb(response), false);
                }
                _ => request_removed(&key),
            }
        }
    })
}

/// `idempotent_request_begin(key, request, scope, ttl, lease, wait, ignore)`: starts a request,
/// resumes one whose lease ran out, or gives the answer of one that is finished. Top-level
/// fields in `ignore` are no part of the request.
///
/// Gives `status text` (`started`, `resumed`, `finished`), `attempt bigint,
/// recovery_point text, response jsonb`.
///
/// # Errors
/// 23I02 if the key came with another request, 55I01 while another attempt holds it,
/// 22004, 22023, 40001.
#[pg_extern(sql = false)]
fn idempotent_request_begin(call: SqlCall<'_>) -> SqlResult {
    let arguments = call.arguments();
    with_error_capture(|| {
        let _form = FormScope::of_requests();
        let key = RequestKey::new(&arguments, 0, 2);
        let mut wait = WaitLimit::of(&arguments, 5);
        let request = arguments.jsonb_datum(1, "request");
        let request = match arguments.optional_texts(6, "ignore") {
            Some(ignored) if ignored.is_empty() => no_ignored_field().raise(),
            Some(ignored) => request.without_fields(&ignored),
            None => request,
        };
        let request = record::Request(request);
        let ttl = arguments.interval(3, "ttl");
        let lease = arguments.interval(4, "lease");
        let claim = Claim {
            request: &request,
            ttl,
            lease: Some(lease),
        };
        let table = RequestTable::open();
        let mut held = lock_if_probably_new(&table, &key);
        loop {
            let found = find(&table, &key, held.as_ref());
            table.record_whether_new(found.is_none());
            let taken = match RequestDecision::of(found, &request) {
                RequestDecision::InProgress(known) => {
                    held = None;
                    wait_for_lease(&table, &key, &known, &mut wait);
                    continue;
                }
                RequestDecision::Replay(known) => {
                    Recorder::of_requests().count(Requests::Replayed);
                    return answer::attempt_row(
                        BeginStatus::Finished,
                        known.attempt,
                        Some(known.recovery_point()),
                        Some(known.response()),
                    );
                }
                _ if held.is_none() => {
                    held = Some(key.lock(&table, &request, &wait));
                    continue;
                }
                RequestDecision::Mismatch(known) => known.reused(&key, &request).raise(),
                RequestDecision::Start(known) => {
                    start(&table, &key, &claim, known.as_ref(), held.take())
                        .map(|attempt| (BeginStatus::Started, attempt, None))
                }
                RequestDecision::Resume(known) => write::resume(&table, &claim, &known)
                    .map(|attempt| (BeginStatus::Resumed, attempt, Some(known))),
            };
            if let Some((status, attempt, before)) = taken {
                let point = before.as_ref().map(RequestRecord::recovery_point);
                return answer::attempt_row(status, attempt, point, None);
            }
            held = None;
        }
    })
}

/// `idempotent_request_advance(key, attempt, recovery_point, scope)`: notes how far the
/// work has come, and renews the lease.
///
/// # Errors
/// 55000 if the attempt does not hold the request (any more), 22004, 22023.
#[pg_extern(sql = false)]
fn idempotent_request_advance(call: SqlCall<'_>) {
    let arguments = call.arguments();
    with_error_capture(|| {
        let key = RequestKey::new(&arguments, 0, 3);
        let attempt = arguments.bigint(1, "attempt");
        let point = arguments.text_value(2, "recovery_point");
        let table = RequestTable::open();
        while let Some(known) = held_by(&table, &key, attempt) {
            if write::advance(&table, &known, point) {
                return;
            }
        }
        not_held(&key, attempt, RequestRecord::find(&table, &key))
    });
}

/// `idempotent_request_finish(key, attempt, response, scope)`: stores the answer.
/// Once more with an equal answer, it does nothing.
///
/// # Errors
/// As [`idempotent_request_advance`].
#[pg_extern(sql = false)]
fn idempotent_request_finish(call: SqlCall<'_>) {
    let arguments = call.arguments();
    with_error_capture(|| {
        let key = RequestKey::new(&arguments, 0, 3);
        let attempt = arguments.bigint(1, "attempt");
        let response = arguments.jsonb_datum(2, "response");
        let table = RequestTable::open();
        while let Some(known) = held_by(&table, &key, attempt) {
            if write::finish(&table, &known, response) {
                return;
            }
        }
        match RequestRecord::find(&table, &key) {
            Some(known)
                if known.status == RequestStatus::Finished
                    && known.attempt == attempt
                    && known.has_response(&table, response) => {}
            known => not_held(&key, attempt, known),
        }
    });
}

/// `idempotent_request_abandon(key, attempt, scope)`: gives the request up; its key is
/// free again. Once more, it does nothing.
///
/// # Errors
/// As [`idempotent_request_advance`].
#[pg_extern(sql = false)]
fn idempotent_request_abandon(call: SqlCall<'_>) {
    let arguments = call.arguments();
    with_error_capture(|| {
        let key = RequestKey::new(&arguments, 0, 2);
        let attempt = arguments.bigint(1, "attempt");
        let table = RequestTable::open();
        while let Some(known) = held_by(&table, &key, attempt) {
            if write::abandon(&table, &known) {
                return;
            }
        }
        match RequestRecord::find(&table, &key) {
            Some(known) if known.status == RequestStatus::Abandoned && known.attempt == attempt => {
            }
            known => not_held(&key, attempt, known),
        }
    });
}

/// `idempotent_purge(batch_size) → bigint`: removes expired requests, at most so many;
/// gives how many. Members of the extension's owner purge those of all roles, others
/// their own.
///
/// # Errors
/// 22004, 22023 for a batch of none.
#[pg_extern(sql = false)]
fn idempotent_purge(call: SqlCall<'_>) -> i64 {
    let arguments = call.arguments();
    with_error_capture(|| {
        let most = arguments.positive_int(0, "batch_size");
        purge::purge(most)
    })
}

/// The row under a key; the lock, if it is in hand, knows whether there is none.
fn find(
    table: &RequestTable,
    key: &RequestKey<'_>,
    held: Option<&KeyLock>,
) -> Option<RequestRecord> {
    wait_at!("request: look");
    match held {
        Some(held) if !held.exists => None,
        _ => RequestRecord::find(table, key),
    }
}

/// Waits for a moment for the attempt that holds a request.
///
/// # Errors
/// 55I01 if the time is over; 40001 if the attempt has ended, and the transaction's snapshot cannot
/// see it.
fn wait_for_lease(
    table: &RequestTable,
    key: &RequestKey,
    known: &RequestRecord,
    wait: &mut WaitLimit,
) {
    let waited = wait.pause_for_lease(known.lease_until);
    if uses_transaction_snapshot() && !known.is_under_way(table, key) {
        Report::could_not_serialize("idempotent", "request_records").raise()
    }
    if !waited {
        key.in_progress_until(known.lease_until).raise()
    }
}

/// The lock, without having looked the row up, if there is probably none, and then is
/// none. Not where the look has to be noted (SERIALIZABLE), and not where nothing may be
/// written.
fn lock_if_probably_new(table: &RequestTable, key: &RequestKey<'_>) -> Option<KeyLock> {
    let possible = !backend::transaction_is_read_only() && !backend::is_serializable();
    if table.expects_new() && possible {
        key.lock_if_new(table)
    } else {
        None
    }
}

/// The row under a key, which is probably that of this attempt of the session.
fn row_of(table: &RequestTable, key: &RequestKey<'_>, attempt: i64) -> Option<RequestRecord> {
    RequestRecord::find_by_tid(table, key, attempt).or_else(|| RequestRecord::find(table, key))
}

/// The row of a request, if this attempt holds it.
fn held_by(table: &RequestTable, key: &RequestKey<'_>, attempt: i64) -> Option<RequestRecord> {
    wait_at!("request: look for attempt");
    row_of(table, key, attempt)
        .filter(|known| known.status == RequestStatus::Started)
        .filter(|known| known.attempt == attempt || leaves_out!("fencing"))
}

/// A new attempt, with the lock on the key, which is given back.
///
/// # Errors
/// 40001 if there is a row under the key that the transaction's snapshot cannot see.
fn start(
    table: &RequestTable,
    key: &RequestKey<'_>,
    claim: &Claim<'_>,
    known: Option<&RequestRecord>,
    held: Option<KeyLock>,
) -> Option<i64> {
    let exists = held.as_ref().is_some_and(|held| held.exists);
    if known.is_none() && exists {
        // The snapshot cannot see it; or a purge has removed it since.
        write::check_snapshot_per_statement();
        return None;
    }
    write::start(table, key, claim, known)
}

/// 22023: a list without a field is more likely a mistake than a wish.
fn no_ignored_field() -> Report {
    let message = "argument \"ignore\" must name at least one field";
    Report::new(SqlState::InvalidParameterValue, message)
        .hint("Pass NULL, or leave the argument out, for none.")
}

/// 55000: the request was removed while its command ran.
fn request_removed(key: &RequestKey<'_>) -> ! {
    Report::new(
        SqlState::ObjectNotInPrerequisiteState,
        format!(
            "request key \"{}\" was removed while its command ran",
            key.display_text()
        ),
    )
    .raise()
}

/// 55000: the attempt does not hold the request.
fn not_held(key: &RequestKey<'_>, attempt: i64, known: Option<RequestRecord>) -> ! {
    let detail = match known {
        None => "There is no such request.".to_owned(),
        Some(known) if known.attempt != attempt => {
            let did = match known.status {
                RequestStatus::Started => "holds",
                RequestStatus::Finished => "has finished",
                RequestStatus::Abandoned => "has abandoned",
            };
            format!("Attempt {} {did} it.", known.attempt)
        }
        Some(known) => match known.status {
            RequestStatus::Finished => "It has already finished the request.".to_owned(),
            RequestStatus::Abandoned => "It has abandoned the request.".to_owned(),
            // Another session wrote the row between two looks.
            RequestStatus::Started => "The request has changed meanwhile.".to_owned(),
        },
    };
    Report::new(
        SqlState::ObjectNotInPrerequisiteState,
        format!(
            "attempt {attempt} does not hold request key \"{}\"",
            key.display_text()
        ),
    )
    .detail(detail)
    .hint("Begin the request again to learn its status.")
    .raise()
}
