//! Whether a partition is to be made, by its latest run.
use super::record::{Run, Status};
use pgrx::pg_sys;

/// What is to be done.
pub enum Decision {
    /// A run has to make it.
    Run {
        /// Why, for people.
        reason: String,
        /// The run before, if there was one.
        latest: Option<Run>,
    },
    /// Its latest run has published that input.
    Skip(Run),
    /// A run holds it.
    Busy(Run),
}

impl Decision {
    /// Decides by the clock. Only the latest run counts: after a run for another input that
    /// failed, nobody knows what the partition holds.
    pub fn of(latest: Option<Run>, input_version: Option<&str>, force: bool) -> Self {
        let Some(run) = latest else {
            return Self::Run {
                reason: "first run".to_owned(),
                latest: None,
            };
        };
        let id = run.id;
        // SAFETY: reads the clock.
        let now = unsafe { pg_sys::GetCurrentTimestamp() };
        let same_input = run.input_version.as_deref() == input_version;
        let reason = match run.status {
            Status::Running if run.lease_until.is_none_or(|until| until > now) => {
                return Self::Busy(run);
            }
            Status::Running | Status::TakenOver => {
                format!("run {id} did not end: its lease ran out")
            }
            Status::Failed => format!("run {id} failed"),
            Status::Published if !same_input => "input changed".to_owned(),
            Status::Published if force => "forced".to_owned(),
            Status::Published => return Self::Skip(run),
        };
        Self::Run {
            reason,
            latest: Some(run),
        }
    }
}
