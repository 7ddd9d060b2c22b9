//! Writing the row of a request.
//!
//! Every change is one of a row that was looked at before, and fails if anybody has
//! written that since. So what was decided by a row holds when the next one is written.
use super::heap::{self, Change};
use super::key::RequestKey;
use super::record::{AttemptTids, Request, RequestRecord, RequestStatus};
use super::table::{COLUMNS, RequestColumn, RequestTable};
use crate::enum_text;
use crate::error::{Report, SqlState};
use crate::pg::backend::{self, check_not_read_only};
use crate::pg::transaction::snapshot::uses_transaction_snapshot;
use crate::pg::value::document::JsonbDatum;
use crate::pg::value::interval::Interval;
use crate::pg::value::text;
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
    key: &RequestKey,
    claim: &Claim<'_>,
    known: Option<&RequestRecord>,
) -> Option<i64> {
    check_not_read_only(c"INSERT");
    let now = backend::clock();
    let attempt = table.next_attempt(known.map(|known| known.attempt), now);
    let expires_at = after(now, claim.ttl);
    let changes = [
        (RequestColumn::Role, Some(key.role)),
        (RequestColumn::Scope, Some(key.scope)),
        (RequestColumn::Key, Some(key.key)),
        (RequestColumn::Status, Some(status(RequestStatus::Started))),
        (RequestColumn::Attempt, Some(pg_sys::Datum::from(attempt))),
        (
            RequestColumn::Fingerprint,
            Some(claim.request.fingerprint()),
        ),
        (RequestColumn::Request, Some(claim.request.0.datum())),
        (RequestColumn::RecoveryPoint, None),
        (RequestColumn::Response, None),
        (RequestColumn::Ttl, Some(claim.ttl.datum())),
        (RequestColumn::Lease, claim.lease.map(Interval::datum)),
        (
            RequestColumn::LeaseUntil,
            claim.lease.and_then(|lease| after(now, lease)),
        ),
        (RequestColumn::StartedAt, Some(pg_sys::Datum::from(now))),
        (RequestColumn::CompletedAt, None),
        (RequestColumn::ExpiresAt, expires_at),
        (RequestColumn::PurgeAfter, expires_at),
    ];
    match known {
        Some(known) => update_row(table, known, attempt, &changes).then_some(attempt),
        None => {
            insert(table, attempt, &changes);
            Some(attempt)
        }
    }
}

/// A new attempt at a request whose lease ran out. Gives its number; None if another session
/// wrote the row meanwhile.
pub fn resume(table: &RequestTable, claim: &Claim<'_>, known: &RequestRecord) -> Option<i64> {
    check_not_read_only(c"UPDATE");
    let now = backend::clock();
    let attempt = table.next_attempt(Some(known.attempt), now);
    let expires_at = after(now, claim.ttl);
    let changes = [
        (RequestColumn::Attempt, Some(pg_sys::Datum::from(attempt))),
        (RequestColumn::Ttl, Some(claim.ttl.datum())),
        (RequestColumn::Lease, claim.lease.map(Interval::datum)),
        (
            RequestColumn::LeaseUntil,
            claim.lease.and_then(|lease| after(now, lease)),
        ),
        (RequestColumn::StartedAt, Some(pg_sys::Datum::from(now))),
        (RequestColumn::ExpiresAt, expires_at),
        (RequestColumn::PurgeAfter, expires_at),
    ];
    update_row(table, known, attempt, &changes).then_some(attempt)
}

/// Notes a recovery point, a text, and renews the lease. False if another session wrote the row
/// meanwhile.
pub fn advance(table: &RequestTable, known: &RequestRecord, recovery_point: pg_sys::Datum) -> bool {
    check_not_read_only(c"UPDATE");
    let changes = [
        (RequestColumn::RecoveryPoint, Some(recovery_point)),
        (
            RequestColumn::LeaseUntil,
            known.lease.and_then(|lease| after(backend::clock(), lease)),
        ),
    ];
    update_row(table, known, known.attempt, &changes)
}

/// Stores the answer. False if another session wrote the row meanwhile.
pub fn finish(table: &RequestTable, known: &RequestRecord, response: JsonbDatum) -> bool {
    check_not_read_only(c"UPDATE");
    let now = backend::clock();
    let changes = [
        (RequestColumn::Status, Some(status(RequestStatus::Finished))),
        (RequestColumn::Response, Some(response.datum())),
        (RequestColumn::LeaseUntil, None),
        (RequestColumn::CompletedAt, Some(pg_sys::Datum::from(now))),
        (RequestColumn::ExpiresAt, after(now, known.ttl)),
    ];
    update_row(table, known, known.attempt, &changes)
}

/// Gives the request up. False if another session wrote the row meanwhile.
pub fn abandon(table: &RequestTable, known: &RequestRecord) -> bool {
    check_not_read_only(c"UPDATE");
    let changes = [
        (
            RequestColumn::Status,
            Some(status(RequestStatus::Abandoned)),
        ),
        (RequestColumn::LeaseUntil, None),
    ];
    update_row(table, known, known.attempt, &changes)
}

/// The text of a status.
fn status(status: RequestStatus) -> pg_sys::Datum {
    text::to_text(enum_text::name(status))
}

fn after(time: pg_sys::TimestampTz, interval: Interval) -> Option<pg_sys::Datum> {
    Some(pg_sys::Datum::from(interval.after(time)))
}

fn insert(table: &RequestTable, attempt: i64, changes: &[Change; COLUMNS]) {
    // SAFETY: `start` gives each column a value of its type (`sql/requests.sql`), in their order.
    let tid = unsafe { heap::insert_row(table, &changes.map(|(_, value)| value)) };
    AttemptTids::note(attempt, tid);
}

/// Replaces a row that was looked at, if it is still the newest version.
///
/// # Errors
/// 40001 if it is not, in a transaction with one snapshot.
fn update_row(
    table: &RequestTable,
    known: &RequestRecord,
    attempt: i64,
    changes: &[Change],
) -> bool {
    // SAFETY: all callers are in this file, and give columns values of their types.
    let replaced = unsafe { heap::update_row(table, &known.row, changes) };
    match replaced {
        Ok(tid) => {
            if let Some(tid) = tid {
                AttemptTids::note(attempt, tid);
            }
            true
        }
        Err(pg_sys::TM_Result::TM_SelfModified) => Report::new(
            SqlState::TriggeredDataChangeViolation,
            "the request was already modified by the command that this one is part of",
        )
        .table("idempotent", "request_records")
        .raise(),
        Err(_) => {
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
