//! Writing the row of a request.
//!
//! Every change is one of a row that was looked at before, and fails if anybody has
//! written that since. So what was decided by a row holds when the next one is written.
use super::key::RequestKey;
use super::record::{AttemptTids, Request, RequestRecord, RequestStatus};
use super::row::{self, Change};
use super::table::{COLUMNS, RequestColumn, RequestTable};
use crate::enum_text;
use crate::error::{Report, SqlState};
use crate::pg::backend::{self, check_not_read_only};
use crate::pg::heap::NotReplaced;
use crate::pg::schedule::wait_at;
use crate::pg::transaction::snapshot::uses_transaction_snapshot;
use crate::pg::value::by_reference::Interval;
use crate::pg::value::document::JsonbDatum;
use crate::pg::value::sql_value::SqlValue;
use crate::stats::{Recorder, Requests};
use pgrx::pg_sys;

/// What is written when an attempt takes a request.
pub struct Claim<'r> {
    /// What is asked for.
    pub request: &'r Request,
    /// How long the answer is kept.
    pub ttl: Interval,
    /// How long the attempt holds it without a sign of life; None if a
    /// transaction does the work.
    pub lease: Option<Interval>,
}

/// A new attempt at a request whose key is free; `known` is the row that is there and of
/// no more use. Gives its number; None if another session wrote the row meanwhile.
pub fn start(
    table: &RequestTable,
    key: &RequestKey<'_>,
    claim: &Claim<'_>,
    known: Option<&RequestRecord>,
) -> Option<i64> {
    check_not_read_only(c"INSERT");
    let now = backend::clock();
    let attempt = table.next_attempt(known.map(|known| known.attempt), now);
    let expires_at = after(now, claim.ttl);
    let fingerprint = claim.request.fingerprint();
    let changes = [
        (RequestColumn::Role, table.role(key)),
        (RequestColumn::Scope, key.scope),
        (RequestColumn::Key, key.key),
        (RequestColumn::Status, status(RequestStatus::Started)),
        (RequestColumn::Attempt, SqlValue::bigint(attempt)),
        (RequestColumn::Fingerprint, SqlValue::bytea(&fingerprint)),
        (RequestColumn::Request, SqlValue::jsonb(claim.request.0)),
        (RequestColumn::RecoveryPoint, NO_TEXT),
        (RequestColumn::Response, SqlValue::null(pg_sys::JSONBOID)),
        (RequestColumn::Ttl, SqlValue::interval(claim.ttl)),
        (RequestColumn::Lease, claim.lease_value()),
        (RequestColumn::LeaseUntil, lease_until(claim.lease, now)),
        (RequestColumn::StartedAt, SqlValue::timestamptz(now)),
        (RequestColumn::CompletedAt, NO_TIME),
        (RequestColumn::ExpiresAt, expires_at),
        (RequestColumn::PurgeAfter, expires_at),
    ];
    let is_ours = match known {
        Some(known) => update_row(table, known, attempt, &changes),
        None => {
            wait_at!("request: insert");
            insert(table, attempt, &changes);
            true
        }
    };
    counted(is_ours, Requests::Started).then_some(attempt)
}

/// A new attempt at a request whose lease ran out. Gives its number; None if another session
/// wrote the row meanwhile.
pub fn resume(table: &RequestTable, claim: &Claim<'_>, known: &RequestRecord) -> Option<i64> {
    check_not_read_only(c"UPDATE");
    let now = backend::clock();
    let attempt = table.next_attempt(Some(known.attempt), now);
    let expires_at = after(now, claim.ttl);
    let changes = [
        (RequestColumn::Attempt, SqlValue::bigint(attempt)),
        (RequestColumn::Ttl, SqlValue::interval(claim.ttl)),
        (RequestColumn::Lease, claim.lease_value()),
        (RequestColumn::LeaseUntil, lease_until(claim.lease, now)),
        (RequestColumn::StartedAt, SqlValue::timestamptz(now)),
        (RequestColumn::ExpiresAt, expires_at),
        (RequestColumn::PurgeAfter, expires_at),
    ];
    let is_ours = update_row(table, known, attempt, &changes);
    counted(is_ours, Requests::Resumed).then_some(attempt)
}

/// Counts what was done, if it was; says whether.
fn counted(done: bool, what: Requests) -> bool {
    if done {
        Recorder::of_requests().count(what);
    }
    done
}

/// Notes a recovery point, a text, and renews the lease. False if another session wrote the row
/// meanwhile.
pub fn advance(table: &RequestTable, known: &RequestRecord, recovery_point: SqlValue<'_>) -> bool {
    check_not_read_only(c"UPDATE");
    let until = lease_until(known.lease(), backend::clock());
    let changes = [
        (RequestColumn::RecoveryPoint, recovery_point),
        (RequestColumn::LeaseUntil, until),
    ];
    update_row(table, known, known.attempt, &changes)
}

/// Stores the answer. False if another session wrote the row meanwhile.
pub fn finish(table: &RequestTable, known: &RequestRecord, response: JsonbDatum) -> bool {
    check_not_read_only(c"UPDATE");
    let now = backend::clock();
    let changes = [
        (RequestColumn::Status, status(RequestStatus::Finished)),
        (RequestColumn::Response, SqlValue::jsonb(response)),
        (RequestColumn::LeaseUntil, NO_TIME),
        (RequestColumn::CompletedAt, SqlValue::timestamptz(now)),
        (RequestColumn::ExpiresAt, after(now, known.ttl())),
    ];
    let done = update_row(table, known, known.attempt, &changes);
    counted(done, Requests::Finished)
}

/// Gives the request up. False if another session wrote the row meanwhile.
pub fn abandon(table: &RequestTable, known: &RequestRecord) -> bool {
    check_not_read_only(c"UPDATE");
    let changes = [
        (RequestColumn::Status, status(RequestStatus::Abandoned)),
        (RequestColumn::LeaseUntil, NO_TIME),
    ];
    let done = update_row(table, known, known.attempt, &changes);
    counted(done, Requests::Abandoned)
}

const NO_TIME: SqlValue<'_> = SqlValue::null(pg_sys::TIMESTAMPTZOID);
const NO_TEXT: SqlValue<'_> = SqlValue::null(pg_sys::TEXTOID);

impl Claim<'_> {
    fn lease_value(&self) -> SqlValue<'static> {
        let none = SqlValue::null(pg_sys::INTERVALOID);
        self.lease.map_or(none, SqlValue::interval)
    }
}

/// The text of a status.
fn status(status: RequestStatus) -> SqlValue<'static> {
    SqlValue::text(enum_text::name(status))
}

fn after(time: pg_sys::TimestampTz, interval: Interval) -> SqlValue<'static> {
    SqlValue::timestamptz(interval.after(time))
}

fn lease_until(lease: Option<Interval>, now: pg_sys::TimestampTz) -> SqlValue<'static> {
    lease.map_or(NO_TIME, |lease| after(now, lease))
}

fn insert(table: &RequestTable, attempt: i64, values: &[Change<'_>; COLUMNS]) {
    AttemptTids::note(attempt, row::insert(table, values));
}

/// Replaces a row that was looked at, if it is still the newest version.
///
/// # Errors
/// 40001 if it is not, in a transaction with one snapshot.
fn update_row(
    table: &RequestTable,
    known: &RequestRecord,
    attempt: i64,
    changes: &[Change<'_>],
) -> bool {
    wait_at!("request: replace");
    match known.row.replace(table, changes) {
        Ok(tid) => {
            if let Some(tid) = tid {
                AttemptTids::note(attempt, tid);
            }
            true
        }
        Err(NotReplaced::ByUs) => Report::new(
            SqlState::TriggeredDataChangeViolation,
            "the request was already modified by the command that this one is part of",
        )
        .table("idempotent", "request_records")
        .raise(),
        Err(NotReplaced::ByOthers) => {
            check_snapshot_per_statement();
            pgrx::check_for_interrupts!();
            false
        }
    }
}

/// What is stored is not what the transaction sees: that ends one with one snapshot.
///
/// # Errors
/// 40001, in core's own words.
pub fn check_snapshot_per_statement() {
    if uses_transaction_snapshot() {
        Report::could_not_serialize("idempotent", "request_records").raise()
    }
}
