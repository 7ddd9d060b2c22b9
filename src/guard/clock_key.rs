//! The warning about a guard's key that the clock takes part in.
use crate::error::{Report, SqlState, warn};
use crate::target::{ColumnDefault, DefaultKind, OpenRelation, Target, UniqueIndex};

/// The key columns that are filled with the time where a row leaves them out.
pub fn columns(target: &Target, relation: &OpenRelation, arbiter: &UniqueIndex) -> Vec<String> {
    arbiter
        .columns()
        .map(|c| &target.columns[c])
        .filter(|column| {
            ColumnDefault::of(relation, column)
                .is_some_and(|default| default.kind == DefaultKind::Clock)
        })
        .map(|column| column.name.clone())
        .collect()
}

/// Warns of such columns: each retry that leaves one out is another row. The usual case is
/// a partitioned table, `UNIQUE (id, created_at)`.
pub fn warn_about(target: &Target, columns: &[String]) {
    for column in columns {
        warn(
            Report::new(
                SqlState::Warning,
                format!(
                    "key column \"{column}\" of the guard on table \"{}\" defaults to the \
                     current time",
                    target.name
                ),
            )
            .detail(
                "A retry that omits the column gets another time, and is inserted as \
                 another row.",
            )
            .hint(if target.partitioned {
                "Make clients send the same value in every retry, or partition the table by a \
                 column of the business event."
            } else {
                "Make clients send the same value in every retry, or use a key without this \
                 column."
            })
            .table(&target.schema, &target.name)
            .column(column.as_str()),
        );
    }
}
