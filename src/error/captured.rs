//! Copies of errors, as core sees them when they are raised: all fields, and the CONTEXT lines of
//! the frames inside ours.
use super::context_stack::{ErrorAtHand, ErrorWatcher, LastWord};
use super::ffi;
use super::fields::{ContextLine, ErrorFields};
use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReportWithLevel;
use std::cell::RefCell;
use std::ffi::{CStr, c_char, c_int};

/// So many errors are kept: a loop that swallows one in every turn keeps flat
/// memory.
const MAX_CAPTURED: usize = 32;

/// The errors that were raised below a frame, the newest last.
///
/// The one that leaves is not always the newest: a PL/pgSQL handler may catch
/// an error, run into others that it swallows, and raise the first again, which
/// does not pass `errfinish` a second time.
#[derive(Default)]
pub struct CapturedErrors(RefCell<Vec<CapturedError>>);

impl ErrorWatcher for CapturedErrors {
    fn fields(&self, error: &ErrorAtHand<'_>) -> ErrorFields<'_> {
        self.keep(error);
        ErrorFields::default()
    }
}

impl CapturedErrors {
    fn keep(&self, _error: &ErrorAtHand<'_>) {
        // Of its own: FreeErrorData leaves some texts of a copy behind, of which a call that
        // goes on after errors has any number.
        let context = ErrorMemory::new_context();
        // SAFETY: errfinish is running, as the error at hand says. CopyErrorData must not
        // allocate in ErrorContext, where errfinish runs us. Nothing is owned meanwhile; the copy
        // lives as long as its memory.
        let (data, is_error) = unsafe {
            let caller = pg_sys::CurrentMemoryContext;
            pg_sys::CurrentMemoryContext = context;
            let copy = ffi::CopyErrorData();
            pg_sys::CurrentMemoryContext = caller;
            (copy, (*copy).elevel >= pg_sys::PGERROR as c_int)
        };
        let memory = ErrorMemory(context);
        if is_error {
            let mut copies = self.0.borrow_mut();
            if copies.len() >= MAX_CAPTURED {
                copies.remove(0);
            }
            copies.push(CapturedError {
                data,
                _memory: memory,
            });
        }
    }

    /// The newest copy of the error that arrived, as far as pgrx tells it.
    pub fn take(self, error: &ErrorReportWithLevel) -> Option<CapturedError> {
        let mut copies = self.0.into_inner().into_iter().rev();
        copies.find(|copy| {
            // SAFETY: copies live as long as their memory; their texts are null or C strings.
            unsafe {
                let data = &*copy.data;
                data.lineno as u32 == error.line_number()
                    && same_text(text(data.filename), Some(error.file()))
                    && same_text(text(data.message), Some(error.message()))
                    && same_text(text(data.detail), error.detail())
            }
        })
    }
}

/// pgrx has its texts in lossy form.
fn same_text(text: Option<&CStr>, other: Option<&str>) -> bool {
    text.map(CStr::to_string_lossy).as_deref() == other
}

/// # Safety
/// `text` is null or a C string, which outlives `'t`.
unsafe fn text<'t>(text: *const c_char) -> Option<&'t CStr> {
    // SAFETY: the caller's promise.
    (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) })
}

/// An error that was copied, and its memory.
pub struct CapturedError {
    data: *mut pg_sys::ErrorData,
    _memory: ErrorMemory,
}

impl LastWord for CapturedError {
    fn fields(&self) -> ErrorFields<'_> {
        // SAFETY: made by CopyErrorData in our memory, whose texts are null or C strings there.
        unsafe {
            let data = &*self.data;
            ErrorFields {
                sqlstate: Some(data.sqlerrcode),
                message: text(data.message),
                detail: text(data.detail),
                detail_log: text(data.detail_log),
                hint: text(data.hint),
                line: None,
                context: text(data.context).map(ContextLine::Text),
                position: (data.cursorpos > 0).then_some(data.cursorpos),
                internal: text(data.internalquery).map(|query| (query, data.internalpos)),
                schema: text(data.schema_name),
                table: text(data.table_name),
                column: text(data.column_name),
                data_type: text(data.datatype_name),
                constraint: text(data.constraint_name),
            }
        }
    }
}

/// Memory of its own: a function of ours may commit between an error and its way out.
struct ErrorMemory(pg_sys::MemoryContext);

impl ErrorMemory {
    /// A context for one, which is not owned yet.
    fn new_context() -> pg_sys::MemoryContext {
        // SAFETY: a parent that lives as long as the process, and a constant name.
        unsafe {
            ffi::AllocSetContextCreateInternal(
                pg_sys::TopMemoryContext,
                c"pg_idempotent errors".as_ptr(),
                pg_sys::ALLOCSET_SMALL_MINSIZE as usize,
                pg_sys::ALLOCSET_SMALL_INITSIZE as usize,
                pg_sys::ALLOCSET_DEFAULT_MAXSIZE as usize,
            )
        }
    }
}

impl Drop for ErrorMemory {
    fn drop(&mut self) {
        // SAFETY: made by `new_context`, and deleted once, with the copy in it.
        unsafe { ffi::MemoryContextDelete(self.0) };
    }
}
