//! Rules about the columns of a key: whether their values tell events apart, and retries
//! not.
use super::finding::{Finding, Rule, Severity, column_words};
use super::loading::{LOADED, is_time};
use super::subject::LintedTable;
use super::words::has_word;
use crate::guard::{NullKey, call_passing_null_keys};
use crate::pg::statement::spi::Connection;
use crate::pg::value::sql_value::SqlValue;
use crate::pg::value::text;
use crate::target::{Target, UniqueIndex};
use pgrx::pg_sys;

/// A key column that, by its name, says when the row was loaded. It is another one in
/// the next attempt, so everything goes in again.
pub fn loading_time(subject: &LintedTable, findings: &mut Vec<Finding>) {
    let target = &subject.target;
    for index in subject.keys() {
        for column in index.columns() {
            let name = &target.columns[column].name;
            let seems = subject.server_filled[column].is_none()
                && is_time(target.columns[column].base_type())
                && has_word(name, &LOADED);
            if !seems || index.keys.len() == 1 {
                continue;
            }
            let by_partition = subject.partition_columns().contains(&column);
            let others = index.columns().filter(|c| *c != column);
            findings.push(Finding {
                severity: Severity::Warning,
                rule: Rule::ClockKey,
                object: format!("{} {name}", index.name),
                message: format!(
                    "key column \"{name}\" of index \"{}\" has a name that suggests the time \
                     of the attempt",
                    index.name
                ),
                hint: if by_partition {
                    format!(
                        "Partition the table by a column of the business event, and leave \
                         \"{name}\" out of the key."
                    )
                } else {
                    format!(
                        "Leave it out of the key: CREATE UNIQUE INDEX ON {} ({});",
                        target.qualified(),
                        target.column_list(others)
                    )
                },
            });
        }
    }
}

/// Key columns that may be NULL, in an index to which NULLs are all different. A plain
/// INSERT with NULL goes in as often as it is sent; functions and guards refuse it with
/// 23502.
pub fn nullable_key(subject: &LintedTable, findings: &mut Vec<Finding>) {
    let target = &subject.target;
    for index in subject.keys() {
        let condition = index.condition.as_ref();
        if index.nulls_equal || condition.is_some_and(|condition| condition.is_about_null_keys) {
            continue;
        }
        let nullable: Vec<&str> = index
            .columns()
            .map(|c| &target.columns[c])
            .filter(|column| column.may_be_null())
            .map(|column| column.name.as_str())
            .collect();
        if nullable.is_empty() {
            continue;
        }
        let guard = subject.resolved_guard();
        let passes = guard.is_some_and(|guard| guard.null_key == NullKey::Pass);
        findings.push(if passes {
            unverified_nulls(subject, index, &nullable)
        } else {
            unequal_nulls(subject, index, &nullable)
        });
    }
}

/// How to get an index like this one, in which nulls are equal; nothing for one on more than columns.
fn nulls_equal(target: &Target, index: &UniqueIndex) -> String {
    if index.is_computed() {
        return String::new();
    }
    format!(
        " Or, if nulls are equal to each other: CREATE UNIQUE INDEX ON {} ({}) NULLS NOT DISTINCT;",
        target.qualified(),
        target.column_list(index.columns()),
    )
}

/// The guard lets rows without a whole key pass.
fn unverified_nulls(subject: &LintedTable, index: &UniqueIndex, nullable: &[&str]) -> Finding {
    Finding {
        severity: Severity::Info,
        rule: Rule::NullableKey,
        object: index.name.clone(),
        message: format!(
            "{} of index \"{}\" may be null, and rows with a null there are inserted \
             without verification",
            column_words("key column", nullable),
            index.name
        ),
        hint: format!(
            "If there are none: ALTER TABLE {} {};",
            subject.target.qualified(),
            nullable_to_not_null(nullable)
        ),
    }
}

/// Rows without a whole key are never found again.
fn unequal_nulls(subject: &LintedTable, index: &UniqueIndex, nullable: &[&str]) -> Finding {
    let target = &subject.target;
    let passing = match &subject.guard {
        Some(guard) => format!(
            " Or let such rows pass without verification: {}",
            call_passing_null_keys(&subject.guarded_table(), &guard.trigger.arguments)
        ),
        None => String::new(),
    };
    Finding {
        severity: Severity::Warning,
        rule: Rule::NullableKey,
        object: index.name.clone(),
        message: format!(
            "{} of index \"{}\" may be null, and rows with a null there are never equal",
            column_words("key column", nullable),
            index.name
        ),
        hint: format!(
            "If there are none, forbid them: ALTER TABLE {} {};{}{passing}",
            target.qualified(),
            nullable_to_not_null(nullable),
            nulls_equal(target, index),
        ),
    }
}

/// What declares these columns NOT NULL, in an ALTER TABLE.
fn nullable_to_not_null(names: &[&str]) -> String {
    let set = names
        .iter()
        .map(|name| format!("ALTER COLUMN {} SET NOT NULL", text::quote_identifier(name)));
    set.collect::<Vec<_>>().join(", ")
}

/// A key column of floating point. What was computed once more, or came through another
/// program, differs in the last digit: the retry is a new row.
pub fn float_key(subject: &LintedTable, findings: &mut Vec<Finding>) {
    let target = &subject.target;
    for index in subject.keys() {
        let is_float = |c: &usize| {
            [pg_sys::FLOAT4OID, pg_sys::FLOAT8OID].contains(&target.columns[*c].base_type())
        };
        let fixed = index
            .columns()
            .any(|c| is_float(&c) && subject.has_fixed_type(c));
        let floats: Vec<&str> = index
            .columns()
            .filter(is_float)
            .map(|c| target.columns[c].name.as_str())
            .collect();
        if floats.is_empty() {
            continue;
        }
        let change: Vec<String> = floats
            .iter()
            .map(|name| format!("ALTER COLUMN {} TYPE numeric", text::quote_identifier(name)))
            .collect();
        findings.push(Finding {
            severity: Severity::Warning,
            rule: Rule::FloatKey,
            object: index.name.clone(),
            message: format!(
                "{} of index \"{}\" {} floating point, where equal values may differ in the last \
                 digit",
                column_words("key column", &floats),
                index.name,
                if floats.len() == 1 { "is" } else { "are" }
            ),
            hint: if fixed {
                "Make it numeric in a new table: the type of a column by which a table is \
                 partitioned cannot be changed."
                    .to_owned()
            } else {
                format!(
                    "ALTER TABLE {} {};",
                    target.qualified_root(),
                    change.join(", ")
                )
            },
        });
    }
}

/// The index of the key was built under another version of its collation than the
/// operating system (or ICU) has now, as after an upgrade of either. If the order of some
/// texts has changed, a look-up misses keys that are stored: retries go in twice.
pub fn stale_collation(subject: &LintedTable, findings: &mut Vec<Finding>) {
    let target = &subject.target;
    for index in subject.keys() {
        let Some((collation, refresh)) = index
            .keys
            .iter()
            .find_map(|key| stale(key.operators.collation))
        else {
            continue;
        };
        let schema = text::quote_identifier(&target.schema);
        findings.push(Finding {
            severity: Severity::Warning,
            rule: Rule::StaleCollation,
            object: index.name.clone(),
            message: format!(
                "index \"{}\" was built under another version of collation {collation}, and may \
                 miss keys that are stored",
                index.name
            ),
            hint: format!(
                "REINDEX INDEX CONCURRENTLY {schema}.{}; When all indexes with that collation are \
                 rebuilt: {refresh};",
                text::quote_identifier(&index.name)
            ),
        });
    }
}

/// The quoted name of a collation whose version is not the recorded one, and how to record
/// that of today.
fn stale(collation: pg_sys::Oid) -> Option<(String, String)> {
    if collation == pg_sys::InvalidOid {
        return None;
    }
    let of_database = collation == pg_sys::DEFAULT_COLLATION_OID;
    let sql = if of_database {
        "SELECT pg_catalog.quote_ident(d.datname) FROM pg_catalog.pg_database AS d
          WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()
            AND d.datcollversion
                OPERATOR(pg_catalog.<>) pg_catalog.pg_database_collation_actual_version(d.oid)"
    } else {
        "SELECT pg_catalog.quote_ident(n.nspname) OPERATOR(pg_catalog.||) '.'
                OPERATOR(pg_catalog.||) pg_catalog.quote_ident(c.collname)
           FROM pg_catalog.pg_collation AS c
           JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.collnamespace
          WHERE c.oid OPERATOR(pg_catalog.=) $1
            AND c.collversion
                OPERATOR(pg_catalog.<>) pg_catalog.pg_collation_actual_version(c.oid)"
    };
    let oid = SqlValue::oid(collation);
    let connection = Connection::open();
    if connection.query(
        sql,
        if of_database {
            &[]
        } else {
            std::slice::from_ref(&oid)
        },
    ) == 0
    {
        return None;
    }
    let name = connection.first_text(1)?;
    Some(if of_database {
        let refresh = format!("ALTER DATABASE {name} REFRESH COLLATION VERSION");
        ("of the database".to_owned(), refresh)
    } else {
        let refresh = format!("ALTER COLLATION {name} REFRESH VERSION");
        (name, refresh)
    })
}
