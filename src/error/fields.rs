//! The fields of an error that one of our frames sets.
use super::line::Line;
use std::ffi::{CStr, c_int};

/// What an error gets; what is None stays as it is. All texts are in the server's encoding.
#[derive(Default)]
pub struct ErrorFields<'e> {
    /// In core's packed form.
    pub sqlstate: Option<c_int>,
    pub message: Option<&'e CStr>,
    pub detail: Option<&'e CStr>,
    /// DETAIL for the log only.
    pub detail_log: Option<&'e CStr>,
    pub hint: Option<&'e CStr>,
    /// One more line of CONTEXT, that was made just now,
    pub line: Option<Line>,
    /// or was there before.
    pub context: Option<ContextLine<'e>>,
    /// Where in the client's statement it is, from 1; 0 for nowhere.
    pub position: Option<c_int>,
    /// The statement that is not the client's, and where in it.
    pub internal: Option<(&'e CStr, c_int)>,
    pub schema: Option<&'e CStr>,
    pub table: Option<&'e CStr>,
    pub column: Option<&'e CStr>,
    pub data_type: Option<&'e CStr>,
    pub constraint: Option<&'e CStr>,
}

/// A line of CONTEXT.
pub enum ContextLine<'e> {
    /// One, or several.
    Text(&'e CStr),
    /// `SQL statement "…"`, in the client's language.
    Statement(&'e CStr),
}

impl ErrorFields<'_> {
    /// Nothing but a line of CONTEXT.
    pub fn line(line: Line) -> Self {
        Self {
            line: Some(line),
            ..Self::default()
        }
    }
}
