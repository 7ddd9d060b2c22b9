//! What happens when rows go into a table, by its kind, rules, triggers and constraints.
use super::remote_name::name_on_other_server;
use super::{OpenRelation, Target};
use crate::error::{Report, SqlState};
use crate::own_function::own_function;
use pgrx::pg_sys;

impl Target {
    /// Refuses a table whose rules rewrite what would be run.
    ///
    /// # Errors
    /// 0A000
    pub fn refuse_rules(&self) {
        if self.has_write_rules {
            Report::new(
                SqlState::FeatureNotSupported,
                format!("cannot insert or verify rows in table \"{}\"", self.name),
            )
            .detail("The table has a rule on INSERT or UPDATE.")
            .hint("Replace the rule with a trigger.")
            .table(&self.schema, &self.name)
            .raise()
        }
    }
}

impl Target {
    /// Refuses a table (open as `relation`) whose rules rewrite a DELETE.
    ///
    /// # Errors
    /// 0A000
    pub fn refuse_delete_rules(&self, relation: &OpenRelation) {
        if relation.has_delete_rule() {
            Report::new(
                SqlState::FeatureNotSupported,
                format!("cannot delete rows of table \"{}\"", self.name),
            )
            .detail("The table has a rule on DELETE.")
            .hint("Replace the rule with a trigger.")
            .table(&self.schema, &self.name)
            .raise()
        }
    }
}

/// Whether rules rewrite an INSERT or an UPDATE.
pub(super) fn has_write_rules(relation: &OpenRelation) -> bool {
    relation.has_rule_on(&[pg_sys::CmdType::CMD_INSERT, pg_sys::CmdType::CMD_UPDATE])
}

/// Whether nothing could happen, or fail, before INSERT … ON CONFLICT DO NOTHING skips a stored row,
/// BEFORE triggers aside.
pub(super) fn skip_has_no_effect(relation: &OpenRelation) -> bool {
    relation.kind() == pg_sys::RELKIND_RELATION
        && !relation.has_row_security()
        && !relation.has_insert_statement_triggers()
        && !relation.has_checks_or_stored_columns()
}

/// Refuses a system catalog, as the server does where a trigger of one is made.
///
/// # Errors
/// 42501
pub(super) fn refuse_catalog(relation: &OpenRelation) {
    if relation.is_protected_catalog() {
        let name = relation.name();
        Report::new(
            SqlState::InsufficientPrivilege,
            format!("permission denied: \"{name}\" is a system catalog"),
        )
        .table(&relation.schema(), &name)
        .raise()
    }
}

/// Refuses a relation in which no rows can be verified, in core's words.
///
/// # Errors
/// 42809; 0A000 for another session's temporary table.
pub(super) fn refuse_unusable_kind(relation: &OpenRelation) {
    let kinds = match relation.kind() {
        pg_sys::RELKIND_RELATION | pg_sys::RELKIND_PARTITIONED_TABLE => {
            if relation.is_other_temp() {
                Report::new(
                    SqlState::FeatureNotSupported,
                    "cannot access temporary tables of other sessions",
                )
                .raise()
            }
            return;
        }
        pg_sys::RELKIND_VIEW => "views",
        pg_sys::RELKIND_MATVIEW => "materialized views",
        pg_sys::RELKIND_FOREIGN_TABLE => "foreign tables",
        pg_sys::RELKIND_SEQUENCE => "sequences",
        pg_sys::RELKIND_INDEX => "indexes",
        pg_sys::RELKIND_PARTITIONED_INDEX => "partitioned indexes",
        pg_sys::RELKIND_COMPOSITE_TYPE => "composite types",
        _ => "relations of this kind",
    };
    let name = relation.name();
    let report = Report::new(
        SqlState::WrongObjectType,
        format!("\"{name}\" is not a table"),
    )
    .detail(format!("This operation is not supported for {kinds}."))
    .table(&relation.schema(), &name);
    match relation.kind() {
        pg_sys::RELKIND_FOREIGN_TABLE => report.hint(work_on_foreign_table(relation.oid())),
        _ => report,
    }
    .raise()
}

/// What can be done with a foreign table instead.
fn work_on_foreign_table(table: pg_sys::Oid) -> String {
    let there = match name_on_other_server(table) {
        Some(name) => format!("Call the function on the other server, on table {name}"),
        None => "Work on the other server".to_owned(),
    };
    format!(
        "{there}. {} and {} take the foreign table, if the argument key names its key.",
        own_function("idempotent_insert_from"),
        own_function("idempotent_load")
    )
}
