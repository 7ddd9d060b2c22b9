//! What becomes of a payload, of a conflict, and of a row that the server refuses.
use crate::enum_text;
use crate::error::{Report, SqlState};
use crate::target::{Target, UniqueIndex};
use pgrx::pg_sys;
use serde::{Deserialize, Serialize};

/// What a payload turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is the stored row now.
    Inserted,
    /// A row is stored under its key, and every compared column agrees.
    Duplicate,
    /// A row is stored under its key, and some compared column differs.
    Conflict,
    /// The server refuses the row.
    Rejected,
}

impl Outcome {
    /// The word in results.
    pub fn name(self) -> &'static str {
        enum_text::name(self)
    }
}

/// What is done about a conflict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnConflict {
    /// The call fails with 23I01.
    Error,
    /// The outcome says so.
    Report,
    /// The outcome says so, and the conflict is recorded in
    /// `idempotent.conflicts`.
    Quarantine,
}

impl OnConflict {
    /// The option's value; any other is error 22023.
    pub fn parse(value: &str) -> Self {
        enum_text::argument("on_conflict", value)
    }
}

/// What is done about a row that the server refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnError {
    /// The call fails with the server's error.
    Error,
    /// The outcome says so, and the other rows go in.
    Report,
    /// Likewise, and the payload is recorded in `idempotent.rejections`.
    Quarantine,
}

impl OnError {
    /// The option's value; any other is error 22023.
    pub fn parse(value: &str) -> Self {
        enum_text::argument("on_error", value)
    }

    /// Whether a row that is refused is set aside.
    pub fn rejects(self) -> bool {
        self != Self::Error
    }
}

/// The report of one conflict or several: `detail` tells them, `only_column` is
/// the position of the one column that differs, where there is but one.
pub fn conflict_report(
    target: &Target,
    arbiter: &UniqueIndex,
    conflicts: i64,
    detail: String,
    only_column: Option<usize>,
) -> Report {
    // A guard on a shard speaks of the table that the user knows.
    let (schema, table, suffix) = target
        .sharded_table()
        .unwrap_or_else(|| (target.schema.clone(), target.name.clone(), String::new()));
    let constraint = arbiter.name.strip_suffix(&suffix).unwrap_or(&arbiter.name);
    let message = match conflicts {
        1 => format!("payload conflicts with the stored row in table \"{table}\""),
        n => format!("{n} payloads conflict with stored rows in table \"{table}\""),
    };
    let report = Report::new(SqlState::Conflict, message)
        .detail(detail)
        .hint(
            "Use a new key for a new event, or leave columns that change after insert out of the \
             comparison with ignore.",
        )
        .table(&schema, &table);
    let report = match arbiter.oid {
        pg_sys::InvalidOid => report,
        _ => report.constraint(constraint.to_owned()),
    };
    match only_column {
        Some(column) => report.column(target.columns[column].name.clone()),
        None => report,
    }
}
