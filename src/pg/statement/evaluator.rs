//! Expressions that are evaluated, row by row or once.
use crate::pg::relation::OpenRelation;
use crate::pg::statement::expression::{Expression, column_default};
use crate::pg::value::sql_value::SqlValue;
use crate::pg::{ffi, unwinding};
use pgrx::pg_sys;

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
