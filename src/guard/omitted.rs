//! Whether a row omits a column: what the defaults of columns give in the running
//! statement.
//!
//! A trigger cannot see which columns a statement named. But a default that is stable, such
//! as `now()` or `current_user`, is one value throughout the statement: a column that holds
//! another was named, and is compared; one that holds it is taken to have been omitted.
use crate::error::is_of_sqlstate_class;
use crate::pg::memory::Memory;
use crate::pg::statement::expression::{Expression, Expressions};
use crate::pg::transaction::transactions::in_subtransaction;
use crate::pg::value::sql_value::SqlValue;
use crate::target::{OpenRelation, StoredRow, Target};
use pgrx::pg_sys;
use std::cell::OnceCell;
use std::panic::resume_unwind;

/// The defaults of the columns that are compared only where the row supplies them.
pub struct StatementDefaults {
    columns: Vec<ColumnValues>,
    /// Where values are, once one was asked for: as long as this.
    memory: OnceCell<Memory>,
}

struct ColumnValues {
    /// By position in the target.
    column: usize,
    /// What its default gives: one value, or several where partitions and their
    /// partitioned tables have different ones. None before they are asked for.
    values: OnceCell<Vec<SqlValue<'static>>>,
}

impl StatementDefaults {
    /// Nothing is evaluated yet.
    pub fn new(columns: &[usize]) -> Self {
        let of = |column: &usize| ColumnValues {
            column: *column,
            values: OnceCell::new(),
        };
        Self {
            columns: columns.iter().map(of).collect(),
            memory: OnceCell::new(),
        }
    }

    /// The columns, with what their defaults are known to give: nothing before the first one is asked for.
    #[inline]
    pub fn known(&self) -> impl Iterator<Item = (usize, &[SqlValue<'static>])> {
        self.columns.iter().map(|of| {
            let values = of.values.get().map_or(&[][..], Vec::as_slice);
            (of.column, values)
        })
    }

    /// Whether a row that came to `table` omitted a column.
    ///
    /// The default is evaluated when this is asked for the first time in a statement, with
    /// the rights of the one who inserts, as the INSERT itself would.
    pub fn is_omitted(
        &self,
        target: &Target,
        table: &OpenRelation,
        column: usize,
        payload: &StoredRow<'_>,
    ) -> bool {
        let Some(of) = self.columns.iter().find(|of| of.column == column) else {
            return false;
        };
        let known = of.values.get_or_init(|| {
            let memory = || Memory::in_cache(c"pg_idempotent defaults");
            let memory = self.memory.get_or_init(memory);
            memory.scope(|| values_of(target, table, column))
        });
        let value = payload.value(column);
        let column = &target.columns[column];
        known
            .iter()
            .any(|known| column.values.equals(*known, value))
    }
}

/// What the default of a column gives, in the current memory. The row was sent to the table
/// at hand, or to one of the partitioned tables above it: the trigger does not know, and so
/// each of their defaults counts.
fn values_of(target: &Target, table: &OpenRelation, column: usize) -> Vec<SqlValue<'static>> {
    let mut tables = vec![table.reopen()];
    if table.oid() != target.oid {
        let above = table.partition_ancestors().into_iter();
        tables.extend(above.map(OpenRelation::open));
    }
    let column = &target.columns[column];
    let expressions = Expressions::new();
    let mut seen: Vec<Option<Expression<'_>>> = Vec::new();
    let mut values = Vec::new();
    for table in &tables {
        let Some(number) = table.column_number(&column.c_name) else {
            continue;
        };
        let default = table.column_expression(&expressions, number);
        // What is volatile gives another value to each who asks.
        if default.is_some_and(Expression::is_volatile) {
            continue;
        }
        let is_default = |other: &Option<Expression<'_>>| match (other, default) {
            (Some(other), Some(default)) => other.is(default),
            (None, None) => true,
            _ => false,
        };
        if seen.iter().any(is_default) {
            continue;
        }
        seen.push(default);
        // By far the most frequent default is the time and nothing else, which neither fails nor
        // needs the executor.
        let value = match default.and_then(Expression::time) {
            Some(time) => Some(SqlValue::timestamptz(time)),
            None => value_of(table, number),
        };
        values.extend(value);
    }
    values
}

/// The value of one default; None if it has none for this caller, who then named the column:
/// a setting is not set, say, or a function may not be called. The INSERT that named it does
/// not evaluate it.
fn value_of(table: &OpenRelation, number: pg_sys::AttrNumber) -> Option<SqlValue<'static>> {
    match in_subtransaction(|| table.default_value(number)) {
        Ok(value) => Some(value),
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
