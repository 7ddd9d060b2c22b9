//! Whether a row omits a column: what the defaults of columns give in the running
//! statement.
//!
//! A trigger cannot see which columns a statement named. But a default that is stable, such
//! as `now()` or `current_user`, is one value throughout the statement: a column that holds
//! another was named, and is compared; one that holds it is taken to have been omitted.
use crate::compare::equal;
use crate::error::is_of_sqlstate_class;
use crate::pg::ffi;
use crate::pg::transaction::subtransaction::in_subtransaction;
use crate::target::{Column, OpenRelation, Target, evaluate_default};
use pgrx::pg_sys;
use std::cell::OnceCell;
use std::panic::resume_unwind;

/// A value or NULL.
type NullableDatum = Option<pg_sys::Datum>;

/// The defaults of the columns that are compared only where the row supplies them.
pub struct StatementDefaults {
    columns: Vec<ColumnValues>,
    /// Memory of the statement, for values.
    memory: pg_sys::MemoryContext,
}

struct ColumnValues {
    /// By position in the target.
    column: usize,
    /// What its default gives: one value, or several where partitions and their
    /// partitioned tables have different ones. None before somebody has asked.
    values: OnceCell<Vec<NullableDatum>>,
}

impl StatementDefaults {
    /// Nothing is evaluated yet; values will be in the current memory.
    pub fn new(columns: &[usize]) -> Self {
        let of = |column: &usize| ColumnValues {
            column: *column,
            values: OnceCell::new(),
        };
        Self {
            columns: columns.iter().map(of).collect(),
            // SAFETY: the current memory is always valid.
            memory: unsafe { pg_sys::CurrentMemoryContext },
        }
    }

    /// Whether these columns agree with a stored row, or are known to be omitted. What is
    /// not known yet counts as not.
    ///
    /// # Safety
    /// Positions are those of `columns`. Runs inside `ffi::guard`, which the closures keep
    /// to.
    pub unsafe fn agree_unguarded(
        &self,
        columns: &[Column],
        stored: impl Fn(usize) -> NullableDatum,
        payload: impl Fn(usize) -> NullableDatum,
    ) -> bool {
        self.columns.iter().all(|of| {
            let value = payload(of.column);
            // SAFETY: the caller's promise; values of the column.
            unsafe {
                let column = columns.get_unchecked(of.column);
                equal(column, stored(of.column), value)
                    || of
                        .values
                        .get()
                        .is_some_and(|known| known.iter().any(|known| equal(column, *known, value)))
            }
        })
    }

    /// Whether a row that came to `table` with this value in a column omitted it.
    ///
    /// The default is evaluated when this is asked for the first time in a statement, with
    /// the rights of the one who inserts, as the INSERT itself would.
    pub fn is_omitted(
        &self,
        target: &Target,
        table: &OpenRelation,
        column: usize,
        value: NullableDatum,
    ) -> bool {
        let Some(of) = self.columns.iter().find(|of| of.column == column) else {
            return false;
        };
        let known = of.values.get_or_init(|| {
            // SAFETY: the statement's memory; switched back at once, or by the error's
            // handler.
            unsafe {
                let caller = pg_sys::MemoryContextSwitchTo(self.memory);
                let values = values_of(target, table, column);
                pg_sys::MemoryContextSwitchTo(caller);
                values
            }
        });
        let column = &target.columns[column];
        // SAFETY: values of the column; nothing is owned inside.
        known
            .iter()
            .any(|known| unsafe { ffi::guard(|| equal(column, *known, value)) })
    }
}

/// What the default of a column gives, in the current memory. The row was sent to the table
/// at hand, or to one of the partitioned tables above it: the trigger does not know, and so
/// each of their defaults counts.
fn values_of(target: &Target, table: &OpenRelation, column: usize) -> Vec<NullableDatum> {
    let mut tables = vec![table.reopen()];
    if table.oid() != target.oid {
        let above = table.partition_ancestors().into_iter();
        tables.extend(above.map(OpenRelation::open));
    }
    let column = &target.columns[column];
    let mut seen: Vec<*mut pg_sys::Node> = Vec::new();
    let mut values = Vec::new();
    for table in &tables {
        // SAFETY: an open table that has the column, by name. What is volatile gives another
        // value to each who asks.
        let (number, default) = unsafe {
            let number = pg_sys::get_attnum(table.oid(), column.c_name.as_ptr());
            let default = pg_sys::build_column_default(table.raw(), number.into());
            if pg_sys::contain_volatile_functions(default) {
                continue;
            }
            (number, default)
        };
        // SAFETY: core compares trees node by node; both are whole ones that it made itself, or
        // null.
        if seen
            .iter()
            .any(|other| unsafe { pg_sys::equal(other.cast(), default.cast()) })
        {
            continue;
        }
        seen.push(default);
        // SAFETY: a whole tree that core made itself, or null.
        let value = match unsafe { time(default) } {
            Some(time) => Some(Some(time)),
            None => value_of(table, column, number),
        };
        values.extend(value);
    }
    values
}

/// The value of a default that is the time and nothing else: by far the most frequent one,
/// which neither fails nor needs the executor.
///
/// # Safety
/// An expression, or null.
unsafe fn time(default: *mut pg_sys::Node) -> Option<pg_sys::Datum> {
    // SAFETY: the caller's promise; a node says what it is, and the functions take no
    // arguments.
    unsafe {
        let function = match default.as_ref()?.type_ {
            pg_sys::NodeTag::T_FuncExpr => (*default.cast::<pg_sys::FuncExpr>()).funcid.to_u32(),
            pg_sys::NodeTag::T_SQLValueFunction
                if (*default.cast::<pg_sys::SQLValueFunction>()).op
                    == pg_sys::SQLValueFunctionOp::SVFOP_CURRENT_TIMESTAMP =>
            {
                pg_sys::F_NOW
            }
            _ => return None,
        };
        [
            pg_sys::F_NOW,
            pg_sys::F_TRANSACTION_TIMESTAMP,
            pg_sys::F_STATEMENT_TIMESTAMP,
        ]
        .contains(&function)
        .then(|| pg_sys::OidFunctionCall0Coll(function.into(), pg_sys::InvalidOid))
    }
}

/// The value of one default; None if it has none for this caller, who then named the column:
/// a setting is not set, say, or a function may not be called. The INSERT that named it does
/// not evaluate it.
fn value_of(
    table: &OpenRelation,
    column: &Column,
    number: pg_sys::AttrNumber,
) -> Option<NullableDatum> {
    match in_subtransaction(|| evaluate_default(table, column, number)) {
        Ok(value) => Some(value.to_datum()),
        // Not the default's own fault: 40, 53, 57 and 58.
        Err(error)
            if ["40", "53", "57", "58"]
                .iter()
                .any(|class| is_of_sqlstate_class(&error, class)) =>
        {
            resume_unwind(error)
        }
        Err(_) => None,
    }
}
