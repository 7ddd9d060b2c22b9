//! What policies of row-level security make of a stored row.
use super::{Role, Target, UniqueIndex, is_null};
use crate::error::{Report, SqlState};
use crate::pg::statement::stages::row_exists_as;
use crate::pg::value::sql_value::SqlValue;
use crate::pg::value::text;
use pgrx::pg_sys;

/// Whether a role sees the row that is stored at this place under this key, by the
/// table's policies and under the active snapshot: asks the table as the role would.
/// So policies run as the caller, who is inserting into the table, and for whom an INSERT …
/// ON CONFLICT evaluates them.
///
/// The place finds it at once, but takes SELECT on the whole table. The key may take a
/// scan, since its operators may only be applied to rows that the policies show. Expressions of a
/// key are evaluated as the role then, as in a SELECT of its own.
///
/// The SELECT keeps its locks on the indexes, of every partition. So a caller who may write
/// afterwards has taken [`Target::lock_to_write`] before.
///
/// # Errors
/// 42501 without SELECT on the key columns.
pub fn policies_show<'v>(
    target: &Target,
    role: Role,
    arbiter: &UniqueIndex,
    (table, tuple): (pg_sys::Oid, pg_sys::ItemPointerData),
    key: impl Fn(usize) -> SqlValue<'v>,
) -> bool {
    let mut parameters = Vec::new();
    let mut conditions = Vec::new();
    let has_place = role.has_on(target, pg_sys::ACL_SELECT);
    if has_place {
        conditions.push("tableoid OPERATOR(pg_catalog.=) $1".to_owned());
        conditions.push("ctid OPERATOR(pg_catalog.=) $2".to_owned());
        parameters.extend([SqlValue::oid(table), SqlValue::tid(&tuple)]);
    } else {
        for part in &arbiter.keys {
            let name = match &part.expression {
                Some(expression) => format!("({})", expression.sql),
                None => text::quote_identifier(&target.columns[part.column].name),
            };
            let value = key(part.column);
            if value.is_null() {
                conditions.push(is_null(&name));
            } else {
                parameters.push(value);
                conditions.push(part.equals(&name, &format!("${}", parameters.len())));
            }
        }
    }
    if let (false, Some(condition)) = (has_place, arbiter.condition_sql()) {
        conditions.push(format!("({condition})"));
    }
    let sql = format!(
        "SELECT FROM {} WHERE {}",
        target.qualified(),
        conditions.join(" AND ")
    );
    row_exists_as(role.oid(), &sql, &parameters)
}

/// 42501 in core's own words, for a row under whose key the caller must not see
/// what is stored: no more is said of it than of one that a policy refuses.
pub fn hidden_by_policy(target: &Target) -> Report {
    Report::new(
        SqlState::InsufficientPrivilege,
        format!(
            "new row violates row-level security policy for table \"{}\"",
            target.name
        ),
    )
}

/// 42501 for a stored row that a policy does not let be written; `what` is `an update` or
/// `a delete`.
pub fn kept_by_policy(target: &Target, what: &str) -> Report {
    Report::new(
        SqlState::InsufficientPrivilege,
        format!(
            "row-level security policy for table \"{}\" does not allow {what} of a stored row",
            target.name
        ),
    )
    .table(&target.schema, &target.name)
}
