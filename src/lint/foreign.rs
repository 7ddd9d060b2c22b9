//! The rule about foreign tables, to which no other rule applies.
use super::finding::{Finding, Rule, Severity};
use crate::own_function::own_function;
use crate::pg::catalog::name::relation_name;
use crate::pg::catalog::relation;
use crate::pg::value::text;
use crate::target::{check_any_privilege, name_on_other_server};
use pgrx::pg_sys;

/// A foreign table has no indexes here. Whether its key is unique, only the other server can say. None
/// for another kind of table.
///
/// # Errors
/// 42501 without any right on the table.
pub fn key_elsewhere(table: pg_sys::Oid) -> Option<Finding> {
    if relation::kind(table) != pg_sys::RELKIND_FOREIGN_TABLE {
        return None;
    }
    check_any_privilege(table);
    Some(Finding {
        severity: Severity::Info,
        rule: Rule::KeyElsewhere,
        object: String::new(),
        message: format!(
            "whether a unique index identifies a repeated payload of foreign table \"{}\" can only be seen \
             on the other server",
            relation_name(table)?
        ),
        hint: match name_on_other_server(table) {
            Some(name) => format!(
                "On the other server: SELECT * FROM {}({});",
                own_function("idempotent_lint"),
                text::quote_literal(&name)
            ),
            None => "Make sure that a unique index on the other server has the columns of the key."
                .to_owned(),
        },
    })
}
