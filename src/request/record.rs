//! The row of a request in `idempotent.requests`.
//!
//! It is read from the index and written to the heap directly, as the server does with
//! its catalogs: that needs no rights on the table, which nobody has, and a third of the
//! time of a statement. Only a caller's own rows are ever read or written here.
use super::lock::RequestKey;
use crate::error::{Report, SqlState};
use crate::pg::digest::sha256;
use crate::pg::jsonb::Container;
use crate::pg::snapshot::{DirtySnapshot, FreshSnapshot, LatestSnapshot, Writers};
use crate::pg::{ffi, text};
use crate::target::{OpenRelation, Scan, StoredRow, Target, UniqueIndex};
use pgrx::pg_sys;
use std::cell::RefCell;
use std::rc::{Rc, Weak};

/// How far a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is being worked on, or was.
    Started,
    /// It has its answer.
    Finished,
    /// It was given up.
    Abandoned,
}

/// What the caller asks for.
pub struct Request {
    /// A jsonb.
    pub document: pg_sys::Datum,
    /// Its SHA-256.
    pub fingerprint: Vec<u8>,
}

impl State {
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
    /// For a jsonb.
    pub fn new(document: pg_sys::Datum) -> Self {
        // SAFETY: a jsonb; its text is canonical: fields in core's own order, no
        // white space of the client's.
        let text = unsafe { Container::of_datum(document) }.to_text();
        Self {
            document,
            fingerprint: sha256(text.to_bytes()),
        }
    }
}

/// What is known of a key. Values live in the memory of the call.
pub struct Record {
    /// How far it is.
    pub state: State,
    /// Who holds it, or did.
    pub attempt: i64,
    fingerprint: Vec<u8>,
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
    pub tuple: pg_sys::HeapTuple,
}

/// The columns of the table, in their order (`sql/requests.sql`).
#[derive(Clone, Copy)]
pub enum Column {
    Role,
    Scope,
    Key,
    State,
    Attempt,
    Fingerprint,
    Request,
    RecoveryPoint,
    Response,
    Ttl,
    Lease,
    LeaseUntil,
    StartedAt,
    FinishedAt,
    ExpiresAt,
}

/// The table, open.
pub struct Table {
    target: Rc<Target>,
    relation: OpenRelation,
}

impl Table {
    /// For reading.
    pub fn open() -> Self {
        // SAFETY: look-ups by constant names.
        let oid = unsafe {
            let schema = pg_sys::get_namespace_oid(c"idempotent".as_ptr(), true);
            pg_sys::get_relname_relid(c"requests".as_ptr(), schema)
        };
        let (target, relation) = Target::open(oid);
        Self { target, relation }
    }

    /// For core's functions.
    pub fn raw(&self) -> pg_sys::Relation {
        self.relation.raw()
    }

    /// Refuses a table that is not as the extension made it: rows are written as the
    /// server writes those of catalogs, which takes plain indexes, and knows neither
    /// triggers nor constraints.
    ///
    /// # Errors
    /// 55000
    pub fn demand_as_made(&self) {
        thread_local! {
            /// The table as it was when it was found in order.
            static IN_ORDER: RefCell<Weak<Target>> = const { RefCell::new(Weak::new()) };
        }
        let known = IN_ORDER.with(|table| table.borrow().upgrade());
        if known.is_some_and(|known| Rc::ptr_eq(&known, &self.target)) {
            return;
        }
        if let Some(what) = self.added() {
            Report::new(
                SqlState::ObjectNotInPrerequisiteState,
                "table \"requests\" of schema \"idempotent\" is not as the extension made it",
            )
            .detail(format!(
                "It has {what}, which the extension does not serve."
            ))
            .hint("Drop it.")
            .table("idempotent", "requests")
            .raise()
        }
        IN_ORDER.with(|table| *table.borrow_mut() = Rc::downgrade(&self.target));
    }

    /// What has been added to the table and cannot be served, in words.
    fn added(&self) -> Option<String> {
        let relation = self.raw();
        // SAFETY: an open relation; the list is a copy.
        unsafe {
            if !(*relation).trigdesc.is_null() {
                return Some("a trigger".to_owned());
            }
            if (*(*relation).rd_att).natts != Column::ExpiresAt as i32 + 1 {
                return Some("another column".to_owned());
            }
            let constraints = (*(*relation).rd_att).constr.as_ref();
            if constraints.is_some_and(|constraints| constraints.num_check > 0) {
                return Some("a CHECK constraint".to_owned());
            }
            let indexes = pg_sys::RelationGetIndexList(relation);
            let index = |i: usize| OpenRelation::open((*(*indexes).elements.add(i)).oid_value);
            (0..(*indexes).length as usize)
                .map(index)
                .find(|index| {
                    !pg_sys::RelationGetIndexExpressions(index.raw()).is_null()
                        || !pg_sys::RelationGetIndexPredicate(index.raw()).is_null()
                        || (*(*index.raw()).rd_index).indisexclusion
                })
                .map(|index| {
                    let name = text::from_name(&(*(*index.raw()).rd_rel).relname);
                    format!("the index \"{name}\" with an expression or a condition")
                })
        }
    }

    /// The primary key, which comes first.
    fn arbiter(&self) -> &UniqueIndex {
        &self.target.indexes[0]
    }

    /// The value of a key column, by its position in the target.
    fn key_value(&self, key: &RequestKey, position: usize) -> Option<pg_sys::Datum> {
        let at = |column: Column| column as usize == position;
        if at(Column::Role) {
            Some(pg_sys::Datum::from(key.role))
        } else if at(Column::Scope) {
            Some(key.scope)
        } else {
            at(Column::Key).then_some(key.key)
        }
    }

    /// The row at which a scan is.
    fn record_in(&self, scan: &Scan) -> Record {
        let numbers = self.target.numbers_in(self.target.oid);
        // SAFETY: the scan has deformed the row.
        self.record(&unsafe { StoredRow::in_slot(scan.slot(), &numbers) })
    }

    fn record(&self, row: &StoredRow<'_>) -> Record {
        let get = |column: Column| row.get(column as usize);
        let required = |column| get(column).expect("declared NOT NULL");
        // SAFETY: the columns have these types; varlenas are copied out of the row.
        let copy = |datum: pg_sys::Datum| unsafe {
            pg_sys::Datum::from(pg_sys::pg_detoast_datum_copy(datum.cast_mut_ptr()))
        };
        // SAFETY: an interval, copied likewise.
        let copy_interval = |datum: pg_sys::Datum| unsafe {
            let size = size_of::<pg_sys::Interval>() as i32;
            ffi::guard(|| ffi::unguarded::datumCopy(datum, false, size))
        };
        // SAFETY: likewise, a text and a bytea.
        let (state, fingerprint) = unsafe {
            let state = pg_sys::text_to_cstring(required(Column::State).cast_mut_ptr());
            let bytes =
                pg_sys::pg_detoast_datum_packed(required(Column::Fingerprint).cast_mut_ptr());
            (
                text::from_server(state),
                std::slice::from_raw_parts(
                    pgrx::varlena::vardata_any(bytes).cast::<u8>(),
                    pgrx::varlena::varsize_any_exhdr(bytes),
                )
                .to_vec(),
            )
        };
        Record {
            state: match state.as_str() {
                "started" => State::Started,
                "finished" => State::Finished,
                _ => State::Abandoned,
            },
            attempt: required(Column::Attempt).value() as i64,
            fingerprint,
            request: copy(required(Column::Request)),
            recovery_point: get(Column::RecoveryPoint).map(copy),
            response: get(Column::Response).map(copy),
            ttl: copy_interval(required(Column::Ttl)),
            lease: get(Column::Lease).map(copy_interval),
            lease_until: get(Column::LeaseUntil).map(|until| until.value() as i64),
            expires_at: required(Column::ExpiresAt).value() as i64,
            tuple: row.to_tuple(),
        }
    }
}

impl Record {
    /// The row under a key, as the transaction may see it.
    pub fn find(key: &RequestKey) -> Option<Self> {
        let table = Table::open();
        let arbiter = table.arbiter();
        let _snapshot = FreshSnapshot::push();
        let index = OpenRelation::open(arbiter.oid);
        let mut scan = Scan::by_equality(&table.relation, &index, arbiter);
        let found = scan.find(arbiter, |c| table.key_value(key, c));
        found.then(|| table.record_in(&scan))
    }

    /// Whether the key is free: the request was given up, or has expired and is held by
    /// nobody.
    pub fn is_free(&self) -> bool {
        // SAFETY: reads the clock.
        let now = unsafe { pg_sys::GetCurrentTimestamp() };
        self.state == State::Abandoned || (self.expires_at <= now && !self.is_held(now))
    }

    /// Whether an attempt holds it, by the clock.
    pub fn is_held(&self, now: pg_sys::TimestampTz) -> bool {
        self.state == State::Started && self.lease_until.is_none_or(|until| until > now)
    }

    /// Whether it is the same request.
    pub fn is_same(&self, request: &Request) -> bool {
        // SAFETY: both are jsonb.
        self.fingerprint == request.fingerprint
            || unsafe {
                Container::of_datum(self.request).equals(Container::of_datum(request.document))
            }
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
            Container::of_datum(self.request)
                .differing_fields(Container::of_datum(request.document))
        };
        let detail = match fields {
            Some(fields) => format!("The requests differ in {}.", fields.join(", ")),
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
        .table("idempotent", "requests")
        .constraint("requests_pkey")
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
pub fn probe(key: &RequestKey) -> Probe {
    let table = Table::open();
    let arbiter = table.arbiter();
    let index = OpenRelation::open(arbiter.oid);
    let dirty = DirtySnapshot::new();
    let mut scan = Scan::by_equality_under(&table.relation, &index, arbiter, dirty.raw());
    let numbers = table.target.numbers_in(table.target.oid);
    let mut busy = None;
    let mut exists = false;
    let mut found = scan.find(arbiter, |c| table.key_value(key, c));
    while found {
        let Writers {
            inserter, deleter, ..
        } = dirty.writers();
        // SAFETY: the scan has deformed the row.
        let row = unsafe { StoredRow::in_slot(scan.slot(), &numbers) };
        let mut note = |transaction, written| {
            busy = Some(Busy {
                transaction,
                relation: table.relation.again(),
                tuple: row.place().1,
                written,
            });
        };
        if inserter != pg_sys::InvalidTransactionId {
            note(inserter, Some(table.record(&row)));
            break;
        }
        exists = true;
        if deleter != pg_sys::InvalidTransactionId {
            // If it is being replaced, the new version comes next.
            note(deleter, None);
        }
        found = scan.next();
    }
    match busy {
        Some(busy) => Probe::Busy(busy),
        // A dirty probe that met dead rows only may have missed one that was being
        // replaced (see the guard's protocol); an MVCC snapshot misses none.
        None if !exists && scan.met() => {
            let _snapshot = LatestSnapshot::push();
            let mut scan = Scan::by_equality(&table.relation, &index, arbiter);
            Probe::Settled(scan.find(arbiter, |c| table.key_value(key, c)))
        }
        None => Probe::Settled(exists),
    }
}
