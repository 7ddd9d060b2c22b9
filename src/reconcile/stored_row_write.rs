//! The statements by which a repair writes rows that are stored: addressed by place and version, one
//! row each.
use crate::pg::rows::Slot;
use crate::pg::statement::spi::{Connection, Parameter, SpiPlan};
use crate::pg::value::sql_value::SqlValue;
use crate::target::{KeyColumn, StoredRow, Target, UniqueIndex};
use pgrx::pg_sys;

/// What became of a stored row.
pub enum Written {
    /// Nothing was written.
    Nothing,
    /// It was deleted, or has the key of the source's row now.
    UnderKey,
    /// It has another key now.
    UnderOtherKey,
}

/// So many statements are kept.
const KEPT: usize = 8;

/// So many parameters address a row.
const ADDRESS: usize = 3;

/// The statements that write rows which are stored, by the columns that they update; without any,
/// they delete. The last one that was used is the first.
#[derive(Default)]
pub struct Statements {
    kept: Vec<(Vec<usize>, SpiPlan)>,
}

impl Statements {
    /// Writes this version of a row.
    pub fn write(
        &mut self,
        target: &Target,
        arbiter: &UniqueIndex,
        now: &StoredRow<'_>,
        expected: Option<&Slot>,
        columns: &[usize],
    ) -> Written {
        let (table, place) = now.table_and_tid();
        let mut parameters: Vec<Parameter<'_>> = vec![
            SqlValue::tid(&place),
            SqlValue::xid(now.xmin()),
            SqlValue::oid(table),
        ];
        if let Some(row) = expected {
            let keys = arbiter.keys.iter().map(|key| row.value(key.column));
            parameters.extend(columns.iter().map(|c| row.value(*c)).chain(keys));
        }
        // What the statement returns goes with it.
        let connection = Connection::open();
        let plan = self.plan(&connection, target, arbiter, columns, &parameters);
        let count = connection.execute_plan(plan, &parameters);
        if !plan.concerns(target.oid) {
            target.renamed_meanwhile().raise()
        }
        let is_true = |datum: pg_sys::Datum| datum.value() != 0;
        if count != 1 {
            Written::Nothing
        } else if expected.is_none() || connection.first_of(1, pg_sys::BOOLOID).is_some_and(is_true)
        {
            Written::UnderKey
        } else {
            Written::UnderOtherKey
        }
    }

    /// The statement for these columns.
    fn plan(
        &mut self,
        connection: &Connection,
        target: &Target,
        arbiter: &UniqueIndex,
        columns: &[usize],
        parameters: &[Parameter<'_>],
    ) -> &SpiPlan {
        if let Some(place) = self.kept.iter().position(|(of, _)| of == columns) {
            self.kept[..=place].rotate_right(1);
        } else {
            let types: Vec<pg_sys::Oid> = parameters.iter().map(Parameter::typid).collect();
            let sql = sql(target, arbiter, columns);
            let plan = SpiPlan::prepare_with(connection, &sql, &types);
            self.kept.truncate(KEPT - 1);
            self.kept.insert(0, (columns.to_vec(), plan));
        }
        &self.kept[0].1
    }
}

/// `UPDATE ONLY shop.orders SET amount = $4 WHERE ctid = $1 AND xmin = $2 AND tableoid = $3
/// RETURNING id = $5`, or a DELETE.
///
/// The table has no other name there, by which the expressions of a key call a whole row.
fn sql(target: &Target, arbiter: &UniqueIndex, columns: &[usize]) -> String {
    // Tables that inherit from it are tables of their own.
    let only = if target.partitioned { "" } else { "ONLY " };
    let table = format!("{only}{}", target.qualified());
    let address = "WHERE ctid OPERATOR(pg_catalog.=) $1 \
                   AND xmin OPERATOR(pg_catalog.=) $2 \
                   AND tableoid OPERATOR(pg_catalog.=) $3";
    if columns.is_empty() {
        return format!("DELETE FROM {table} {address}");
    }
    let mut numbers = ADDRESS + 1..;
    let set = columns.iter().zip(numbers.by_ref());
    let set = set
        .map(|(c, number)| format!("{} = ${number}", target.column_list([*c])))
        .collect::<Vec<_>>()
        .join(", ");
    let keys = arbiter.keys.iter().zip(numbers).map(|(key, number)| {
        let (own, given) = (key_sql(target, key), format!("${number}"));
        let equal = key.equals(&own, &given);
        format!("(({equal}) OR {own} IS NULL AND {given} IS NULL)")
    });
    let condition = arbiter.condition_sql().map(|sql| format!("({sql})"));
    let kept = keys.chain(condition).collect::<Vec<_>>().join(" AND ");
    format!("UPDATE {table} SET {set} {address} RETURNING {kept}")
}

/// A column of a key, as SQL of the table.
fn key_sql(target: &Target, key: &KeyColumn) -> String {
    match &key.expression {
        Some(expression) => format!("({})", expression.sql),
        None => target.column_list([key.column]),
    }
}
