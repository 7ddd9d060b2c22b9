//! What becomes of a request, by what is known of its key.
use super::record::{Record, Request, Status};
use pgrx::pg_sys;

/// What is to be done.
pub enum Decision {
    /// The key is free; this is the row that is there and of no more use, if one is.
    Start(Option<Record>),
    /// Its lease ran out: the work goes on from its recovery point.
    Resume(Record),
    /// It is finished: its answer is given again.
    Replay(Record),
    /// It is being worked on.
    InProgress(Record),
    /// The key was used with another request.
    Mismatch(Record),
}

impl Decision {
    /// Decides by the clock.
    pub fn of(known: Option<Record>, request: &Request) -> Self {
        let known = match known {
            Some(known) if !known.is_free() => known,
            free => return Self::Start(free),
        };
        if !known.is_same(request) {
            return Self::Mismatch(known);
        }
        // SAFETY: reads the clock.
        let now = unsafe { pg_sys::GetCurrentTimestamp() };
        match known.status {
            Status::Finished => Self::Replay(known),
            _ if known.is_held(now) => Self::InProgress(known),
            _ => Self::Resume(known),
        }
    }
}
