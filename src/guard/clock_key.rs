//! The warning about a guard's key that the clock takes part in, or the transaction, or an identity
//! that only the server fills.
use crate::error::{Report, SqlState, warn};
use crate::target::{ColumnDefault, DefaultKind, OpenRelation, Target, UniqueIndex};

/// The key columns that are filled with the time where a row leaves them out, or with what the
/// transaction is; and those that clients cannot send.
pub fn columns(
    target: &Target,
    relation: &OpenRelation,
    arbiter: &UniqueIndex,
) -> Vec<(String, DefaultKind)> {
    let filled = arbiter.columns().filter_map(|c| {
        let column = &target.columns[c];
        let kind = ColumnDefault::of(relation, column)?.kind;
        let warned_about =
            matches!(kind, DefaultKind::Clock | DefaultKind::Transaction) || !column.may_be_named;
        warned_about.then(|| (column.name.clone(), kind))
    });
    filled.collect()
}

/// Warns of such columns: each retry that leaves one out is another row. The usual case is
/// a partitioned table, `UNIQUE (id, created_at)`.
pub fn warn_about(target: &Target, columns: &[(String, DefaultKind)]) {
    for (column, kind) in columns {
        let report = match kind {
            DefaultKind::Clock => filled(target, column, "the current time", "another time"),
            DefaultKind::Sequence => identity(target, column),
            _ => {
                let by = "a value of the transaction or connection";
                filled(target, column, by, "another value")
            }
        };
        warn(
            report
                .table(&target.schema, &target.name)
                .column(column.as_str()),
        );
    }
}

fn filled(target: &Target, column: &str, by: &str, another: &str) -> Report {
    Report::new(
        SqlState::Warning,
        format!(
            "key column \"{column}\" of the guard on table \"{}\" defaults to {by}",
            target.name
        ),
    )
    .detail(format!(
        "A retry that omits the column gets {another}, and is inserted as another row."
    ))
    .hint(if target.partitioned {
        "Make clients send the same value in every retry, or partition the table by a \
         column of the business event."
    } else {
        "Make clients send the same value in every retry, or use a key without this \
         column."
    })
}

fn identity(target: &Target, column: &str) -> Report {
    Report::new(
        SqlState::Warning,
        format!(
            "key column \"{column}\" of the guard on table \"{}\" is an identity column defined as \
             GENERATED ALWAYS",
            target.name
        ),
    )
    .detail("Every row gets a number of its own, so the guard never finds a duplicate.")
    .hint("Use a key of columns that clients send.")
}
