//! The statements by which a repair writes rows that are stored: addressed by place and version, one
//! row each.
//!
//! A statement that writes nothing met another version, or a trigger that suppresses the row, and both
//! are passed over; or a policy of row-level security that shows the row and does not let it be
//! written, which is an error. An UPDATE or a DELETE does not tell these apart.
//! - MERGE asks the policies for DELETE before any trigger fires, and raises the error itself. It has
//!   no RETURNING in the oldest versions of the server, which an update needs.
//! - To lock a row FOR UPDATE asks the policies for UPDATE, and fires no trigger. So the row of an
//!   update that wrote nothing is locked in this way: if it cannot be, and is there, a policy keeps it.
use crate::pg::rows::Slot;
use crate::pg::statement::spi::{Connection, Parameter, SpiPlan};
use crate::pg::value::sql_value::SqlValue;
use crate::target::{
    KeyColumn, StoredRow, Target, UniqueIndex, kept_by_policy, row_security_is_active,
};
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
pub struct Statements {
    kept: Vec<(Vec<usize>, SpiPlan)>,
    /// Whether policies say which rows the caller may write.
    by_policy: bool,
}

impl Statements {
    /// None yet, for rows of this target.
    pub fn of(target: &Target) -> Self {
        Self {
            kept: Vec::new(),
            by_policy: row_security_is_active(target),
        }
    }

    /// Writes this version of a row.
    ///
    /// # Errors
    /// 42501 if a policy does not let it be written; and what the statement raises.
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
        target.check_still_named(plan);
        let is_true = |datum: pg_sys::Datum| datum.value() != 0;
        if count != 1 {
            if self.by_policy && expected.is_some() {
                check_policies(&connection, target, &parameters[..ADDRESS]);
            }
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
            let sql = match columns.is_empty() {
                true => delete_sql(target, self.by_policy),
                false => update_sql(target, arbiter, columns),
            };
            let plan = SpiPlan::prepare_with(connection, &sql, &types);
            self.kept.truncate(KEPT - 1);
            self.kept.insert(0, (columns.to_vec(), plan));
        }
        &self.kept[0].1
    }
}

/// Demands that the policies let a row be updated, if it is there.
///
/// # Errors
/// 42501
fn check_policies(connection: &Connection, target: &Target, address: &[Parameter<'_>]) {
    let look = format!("SELECT FROM {} WHERE {VERSION}", target.own_rows());
    // In this order: a row that has changed in between is passed over.
    let may_be_locked = connection.execute(&format!("{look} FOR UPDATE"), address) > 0;
    if !may_be_locked && connection.execute(&look, address) > 0 {
        kept_by_policy(target, "an update").raise()
    }
}

/// The condition of one version of a row.
const VERSION: &str = "ctid OPERATOR(pg_catalog.=) $1 \
                       AND xmin OPERATOR(pg_catalog.=) $2 \
                       AND tableoid OPERATOR(pg_catalog.=) $3";

/// `DELETE FROM ONLY shop.orders WHERE ctid = $1 AND xmin = $2 AND tableoid = $3`, or a MERGE.
fn delete_sql(target: &Target, by_policy: bool) -> String {
    let table = target.own_rows();
    if by_policy {
        return format!(
            "MERGE INTO {table} USING (SELECT) AS row ON {VERSION} WHEN MATCHED THEN DELETE"
        );
    }
    format!("DELETE FROM {table} WHERE {VERSION}")
}

/// `UPDATE ONLY shop.orders SET amount = $4 WHERE ctid = $1 AND xmin = $2 AND tableoid = $3
/// RETURNING id = $5`.
///
/// The table has no other name there, by which the expressions of a key call a whole row.
fn update_sql(target: &Target, arbiter: &UniqueIndex, columns: &[usize]) -> String {
    let table = target.own_rows();
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
    format!("UPDATE {table} SET {set} WHERE {VERSION} RETURNING {kept}")
}

/// A column of a key, as SQL of the table.
fn key_sql(target: &Target, key: &KeyColumn) -> String {
    match &key.expression {
        Some(expression) => format!("({})", expression.sql),
        None => target.column_list([key.column]),
    }
}
