//! SQL that finds a row by the values that were read of it, where a row has no place that could be trusted.
use super::{Target, UniqueIndex, equal, is_null};
use crate::pg::rows::Slot;
use crate::pg::value::sql_value::SqlValue;
use pgrx::pg_sys;

/// The parameters of a statement.
#[derive(Default)]
pub struct Parameters<'v>(pub Vec<SqlValue<'v>>);

impl<'v> Parameters<'v> {
    /// Adds one, and gives its name in SQL.
    pub fn add(&mut self, value: SqlValue<'v>) -> String {
        self.0.push(value);
        format!("${}", self.0.len())
    }

    /// Their types.
    pub fn types(&self) -> Vec<pg_sys::Oid> {
        self.0.iter().map(SqlValue::typid).collect()
    }
}

impl Target {
    /// The condition that a stored row has the key of this one, a working row. It names columns alone: where it is used,
    /// no other table is read.
    pub fn has_key_of<'v>(
        &self,
        arbiter: &UniqueIndex,
        parameters: &mut Parameters<'v>,
        row: &'v Slot,
    ) -> String {
        let keys = arbiter.keys.iter().map(|key| {
            let own = match &key.expression {
                Some(expression) => format!("({})", expression.sql),
                None => self.column_list([key.column]),
            };
            (own, key.column, key.operators.equality_operator)
        });
        let has_key = has_values(keys, parameters, row);
        match arbiter.condition_sql() {
            Some(condition) => format!("({condition}) AND {has_key}"),
            None => has_key,
        }
    }

    /// The condition that a stored row has the key of the working row `key`, and the values of `row` in these columns.
    pub fn is_as_read<'v>(
        &self,
        arbiter: &UniqueIndex,
        columns: &[usize],
        parameters: &mut Parameters<'v>,
        key: &'v Slot,
        row: &'v Slot,
    ) -> String {
        let has_key = self.has_key_of(arbiter, parameters, key);
        let others = columns.iter().filter(|c| !arbiter.has_column(**c));
        let others = others.map(|c| {
            let operator = self.columns[*c].equality_operator();
            (self.column_list([*c]), *c, operator)
        });
        match has_values(others, parameters, row) {
            same if same.is_empty() => has_key,
            same => format!("{has_key} AND {same}"),
        }
    }
}

/// The condition that columns or expressions, each with its place in this row, have the row's values, by these operators.
fn has_values<'v>(
    parts: impl Iterator<Item = (String, usize, pg_sys::Oid)>,
    parameters: &mut Parameters<'v>,
    row: &'v Slot,
) -> String {
    let same = parts.map(|(own, place, operator)| {
        let value = row.value(place);
        match value.is_null() {
            true => is_null(&own),
            false => is_equal(operator, &own, &parameters.add(value)),
        }
    });
    same.collect::<Vec<_>>().join(" AND ")
}

/// The condition that a column equals a value. A type that has no equality is compared as text.
///
/// Under the column's own collation: with a COLLATE, postgres_fdw would compare on this server.
pub fn is_equal(operator: pg_sys::Oid, column: &str, value: &str) -> String {
    match operator {
        pg_sys::InvalidOid => {
            format!("{column}::pg_catalog.text OPERATOR(pg_catalog.=) {value}::pg_catalog.text")
        }
        operator => equal(operator, column, "", value),
    }
}
