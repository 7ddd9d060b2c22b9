//! The row of a request in `idempotent.request_records`.
//!
//! It is read from the index and written to the heap directly, as the server does with
//! its catalogs: that needs no rights on the table, which no user has, and a third of the
//! time of a statement. Only a caller's own rows are ever read or written here.
use super::key::RequestKey;
use super::row::RequestRow;
use super::table::{RequestColumn, RequestTable};
use crate::error::{Report, SqlState};
use crate::pg::backend;
use crate::pg::hash::sha256::sha256;
use crate::pg::heap::{Tid, wait_for_writer};
use crate::pg::interrupt;
use crate::pg::transaction::snapshot::{FreshSnapshot, LatestSnapshot, Writers};
use crate::pg::value::by_reference::Interval;
use crate::pg::value::document::{Document, JsonbDatum};
use crate::pg::value::jsonb::{Container, FieldDifferences, Kind, Value};
use crate::pg::value::sql_value::SqlValue;
use crate::pg::value::text;
use crate::stats::{Recorder, Requests};
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
    /// Its SHA-256.
    pub fn fingerprint(&self) -> [u8; 32] {
        // Its text is canonical: fields in core's own order, no white space of the client's.
        let text = self.0.container().to_text();
        interrupt::check();
        let hash = sha256(text.to_bytes());
        interrupt::check();
        hash
    }
}

/// What is known of a key.
pub struct RequestRecord {
    /// How far it is.
    pub status: RequestStatus,
    /// Who holds it, or did.
    pub attempt: i64,
    /// None while it is worked on by a transaction of its own.
    pub lease_until: Option<pg_sys::TimestampTz>,
    /// When the key is free again.
    pub expires_at: pg_sys::TimestampTz,
    /// What was asked for.
    request: Document,
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
    request: Document,
}

/// The answer.
#[derive(Deserialize)]
struct Answer {
    response: Option<Document>,
}

impl RequestRecord {
    fn of(table: &RequestTable, row: RequestRow) -> Self {
        let progress: Progress = table.read(row.heap_row());
        Self {
            status: progress.status,
            attempt: progress.attempt,
            lease_until: progress.lease_until,
            expires_at: progress.expires_at,
            request: progress.request,
            row,
        }
    }

    /// How far the work has come, a text.
    pub fn recovery_point(&self) -> SqlValue<'_> {
        self.row.get(RequestColumn::RecoveryPoint)
    }

    /// The answer, a jsonb.
    pub fn response(&self) -> SqlValue<'_> {
        self.row.get(RequestColumn::Response)
    }

    /// How long the answer is kept.
    pub fn ttl(&self) -> Interval {
        let ttl = self.row.get(RequestColumn::Ttl).to_interval();
        ttl.expect("the column is NOT NULL")
    }

    /// How long an attempt holds it.
    pub fn lease(&self) -> Option<Interval> {
        self.row.get(RequestColumn::Lease).to_interval()
    }

    /// The row under a key, as the transaction may see it.
    pub fn find(table: &RequestTable, key: &RequestKey<'_>) -> Option<Self> {
        let _snapshot = FreshSnapshot::push();
        let mut scan = table.scan();
        let found = scan.find(|c| table.key_value(key, c));
        found.then(|| RequestRecord::of(table, RequestRow::of_scan(table, &scan)))
    }

    /// The row that this session has written for an attempt, if the transaction may see
    /// it: what is likely to be written next, found without the index.
    pub fn find_by_tid(table: &RequestTable, key: &RequestKey<'_>, attempt: i64) -> Option<Self> {
        let tid = AttemptTids::of(attempt)?;
        let row = RequestRow::at(table, tid)?;
        // Another row may be there by now. This one is the key's if it says so: no two
        // under a key are visible at once.
        let same = table.arbiter().keys.iter().all(|part| {
            let value = row.heap_row().value(table.number_at(part.column));
            part.agrees(value, table.key_value(key, part.column))
        });
        same.then(|| Self::of(table, row))
    }

    /// Whether the key is free: the request was given up, or has expired and no
    /// attempt holds it.
    pub fn is_free(&self) -> bool {
        let now = backend::clock();
        self.status == RequestStatus::Abandoned || (self.expires_at <= now && !self.is_held(now))
    }

    /// Whether an attempt holds it, by the clock.
    pub fn is_held(&self, now: pg_sys::TimestampTz) -> bool {
        self.status == RequestStatus::Started && self.lease_until.is_none_or(|until| until > now)
    }

    /// Whether its attempt still works on it, for the transaction's snapshot to see or not.
    pub fn is_under_way(&self, table: &RequestTable, key: &RequestKey<'_>) -> bool {
        let _snapshot = LatestSnapshot::push();
        let mut scan = table.scan();
        if !scan.find(|c| table.key_value(key, c)) {
            return false;
        }
        let now = Self::of(table, RequestRow::of_scan(table, &scan));
        now.status == RequestStatus::Started && now.attempt == self.attempt
    }

    /// Whether it is the same request.
    pub fn is_same_request(&self, request: &Request) -> bool {
        self.request.container().equals(request.0.container())
    }

    /// Whether this is the answer that was given.
    pub fn has_response(&self, table: &RequestTable, response: JsonbDatum) -> bool {
        let given: Answer = table.read(self.row.heap_row());
        let given = given.response;
        given.is_some_and(|given| given.container().equals(response.container()))
    }

    /// 23I02, with the names of the fields that differ, without their values.
    pub fn reused(&self, key: &RequestKey<'_>, request: &Request) -> Report {
        Recorder::of_requests().count(Requests::Mismatched);
        let (ours, theirs) = (self.request.container(), request.0.container());
        let detail = match ours.differing_fields(theirs, MAX_FIELDS) {
            Some(FieldDifferences { names, count }) => {
                let more = match count - names.len() {
                    0 => String::new(),
                    more => format!(" and {more} more"),
                };
                let names = names.into_iter().map(|name| match name.as_str() {
                    "arguments" => name + &differing_parameters(ours, theirs),
                    _ => name,
                });
                let names = names.collect::<Vec<_>>().join(", ");
                format!("The requests differ in {names}{more}.")
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

/// The parameters of a command, in parentheses, that differ in two requests of
/// `idempotent_execute`; nothing if these are no such requests, or their number differs.
fn differing_parameters(ours: Container<'_>, theirs: Container<'_>) -> String {
    let (Some(ours), Some(theirs)) = (arguments_of(ours), arguments_of(theirs)) else {
        return String::new();
    };
    if ours.len() != theirs.len() {
        return String::new();
    }
    let mut differing = Vec::new();
    for (i, (our, their)) in ours.members().zip(theirs.members()).enumerate() {
        pgrx::check_for_interrupts!();
        if !our.equals(their) && differing.len() <= MAX_FIELDS {
            differing.push(format!("${}", i + 1));
        }
    }
    if differing.len() > MAX_FIELDS {
        differing[MAX_FIELDS] = text::ellipsis().to_owned();
    }
    format!(" ({})", differing.join(", "))
}

/// The array in the field `arguments`, beside which there is a command or operation alone.
fn arguments_of(request: Container<'_>) -> Option<Container<'_>> {
    let fields = request.names().zip(request.values());
    let mut arrays = fields.filter_map(|(name, value)| match value {
        Value::Container(array, _) if name == b"arguments" => Some(array),
        _ => None,
    });
    arrays
        .next()
        .filter(|array| request.len() == 2 && array.kind() == Kind::Array)
}

/// Whether there is a row under a key, and this transaction has written it: until that ends, nobody else
/// writes it.
pub fn is_written_by_us(table: &RequestTable, key: &RequestKey<'_>) -> bool {
    let _snapshot = LatestSnapshot::push();
    let mut scan = table.scan();
    scan.find(|c| table.key_value(key, c)) && scan.row(&[]).is_some_and(|row| row.is_ours())
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
    tuple: Tid,
    /// What it has written; None if it only removes the row.
    pub written: Option<RequestRecord>,
}

impl ConcurrentWriter {
    /// Waits until it ends.
    pub fn wait(self) {
        wait_for_writer(&self.relation, self.transaction, self.tuple);
    }
}

/// Looks for transactions that are writing the row under a key.
pub fn probe(table: &RequestTable, key: &RequestKey<'_>) -> DirtyProbe {
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
                relation: table.relation().reopen(),
                tuple: row.tid(),
                written: written.then(|| RequestRecord::of(table, row)),
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
    static ATTEMPT_TIDS: RefCell<[Option<(i64, Tid)>; MAX_ATTEMPT_TIDS]> =
        const { RefCell::new([None; MAX_ATTEMPT_TIDS]) };
}

impl AttemptTids {
    fn slot(attempt: i64) -> usize {
        attempt.rem_euclid(MAX_ATTEMPT_TIDS as i64) as usize
    }

    fn of(attempt: i64) -> Option<Tid> {
        let noted = ATTEMPT_TIDS.with(|places| places.borrow()[Self::slot(attempt)]);
        noted.filter(|(of, _)| *of == attempt).map(|(_, tid)| tid)
    }

    /// Indexes point there at the attempt's row.
    pub fn note(attempt: i64, tid: Tid) {
        ATTEMPT_TIDS.with(|places| places.borrow_mut()[Self::slot(attempt)] = Some((attempt, tid)));
    }
}
