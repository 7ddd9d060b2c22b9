//! The row of a request in `idempotent.request_records`.
//!
//! It is read from the index and written to the heap directly, as the server does with
//! its catalogs: that needs no rights on the table, which nobody has, and a third of the
//! time of a statement. Only a caller's own rows are ever read or written here.
use super::heap::{self, RequestRow};
use super::key::RequestKey;
use super::table::{RequestColumn, RequestTable};
use crate::error::{Report, SqlState};
use crate::pg::backend;
use crate::pg::hash::sha256::{sha256, to_bytea};
use crate::pg::interrupt;
use crate::pg::transaction::snapshot::{FreshSnapshot, LatestSnapshot, Writers};
use crate::pg::value::document::JsonbDatum;
use crate::pg::value::interval::Interval;
use crate::pg::value::jsonb::FieldDifferences;
use crate::target::OpenRelation;
use pgrx::pg_sys;
use serde::{Deserialize, Serialize};
use std::cell::RefCell;

/// So many fields are named in which requests differ.
const MAX_FIELDS: usize = 10;

/// How far a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RequestStatus {
    /// It is being worked on, or was.
    Started,
    /// It has its answer.
    Finished,
    /// It was given up.
    #[serde(other)]
    Abandoned,
}

/// What the caller asks for.
pub struct Request(pub JsonbDatum);

impl Request {
    /// Its SHA-256, a bytea.
    pub fn fingerprint(&self) -> pg_sys::Datum {
        // Its text is canonical: fields in core's own order, no white space of the client's.
        let text = self.0.container().to_text();
        interrupt::check();
        let hash = sha256(text.to_bytes());
        interrupt::check();
        to_bytea(&hash)
    }
}

/// What is known of a key. Values live in the memory of the call.
pub struct RequestRecord {
    /// How far it is.
    pub status: RequestStatus,
    /// Who holds it, or did.
    pub attempt: i64,
    /// How far the work has come, a text.
    pub recovery_point: Option<pg_sys::Datum>,
    /// The answer, a jsonb.
    pub response: Option<pg_sys::Datum>,
    /// How long the answer is kept.
    pub ttl: Interval,
    /// How long an attempt holds it.
    pub lease: Option<Interval>,
    /// None while it is worked on by a transaction of its own.
    pub lease_until: Option<pg_sys::TimestampTz>,
    /// When the key is free again.
    pub expires_at: pg_sys::TimestampTz,
    /// The row itself.
    pub row: RequestRow,
}

/// The columns that say how far a request is.
#[derive(Deserialize)]
struct Progress {
    status: RequestStatus,
    attempt: i64,
    lease_until: Option<pg_sys::TimestampTz>,
    expires_at: pg_sys::TimestampTz,
}

impl RequestRecord {
    fn of(row: RequestRow) -> Self {
        let progress: Progress = row.read();
        Self {
            status: progress.status,
            attempt: progress.attempt,
            recovery_point: row.fetched(RequestColumn::RecoveryPoint),
            response: row.fetched(RequestColumn::Response),
            ttl: row.interval(RequestColumn::Ttl).expect("NOT NULL"),
            lease: row.interval(RequestColumn::Lease),
            lease_until: progress.lease_until,
            expires_at: progress.expires_at,
            row,
        }
    }

    /// What was asked for.
    fn request(&self) -> JsonbDatum {
        let request = self.row.jsonb(RequestColumn::Request);
        request.expect("the column is NOT NULL")
    }

    /// The row under a key, as the transaction may see it.
    pub fn find(table: &RequestTable, key: &RequestKey) -> Option<Self> {
        let _snapshot = FreshSnapshot::push();
        let mut scan = table.scan();
        let found = scan.find(|c| table.key_value(key, c));
        found.then(|| RequestRecord::of(RequestRow::of_scan(table, &scan)))
    }

    /// The row that this session has written for an attempt, if the transaction may see
    /// it: what is likely to be written next, found without the index.
    pub fn find_by_tid(table: &RequestTable, key: &RequestKey, attempt: i64) -> Option<Self> {
        let tid = AttemptTids::of(attempt)?;
        let row = heap::row_at(table, tid)?;
        // Another row may be there by now. This one is the key's if it says so: no two
        // under a key are visible at once.
        let same = table.arbiter().keys.iter().all(|part| {
            let column = table.column_at(part.column);
            part.agrees(row.get_at(column), table.key_value(key, part.column))
        });
        same.then(|| Self::of(row))
    }

    /// Whether the key is free: the request was given up, or has expired and is held by
    /// nobody.
    pub fn is_free(&self) -> bool {
        let now = backend::clock();
        self.status == RequestStatus::Abandoned || (self.expires_at <= now && !self.is_held(now))
    }

    /// Whether an attempt holds it, by the clock.
    pub fn is_held(&self, now: pg_sys::TimestampTz) -> bool {
        self.status == RequestStatus::Started && self.lease_until.is_none_or(|until| until > now)
    }

    /// Whether it is the same request.
    pub fn is_same_request(&self, request: &Request) -> bool {
        let asked = self.request();
        asked.container().equals(request.0.container())
    }

    /// Whether this is the answer that was given.
    pub fn has_response(&self, response: JsonbDatum) -> bool {
        let given = self.row.jsonb(RequestColumn::Response);
        given.is_some_and(|given| given.container().equals(response.container()))
    }

    /// 23I02, with the names of the fields that differ, without their values.
    pub fn reused(&self, key: &RequestKey, request: &Request) -> Report {
        let asked = self.request();
        let theirs = request.0.container();
        let fields = asked.container().differing_fields(theirs, MAX_FIELDS);
        let detail = match fields {
            Some(FieldDifferences { names, count }) => {
                let more = match count - names.len() {
                    0 => String::new(),
                    more => format!(" and {more} more"),
                };
                format!("The requests differ in {}{more}.", names.join(", "))
            }
            None => "The requests differ as a whole.".to_owned(),
        };
        Report::new(
            SqlState::KeyReused,
            format!(
                "request key \"{}\" was used with another request",
                key.display_text()
            ),
        )
        .detail(detail)
        .hint("Use a new key for a new request.")
        .table("idempotent", "request_records")
        .constraint("request_records_pkey")
    }
}

/// What a look at all versions of the row shows, committed or not.
pub enum DirtyProbe {
    /// No other transaction is writing it. Whether there is one, for the transaction's
    /// snapshot to see or not.
    Idle(bool),
    /// One is.
    InProgress(Box<ConcurrentWriter>),
}

/// A transaction that writes the row, or removes it.
pub struct ConcurrentWriter {
    transaction: pg_sys::TransactionId,
    relation: OpenRelation,
    tuple: pg_sys::ItemPointerData,
    /// What it has written; None if it only removes the row.
    pub written: Option<RequestRecord>,
}

impl ConcurrentWriter {
    /// Waits until it ends.
    pub fn wait(self) {
        heap::wait_for_writer(&self.relation, self.transaction, self.tuple);
    }
}

/// Looks for transactions that are writing the row under a key.
pub fn probe(table: &RequestTable, key: &RequestKey) -> DirtyProbe {
    let mut scan = table.dirty_scan();
    let mut busy = None;
    let mut exists = false;
    let mut found = scan.find(|c| table.key_value(key, c));
    while found {
        let Writers {
            inserter, deleter, ..
        } = scan.writers();
        let row = RequestRow::of_scan(table, &scan);
        let mut note = |transaction, row: RequestRow, written: bool| {
            busy = Some(ConcurrentWriter {
                transaction,
                relation: table.relation.reopen(),
                tuple: row.tid(),
                written: written.then(|| RequestRecord::of(row)),
            });
        };
        if inserter != pg_sys::InvalidTransactionId {
            note(inserter, row, true);
            break;
        }
        exists = true;
        if deleter != pg_sys::InvalidTransactionId {
            // If it is being replaced, the new version comes next.
            note(deleter, row, false);
        }
        found = scan.next();
    }
    match busy {
        Some(busy) => DirtyProbe::InProgress(Box::new(busy)),
        // A dirty probe that met dead rows only may have missed one that was being
        // replaced (see the guard's protocol); an MVCC snapshot misses none.
        None if !exists && scan.saw_entry() => {
            let _snapshot = LatestSnapshot::push();
            let mut scan = table.scan();
            DirtyProbe::Idle(scan.find(|c| table.key_value(key, c)))
        }
        None => DirtyProbe::Idle(exists),
    }
}

/// Where indexes point at the rows of this session's last attempts. A place is only a
/// hint: the row there is looked at before it is taken for the attempt's.
pub struct AttemptTids;

/// So many attempts that a session works on at once are found without the index.
const MAX_ATTEMPT_TIDS: usize = 64;

thread_local! {
    static ATTEMPT_TIDS: RefCell<[(i64, pg_sys::ItemPointerData); MAX_ATTEMPT_TIDS]> =
        RefCell::new([(0, pg_sys::ItemPointerData::default()); MAX_ATTEMPT_TIDS]);
}

impl AttemptTids {
    fn slot(attempt: i64) -> usize {
        attempt.rem_euclid(MAX_ATTEMPT_TIDS as i64) as usize
    }

    fn of(attempt: i64) -> Option<pg_sys::ItemPointerData> {
        let (of, tid) = ATTEMPT_TIDS.with(|places| places.borrow()[Self::slot(attempt)]);
        (of == attempt && tid.ip_posid != 0).then_some(tid)
    }

    /// Indexes point there at the attempt's row.
    pub fn note(attempt: i64, tid: pg_sys::ItemPointerData) {
        ATTEMPT_TIDS.with(|places| places.borrow_mut()[Self::slot(attempt)] = (attempt, tid));
    }
}
