//! The row of a request in `idempotent.request_records`.
//!
//! It is read from the index and written to the heap directly, as the server does with
//! its catalogs: that needs no rights on the table, which nobody has, and a third of the
//! time of a statement. Only a caller's own rows are ever read or written here.
use super::heap;
use super::lock::RequestKey;
use crate::error::{Report, SqlState};
use crate::numbers;
use crate::pg::digest::{sha256, to_bytea};
use crate::pg::jsonb::{Container, Differing};
use crate::pg::snapshot::{DirtySnapshot, FreshSnapshot, LatestSnapshot, Writers};
use crate::pg::{ffi, locks, text};
use crate::state;
use crate::target::{OpenRelation, Scan, Target, UniqueIndex};
use pgrx::pg_sys;
use std::cell::RefCell;
use std::rc::Rc;

/// So many fields are named in which requests differ.
const MOST_FIELDS: usize = 10;

/// How far a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It is being worked on, or was.
    Started,
    /// It has its answer.
    Finished,
    /// It was given up.
    Abandoned,
}

/// What the caller asks for, a jsonb.
pub struct Request(pub pg_sys::Datum);

impl Status {
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
pub struct Record {
    /// How far it is.
    pub status: Status,
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
    pub row: Row,
}

/// The values of a row, in the memory of the call, and its place.
pub struct Row {
    /// Where it is in the table.
    pub place: pg_sys::ItemPointerData,
    /// By [`Column`].
    pub values: Vec<pg_sys::Datum>,
    /// Likewise.
    pub nulls: Vec<bool>,
}

impl Row {
    fn get(&self, column: Column) -> Option<pg_sys::Datum> {
        let at = column as usize;
        (!self.nulls[at]).then(|| self.values[at])
    }
}

/// The columns of the table, in their order (`sql/requests.sql`).
#[derive(Clone, Copy)]
pub enum Column {
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
pub const COLUMNS: usize = Column::PurgeAfter as usize + 1;

/// Their names.
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

/// The table and its primary key, open.
pub struct Table {
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

impl Table {
    /// Locked as the transaction may need it: see [`state`].
    ///
    /// # Errors
    /// 42P01 without the extension; 55000 if the table is not as the extension made it.
    pub fn open() -> Self {
        let (target, relation) = state::State::Requests.open();
        let positions = NAMES.map(|name| target.column_by_bytes(name).expect("as made"));
        let arbiter = target.indexes.iter().position(|index| index.primary);
        let arbiter = arbiter.expect("as made");
        let index = target.indexes[arbiter].oid;
        // SAFETY: an index of the table, which is locked; the sequence is looked up by
        // constant names.
        let attempts = unsafe {
            pg_sys::LockRelationOid(index, locks::mode_of_work());
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
    pub fn whole(
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
        let at = |wanted: Column| wanted as usize == column;
        if at(Column::Role) {
            Some(key.role)
        } else if at(Column::Scope) {
            Some(key.scope)
        } else {
            at(Column::Key).then_some(key.key)
        }
    }

    /// A number that no attempt has had (see [`numbers`]), greater than that of the row that
    /// is there.
    pub fn next_attempt(&self, known: Option<&Record>, now: pg_sys::TimestampTz) -> i64 {
        // SAFETY: the sequence is ours, whatever the caller may do with it.
        let draw =
            || unsafe { ffi::guard(|| ffi::unguarded::nextval_internal(self.attempts, false)) };
        let drawn = draw();
        let before = known.map_or(0, |known| known.attempt);
        if drawn > before && !numbers::is_behind_the_clock(drawn, now) {
            return drawn;
        }
        numbers::attempts_from_the_clock();
        // A row that says more than the clock is no reason to go on there with all keys.
        draw().max(before.saturating_add(1))
    }

    /// Whether the last key that was begun was new: then the next one probably is.
    pub fn expects_new(&self) -> bool {
        self.target.expects_new.get()
    }

    /// Whether that was so.
    pub fn learn(&self, new: bool) {
        self.target.expects_new.set(new);
    }

    /// A scan of the primary key under a snapshot, which it does not outlive.
    fn scan(&self, snapshot: pg_sys::Snapshot) -> Scan {
        let arbiter = self.arbiter();
        let mut scan = Scan::by_equality_under(&self.relation, &self.index, arbiter, snapshot);
        scan.leave_columns();
        scan
    }

    /// The row in a slot.
    ///
    /// # Safety
    /// The slot holds a row of the table.
    unsafe fn row(&self, slot: *mut pg_sys::TupleTableSlot) -> Row {
        // SAFETY: the caller's promise; as many values as columns. They point into the
        // copy.
        unsafe {
            let desc = self.relation.desc();
            let count = (*desc).natts as usize;
            let (mut values, mut nulls) = (vec![pg_sys::Datum::null(); count], vec![true; count]);
            let tuple = pg_sys::ExecCopySlotHeapTuple(slot);
            pg_sys::heap_deform_tuple(tuple, desc, values.as_mut_ptr(), nulls.as_mut_ptr());
            let at = |position: &usize| self.target.columns[*position].attnum as usize - 1;
            Row {
                place: (*tuple).t_self,
                values: self.positions.iter().map(|p| values[at(p)]).collect(),
                nulls: self.positions.iter().map(|p| nulls[at(p)]).collect(),
            }
        }
    }

    fn record(&self, row: Row) -> Record {
        let required = |column| row.get(column).expect("the column is NOT NULL");
        // SAFETY: a jsonb or a text: what lies outside of the row is fetched while a
        // snapshot keeps it.
        let whole = |datum: pg_sys::Datum| unsafe {
            pg_sys::Datum::from(pg_sys::pg_detoast_datum_packed(datum.cast_mut_ptr()))
        };
        // SAFETY: a text.
        let status = unsafe { text::bytes_of(required(Column::Status)) };
        Record {
            status: match status {
                b"started" => Status::Started,
                b"finished" => Status::Finished,
                _ => Status::Abandoned,
            },
            attempt: required(Column::Attempt).value() as i64,
            request: whole(required(Column::Request)),
            recovery_point: row.get(Column::RecoveryPoint).map(whole),
            response: row.get(Column::Response).map(whole),
            ttl: required(Column::Ttl),
            lease: row.get(Column::Lease),
            lease_until: row
                .get(Column::LeaseUntil)
                .map(|until| until.value() as i64),
            expires_at: required(Column::ExpiresAt).value() as i64,
            row,
        }
    }
}

impl Record {
    /// The row under a key, as the transaction may see it.
    pub fn find(table: &Table, key: &RequestKey) -> Option<Self> {
        let snapshot = FreshSnapshot::push();
        let mut scan = table.scan(snapshot.raw());
        let found = scan.find(table.arbiter(), |c| table.key_value(key, c));
        // SAFETY: the scan has found it.
        found.then(|| table.record(unsafe { table.row(scan.slot()) }))
    }

    /// The row that this session has written for an attempt, if the transaction may see
    /// it: what is likely to be written next, found without the index.
    pub fn recall(table: &Table, key: &RequestKey, attempt: i64) -> Option<Self> {
        let place = Places::of(attempt)?;
        let snapshot = FreshSnapshot::push();
        // SAFETY: the table is open, and a row of it was at this place.
        let row =
            unsafe { heap::fetch(table.raw(), place, snapshot.raw(), |slot| table.row(slot))? };
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
        self.status == Status::Abandoned || (self.expires_at <= now && !self.is_held(now))
    }

    /// Whether an attempt holds it, by the clock.
    pub fn is_held(&self, now: pg_sys::TimestampTz) -> bool {
        self.status == Status::Started && self.lease_until.is_none_or(|until| until > now)
    }

    /// Whether it is the same request.
    pub fn is_same(&self, request: &Request) -> bool {
        // SAFETY: both are jsonb.
        unsafe { Container::of_datum(self.request).equals(Container::of_datum(request.0)) }
    }

    /// Whether this is the answer that was given.
    pub fn answered(&self, response: pg_sys::Datum) -> bool {
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
            Container::of_datum(self.request).differing_fields(theirs, MOST_FIELDS)
        };
        let detail = match fields {
            Some(Differing { names, count }) => {
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
                key.shown()
            ),
        )
        .detail(detail)
        .hint("Use a new key for a new request.")
        .table("idempotent", "request_records")
        .constraint("request_records_pkey")
    }
}

/// What a look at all versions of the row shows, committed or not.
pub enum Probe {
    /// No other transaction is writing it. Whether there is one, for the transaction's
    /// snapshot to see or not.
    Settled(bool),
    /// One is.
    Busy(Busy),
}

/// A transaction that writes the row, or removes it.
pub struct Busy {
    transaction: pg_sys::TransactionId,
    relation: OpenRelation,
    tuple: pg_sys::ItemPointerData,
    /// What it has written; None if it only removes the row.
    pub written: Option<Record>,
}

impl Busy {
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
pub fn probe(table: &Table, key: &RequestKey) -> Probe {
    let arbiter = table.arbiter();
    let dirty = DirtySnapshot::new();
    let mut scan = table.scan(dirty.raw());
    let mut busy = None;
    let mut exists = false;
    let mut found = scan.find(arbiter, |c| table.key_value(key, c));
    while found {
        let Writers {
            inserter, deleter, ..
        } = dirty.writers();
        // SAFETY: the scan has found it.
        let row = unsafe { table.row(scan.slot()) };
        let mut note = |transaction, row: Row, written: bool| {
            busy = Some(Busy {
                transaction,
                relation: table.relation.again(),
                tuple: row.place,
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
        Some(busy) => Probe::Busy(busy),
        // A dirty probe that met dead rows only may have missed one that was being
        // replaced (see the guard's protocol); an MVCC snapshot misses none.
        None if !exists && scan.met() => {
            let snapshot = LatestSnapshot::push();
            let mut scan = table.scan(snapshot.raw());
            Probe::Settled(scan.find(arbiter, |c| table.key_value(key, c)))
        }
        None => Probe::Settled(exists),
    }
}

/// Where indexes point at the rows of this session's last attempts. A place is only a
/// hint: the row there is looked at before it is taken for the attempt's.
pub struct Places;

/// So many attempts that a session works on at once are found without the index.
const MOST_PLACES: usize = 64;

thread_local! {
    static PLACES: RefCell<[(i64, pg_sys::ItemPointerData); MOST_PLACES]> =
        RefCell::new([(0, pg_sys::ItemPointerData::default()); MOST_PLACES]);
}

impl Places {
    fn slot(attempt: i64) -> usize {
        attempt.rem_euclid(MOST_PLACES as i64) as usize
    }

    fn of(attempt: i64) -> Option<pg_sys::ItemPointerData> {
        let (of, place) = PLACES.with(|places| places.borrow()[Self::slot(attempt)]);
        (of == attempt && place.ip_posid != 0).then_some(place)
    }

    /// Indexes point there at the attempt's row.
    pub fn note(attempt: i64, place: pg_sys::ItemPointerData) {
        PLACES.with(|places| places.borrow_mut()[Self::slot(attempt)] = (attempt, place));
    }
}
