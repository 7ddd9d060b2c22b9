//! What becomes of a request, by what is known of its key.
use super::record::{Request, RequestRecord, RequestStatus};
use crate::pg::backend;
use crate::pg::schedule::leaves_out;

/// What is to be done.
pub enum RequestDecision {
    /// The key is free; this is the row that is there and of no more use, if one is.
    Start(Option<RequestRecord>),
    /// Its lease ran out: the work goes on from its recovery point.
    Resume(RequestRecord),
    /// It is finished: its answer is given again.
    Replay(RequestRecord),
    /// It is being worked on.
    InProgress(RequestRecord),
    /// The key was used with another request.
    Mismatch(RequestRecord),
}

impl RequestDecision {
    /// Decides by the clock.
    pub fn of(known: Option<RequestRecord>, request: &Request) -> Self {
        let known = match known {
            Some(known) if !known.is_free() => known,
            free => return Self::Start(free),
        };
        if !known.is_same_request(request) {
            return Self::Mismatch(known);
        }
        let now = backend::clock();
        match known.status {
            RequestStatus::Finished => Self::Replay(known),
            _ if known.is_held(now) && !leaves_out!("lease") => Self::InProgress(known),
            _ => Self::Resume(known),
        }
    }
}
