//! Whether a partition is to be made, by its latest run.
use super::reason::Reason;
use super::record::{Run, RunStatus};
use crate::pg::backend;
use serde::Serialize;

/// What is to be done.
pub enum RunDecision {
    /// A run has to make it.
    Run {
        /// Why.
        reason: Reason,
        /// The run before, if there was one.
        latest: Option<Run>,
    },
    /// Its latest run has published that input.
    Skip(Run),
    /// A run holds it.
    InProgress(Run),
}

/// What the caller is told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// To make the partition.
    Run,
    /// To leave it as it is.
    Skip,
}

impl RunDecision {
    /// Decides by the clock. Only the latest run counts: after a run for another input that
    /// failed, it is not known what the partition holds.
    pub fn of(latest: Option<Run>, input_version: Option<&str>, force: bool) -> Self {
        let Some(run) = latest else {
            return Self::Run {
                reason: Reason::FirstRun,
                latest: None,
            };
        };
        let now = backend::clock();
        let same_input = run.input_version.as_deref() == input_version;
        let reason = match run.status {
            RunStatus::Running if run.lease_until.is_none_or(|until| until > now) => {
                return Self::InProgress(run);
            }
            RunStatus::Running | RunStatus::TakenOver => Reason::LeaseExpired,
            RunStatus::Failed => Reason::PreviousFailed,
            RunStatus::Published if !same_input => Reason::InputChanged,
            RunStatus::Published if force => Reason::Forced,
            RunStatus::Published => return Self::Skip(run),
        };
        Self::Run {
            reason,
            latest: Some(run),
        }
    }
}
