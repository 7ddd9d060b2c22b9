//! Writing the row of a request.
//!
//! Every change is one of a row that was looked at before: it is locked where it was
//! found, which fails if anybody has written it since, and then replaced. So what was
//! decided by a row holds when the next one is written.
use super::lock::RequestKey;
use super::record::{Column, Record, Request, State, Table};
use crate::error::{Report, SqlState};
use crate::pg::digest::to_bytea;
use crate::pg::snapshot::one_for_transaction;
use crate::pg::{ffi, text};
use pgrx::pg_sys;
use std::ffi::CStr;
use std::ptr;

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
pub fn start(key: &RequestKey, claim: &Claim<'_>, known: Option<&Record>) -> Option<i64> {
    let table = open_to_write(c"INSERT");
    let attempt = next_attempt();
    let now = now();
    let changes = [
        (Column::Role, Some(pg_sys::Datum::from(key.role))),
        (Column::Scope, Some(key.scope)),
        (Column::Key, Some(key.key)),
        (Column::State, Some(state(State::Started))),
        (Column::Attempt, Some(pg_sys::Datum::from(attempt))),
        (
            Column::Fingerprint,
            Some(to_bytea(&claim.request.fingerprint)),
        ),
        (Column::Request, Some(claim.request.document)),
        (Column::RecoveryPoint, None),
        (Column::Response, None),
        (Column::Ttl, Some(claim.ttl)),
        (Column::Lease, claim.lease),
        (
            Column::LeaseUntil,
            claim.lease.map(|lease| after(now, lease)),
        ),
        (Column::StartedAt, Some(now)),
        (Column::FinishedAt, None),
        (Column::ExpiresAt, Some(after(now, claim.ttl))),
    ];
    match known {
        Some(known) => replace(&table, known, &changes).then_some(attempt),
        None => {
            insert(&table, &changes);
            Some(attempt)
        }
    }
}

/// A new attempt at a request whose lease ran out. Gives its number; None if somebody
/// wrote the row meanwhile.
pub fn resume(claim: &Claim<'_>, known: &Record) -> Option<i64> {
    let table = open_to_write(c"UPDATE");
    let attempt = next_attempt();
    let now = now();
    let changes = [
        (Column::Attempt, Some(pg_sys::Datum::from(attempt))),
        (Column::Ttl, Some(claim.ttl)),
        (Column::Lease, claim.lease),
        (
            Column::LeaseUntil,
            claim.lease.map(|lease| after(now, lease)),
        ),
        (Column::StartedAt, Some(now)),
        (Column::ExpiresAt, Some(after(now, claim.ttl))),
    ];
    replace(&table, known, &changes).then_some(attempt)
}

/// Notes a recovery point, a text, and renews the lease. False if somebody wrote the row
/// meanwhile.
pub fn advance(known: &Record, recovery_point: pg_sys::Datum) -> bool {
    let changes = [
        (Column::RecoveryPoint, Some(recovery_point)),
        (
            Column::LeaseUntil,
            known.lease.map(|lease| after(now(), lease)),
        ),
    ];
    replace(&open_to_write(c"UPDATE"), known, &changes)
}

/// Stores the answer, a jsonb. False if somebody wrote the row meanwhile.
pub fn finish(known: &Record, response: pg_sys::Datum) -> bool {
    let now = now();
    let changes = [
        (Column::State, Some(state(State::Finished))),
        (Column::Response, Some(response)),
        (Column::LeaseUntil, None),
        (Column::FinishedAt, Some(now)),
        (Column::ExpiresAt, Some(after(now, known.ttl))),
    ];
    replace(&open_to_write(c"UPDATE"), known, &changes)
}

/// Gives the request up. False if somebody wrote the row meanwhile.
pub fn abandon(known: &Record) -> bool {
    let changes = [
        (Column::State, Some(state(State::Abandoned))),
        (Column::LeaseUntil, None),
    ];
    replace(&open_to_write(c"UPDATE"), known, &changes)
}

/// The table, locked as for INSERT and UPDATE.
///
/// # Errors
/// 25006 in a READ ONLY transaction, for the command of this name.
fn open_to_write(command: &CStr) -> Table {
    // SAFETY: a C string.
    unsafe { pg_sys::PreventCommandIfReadOnly(command.as_ptr()) };
    let table = Table::open();
    table.demand_as_made();
    // SAFETY: an open relation.
    unsafe {
        let lock = pg_sys::RowExclusiveLock as pg_sys::LOCKMODE;
        pg_sys::LockRelationOid((*table.raw()).rd_id, lock);
    }
    table
}

fn state(state: State) -> pg_sys::Datum {
    text::to_text(state.name())
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

/// A number that no attempt has had.
fn next_attempt() -> i64 {
    // SAFETY: look-ups by constant names; the sequence is ours, whatever the caller may
    // do with it.
    unsafe {
        let schema = pg_sys::get_namespace_oid(c"idempotent".as_ptr(), false);
        let sequence = pg_sys::get_relname_relid(c"request_attempts".as_ptr(), schema);
        ffi::guard(|| ffi::unguarded::nextval_internal(sequence, false))
    }
}

/// Values and nulls for a row, and which of them are changes.
fn row(table: &Table, changes: &[Change]) -> (Vec<pg_sys::Datum>, Vec<bool>, Vec<bool>) {
    // SAFETY: an open relation.
    let count = unsafe { (*(*table.raw()).rd_att).natts } as usize;
    let mut values = vec![pg_sys::Datum::null(); count];
    let mut nulls = vec![true; count];
    let mut changed = vec![false; count];
    for (column, value) in changes {
        let at = *column as usize;
        values[at] = value.unwrap_or(pg_sys::Datum::null());
        nulls[at] = value.is_none();
        changed[at] = true;
    }
    (values, nulls, changed)
}

fn insert(table: &Table, changes: &[Change]) {
    let (mut values, mut nulls, _) = row(table, changes);
    let relation = table.raw();
    // SAFETY: as many values as columns; the relation is open and locked. It has
    // neither triggers nor expressions in its indexes.
    unsafe {
        let tuple =
            pg_sys::heap_form_tuple((*relation).rd_att, values.as_mut_ptr(), nulls.as_mut_ptr());
        let indexes = pg_sys::CatalogOpenIndexes(relation);
        pg_sys::CatalogTupleInsertWithInfo(relation, tuple, indexes);
        pg_sys::CatalogCloseIndexes(indexes);
        pg_sys::CommandCounterIncrement();
    }
}

/// Replaces a row that was looked at, if it is still the newest version.
///
/// # Errors
/// 40001 if it is not, in a transaction with one snapshot.
fn replace(table: &Table, known: &Record, changes: &[Change]) -> bool {
    let (mut values, mut nulls, mut changed) = row(table, changes);
    let relation = table.raw();
    // SAFETY: as above; the tuple is a copy of the row, and knows its place.
    unsafe {
        let mut place = (*known.tuple).t_self;
        if !lock(relation, &mut place) {
            return false;
        }
        let tuple = pg_sys::heap_modify_tuple(
            known.tuple,
            (*relation).rd_att,
            values.as_mut_ptr(),
            nulls.as_mut_ptr(),
            changed.as_mut_ptr(),
        );
        let indexes = pg_sys::CatalogOpenIndexes(relation);
        pg_sys::CatalogTupleUpdateWithInfo(relation, &raw mut place, tuple, indexes);
        pg_sys::CatalogCloseIndexes(indexes);
        pg_sys::CommandCounterIncrement();
    }
    true
}

/// Locks the row at a place against others that would write it. False if it is not the
/// newest version any more.
///
/// # Safety
/// The relation is open, and the place is that of a row that was seen.
unsafe fn lock(relation: pg_sys::Relation, place: &mut pg_sys::ItemPointerData) -> bool {
    // SAFETY: the caller's promise; waits as UPDATE does.
    unsafe {
        let slot = pg_sys::table_slot_create(relation, ptr::null_mut());
        let mut failure = pg_sys::TM_FailureData::default();
        let method = &*(*relation).rd_tableam;
        let command = pg_sys::GetCurrentCommandId(true);
        let result = ffi::guard(|| {
            method.tuple_lock.map(|lock| {
                lock(
                    relation,
                    place,
                    pg_sys::GetActiveSnapshot(),
                    slot,
                    command,
                    pg_sys::LockTupleMode::LockTupleNoKeyExclusive,
                    pg_sys::LockWaitPolicy::LockWaitBlock,
                    0,
                    &raw mut failure,
                )
            })
        });
        pg_sys::ExecDropSingleTupleTableSlot(slot);
        if result == Some(pg_sys::TM_Result::TM_Ok) {
            return true;
        }
        if result == Some(pg_sys::TM_Result::TM_SelfModified) {
            Report::new(
                SqlState::TriggeredDataChangeViolation,
                "the request was already modified by the command that this one is part of",
            )
            .table("idempotent", "requests")
            .raise()
        }
        demand_fresh_snapshots();
        pgrx::check_for_interrupts!();
        false
    }
}

/// What is stored is not what the transaction sees: that ends one with one snapshot.
///
/// # Errors
/// 40001, in core's own words.
pub fn demand_fresh_snapshots() {
    if one_for_transaction() {
        Report::could_not_serialize("idempotent", "requests").raise()
    }
}
