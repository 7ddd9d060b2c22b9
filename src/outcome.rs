//! What becomes of a payload, and of a conflict.
use crate::error::{Report, SqlState};

/// What a payload turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is the stored row now.
    Inserted,
    /// A row is stored under its key, and every compared column agrees.
    Duplicate,
    /// A row is stored under its key, and some compared column differs.
    Conflict,
}

impl Outcome {
    /// The word in results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Inserted => "inserted",
            Self::Duplicate => "duplicate",
            Self::Conflict => "conflict",
        }
    }
}

/// What is done about a conflict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
        match value {
            "error" => Self::Error,
            "report" => Self::Report,
            "quarantine" => Self::Quarantine,
            _ => Report::new(
                SqlState::InvalidParameterValue,
                format!("unrecognized value for argument \"on_conflict\": \"{value}\""),
            )
            .hint("Available values: error, report, quarantine.")
            .raise(),
        }
    }
}
