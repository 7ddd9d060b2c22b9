//! Writing the row of a request.
//!
//! Every change is one of a row that was looked at before, and fails if anybody has
//! written that since. So what was decided by a row holds when the next one is written.
use super::heap;
use super::lock::RequestKey;
use super::record::{COLUMNS, Column, Places, Record, Request, Status, Table};
use crate::error::{Report, SqlState};
use crate::pg::ffi;
use crate::pg::snapshot::one_for_transaction;
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
type Change = (Column, Option<pg_sys::Datum>);

/// A new attempt at a request whose key is free; `known` is the row that is there and of
/// no more use. Gives its number; None if somebody wrote the row meanwhile.
pub fn start(
    table: &Table,
    key: &RequestKey,
    claim: &Claim<'_>,
    known: Option<&Record>,
) -> Option<i64> {
    demand_writable(c"INSERT");
    let now = now();
    let attempt = table.next_attempt(known, now.value() as i64);
    let expires_at = after(now, claim.ttl);
    let changes = [
        (Column::Role, Some(key.role)),
        (Column::Scope, Some(key.scope)),
        (Column::Key, Some(key.key)),
        (Column::Status, Some(status(Status::Started))),
        (Column::Attempt, Some(pg_sys::Datum::from(attempt))),
        (Column::Fingerprint, Some(claim.request.fingerprint())),
        (Column::Request, Some(claim.request.0)),
        (Column::RecoveryPoint, None),
        (Column::Response, None),
        (Column::Ttl, Some(claim.ttl)),
        (Column::Lease, claim.lease),
        (
            Column::LeaseUntil,
            claim.lease.map(|lease| after(now, lease)),
        ),
        (Column::StartedAt, Some(now)),
        (Column::CompletedAt, None),
        (Column::ExpiresAt, Some(expires_at)),
        (Column::PurgeAfter, Some(expires_at)),
    ];
    match known {
        Some(known) => replace(table, known, attempt, &changes).then_some(attempt),
        None => {
            insert(table, attempt, &changes);
            Some(attempt)
        }
    }
}

/// A new attempt at a request whose lease ran out. Gives its number; None if somebody
/// wrote the row meanwhile.
pub fn resume(table: &Table, claim: &Claim<'_>, known: &Record) -> Option<i64> {
    demand_writable(c"UPDATE");
    let now = now();
    let attempt = table.next_attempt(Some(known), now.value() as i64);
    let expires_at = after(now, claim.ttl);
    let changes = [
        (Column::Attempt, Some(pg_sys::Datum::from(attempt))),
        (Column::Ttl, Some(claim.ttl)),
        (Column::Lease, claim.lease),
        (
            Column::LeaseUntil,
            claim.lease.map(|lease| after(now, lease)),
        ),
        (Column::StartedAt, Some(now)),
        (Column::ExpiresAt, Some(expires_at)),
        (Column::PurgeAfter, Some(expires_at)),
    ];
    replace(table, known, attempt, &changes).then_some(attempt)
}

/// Notes a recovery point, a text, and renews the lease. False if somebody wrote the row
/// meanwhile.
pub fn advance(table: &Table, known: &Record, recovery_point: pg_sys::Datum) -> bool {
    demand_writable(c"UPDATE");
    let changes = [
        (Column::RecoveryPoint, Some(recovery_point)),
        (
            Column::LeaseUntil,
            known.lease.map(|lease| after(now(), lease)),
        ),
    ];
    replace(table, known, known.attempt, &changes)
}

/// Stores the answer, a jsonb. False if somebody wrote the row meanwhile.
pub fn finish(table: &Table, known: &Record, response: pg_sys::Datum) -> bool {
    demand_writable(c"UPDATE");
    let now = now();
    let changes = [
        (Column::Status, Some(status(Status::Finished))),
        (Column::Response, Some(response)),
        (Column::LeaseUntil, None),
        (Column::CompletedAt, Some(now)),
        (Column::ExpiresAt, Some(after(now, known.ttl))),
    ];
    replace(table, known, known.attempt, &changes)
}

/// Gives the request up. False if somebody wrote the row meanwhile.
pub fn abandon(table: &Table, known: &Record) -> bool {
    demand_writable(c"UPDATE");
    let changes = [
        (Column::Status, Some(status(Status::Abandoned))),
        (Column::LeaseUntil, None),
    ];
    replace(table, known, known.attempt, &changes)
}

/// Refuses a READ ONLY transaction. In others the table is locked as INSERT and UPDATE do.
///
/// # Errors
/// 25006, for the command of this name.
fn demand_writable(command: &CStr) {
    // SAFETY: a C string.
    unsafe { pg_sys::PreventCommandIfReadOnly(command.as_ptr()) };
}

/// The word of a status, which is ASCII, as a text.
fn status(status: Status) -> pg_sys::Datum {
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

fn insert(table: &Table, attempt: i64, changes: &[Change; COLUMNS]) {
    let values = changes.map(|(_, value)| value.unwrap_or(pg_sys::Datum::null()));
    let nulls = changes.map(|(_, value)| value.is_none());
    let (mut values, mut nulls) = table.whole(&values, &nulls);
    // SAFETY: open, locked and as the extension made it, so that it has these columns.
    let place = unsafe { heap::insert(table.raw(), &mut values, &mut nulls) };
    Places::note(attempt, place);
}

/// Replaces a row that was looked at, if it is still the newest version.
///
/// # Errors
/// 40001 if it is not, in a transaction with one snapshot.
fn replace(table: &Table, known: &Record, attempt: i64, changes: &[Change]) -> bool {
    let (mut values, mut nulls) = (known.row.values.clone(), known.row.nulls.clone());
    for (column, value) in changes {
        let at = *column as usize;
        values[at] = value.unwrap_or(pg_sys::Datum::null());
        nulls[at] = value.is_none();
    }
    let (mut values, mut nulls) = table.whole(&values, &nulls);
    // SAFETY: as above; the place of a row that was seen.
    let replaced = unsafe { heap::replace(table.raw(), known.row.place, &mut values, &mut nulls) };
    match replaced {
        Ok(place) => {
            if let Some(place) = place {
                Places::note(attempt, place);
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
            demand_fresh_snapshots();
            pgrx::check_for_interrupts!();
            false
        }
    }
}

/// What is stored is not what the transaction sees: that ends one with one snapshot.
///
/// # Errors
/// 40001, in core's own words.
pub fn demand_fresh_snapshots() {
    if one_for_transaction() {
        Report::could_not_serialize("idempotent", "request_records").raise()
    }
}
