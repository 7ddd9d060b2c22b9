//! The row of a request in `idempotent.request_records`.
//!
//! It is read from the index and written to the heap directly, as the server does with
//! its catalogs: that needs no rights on the table, which nobody has, and a third of the
//! time of a statement. Only a caller's own rows are ever read or written here.
use super::heap;
use super::key::RequestKey;
use crate::error::{Report, SqlState};
use crate::id_sequence;
use crate::pg::ffi;
use crate::pg::hash::sha256::{sha256, to_bytea};
use crate::pg::transaction::locks;
use crate::pg::transaction::snapshot::{FreshSnapshot, LatestSnapshot, Writers};
use crate::pg::value::jsonb::{Container, FieldDifferences};
use crate::pg::value::text;
use crate::state;
use crate::target::{OpenRelation, PerTarget, Scan, Target, UniqueIndex};
use pgrx::pg_sys;
use std::cell::{Cell, RefCell};
use std::mem::ManuallyDrop;
use std::rc::Rc;

/// So many fields are named in which requests differ.
const MAX_FIELDS: usize = 10;

/// How far a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestStatus {
    /// It is being worked on, or was.
    Started,
    /// It has its answer.
    Finished,
    /// It was given up.
    Abandoned,
}

/// What the caller asks for, a jsonb.
pub struct Request(pub pg_sys::Datum);

impl RequestStatus {
    /// The word in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Finished => "finished",
            Self::Abandoned => "abandoned",
        }
    }
}

impl Request {
    /// Its SHA-256, a bytea.
    pub fn fingerprint(&self) -> pg_sys::Datum {
        // SAFETY: a jsonb; its text is canonical: fields in core's own order, no
        // white space of the client's.
        let text = unsafe { Container::of_datum(self.0) }.to_text();
        to_bytea(&sha256(text.to_bytes()))
    }
}

/// What is known of a key. Values live in the memory of the call.
pub struct RequestRecord {
    /// How far it is.
    pub status: RequestStatus,
    /// Who holds it, or did.
    pub attempt: i64,
    request: pg_sys::Datum,
    /// How far the work has come, a text.
    pub recovery_point: Option<pg_sys::Datum>,
    /// The answer, a jsonb.
    pub response: Option<pg_sys::Datum>,
    /// How long the answer is kept, an interval.
    pub ttl: pg_sys::Datum,
    /// How long an attempt holds it, an interval.
    pub lease: Option<pg_sys::Datum>,
    /// None while it is worked on by a transaction of its own.
    pub lease_until: Option<pg_sys::TimestampTz>,
    /// When the key is free again.
    pub expires_at: pg_sys::TimestampTz,
    /// The row itself.
    pub row: RequestRow,
}

/// The values of a row, in the memory of the call, and its place.
pub struct RequestRow {
    /// Where it is in the table.
    pub tid: pg_sys::ItemPointerData,
    /// The values, by [`RequestColumn`].
    pub values: Vec<pg_sys::Datum>,
    /// Which of the values are NULL, by [`RequestColumn`].
    pub nulls: Vec<bool>,
}

impl RequestRow {
    fn get(&self, column: RequestColumn) -> Option<pg_sys::Datum> {
        let at = column as usize;
        (!self.nulls[at]).then(|| self.values[at])
    }
}

/// The columns of the table, in their order (`sql/requests.sql`).
#[derive(Clone, Copy)]
pub enum RequestColumn {
    Role,
    Scope,
    Key,
    Status,
    Attempt,
    Fingerprint,
    Request,
    RecoveryPoint,
    Response,
    Ttl,
    Lease,
    LeaseUntil,
    StartedAt,
    CompletedAt,
    ExpiresAt,
    PurgeAfter,
}

/// How many columns it has.
pub const COLUMNS: usize = RequestColumn::PurgeAfter as usize + 1;

/// The names of the columns, in the same order.
const NAMES: [&[u8]; COLUMNS] = [
    b"role",
    b"scope",
    b"key",
    b"status",
    b"attempt",
    b"fingerprint",
    b"request",
    b"recovery_point",
    b"response",
    b"ttl",
    b"lease",
    b"lease_until",
    b"started_at",
    b"completed_at",
    b"expires_at",
    b"purge_after",
];

thread_local! {
    /// Whether the last key that was begun was new.
    static LAST_WAS_NEW: ManuallyDrop<PerTarget<Cell<bool>>> = PerTarget::new();
}

/// The table and its primary key, open.
pub struct RequestTable {
    target: Rc<Target>,
    /// Where its columns are among those of the target.
    positions: [usize; COLUMNS],
    /// Which of its indexes the primary key's is.
    arbiter: usize,
    /// Closed before the table.
    index: OpenRelation,
    relation: OpenRelation,
    attempts: pg_sys::Oid,
}

impl RequestTable {
    /// Locked as the transaction may need it: see [`state`].
    ///
    /// # Errors
    /// 42P01 without the extension; 55000 if the table is not as the extension made it.
    pub fn open() -> Self {
        let (target, relation) = state::StateTable::Requests.open();
        let positions = NAMES.map(|name| target.column_by_bytes(name).expect("as made"));
        let arbiter = target.indexes.iter().position(|index| index.primary);
        let arbiter = arbiter.expect("as made");
        let index = target.indexes[arbiter].oid;
        // SAFETY: an index of the table, which is locked; the sequence is looked up by
        // constant names.
        let attempts = unsafe {
            pg_sys::LockRelationOid(index, locks::working_lock_mode());
            let schema = (*(*relation.raw()).rd_rel).relnamespace;
            pg_sys::get_relname_relid(c"request_attempts".as_ptr(), schema)
        };
        Self {
            index: OpenRelation::open(index),
            positions,
            arbiter,
            target,
            relation,
            attempts,
        }
    }

    /// For core's functions.
    pub fn raw(&self) -> pg_sys::Relation {
        self.relation.raw()
    }

    /// What a column is by its position in the target.
    fn column_at(&self, position: usize) -> usize {
        let at = self.positions.iter().position(|at| *at == position);
        at.expect("the table has no other columns")
    }

    /// The values of a row as the heap has them: those of dropped columns are NULL.
    pub fn heap_values(
        &self,
        values: &[pg_sys::Datum],
        nulls: &[bool],
    ) -> (Vec<pg_sys::Datum>, Vec<bool>) {
        // SAFETY: an open relation.
        let count = unsafe { (*self.relation.desc()).natts } as usize;
        let mut whole = (vec![pg_sys::Datum::null(); count], vec![true; count]);
        for (column, position) in self.positions.iter().enumerate() {
            let at = self.target.columns[*position].attnum as usize - 1;
            whole.0[at] = values[column];
            whole.1[at] = nulls[column];
        }
        whole
    }

    fn arbiter(&self) -> &UniqueIndex {
        &self.target.indexes[self.arbiter]
    }

    /// The value of a key column, by its position in the target.
    fn key_value(&self, key: &RequestKey, position: usize) -> Option<pg_sys::Datum> {
        let column = self.column_at(position);
        let at = |wanted: RequestColumn| wanted as usize == column;
        if at(RequestColumn::Role) {
            Some(key.role)
        } else if at(RequestColumn::Scope) {
            Some(key.scope)
        } else {
            at(RequestColumn::Key).then_some(key.key)
        }
    }

    /// A number that no attempt has had (see [`id_sequence`]), greater than that of the row that
    /// is there.
    pub fn next_attempt(&self, known: Option<&RequestRecord>, now: pg_sys::TimestampTz) -> i64 {
        // SAFETY: the sequence is ours, whatever the caller may do with it.
        let draw =
            || unsafe { ffi::guard(|| ffi::unguarded::nextval_internal(self.attempts, false)) };
        let drawn = draw();
        let before = known.map_or(0, |known| known.attempt);
        if drawn > before && !id_sequence::is_behind_the_clock(drawn, now) {
            return drawn;
        }
        id_sequence::advance_attempts_to_clock();
        // A row that says more than the clock is no reason to go on there with all keys.
        draw().max(before.saturating_add(1))
    }

    /// Whether the last key that was begun was new: then the next one probably is.
    pub fn expects_new(&self) -> bool {
        LAST_WAS_NEW.with(|tables| tables.of(self.target.id)).get()
    }

    /// Whether that was so.
    pub fn record_whether_new(&self, new: bool) {
        LAST_WAS_NEW
            .with(|tables| tables.of(self.target.id))
            .set(new);
    }

    /// A scan of the primary key under the active snapshot.
    fn scan(&self) -> Scan {
        let mut scan = Scan::by_equality(&self.relation, &self.index, self.arbiter());
        scan.skip_deforming();
        scan
    }

    /// The row in a slot.
    ///
    /// # Safety
    /// The slot holds a row of the table.
    unsafe fn row(&self, slot: *mut pg_sys::TupleTableSlot) -> RequestRow {
        // SAFETY: the caller's promise; as many values as columns. They point into the
        // copy.
        unsafe {
            let desc = self.relation.desc();
            let count = (*desc).natts as usize;
            let (mut values, mut nulls) = (vec![pg_sys::Datum::null(); count], vec![true; count]);
            let tuple = pg_sys::ExecCopySlotHeapTuple(slot);
            pg_sys::heap_deform_tuple(tuple, desc, values.as_mut_ptr(), nulls.as_mut_ptr());
            let at = |position: &usize| self.target.columns[*position].attnum as usize - 1;
            RequestRow {
                tid: (*tuple).t_self,
                values: self.positions.iter().map(|p| values[at(p)]).collect(),
                nulls: self.positions.iter().map(|p| nulls[at(p)]).collect(),
            }
        }
    }

    fn record(&self, row: RequestRow) -> RequestRecord {
        let required = |column| row.get(column).expect("the column is NOT NULL");
        // SAFETY: a jsonb or a text: what lies outside of the row is fetched while a
        // snapshot keeps it.
        let whole = |datum: pg_sys::Datum| unsafe {
            pg_sys::Datum::from(pg_sys::pg_detoast_datum_packed(datum.cast_mut_ptr()))
        };
        // SAFETY: a text.
        let status = unsafe { text::bytes_of(required(RequestColumn::Status)) };
        RequestRecord {
            status: match status {
                b"started" => RequestStatus::Started,
                b"finished" => RequestStatus::Finished,
                _ => RequestStatus::Abandoned,
            },
            attempt: required(RequestColumn::Attempt).value() as i64,
            request: whole(required(RequestColumn::Request)),
            recovery_point: row.get(RequestColumn::RecoveryPoint).map(whole),
            response: row.get(RequestColumn::Response).map(whole),
            ttl: required(RequestColumn::Ttl),
            lease: row.get(RequestColumn::Lease),
            lease_until: row
                .get(RequestColumn::LeaseUntil)
                .map(|until| until.value() as i64),
            expires_at: required(RequestColumn::ExpiresAt).value() as i64,
            row,
        }
    }
}

impl RequestRecord {
    /// The row under a key, as the transaction may see it.
    pub fn find(table: &RequestTable, key: &RequestKey) -> Option<Self> {
        let _snapshot = FreshSnapshot::push();
        let mut scan = table.scan();
        let found = scan.find(|c| table.key_value(key, c));
        // SAFETY: the scan has found it.
        found.then(|| table.record(unsafe { table.row(scan.slot()) }))
    }

    /// The row that this session has written for an attempt, if the transaction may see
    /// it: what is likely to be written next, found without the index.
    pub fn find_by_tid(table: &RequestTable, key: &RequestKey, attempt: i64) -> Option<Self> {
        let tid = AttemptTids::of(attempt)?;
        let snapshot = FreshSnapshot::push();
        // SAFETY: the table is open, and a row of it was at this place.
        let row = unsafe { heap::fetch(table.raw(), tid, snapshot.raw(), |slot| table.row(slot))? };
        // Another row may be there by now. This one is the key's if it says so: no two
        // under a key are visible at once.
        let same = table.arbiter().keys.iter().all(|part| {
            let column = table.column_at(part.column);
            let stored = (!row.nulls[column]).then(|| row.values[column]);
            part.agrees(stored, table.key_value(key, part.column))
        });
        same.then(|| table.record(row))
    }

    /// Whether the key is free: the request was given up, or has expired and is held by
    /// nobody.
    pub fn is_free(&self) -> bool {
        // SAFETY: reads the clock.
        let now = unsafe { pg_sys::GetCurrentTimestamp() };
        self.status == RequestStatus::Abandoned || (self.expires_at <= now && !self.is_held(now))
    }

    /// Whether an attempt holds it, by the clock.
    pub fn is_held(&self, now: pg_sys::TimestampTz) -> bool {
        self.status == RequestStatus::Started && self.lease_until.is_none_or(|until| until > now)
    }

    /// Whether it is the same request.
    pub fn is_same_request(&self, request: &Request) -> bool {
        // SAFETY: both are jsonb.
        unsafe { Container::of_datum(self.request).equals(Container::of_datum(request.0)) }
    }

    /// Whether this is the answer that was given.
    pub fn has_response(&self, response: pg_sys::Datum) -> bool {
        // SAFETY: both are jsonb.
        self.response.is_some_and(|given| unsafe {
            Container::of_datum(given).equals(Container::of_datum(response))
        })
    }

    /// 23I02, with the names of the fields that differ, without their values.
    pub fn reused(&self, key: &RequestKey, request: &Request) -> Report {
        // SAFETY: both are jsonb.
        let fields = unsafe {
            let theirs = Container::of_datum(request.0);
            Container::of_datum(self.request).differing_fields(theirs, MAX_FIELDS)
        };
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
    InProgress(ConcurrentWriter),
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
    pub fn wait(mut self) {
        // SAFETY: an ordinary wait of the server.
        unsafe {
            pg_sys::XactLockTableWait(
                self.transaction,
                self.relation.raw(),
                &raw mut self.tuple,
                pg_sys::XLTW_Oper::XLTW_InsertIndexUnique,
            );
        }
    }
}

/// Looks for transactions that are writing the row under a key.
pub fn probe(table: &RequestTable, key: &RequestKey) -> DirtyProbe {
    let mut scan = Scan::by_equality_dirty(&table.relation, &table.index, table.arbiter());
    scan.skip_deforming();
    let mut busy = None;
    let mut exists = false;
    let mut found = scan.find(|c| table.key_value(key, c));
    while found {
        let Writers {
            inserter, deleter, ..
        } = scan.writers();
        // SAFETY: the scan has found it.
        let row = unsafe { table.row(scan.slot()) };
        let mut note = |transaction, row: RequestRow, written: bool| {
            busy = Some(ConcurrentWriter {
                transaction,
                relation: table.relation.reopen(),
                tuple: row.tid,
                written: written.then(|| table.record(row)),
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
        Some(busy) => DirtyProbe::InProgress(busy),
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
