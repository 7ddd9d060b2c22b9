//! What a call works on, and what holds throughout.
use crate::error::{Report, RowOrigin, SqlState};
use crate::guard::GuardConfig;
use crate::payload::row::{Mark, RowLayout};
use crate::payload::shape::{IdentityValues, Shape};
use crate::pg::catalog::types;
use crate::pg::memory::Scratch;
use crate::pg::rows::Slot;
use crate::pg::value::sql_value::ArrayBuilder;
use crate::stats::{FormScope, Recorder};
use crate::target::{
    KeyColumn, OpenRelation, Role, StoredRow, Target, UniqueIndex, hidden_by_policy, policies_show,
    row_security_is_active,
};
use pgrx::pg_sys;
use std::cell::Cell;
use std::rc::Rc;

/// A row that is neither found nor inserted in this many rounds is being
/// suppressed, not raced: a race would have to be lost that often in a row.
pub const MAX_ROUNDS: u32 = 16;

/// So many rows are worth a subtransaction, see [`statement`](super::statement).
const PLAIN_INSERT_MIN_ROWS: u64 = 200;

/// What a call works on.
pub struct WriteContext<'a> {
    pub target: &'a Target,
    /// The table, open.
    pub relation: &'a OpenRelation,
    /// The index that decides.
    pub arbiter: &'a UniqueIndex,
    /// The shapes of the payloads.
    pub shapes: &'a [Shape],
    /// What its rows are.
    pub origin: RowOrigin,
    /// What becomes of their values for identity columns.
    pub(super) identity: IdentityValues,
    /// The guard of the target, if it is decided by the same index.
    pub(super) guard: Option<Rc<GuardConfig>>,
    /// Whether rows are found and written as those of a distributed table.
    pub distributed: bool,
    /// Columns that are judged although no shape compares them, by position.
    pub(super) judged: Vec<usize>,
    /// Whether policies may hide stored rows from the caller.
    pub(super) by_policy: bool,
    /// The ordinal of the row that the last error of a statement was about, if it was about one.
    pub failing: Cell<Option<i64>>,
    /// Counts for the form that runs.
    pub counts: Recorder,
    /// Reset for every row.
    pub scratch: Scratch,
}

impl<'a> WriteContext<'a> {
    /// A context in the memory of the call.
    pub fn new(
        target: &'a Target,
        relation: &'a OpenRelation,
        arbiter: &'a UniqueIndex,
        shapes: &'a [Shape],
        origin: RowOrigin,
        guard: Option<Rc<GuardConfig>>,
    ) -> Self {
        let guard = guard.filter(|guard| guard.arbiter(target).oid == arbiter.oid);
        let scratch = Scratch::in_current(c"pg_idempotent row");
        let by_policy = row_security_is_active(target);
        if by_policy {
            // What is stored is asked for by a SELECT, see `policies_show`, and the INSERT
            // may come after it.
            target.lock_to_write();
        }
        Self {
            target,
            relation,
            arbiter,
            shapes,
            origin,
            distributed: false,
            judged: Vec::new(),
            identity: IdentityValues::default(),
            guard,
            by_policy,
            failing: Cell::new(None),
            counts: FormScope::recorder(target.oid),
            scratch,
        }
    }

    /// With rows that may be in shards of Citus, for [`WriteContext::run`].
    ///
    /// # Errors
    /// 0A000 for a distributed table with a key that cannot be looked for there.
    pub fn reaching_shards(mut self) -> Self {
        self.distributed = uses_distributed_form(self.target, self.arbiter);
        self
    }

    /// With these columns judged, too, whether they are compared or not.
    pub fn judging(mut self, columns: Vec<usize>) -> Self {
        self.judged = columns;
        self
    }

    /// The columns of stored rows that are judged, without those of the key.
    pub(super) fn judged_columns(&self) -> Vec<usize> {
        let is_compared = |c: &usize| self.shapes.iter().any(|shape| shape.compared.contains(c));
        let is_judged =
            |c: &usize| !self.arbiter.has_column(*c) && (self.judged.contains(c) || is_compared(c));
        (0..self.target.columns.len()).filter(is_judged).collect()
    }

    /// With these values of identity columns.
    pub fn with_identity(mut self, identity: IdentityValues) -> Self {
        self.identity = identity;
        self
    }

    /// Runs `make`, from inside the scope of a row, in memory that lives as long as the call.
    pub fn in_call_memory<R>(&self, make: impl FnOnce() -> R) -> R {
        self.scratch.outside(make)
    }

    /// Whether a working row is outside of the arbiter's condition, and so has no key.
    #[inline]
    pub fn is_outside(&self, row: &Slot) -> bool {
        self.arbiter.condition.is_some() && RowLayout::of(self.target).mark(row) == Mark::Outside
    }

    /// Whether so many rows that are not stored are inserted without ON CONFLICT: that
    /// pays, and being undone and done again has no effect but once, since nothing (a
    /// trigger, a policy) looks at it.
    pub fn can_insert_plainly(&self, rows: u64) -> bool {
        rows >= PLAIN_INSERT_MIN_ROWS
            && !self.distributed
            && !self.target.triggers_touch_rows
            && self.target.can_chunk
            && !self.by_policy
    }

    /// Whether the caller may see a stored row, by the policies of the table.
    pub fn shows(&self, row: &Slot, stored: &StoredRow<'_>) -> bool {
        // What a SELECT gave is shown to the caller.
        !self.by_policy
            || self.distributed
            || policies_show(
                self.target,
                Role::caller(),
                self.arbiter,
                stored.table_and_tid(),
                |c| row.value(c),
            )
    }

    /// Where policies are in force, nothing is said of a row that they hide.
    ///
    /// # Errors
    /// 42501
    pub fn check_visible(&self, row: &Slot, stored: &StoredRow<'_>) {
        if !self.shows(row, stored) {
            hidden_by_policy(self.target).raise()
        }
    }

    /// 27000 for what a trigger has kept from being stored, or has stored under another key.
    pub fn not_stored_as_given(&self, what: &str) -> Report {
        let report = Report::new(
            SqlState::TriggeredDataChangeViolation,
            format!("{what} in table \"{}\"", self.target.name),
        )
        .detail("A BEFORE INSERT trigger suppressed the row or changed its key.")
        .hint("Insert into the table that the trigger writes to, or disable the trigger.")
        .table(&self.target.schema, &self.target.name);
        self.arbiter.name_in(report)
    }

    /// The same, of a foreign table.
    pub fn not_stored_there(&self, what: &str) -> Report {
        self.not_stored_as_given(what)
            .detail(
                "On the other server, a trigger suppressed the row or changed its key, another unique \
                 index has its values, a view or policy hides the stored row, or columns of the key have other \
                 types or collations.",
            )
            .hint("Look at the table on the other server.")
    }
}

/// Whether the rows of a target are found and written so.
///
/// # Errors
/// 0A000 for a distributed table with a key that cannot be looked for so.
fn uses_distributed_form(target: &Target, arbiter: &UniqueIndex) -> bool {
    if !target.foreign && !target.is_distributed() {
        return false;
    }
    // A composite comes out of an array as columns.
    let comes_from_array = |key: &KeyColumn| {
        let column = target.column(key.column);
        types::kind(column.base_type()) != pg_sys::TYPTYPE_COMPOSITE
            && ArrayBuilder::new(column.typid).is_some()
    };
    let possible = arbiter.keys.iter().all(comes_from_array);
    if !possible && (target.foreign || target.is_in_shards()) {
        let kind = if target.foreign {
            "foreign"
        } else {
            "distributed"
        };
        let report = Report::new(
            SqlState::FeatureNotSupported,
            format!("cannot look for keys of {kind} table \"{}\"", target.name),
        )
        .detail("The key has a composite or an array.")
        .hint("Name another key that the table has, without composites and arrays.")
        .table(&target.schema, &target.name);
        arbiter.name_in(report).raise()
    }
    possible
}
