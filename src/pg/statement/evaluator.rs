//! Expressions that are evaluated, row by row or once; and those of an index.
use crate::pg::catalog::privilege::has_privileges_of;
use crate::pg::catalog::syscache;
use crate::pg::relation::OpenRelation;
use crate::pg::relation::index::tree;
use crate::pg::rows::{NewRow, RowBuilder, RowDesc};
use crate::pg::statement::expression::{Expression, Expressions, column_default};
use crate::pg::transaction::user::{OwnerRights, SEARCH_PATH};
use crate::pg::value::sql_value::SqlValue;
use crate::pg::{ffi, unwinding};
use pgrx::pg_sys;
use std::cell::UnsafeCell;
use std::ffi::c_int;
use std::ptr;

/// An executor state with an owner, in which expressions are prepared. It is a child of the memory
/// that was current when it was made.
///
/// Expressions are prepared and evaluated as the current user.
pub struct Evaluator {
    estate: *mut pg_sys::EState,
    /// What expressions are evaluated in: the row at hand, and memory that is reset for each.
    context: *mut pg_sys::ExprContext,
}

/// An expression that an [`Evaluator`] has prepared, and evaluates.
#[derive(Clone, Copy)]
pub struct Prepared(*mut pg_sys::ExprState);

impl Evaluator {
    /// Without expressions.
    pub fn new() -> Self {
        // SAFETY: both live until this is dropped, or the call's memory goes.
        unsafe {
            let estate = pg_sys::CreateExecutorState();
            let context = pg_sys::MakePerTupleExprContext(estate);
            Self { estate, context }
        }
    }

    /// Prepares an expression, of which it makes a copy.
    pub fn prepare(&self, expression: Expression<'_>) -> Prepared {
        // SAFETY: a whole tree, copied into the executor state's memory, as what is prepared may
        // refer to it; ours is a state of the executor.
        unsafe {
            let caller = pg_sys::MemoryContextSwitchTo((*self.estate).es_query_cxt);
            let copy = pg_sys::copyObjectImpl(expression.raw().cast());
            pg_sys::MemoryContextSwitchTo(caller);
            Prepared(pg_sys::ExecPrepareExpr(copy.cast(), self.estate))
        }
    }

    /// Begins a row, over which expressions are evaluated from now on. The values that they had for
    /// the one before go.
    ///
    /// # Safety
    /// The slot holds a row as long as expressions are evaluated over it. Runs inside `ffi::guard`.
    #[inline]
    pub unsafe fn begin_row(&self, row: *mut pg_sys::TupleTableSlot) {
        // SAFETY: the caller's promise; the context lives as long as this.
        unsafe {
            (*self.context).ecxt_scantuple = row;
            ffi::unguarded::MemoryContextReset((*self.context).ecxt_per_tuple_memory);
        }
    }

    /// The memory that is reset for each row.
    pub fn row_memory(&self) -> pg_sys::MemoryContext {
        // SAFETY: the context lives as long as this.
        unsafe { (*self.context).ecxt_per_tuple_memory }
    }

    /// The expression's value for the row at hand, in the memory of that.
    ///
    /// # Safety
    /// It was prepared here. If it refers to columns, there is a row at hand, which has them with
    /// the types that the expression takes them for. Runs inside `ffi::guard`.
    #[inline]
    pub unsafe fn evaluate_unguarded(&self, expression: Prepared) -> Option<pg_sys::Datum> {
        // SAFETY: the caller's promise, and what core's inline ExecEvalExprSwitchContext does; a
        // prepared expression has its function.
        unsafe {
            let state = expression.0;
            let caller = pg_sys::MemoryContextSwitchTo((*self.context).ecxt_per_tuple_memory);
            let function = (*state).evalfunc.unwrap_unchecked();
            let mut null = false;
            let value = function(state, self.context, &raw mut null);
            pg_sys::MemoryContextSwitchTo(caller);
            (!null).then_some(value)
        }
    }
}

impl Drop for Evaluator {
    fn drop(&mut self) {
        if !unwinding() {
            // SAFETY: made with this, and freed with it alone, once; the context and the
            // expressions in it are not used any more.
            unsafe { pg_sys::FreeExecutorState(self.estate) };
        }
    }
}

impl OpenRelation {
    /// The value that a column's default has now, in the current memory: what an INSERT of this
    /// moment that leaves the column out would get. NULL without a default.
    ///
    /// It is evaluated as the executor evaluates it for the INSERT: with the rights of the
    /// current user, under the active snapshot. So it is asked for only on behalf of somebody who
    /// inserts into the table, or has its rows compared with others, and for whom the SELECT of
    /// them runs what the owner wrote into indexes and policies; never for one who looks at what
    /// the table is like.
    ///
    /// # Errors
    /// Whatever the default raises.
    ///
    /// # Panics
    /// If it has no column of this number, or a generated one.
    pub fn default_value(&self, number: pg_sys::AttrNumber) -> SqlValue<'static> {
        let evaluator = Evaluator::new();
        // SAFETY: the tree is made in the executor state's memory, with which it goes, and so needs
        // no copy. It is of the column's type, and refers to no column, as is checked; its value is
        // copied out before it goes.
        unsafe {
            let caller = pg_sys::MemoryContextSwitchTo((*evaluator.estate).es_query_cxt);
            let default = column_default(self, number);
            pg_sys::MemoryContextSwitchTo(caller);
            let attribute = self.attribute(number);
            if default.is_null() {
                return SqlValue::null(attribute.atttypid);
            }
            assert_eq!(
                attribute.attgenerated, 0,
                "a generated column has no default"
            );
            let (by_value, length) = (attribute.attbyval, attribute.attlen.into());
            let prepared = Prepared(pg_sys::ExecPrepareExpr(default.cast(), evaluator.estate));
            let value = ffi::guard(|| {
                let value = evaluator.evaluate_unguarded(prepared)?;
                Some(ffi::unguarded::datumCopy(value, by_value, length))
            });
            SqlValue::of_datum(attribute.atttypid, value)
        }
    }
}

type IndexRow = syscache::Row<pg_sys::FormData_pg_index>;

/// What an index takes from a row of its table, where that is more than columns: the values of its
/// expressions, and whether its condition holds.
///
/// A function that these call is the code of the table's owner, or of someone whom the owner
/// trusts. A caller who has the owner's rights anyway, as a superuser has, runs it with these alone,
/// as ANALYZE and REINDEX do (see [`OwnerRights`]), and gives away none of their own. Every other
/// caller runs it with their own rights, EXECUTE on the functions among them, as in an INSERT: with
/// the owner's, they could choose the arguments of functions that they may not call, and lead names
/// in these to their own temporary tables. Where nothing but functions that come with the server is
/// called, rights make no difference, and are not switched for each row.
pub struct IndexValues {
    expressions: Vec<Prepared>,
    /// The types of their values.
    types: Vec<pg_sys::Oid>,
    condition: Option<Prepared>,
    /// With whose rights they are evaluated; None for the caller's.
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
        let form = unsafe { (*index.raw()).rd_index.as_ref() };
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
        let calls_others = all().any(|expression| expression.calls_added_functions());
        let owner = Some(table.owner()).filter(|owner| calls_others && has_privileges_of(*owner));
        let types = expressions.iter().map(|expression| expression.typid());
        let types = types.collect();
        let evaluator = Evaluator::new();
        let rights = owner.map(OwnerRights::of);
        let prepare = |expression| evaluator.prepare(expression);
        let expressions = expressions.into_iter().map(prepare).collect();
        let condition = condition.map(prepare);
        drop(rights);
        Some(Self {
            expressions,
            types,
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

/// What an index takes from working rows, in which the columns of its table have other places, and
/// the expressions have some.
pub struct IndexWorkingValues {
    values: IndexValues,
    /// That of the working rows.
    working: RowDesc,
    /// By column that the index looks at: its place in a working row, and in a row of the table.
    needed: Vec<(usize, usize)>,
    /// By expression, its place in a working row.
    places: Vec<usize>,
    /// A row of the table. No flag says that it is borrowed: an ERROR that jumps out of the work on it
    /// would leave the flag set, and a call may go on after that.
    row: UnsafeCell<RowBuilder>,
}

impl IndexWorkingValues {
    /// For an index of a table, see the fields.
    ///
    /// # Panics
    /// If there are no such places, or they have other types.
    pub fn new(
        values: IndexValues,
        table: &OpenRelation,
        working: &RowDesc,
        needed: Vec<(usize, usize)>,
        places: Vec<usize>,
    ) -> Self {
        let desc = table.row_desc();
        let same = |(from, to): &(usize, usize)| working.types()[*from] == desc.types()[*to];
        assert!(needed.iter().all(same), "a column has another type");
        let types = places.iter().map(|place| &working.types()[*place]);
        assert!(types.eq(&values.types), "an expression has another type");
        let mut row = RowBuilder::new(&desc);
        // An expression may ask which table it is in.
        row.set_table(table.oid());
        Self {
            values,
            working: working.clone(),
            needed,
            places,
            row: UnsafeCell::new(row),
        }
    }

    /// Puts the values of expressions into a working row whose columns are set. False if the row
    /// is outside of the condition: it has no key. They live until the next row.
    ///
    /// # Panics
    /// If it is another row.
    pub fn complete(&self, working: &mut NewRow<'_>) -> bool {
        working.desc().check_same(&self.working);
        // SAFETY: a working row, as was checked; the guard holds nothing.
        unsafe { ffi::guard(|| self.complete_unguarded(working)) }
    }

    /// Likewise.
    ///
    /// # Safety
    /// It is a working row. Runs inside `ffi::guard`.
    pub unsafe fn complete_unguarded(&self, working: &mut NewRow<'_>) -> bool {
        // SAFETY: it is only used here, and what is evaluated meanwhile cannot get at this.
        let builder = unsafe { &mut *self.row.get() };
        // SAFETY: the caller's promise. The places are there, with these types, as `new` has
        // checked.
        unsafe {
            let mut row = builder.start();
            for (from, to) in &self.needed {
                row.set_unguarded(*to, working.get_unguarded(*from));
            }
            let row = row.finish().raw();
            self.values.evaluate_unguarded(row, |i, value| {
                if let Some(place) = self.places.get(i) {
                    working.set_unguarded(*place, value);
                }
            })
        }
    }
}
