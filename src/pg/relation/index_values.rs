//! What an index takes from a row of its table, where that is more than columns: the values of its
//! expressions, and whether its condition holds.
//!
//! A function that these call is the code of the table's owner, or of someone whom the owner
//! trusts. So it runs with the owner's rights, as in ANALYZE and REINDEX (see [`OwnerRights`]), and
//! whoever wants to know a key gives away none of theirs. Where nothing but functions that come with
//! the server is called, rights make no difference, and are not switched for each row.
use super::OpenRelation;
use super::index::tree;
use crate::pg::catalog::syscache;
use crate::pg::ffi;
use crate::pg::statement::evaluator::{Evaluator, Prepared};
use crate::pg::statement::expression::Expressions;
use crate::pg::transaction::user::{OwnerRights, SEARCH_PATH};
use pgrx::pg_sys;
use std::ffi::c_int;
use std::ptr;

type IndexRow = syscache::Row<pg_sys::FormData_pg_index>;

/// The expressions and the condition of an index, prepared for rows of its table.
pub struct IndexValues {
    expressions: Vec<Prepared>,
    condition: Option<Prepared>,
    /// With whose rights they are evaluated; None if that makes no difference.
    owner: Option<pg_sys::Oid>,
    evaluator: Evaluator,
}

impl IndexValues {
    /// Those of an index of an open table; None if it is on columns alone, and on all rows.
    ///
    /// # Panics
    /// If the index is one of another table.
    ///
    /// # Errors
    /// What is raised by the functions that are called to prepare them.
    pub fn of(table: &OpenRelation, index: &OpenRelation) -> Option<Self> {
        // SAFETY: null for what is no index; nothing is looked up while it is in hand.
        let form = unsafe { index.entry().rd_index.as_ref() };
        let fits = form.is_some_and(|form| form.indrelid == table.oid());
        assert!(fits, "the index is one of the table");
        let trees = Expressions::new();
        let read =
            |column: fn(&IndexRow) -> _| tree(index.oid(), column).unwrap_or(ptr::null_mut());
        // SAFETY: whole trees, over the table.
        let (expressions, condition) = unsafe {
            (
                trees.members(|| read(IndexRow::expressions)),
                trees.read(|| read(IndexRow::predicate)),
            )
        };
        if expressions.is_empty() && condition.is_none() {
            return None;
        }
        let all = || expressions.iter().chain(&condition);
        let owner = all()
            .any(|expression| expression.calls_added_functions())
            .then(|| table.owner());
        let evaluator = Evaluator::new();
        let rights = owner.map(OwnerRights::of);
        let prepare = |expression| evaluator.prepare(expression);
        let expressions = expressions.into_iter().map(prepare).collect();
        let condition = condition.map(prepare);
        drop(rights);
        Some(Self {
            expressions,
            condition,
            owner,
            evaluator,
        })
    }

    /// Whether the row is in the index; if it is, `take` is given the place of every expression
    /// among the expressions, and its value, which lives until the next row.
    ///
    /// # Safety
    /// The slot holds a row of the table as long as the values are used. Runs inside `ffi::guard`,
    /// which `take` keeps to.
    pub unsafe fn evaluate_unguarded(
        &self,
        row: *mut pg_sys::TupleTableSlot,
        take: impl FnMut(usize, Option<pg_sys::Datum>),
    ) -> bool {
        // SAFETY: the caller's promise.
        unsafe {
            self.evaluator.begin_row(row);
            match self.owner {
                None => self.evaluate_row_unguarded(take),
                Some(owner) => as_owner_unguarded(owner, || self.evaluate_row_unguarded(take)),
            }
        }
    }

    /// # Safety
    /// There is a row at hand. Runs inside `ffi::guard`.
    unsafe fn evaluate_row_unguarded(
        &self,
        mut take: impl FnMut(usize, Option<pg_sys::Datum>),
    ) -> bool {
        // SAFETY: all were prepared here, for rows of the table.
        unsafe {
            let condition = |prepared| self.evaluator.evaluate_unguarded(prepared);
            // As for a WHERE clause, NULL is no.
            let holds = |prepared| condition(prepared).is_some_and(|holds| holds.value() != 0);
            if !self.condition.is_none_or(holds) {
                return false;
            }
            for (i, expression) in self.expressions.iter().enumerate() {
                take(i, self.evaluator.evaluate_unguarded(*expression));
            }
        }
        true
    }
}

/// Runs `work` as [`OwnerRights`] would have it.
///
/// # Safety
/// Runs inside `ffi::guard`, which `work` keeps to.
unsafe fn as_owner_unguarded<R>(owner: pg_sys::Oid, work: impl FnOnce() -> R) -> R {
    let (mut user, mut context): (_, c_int) = (pg_sys::InvalidOid, 0);
    let (path, value) = SEARCH_PATH;
    // SAFETY: the caller's promise; after an ERROR the abort restores user and settings.
    unsafe {
        ffi::unguarded::GetUserIdAndSecContext(&raw mut user, &raw mut context);
        let level = ffi::unguarded::NewGUCNestLevel();
        ffi::unguarded::set_config_option(
            path.as_ptr(),
            value.as_ptr(),
            pg_sys::GucContext::PGC_USERSET,
            pg_sys::GucSource::PGC_S_SESSION,
            pg_sys::GucAction::GUC_ACTION_SAVE,
            true,
            0,
            false,
        );
        let restricted = pg_sys::SECURITY_RESTRICTED_OPERATION as c_int;
        ffi::unguarded::SetUserIdAndSecContext(owner, context | restricted);
        let result = work();
        ffi::unguarded::AtEOXact_GUC(false, level);
        ffi::unguarded::SetUserIdAndSecContext(user, context);
        result
    }
}
