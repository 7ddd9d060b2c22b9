//! Why a run begins, or does not.
use serde::Serialize;

/// Why a partition is made, or is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// It has no run yet.
    FirstRun,
    /// The lease of its latest run ran out, whether or not another run has taken over since.
    LeaseExpired,
    /// Its latest run failed.
    PreviousFailed,
    /// Its latest run has published another input.
    InputChanged,
    /// Its latest run has published that input, and the caller asks for it again.
    Forced,
    /// Its latest run has published that input.
    AlreadyPublished,
}
