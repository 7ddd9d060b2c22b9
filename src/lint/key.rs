//! Rules about the key: whether there is one, and whether it is the same one whenever an
//! event arrives.
use super::body::ValueSource;
use super::finding::{Finding, Rule, Severity};
use super::subject::{LintedTable, ServerFilled};
use super::table::is_plain_table;
use crate::own_function::own_function;
use crate::pg::catalog::name::relation_name;
use crate::pg::ffi;
use crate::pg::value::text;
use crate::target::{PartitionKeyColumns, Target, UniqueIndex, partition_key_columns};
use pgrx::pg_sys;
use std::rc::Rc;

/// There is no unique index at all. A row that is sent twice is stored twice, and no
/// function or guard can prevent it: all of them decide by a unique index.
pub fn no_business_key(subject: &LintedTable, findings: &mut Vec<Finding>) {
    let target = &subject.target;
    if !target.indexes.is_empty() || index_of_a_partition(subject).is_some() {
        return;
    }
    findings.push(Finding {
        severity: Severity::Error,
        rule: Rule::NoBusinessKey,
        object: String::new(),
        message: format!(
            "table \"{}\" has no unique index that identifies a repeated payload{}",
            target.name,
            match target.distribution_column() {
                Some(column) =>
                    format!(", which has to contain the distribution column \"{column}\""),
                None => String::new(),
            }
        ),
        hint: create_on_event(target),
    });
}

/// A partitioned table has no unique index, but partitions have some. Each of these
/// decides for its own partition; the table as a whole has no key, and a new partition
/// comes without one.
pub fn partition_index(subject: &LintedTable, findings: &mut Vec<Finding>) {
    let target = &subject.target;
    let Some((partition, index)) = index_of_a_partition(subject) else {
        return;
    };
    let index = &partition.indexes[index];
    let columns: Vec<usize> = index
        .columns()
        .filter_map(|c| target.column_by_bytes(partition.columns[c].c_name.to_bytes()))
        .collect();
    findings.push(Finding {
        severity: Severity::Error,
        rule: Rule::PartitionIndex,
        object: partition.name.clone(),
        message: format!(
            "partition \"{}\" has the unique index {}, but the partitioned table \"{}\" has none",
            partition.name,
            partition.describe(index),
            target.name
        ),
        hint: target.create_index("Create it on the partitioned table", &columns),
    });
}

/// The first partition, by name, that has a usable unique index which the server does not
/// make, of a table that has none itself; and which of its indexes that is.
fn index_of_a_partition(subject: &LintedTable) -> Option<(Rc<Target>, usize)> {
    let target = &subject.target;
    if !target.partitioned || !target.indexes.is_empty() {
        return None;
    }
    let mut partitions: Vec<(String, pg_sys::Oid)> = ffi::partitions(target.oid)
        .into_iter()
        // Others have no indexes of their own, or cannot be opened as a target.
        .filter(|oid| is_plain_table(*oid))
        .filter_map(|oid| Some((relation_name(oid)?, oid)))
        .collect();
    partitions.sort_by(|(a, _), (b, _)| a.cmp(b));
    partitions.into_iter().find_map(|(_, oid)| {
        let (partition, _relation) = Target::open_briefly(oid)?;
        let is_key = |index: &UniqueIndex| {
            let made = |c: usize| partition.columns[c].has_changing_default();
            index.unusable_reason.is_none() && !index.is_computed() && !index.columns().any(made)
        };
        let place = partition.indexes.iter().position(is_key)?;
        Some((partition, place))
    })
}

/// There are unique indexes, and none of them decides: one is deferrable, on generated
/// columns, or excludes overlaps. ON CONFLICT cannot be
/// used with them, and functions and guards give 42P10. Beside a key that can
/// decide they do no harm; only one that is not valid costs without any use.
pub fn unusable_index(subject: &LintedTable, findings: &mut Vec<Finding>) {
    let target = &subject.target;
    let has_key = !subject.keys().is_empty();
    for index in &target.indexes {
        if subject.is_usable(index) || (has_key && index.valid) {
            continue;
        }
        let why = match (index.unusable_reason, subject.generated_key(index)) {
            (Some(why), _) => why.to_owned(),
            (None, Some(column)) => format!(
                "is on the generated column \"{}\", which is computed after the guard has \
                 verified the row",
                column.name
            ),
            (None, None) => continue,
        };
        findings.push(Finding {
            severity: if has_key {
                Severity::Warning
            } else {
                Severity::Error
            },
            rule: Rule::UnusableIndex,
            object: index.name.clone(),
            message: format!(
                "unique index \"{}\" cannot be the key: it {why}",
                index.name
            ),
            hint: remedy(subject, index),
        });
    }
}

/// What makes an index usable.
fn remedy(subject: &LintedTable, index: &UniqueIndex) -> String {
    let target = &subject.target;
    let table = target.qualified();
    let columns = target.column_list(index.columns());
    let name = text::quote_identifier(&index.name);
    if !index.valid && target.partitioned {
        return format!(
            "Create the index on every partition, and attach it: ALTER INDEX {}.{name} ATTACH \
             PARTITION …;",
            text::quote_identifier(&target.schema)
        );
    }
    if !index.valid {
        return format!(
            "Unless it is still being built: REINDEX INDEX CONCURRENTLY {}.{name};",
            text::quote_identifier(&target.schema)
        );
    }
    if index.deferrable && subject.is_partition() {
        return "Make it immediate on the partitioned table.".to_owned();
    }
    if index.deferrable {
        let kind = if index.primary {
            "PRIMARY KEY"
        } else {
            "UNIQUE"
        };
        return format!(
            "Make it immediate: ALTER TABLE {table} DROP CONSTRAINT {name}, ADD CONSTRAINT {name} \
             {kind} ({columns});"
        );
    }
    create_on_event(target)
}

/// The only unique indexes have a column that the server fills: a sequence, an identity,
/// a random uuid, or the time. A row that arrives again gets another value, so it is
/// another row. The most frequent reason of rows that are there twice.
///
/// For a guard that was told to use such a key, clients send it; then it is a risk
/// only where one of them forgets to.
pub fn server_filled_key(subject: &LintedTable, findings: &mut Vec<Finding>) {
    let keys = subject.keys();
    let guarded = subject.resolved_guard().is_some();
    let indexes: Vec<&UniqueIndex> = if keys.is_empty() {
        let usable = subject.target.indexes.iter();
        usable.filter(|index| subject.is_usable(index)).collect()
    } else {
        keys
    };
    for index in indexes {
        for column in index.columns() {
            let Some(made) = &subject.server_filled[column] else {
                continue;
            };
            let name = &subject.target.columns[column].name;
            let rule = match made.value_source {
                ValueSource::Clock | ValueSource::WallClock => Rule::ClockKey,
                _ => Rule::MachineMadeKey,
            };
            findings.push(Finding {
                severity: if guarded && !made.overwritten {
                    Severity::Warning
                } else {
                    Severity::Error
                },
                rule,
                object: format!("{} {name}", index.name),
                message: format!(
                    "key column \"{name}\" of index \"{}\" is a server-generated key: it is \
                     filled by {}",
                    index.name, made.by
                ),
                hint: without_server_filled(subject, index, column, made),
            });
        }
    }
}

/// How to get rid of a key column that the server makes.
fn without_server_filled(
    subject: &LintedTable,
    index: &UniqueIndex,
    column: usize,
    made: &ServerFilled,
) -> String {
    let target = &subject.target;
    let name = &target.columns[column].name;
    let by = subject.partition_columns();
    let by = index
        .columns()
        .find(|c| by.contains(c) && subject.server_filled[*c].is_some());
    let others: Vec<usize> = index
        .columns()
        .filter(|c| subject.server_filled[*c].is_none())
        .collect();
    let mut hint = if let Some(by) = by {
        format!(
            "A unique index must contain \"{}\", by which the table is partitioned: partition \
             the table by a column of the business event.",
            target.columns[by].name
        )
    } else if others.is_empty() {
        create_on_event(target)
    } else {
        format!(
            "If the other columns name the business event: CREATE UNIQUE INDEX ON {} ({});",
            target.qualified(),
            target.column_list(others)
        )
    };
    if made.may_be_sent {
        hint.push_str(&format!(
            " If every client sends \"{name}\", with the same value in a retry: {};",
            made.undo
        ));
    }
    hint
}

/// Several unique indexes could be the key, and nothing says which is. Without the
/// argument `key` a guard is refused, and functions go by what a payload names.
pub fn ambiguous_key(subject: &LintedTable, findings: &mut Vec<Finding>) {
    let target = &subject.target;
    let keys = subject.keys();
    let [first, _, ..] = keys.as_slice() else {
        return;
    };
    let listed: Vec<String> = keys.iter().map(|index| target.describe(index)).collect();
    findings.push(Finding {
        severity: Severity::Info,
        rule: Rule::AmbiguousKey,
        object: String::new(),
        message: format!(
            "several unique indexes could be the key: {}",
            listed.join(", ")
        ),
        hint: if subject.is_partition() {
            "Name the key columns with the argument key.".to_owned()
        } else {
            format!(
                "Name the key columns with the argument key, for example: SELECT {}({}, key => {});",
                own_function("idempotent_guard"),
                text::quote_literal(&target.qualified()),
                target.key_argument(first),
            )
        },
    });
}

/// The index of the key is partial: rows outside of its condition have no key, and go in as often as
/// they are sent. Where no other index is the key, it is none either until it is named.
pub fn partial_key(subject: &LintedTable, findings: &mut Vec<Finding>) {
    let target = &subject.target;
    let keys = subject.keys();
    let named_only = target.indexes.iter();
    let named_only = named_only
        .filter(|index| keys.is_empty() && subject.is_usable(index) && index.condition.is_some());
    let partial = keys.iter().copied().chain(named_only);
    for (index, condition) in partial.filter_map(|i| Some((i, i.condition_sql()?))) {
        let is_key = !keys.is_empty();
        findings.push(Finding {
            severity: if is_key {
                Severity::Info
            } else {
                Severity::Warning
            },
            rule: Rule::PartialKey,
            object: index.name.clone(),
            message: if is_key {
                format!(
                    "rows outside the condition of index \"{}\" have no key, and are inserted as \
                     often as they are sent: {condition}",
                    index.name
                )
            } else {
                format!(
                    "unique index \"{}\" is the key only where it is named, because it is partial",
                    index.name
                )
            },
            hint: if is_key {
                "If such rows are sent more than once, too, give them a unique index of their own."
                    .to_owned()
            } else {
                format!(
                    "If it is: SELECT {}({}, key => {});",
                    own_function("idempotent_guard"),
                    text::quote_literal(&target.qualified_root()),
                    target.key_argument(index),
                )
            },
        });
    }
}

/// Only the owner of the table knows which columns name the event. A partitioned or distributed table needs
/// the columns by which it is partitioned or distributed, too. Some tables cannot have a unique index.
fn create_on_event(target: &Target) -> String {
    let mut by = match partition_key_columns(target) {
        PartitionKeyColumns::Unindexable(why) => return why.to_owned(),
        PartitionKeyColumns::None => Vec::new(),
        PartitionKeyColumns::By(by) => by,
    };
    let distributed_by = target.distribution_column();
    let distributed_by = distributed_by.map(|name| target.column_by_name(&name));
    by.extend(distributed_by.filter(|column| !by.contains(column)));
    let separator = if by.is_empty() { "" } else { ", " };
    format!(
        "Create a unique index on the columns that name the business event: CREATE UNIQUE INDEX ON \
         {} (…{separator}{});",
        target.qualified(),
        target.column_list(by)
    )
}
