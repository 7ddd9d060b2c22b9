//! Rules about the table as a whole.
use super::finding::{Finding, Rule, Severity, column_words};
use super::subject::LintedTable;
use crate::pg::catalog::name::{relation_name, schema_of_relation};
use crate::pg::catalog::relation::{self, is_unlogged_table};
use crate::pg::ffi;
use crate::pg::statement::spi::Connection;
use crate::pg::value::sql_value::SqlValue;
use crate::pg::value::text;
use pgrx::pg_sys;

/// A rewrite rule on INSERT or UPDATE. It turns a statement into others before any row is
/// there to be judged; ON CONFLICT cannot be used, and functions give 0A000.
pub fn rewrite_rule(subject: &LintedTable, findings: &mut Vec<Finding>) {
    let target = &subject.target;
    if !target.has_write_rules {
        return;
    }
    for name in rules(target.oid) {
        findings.push(Finding {
            severity: Severity::Error,
            rule: Rule::Rewrites,
            message: format!(
                "rule \"{name}\" rewrites statements, so functions cannot insert or verify rows"
            ),
            hint: format!(
                "Replace it with a trigger: DROP RULE {} ON {};",
                text::quote_identifier(&name),
                target.qualified()
            ),
            object: name,
        });
    }
}

/// The names of a table's rules on INSERT and UPDATE.
fn rules(table: pg_sys::Oid) -> Vec<String> {
    let connection = Connection::open();
    connection.query(
        "SELECT pg_catalog.array_agg(r.rulename::pg_catalog.text)
           FROM pg_catalog.pg_rewrite AS r
          WHERE r.ev_class OPERATOR(pg_catalog.=) $1
            AND r.ev_type OPERATOR(pg_catalog.=) ANY (ARRAY['2', '3']::pg_catalog.\"char\"[])",
        &[SqlValue::oid(table)],
    );
    connection
        .first_texts(1)
        .unwrap_or_default()
        .into_iter()
        .flatten()
        .collect()
}

/// An unlogged table is empty after a crash, while its clients hold answers that say that
/// their rows are in. And tables that inherit from the target are not covered by its unique
/// index: what is in one of them goes into the target once more.
pub fn storage(subject: &LintedTable, findings: &mut Vec<Finding>) {
    let target = &subject.target;
    let all = ffi::partitions(target.oid);
    let mut unlogged: Vec<(String, pg_sys::Oid)> = all
        .iter()
        .filter(|oid| target.partitioned || **oid == target.oid)
        .filter(|oid| is_unlogged_table(**oid))
        .filter_map(|oid| Some((relation_name(*oid)?, *oid)))
        .collect();
    unlogged.sort_by(|(a, _), (b, _)| a.cmp(b));
    for (name, oid) in unlogged {
        let what = if oid == target.oid {
            "table"
        } else {
            "partition"
        };
        findings.push(Finding {
            severity: Severity::Warning,
            rule: Rule::Unlogged,
            message: format!(
                "{what} \"{name}\" is unlogged: a crash empties it, committed rows included"
            ),
            hint: format!(
                "ALTER TABLE {}.{} SET LOGGED;",
                schema_of(oid),
                text::quote_identifier(&name)
            ),
            object: name,
        });
    }
    if !target.partitioned && all.len() > 1 {
        let mut children: Vec<String> = all
            .iter()
            .filter(|oid| **oid != target.oid)
            .filter_map(|oid| relation_name(*oid))
            .collect();
        children.sort();
        let names: Vec<&str> = children.iter().map(String::as_str).collect();
        findings.push(Finding {
            severity: Severity::Warning,
            rule: Rule::Inheritance,
            object: target.name.clone(),
            message: format!(
                "rows in {}, inheriting from \"{}\", are not in its unique index",
                column_words("table", &names),
                target.name
            ),
            hint: "Make it a partitioned table, whose unique index covers all partitions."
                .to_owned(),
        });
    }
}

/// Whether there is a plain table with this oid.
pub fn is_plain_table(oid: pg_sys::Oid) -> bool {
    relation::kind(oid) == pg_sys::RELKIND_RELATION
}

/// The quoted name of a table's schema; empty if the table is gone.
fn schema_of(table: pg_sys::Oid) -> String {
    schema_of_relation(table).map_or_else(String::new, |name| text::quote_identifier(&name))
}
