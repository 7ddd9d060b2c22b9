//! Why a run begins, or does not.
/// Why a partition is made, or is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

impl Reason {
    /// The word in the table and in results.
    pub fn name(self) -> &'static str {
        match self {
            Self::FirstRun => "first_run",
            Self::LeaseExpired => "lease_expired",
            Self::PreviousFailed => "previous_failed",
            Self::InputChanged => "input_changed",
            Self::Forced => "forced",
            Self::AlreadyPublished => "already_published",
        }
    }
}
