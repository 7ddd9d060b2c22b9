//! The table `idempotent.request_records`: its columns, and it itself with its primary key, open.
use super::key::RequestKey;
use crate::id_sequence;
use crate::kept;
use crate::pg::catalog;
use crate::pg::heap::{HeapRow, HeapTable};
use crate::pg::schedule::expects_new;
use crate::pg::statement::row::record;
use crate::pg::transaction::locks;
use crate::pg::transaction::relation_lock::lock_relation;
use crate::pg::value::sql_value::{BytesType, SqlValue};
use crate::state;
use crate::target::{OpenRelation, PerTarget, Scan, Target, UniqueIndex};
use pgrx::pg_sys;
use serde::de::DeserializeOwned;
use std::cell::{Cell, OnceCell};
use std::mem::ManuallyDrop;
use std::rc::Rc;

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
pub const NAMES: [&[u8]; COLUMNS] = [
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
    static KNOWN: ManuallyDrop<PerTarget<Known>> = PerTarget::new();
}

/// What is known of the table as long as it stays as it is.
#[derive(Default)]
struct Known {
    /// Whether the last key that was begun was new.
    last_was_new: Cell<bool>,
    layout: OnceCell<Layout>,
}

/// Where things are in the table.
struct Layout {
    /// Where its columns are among those of the target.
    positions: [usize; COLUMNS],
    /// The numbers of its columns.
    numbers: [pg_sys::AttrNumber; COLUMNS],
    /// The type of the column `role`.
    roles: BytesType,
    /// Which of the target's indexes the primary key's is.
    arbiter: usize,
}

impl Layout {
    fn of(target: &Target) -> Self {
        let positions = NAMES.map(|name| target.column_by_bytes(name).expect("as made"));
        let role = &target.columns[positions[RequestColumn::Role as usize]];
        let arbiter = target.indexes.iter().position(|index| index.primary);
        Self {
            numbers: positions.map(|position| target.columns[position].attnum),
            roles: kept::as_role_type(role.typid).expect("as made"),
            positions,
            arbiter: arbiter.expect("as made"),
        }
    }
}

/// The table and its primary key, open.
pub struct RequestTable {
    target: Rc<Target>,
    known: Rc<Known>,
    /// Closed before the table.
    index: OpenRelation,
    pub(super) heap: HeapTable,
}

impl RequestTable {
    /// Locked as the transaction may need it: see [`state`].
    ///
    /// # Errors
    /// 42P01 without the extension; 55000 if the table is not as the extension made it.
    pub fn open() -> Self {
        let (target, relation) = state::StateTable::Requests.open();
        let known = KNOWN.with(|tables| tables.of(target.id));
        let layout = known.layout.get_or_init(|| Layout::of(&target));
        let index = target.indexes[layout.arbiter].oid;
        lock_relation(index, locks::working_lock_mode() as u32);
        Self {
            index: OpenRelation::open_locked(index),
            known,
            target,
            heap: HeapTable::of(relation),
        }
    }

    fn layout(&self) -> &Layout {
        self.known.layout.get().expect("known since it was opened")
    }

    /// The numbers of its columns.
    pub(super) fn numbers(&self) -> &[pg_sys::AttrNumber; COLUMNS] {
        &self.layout().numbers
    }

    /// The table itself.
    pub fn relation(&self) -> &OpenRelation {
        self.heap.relation()
    }

    /// The number of a column by its position in the target.
    pub fn number_at(&self, position: usize) -> pg_sys::AttrNumber {
        self.target.columns[position].attnum
    }

    /// What a row says, read by the names of its columns.
    ///
    /// # Errors
    /// 55000 for a row that is no `T`.
    pub fn read<T: DeserializeOwned>(&self, row: &HeapRow) -> T {
        let column = |name: &str| {
            let at = NAMES.iter().position(|known| *known == name.as_bytes())?;
            Some(row.value(self.numbers()[at]))
        };
        record(column).unwrap_or_else(|error| error.raise())
    }

    /// The sender of a request, as the table has it.
    pub fn role(&self, key: &RequestKey<'_>) -> SqlValue<'static> {
        kept::value(self.layout().roles, key.role)
    }

    /// The index of the primary key.
    pub fn arbiter(&self) -> &UniqueIndex {
        &self.target.indexes[self.layout().arbiter]
    }

    /// The value of a key column, by its position in the target.
    pub fn key_value<'k>(&self, key: &RequestKey<'k>, position: usize) -> SqlValue<'k> {
        let positions = &self.layout().positions;
        let at = |wanted: RequestColumn| positions[wanted as usize] == position;
        if at(RequestColumn::Role) {
            self.role(key)
        } else if at(RequestColumn::Scope) {
            key.scope
        } else if at(RequestColumn::Key) {
            key.key
        } else {
            SqlValue::null(pg_sys::InvalidOid)
        }
    }

    /// A number that no attempt has had (see [`id_sequence`]), greater than that of the attempt
    /// in the row that is there.
    pub fn next_attempt(&self, held: Option<i64>, now: pg_sys::TimestampTz) -> i64 {
        // The sequence is ours, whatever the caller may do with it.
        let attempts = catalog::relation_beside(self.target.oid, c"request_attempts");
        let draw = || catalog::next_number(attempts);
        let drawn = draw();
        let before = held.unwrap_or(0);
        if drawn > before && !id_sequence::is_behind_the_clock(drawn, now) {
            return drawn;
        }
        id_sequence::advance_attempts_to_clock();
        // A row that says more than the clock is no reason to go on there with all keys.
        draw().max(before.saturating_add(1))
    }

    /// Whether the last key that was begun was new: then the next one probably is.
    pub fn expects_new(&self) -> bool {
        expects_new().unwrap_or_else(|| self.known.last_was_new.get())
    }

    /// Whether that was so.
    pub fn record_whether_new(&self, new: bool) {
        self.known.last_was_new.set(new);
    }

    /// A scan of the primary key under the active snapshot.
    pub fn scan(&self) -> Scan {
        let mut scan = Scan::by_equality(self.relation(), &self.index, self.arbiter());
        scan.skip_deforming();
        scan
    }

    /// A scan of the primary key that finds rows which are being written, too.
    pub fn dirty_scan(&self) -> Scan {
        let mut scan = Scan::by_equality_dirty(self.relation(), &self.index, self.arbiter());
        scan.skip_deforming();
        scan
    }
}
