//! Errors for which a row is rejected, and the others go in.
//!
//! They are those that say what is wrong with a row: of class 22 (data exception) and 23
//! (integrity constraint violation), whoever raises them. Not 23I01, which has options of its own.
//! All others, such as a cancellation, a deadlock or a missing right, end the call.
use super::captured::CapturedErrors;
use super::caught::Caught;
use super::context_stack::{self, LastWord};
use super::fields::ErrorFields;
use super::native::PreparedReport;
use super::report::{Report, SqlState};
use pgrx::pg_sys::panic::CaughtError;
use std::ffi::{CStr, CString, c_int};
use std::panic::resume_unwind;

/// What is kept of an error for which a row is rejected, in the server's encoding.
pub struct RowError {
    sqlstate: CString,
    message: CString,
    detail: Option<CString>,
    column: Option<CString>,
    constraint: Option<CString>,
}

impl RowError {
    fn new(fields: &ErrorFields<'_>) -> Self {
        let owned = |text: Option<&CStr>| text.map(CStr::to_owned);
        Self {
            sqlstate: characters(fields.sqlstate.unwrap_or_default()),
            message: owned(fields.message).unwrap_or_default(),
            detail: owned(fields.detail),
            column: owned(fields.column),
            constraint: owned(fields.constraint),
        }
    }

    /// That of a report of ours.
    pub fn of_report(report: Report) -> Self {
        Self::new(&PreparedReport::new(report).fields())
    }

    /// With this column, if the server has named none.
    pub fn or_column(mut self, column: Option<&CStr>) -> Self {
        self.column = self.column.or(column.map(CStr::to_owned));
        self
    }

    /// What there is of it, by name.
    pub fn fields(&self) -> Vec<(&'static CStr, &CStr)> {
        let fields = [
            (c"sqlstate", Some(self.sqlstate.as_c_str())),
            (c"message", Some(self.message.as_c_str())),
            (c"detail", self.detail.as_deref()),
            (c"column", self.column.as_deref()),
            (c"constraint", self.constraint.as_deref()),
        ];
        let fields = fields.into_iter();
        fields
            .filter_map(|(name, text)| Some((name, text?)))
            .collect()
    }

    /// What two rejections of one payload have in common, whatever the language of the message.
    pub fn identity(&self) -> [&[u8]; 3] {
        let texts = [
            Some(&self.sqlstate),
            self.column.as_ref(),
            self.constraint.as_ref(),
        ];
        texts.map(|text| text.map_or(&b""[..], |text| text.to_bytes_with_nul()))
    }
}

/// The result of work that was undone if it has failed; its error, if a row is to be rejected for
/// it. Others go on.
pub fn catch_row_error<R>(work: impl FnOnce() -> Result<R, Caught>) -> Result<R, RowError> {
    let captured = CapturedErrors::default();
    let result = context_stack::capture(&captured, work).unwrap_or_else(Err);
    result.map_err(|caught| match caught.downcast::<Report>() {
        Ok(report) if rejects(report.sqlstate().packed()) => RowError::of_report(*report),
        Ok(report) => report.raise(),
        Err(caught) => native_error(&caught, captured).unwrap_or_else(|| resume_unwind(caught)),
    })
}

/// What is kept of an error of the server's, if a row is to be rejected for it.
fn native_error(caught: &Caught, captured: CapturedErrors) -> Option<RowError> {
    let Some(CaughtError::PostgresError(error)) = caught.downcast_ref() else {
        return None;
    };
    let of = |word: &dyn LastWord| {
        let fields = word.fields();
        fields
            .sqlstate
            .is_some_and(rejects)
            .then(|| RowError::new(&fields))
    };
    match captured.take(error) {
        Some(captured) => of(&captured),
        None => of(&PreparedReport::of_pgrx(error)),
    }
}

/// Whether a row is rejected for an error with this SQLSTATE, in core's packed form.
fn rejects(sqlstate: c_int) -> bool {
    let characters = characters(sqlstate);
    let of_class = |class: &[u8]| characters.to_bytes().starts_with(class);
    (of_class(b"22") || of_class(b"23")) && sqlstate != SqlState::Conflict.packed()
}

/// The five characters of a packed SQLSTATE, of six bits each.
fn characters(sqlstate: c_int) -> CString {
    let character = |i: i32| b'0' + (sqlstate >> (6 * i) & 0x3f) as u8;
    CString::new([0, 1, 2, 3, 4].map(character).to_vec()).unwrap_or_default()
}
