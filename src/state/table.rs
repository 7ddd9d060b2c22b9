//! The names of the tables of state.
use std::ffi::CStr;

/// A table of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateTable {
    /// `idempotent.request_records`
    Requests,
    /// `idempotent.pipeline_run_records`
    PipelineRuns,
    /// `idempotent.load_records`
    Loads,
    /// `idempotent.conflict_records`
    Conflicts,
    /// `idempotent.rejection_records`
    Rejections,
    /// `idempotent.batch_records`
    Batches,
}

/// How many there are.
pub const COUNT: usize = StateTable::Batches as usize + 1;

impl StateTable {
    /// Its name.
    pub fn name(self) -> &'static CStr {
        match self {
            Self::Requests => c"request_records",
            Self::PipelineRuns => c"pipeline_run_records",
            Self::Loads => c"load_records",
            Self::Conflicts => c"conflict_records",
            Self::Rejections => c"rejection_records",
            Self::Batches => c"batch_records",
        }
    }

    /// The sequence that its numbers come from, if they have any.
    pub fn sequence(self) -> Option<&'static CStr> {
        Some(match self {
            Self::Requests => c"request_attempts",
            Self::PipelineRuns => c"pipeline_run_records_run_id_seq",
            Self::Loads => c"load_records_load_id_seq",
            Self::Conflicts => c"conflict_records_id_seq",
            Self::Rejections => c"rejection_records_id_seq",
            Self::Batches => return None,
        })
    }

    /// The name of the table, without its schema, for messages.
    pub fn display_name(self) -> &'static str {
        self.name().to_str().expect("ASCII")
    }
}
