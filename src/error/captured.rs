//! Copies of errors, as core sees them when they are raised: all fields, and the CONTEXT lines of
//! the frames inside ours.
use super::context_stack::{ErrorAtHand, ErrorWatcher, LastWord};
use super::ffi::ErrorCopy;
use super::fields::ErrorFields;
use pgrx::pg_sys::panic::ErrorReportWithLevel;
use std::cell::RefCell;
use std::ffi::CStr;

/// So many errors are kept: a loop that swallows one in every turn keeps flat
/// memory.
const MAX_CAPTURED: usize = 32;

/// The errors that were raised below a frame, the newest last.
///
/// The one that leaves is not always the newest: a PL/pgSQL handler may catch
/// an error, run into others that it swallows, and raise the first again, which
/// does not pass `errfinish` a second time.
#[derive(Default)]
pub struct CapturedErrors(RefCell<Vec<ErrorCopy>>);

impl ErrorWatcher for CapturedErrors {
    fn fields(&self, error: &ErrorAtHand<'_>) -> ErrorFields<'_> {
        if let Some(copy) = error.copy() {
            let mut copies = self.0.borrow_mut();
            if copies.len() >= MAX_CAPTURED {
                copies.remove(0);
            }
            copies.push(copy);
        }
        ErrorFields::default()
    }
}

impl CapturedErrors {
    /// The newest copy of the error that arrived, as far as pgrx tells it.
    pub fn take(self, error: &ErrorReportWithLevel) -> Option<ErrorCopy> {
        let mut newest_first = self.0.into_inner().into_iter().rev();
        newest_first.find(|copy| {
            let (file, line) = copy.place();
            let fields = copy.fields();
            line as u32 == error.line_number()
                && same_text(file, Some(error.file()))
                && same_text(fields.message, Some(error.message()))
                && same_text(fields.detail, error.detail())
        })
    }
}

/// pgrx has its texts in lossy form.
fn same_text(text: Option<&CStr>, other: Option<&str>) -> bool {
    text.map(CStr::to_string_lossy).as_deref() == other
}

impl LastWord for ErrorCopy {
    fn fields(&self) -> ErrorFields<'_> {
        self.fields()
    }
}
