//! An option of EXPLAIN of our own, which PostgreSQL 18 takes in.
use crate::error::{Report, SqlState, with_error_capture};
use pgrx::{pg_guard, pg_sys};
use std::ffi::{CStr, CString};
use std::ptr;
use std::sync::OnceLock;

/// What the option shows.
pub struct ExplainOption {
    /// Its name.
    pub name: &'static CStr,
    /// Called when a statement has the option, before the statement runs.
    pub begin: fn(),
    /// Called when it has run: what is to be shown of it. Called once more if a rule made several of it.
    pub end: fn() -> Vec<ExplainLine>,
}

/// What is shown of one subject.
pub struct ExplainLine {
    /// What it is about, by label, in the server's encoding.
    pub texts: Vec<(&'static CStr, CString)>,
    /// Its numbers, by label.
    pub numbers: Vec<(&'static CStr, u64)>,
    /// All of it, in one line.
    pub line: CString,
}

struct Registered {
    option: ExplainOption,
    next: pg_sys::explain_per_plan_hook_type,
}

static REGISTERED: OnceLock<Registered> = OnceLock::new();

/// Makes the option known to the server, when the library is loaded.
pub fn register(option: ExplainOption) {
    // SAFETY: reads and sets variables of the process, alone; the name and the handler live as long as it.
    unsafe {
        let name = option.name.as_ptr();
        let next = pg_sys::explain_per_plan_hook;
        if REGISTERED.set(Registered { option, next }).is_ok() {
            pg_sys::RegisterExtensionExplainOption(name, Some(on_option));
            pg_sys::explain_per_plan_hook = Some(on_plan);
        }
    }
}

/// The number under which an EXPLAIN keeps something for the extension.
fn extension() -> std::ffi::c_int {
    // SAFETY: a name that lives as long as the process.
    unsafe { pg_sys::GetExplainExtensionId(c"pg_idempotent".as_ptr()) }
}

/// The option is among those of an EXPLAIN.
#[pg_guard]
unsafe extern "C-unwind" fn on_option(
    state: *mut pg_sys::ExplainState,
    option: *mut pg_sys::DefElem,
    _parse: *mut pg_sys::ParseState,
) {
    // SAFETY: the server hands the option over that it has parsed; a value that is no boolean is an ERROR.
    // What an EXPLAIN keeps of ours only says that it has the option, and is never followed.
    let wanted = unsafe {
        let wanted = pg_sys::defGetBoolean(option);
        let kept = if wanted {
            state.cast()
        } else {
            ptr::null_mut()
        };
        pg_sys::SetExplainExtensionState(state, extension(), kept);
        wanted
    };
    if let (true, Some(registered)) = (wanted, REGISTERED.get()) {
        (registered.option.begin)();
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn on_plan(
    plan: *mut pg_sys::PlannedStmt,
    into: *mut pg_sys::IntoClause,
    state: *mut pg_sys::ExplainState,
    query: *const std::ffi::c_char,
    parameters: pg_sys::ParamListInfo,
    environment: *mut pg_sys::QueryEnvironment,
) {
    let Some(registered) = REGISTERED.get() else {
        return;
    };
    // SAFETY: as the server called this one.
    unsafe {
        if let Some(next) = registered.next {
            next(plan, into, state, query, parameters, environment);
        }
    }
    // SAFETY: the state of the EXPLAIN that runs, to which it writes.
    unsafe {
        if pg_sys::GetExplainExtensionState(state, extension()).is_null() {
            return;
        }
        if !(*state).analyze {
            // As core says it of its own.
            let option = registered.option.name.to_string_lossy().to_uppercase();
            with_error_capture(|| {
                Report::new(
                    SqlState::InvalidParameterValue,
                    format!("EXPLAIN option {option} requires ANALYZE"),
                )
                .raise()
            })
        }
        show(state, (registered.option.end)());
    }
}

/// # Safety
/// A valid state.
unsafe fn show(state: *mut pg_sys::ExplainState, lines: Vec<ExplainLine>) {
    let group = c"Idempotent".as_ptr();
    // SAFETY: the caller's promise; texts that are copied.
    unsafe {
        if (*state).format == pg_sys::ExplainFormat::EXPLAIN_FORMAT_TEXT {
            for line in lines {
                pg_sys::ExplainPropertyText(group, line.line.as_ptr(), state);
            }
            return;
        }
        pg_sys::ExplainOpenGroup(group, group, false, state);
        for line in lines {
            pg_sys::ExplainOpenGroup(c"Form".as_ptr(), ptr::null(), true, state);
            for (label, text) in line.texts {
                pg_sys::ExplainPropertyText(label.as_ptr(), text.as_ptr(), state);
            }
            for (label, number) in line.numbers {
                pg_sys::ExplainPropertyUInteger(label.as_ptr(), ptr::null(), number, state);
            }
            pg_sys::ExplainCloseGroup(c"Form".as_ptr(), ptr::null(), true, state);
        }
        pg_sys::ExplainCloseGroup(group, group, false, state);
    }
}
