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
    /// The condition that a stored row has the key of this one.
    pub fn has_key_of<'v>(
        &self,
        arbiter: &UniqueIndex,
        parameters: &mut Parameters<'v>,
        row: &'v Slot,
    ) -> String {
        let keys = arbiter.keys.iter();
        let keys = keys.map(|key| (key.column, key.operators.equality_operator));
        self.has_values(keys, parameters, row)
    }

    /// The condition that a stored row has the key of this one, and its values in these columns.
    pub fn is_as_read<'v>(
        &self,
        arbiter: &UniqueIndex,
        columns: &[usize],
        parameters: &mut Parameters<'v>,
        row: &'v Slot,
    ) -> String {
        let has_key = self.has_key_of(arbiter, parameters, row);
        let others = columns.iter().filter(|c| !arbiter.has_column(**c));
        let others = others.map(|c| (*c, self.columns[*c].equality_operator()));
        match self.has_values(others, parameters, row) {
            same if same.is_empty() => has_key,
            same => format!("{has_key} AND {same}"),
        }
    }

    /// The condition that a stored row has the values of this one in these columns, by these operators.
    fn has_values<'v>(
        &self,
        columns: impl Iterator<Item = (usize, pg_sys::Oid)>,
        parameters: &mut Parameters<'v>,
        row: &'v Slot,
    ) -> String {
        let same = columns.map(|(c, operator)| {
            let (own, value) = (self.column_list([c]), row.value(c));
            match value.is_null() {
                true => is_null(&own),
                false => is_equal(operator, &own, &parameters.add(value)),
            }
        });
        same.collect::<Vec<_>>().join(" AND ")
    }
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
