//! Writing the row of a request.
//!
//! Every change is one of a row that was looked at before, and fails if anybody has
//! written that since. So what was decided by a row holds when the next one is written.
use super::heap;
use super::key::RequestKey;
use super::record::{
    AttemptTids, COLUMNS, Request, RequestColumn, RequestRecord, RequestStatus, RequestTable,
};
use crate::error::{Report, SqlState};
use crate::pg::ffi;
use crate::pg::transaction::snapshot::uses_transaction_snapshot;
use pgrx::pg_sys;
use std::ffi::CStr;

/// What is written when an attempt takes a request.
pub struct Claim<'r> {
    /// What is asked for.
    pub request: &'r Request,
    /// How long the answer is kept, an interval.
    pub ttl: pg_sys::Datum,
    /// How long the attempt holds it without a sign of life, an interval; None if a
    /// transaction does the work.
    pub lease: Option<pg_sys::Datum>,
}

/// A new value for a column.
type Change = (RequestColumn, Option<pg_sys::Datum>);

/// A new attempt at a request whose key is free; `known` is the row that is there and of
/// no more use. Gives its number; None if somebody wrote the row meanwhile.
pub fn start(
    table: &RequestTable,
    key: &RequestKey,
    claim: &Claim<'_>,
    known: Option<&RequestRecord>,
) -> Option<i64> {
    check_not_read_only(c"INSERT");
    let now = now();
    let attempt = table.next_attempt(known, now.value() as i64);
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
        (RequestColumn::Request, Some(claim.request.0)),
        (RequestColumn::RecoveryPoint, None),
        (RequestColumn::Response, None),
        (RequestColumn::Ttl, Some(claim.ttl)),
        (RequestColumn::Lease, claim.lease),
        (
            RequestColumn::LeaseUntil,
            claim.lease.map(|lease| after(now, lease)),
        ),
        (RequestColumn::StartedAt, Some(now)),
        (RequestColumn::CompletedAt, None),
        (RequestColumn::ExpiresAt, Some(expires_at)),
        (RequestColumn::PurgeAfter, Some(expires_at)),
    ];
    match known {
        Some(known) => update_row(table, known, attempt, &changes).then_some(attempt),
        None => {
            insert(table, attempt, &changes);
            Some(attempt)
        }
    }
}

/// A new attempt at a request whose lease ran out. Gives its number; None if somebody
/// wrote the row meanwhile.
pub fn resume(table: &RequestTable, claim: &Claim<'_>, known: &RequestRecord) -> Option<i64> {
    check_not_read_only(c"UPDATE");
    let now = now();
    let attempt = table.next_attempt(Some(known), now.value() as i64);
    let expires_at = after(now, claim.ttl);
    let changes = [
        (RequestColumn::Attempt, Some(pg_sys::Datum::from(attempt))),
        (RequestColumn::Ttl, Some(claim.ttl)),
        (RequestColumn::Lease, claim.lease),
        (
            RequestColumn::LeaseUntil,
            claim.lease.map(|lease| after(now, lease)),
        ),
        (RequestColumn::StartedAt, Some(now)),
        (RequestColumn::ExpiresAt, Some(expires_at)),
        (RequestColumn::PurgeAfter, Some(expires_at)),
    ];
    update_row(table, known, attempt, &changes).then_some(attempt)
}

/// Notes a recovery point, a text, and renews the lease. False if somebody wrote the row
/// meanwhile.
pub fn advance(table: &RequestTable, known: &RequestRecord, recovery_point: pg_sys::Datum) -> bool {
    check_not_read_only(c"UPDATE");
    let changes = [
        (RequestColumn::RecoveryPoint, Some(recovery_point)),
        (
            RequestColumn::LeaseUntil,
            known.lease.map(|lease| after(now(), lease)),
        ),
    ];
    update_row(table, known, known.attempt, &changes)
}

/// Stores the answer, a jsonb. False if somebody wrote the row meanwhile.
pub fn finish(table: &RequestTable, known: &RequestRecord, response: pg_sys::Datum) -> bool {
    check_not_read_only(c"UPDATE");
    let now = now();
    let changes = [
        (RequestColumn::Status, Some(status(RequestStatus::Finished))),
        (RequestColumn::Response, Some(response)),
        (RequestColumn::LeaseUntil, None),
        (RequestColumn::CompletedAt, Some(now)),
        (RequestColumn::ExpiresAt, Some(after(now, known.ttl))),
    ];
    update_row(table, known, known.attempt, &changes)
}

/// Gives the request up. False if somebody wrote the row meanwhile.
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

/// Refuses a READ ONLY transaction. In others the table is locked as INSERT and UPDATE do.
///
/// # Errors
/// 25006, for the command of this name.
fn check_not_read_only(command: &CStr) {
    // SAFETY: a C string.
    unsafe { pg_sys::PreventCommandIfReadOnly(command.as_ptr()) };
}

/// The word of a status, which is ASCII, as a text.
fn status(status: RequestStatus) -> pg_sys::Datum {
    let name = status.name();
    // SAFETY: as many bytes as are copied.
    unsafe {
        let text = pg_sys::cstring_to_text_with_len(name.as_ptr().cast(), name.len() as i32);
        pg_sys::Datum::from(text)
    }
}

fn now() -> pg_sys::Datum {
    // SAFETY: reads the clock.
    pg_sys::Datum::from(unsafe { pg_sys::GetCurrentTimestamp() })
}

fn after(time: pg_sys::Datum, interval: pg_sys::Datum) -> pg_sys::Datum {
    let add = ffi::functions::timestamptz_pl_interval;
    // SAFETY: core's sum of a timestamptz and an interval.
    unsafe { pg_sys::DirectFunctionCall2Coll(Some(add), pg_sys::InvalidOid, time, interval) }
}

fn insert(table: &RequestTable, attempt: i64, changes: &[Change; COLUMNS]) {
    let values = changes.map(|(_, value)| value.unwrap_or(pg_sys::Datum::null()));
    let nulls = changes.map(|(_, value)| value.is_none());
    let (mut values, mut nulls) = table.heap_values(&values, &nulls);
    // SAFETY: open, locked and as the extension made it, so that it has these columns.
    let tid = unsafe { heap::insert(table.raw(), &mut values, &mut nulls) };
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
    let (mut values, mut nulls) = (known.row.values.clone(), known.row.nulls.clone());
    for (column, value) in changes {
        let at = *column as usize;
        values[at] = value.unwrap_or(pg_sys::Datum::null());
        nulls[at] = value.is_none();
    }
    let (mut values, mut nulls) = table.heap_values(&values, &nulls);
    // SAFETY: as above; the place of a row that was seen.
    let replaced = unsafe { heap::update(table.raw(), known.row.tid, &mut values, &mut nulls) };
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
