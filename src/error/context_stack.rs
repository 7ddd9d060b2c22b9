//! Our frames on the server's error context stack.
//!
//! `errfinish` calls the frames of `error_context_stack`, the innermost first, for every report
//! that is raised below them, before control leaves the place of the error. Each of ours has an
//! [`ErrorWatcher`], which looks at the error and says what it gets. Only then are the fields
//! set, for which core takes memory: an ERROR for want of it jumps over nothing that needs
//! dropping.
//!
//! # Errors of parallel workers
//! Those may reach the leader while it is inside a function of ours: a function that calls ours
//! may be declared PARALLEL SAFE, wrongly. Then a worker's error may arrive while the leader
//! itself runs our code: any look for an interrupt reads the worker's message and raises its
//! error. But core raises it under the context stack of the moment when the workers were
//! started, on which the frame of the running [`capture`] is not. So every run of the executor
//! has a [`RunFrame`] at its bottom that is on that stack, and hands the error to the capture.
//!
//! This takes a session that had loaded the library before the query began. In one that had not,
//! the error is shown with what pgrx has kept of it.
use super::ffi;
use super::fields::{ContextLine, ErrorFields};
use pgrx::pg_sys;
use std::cell::{Cell, UnsafeCell};
use std::ffi::{CStr, c_char, c_int, c_void};
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{self, NonNull};
use std::thread;

type Frame = pg_sys::ErrorContextCallback;

/// Looks at an error while core raises it.
pub trait ErrorWatcher {
    /// What the error gets. A panic gives it nothing.
    fn fields(&self, error: &ErrorAtHand<'_>) -> ErrorFields<'_>;
}

/// A report that `errfinish` is raising right now.
pub struct ErrorAtHand<'e>(PhantomData<*mut &'e ()>);

impl ErrorAtHand<'_> {
    /// Its SQLSTATE, in core's packed form.
    pub fn sqlstate(&self) -> c_int {
        // SAFETY: errfinish is running, or there were no such value.
        unsafe { ffi::geterrcode() }
    }

    /// Where in the client's statement it is, from 1; 0 for nowhere.
    pub fn position(&self) -> c_int {
        // SAFETY: likewise.
        unsafe { ffi::geterrposition() }
    }

    /// A copy of it; None if it is no error.
    pub fn copy(&self) -> Option<ffi::ErrorCopy> {
        // SAFETY: likewise.
        unsafe { ffi::ErrorCopy::of_report() }
    }

    fn set(&self, fields: &ErrorFields<'_>) {
        const { assert!(!std::mem::needs_drop::<ErrorFields<'_>>()) };
        const TEXT: *const c_char = c"%s".as_ptr();
        let name = |field: u8, value: Option<&CStr>| {
            if let Some(value) = value {
                // SAFETY: errfinish is running; a C string, which is copied.
                unsafe { ffi::err_generic_string(c_int::from(field), value.as_ptr()) };
            }
        };
        // SAFETY: errfinish is running; C strings, which are copied.
        unsafe {
            if let Some(state) = fields.sqlstate {
                ffi::errcode(state);
            }
            let texts = [
                (fields.message, ffi::errmsg_internal as ffi::Format),
                (fields.detail, ffi::errdetail_internal),
                (fields.detail_log, ffi::errdetail_log),
                (fields.hint, ffi::errhint),
            ];
            for (text, set) in texts {
                if let Some(text) = text {
                    set(TEXT, text.as_ptr());
                }
            }
            if let Some(line) = &fields.line {
                ffi::errcontext_msg(TEXT, line.as_c_str().as_ptr());
            }
            match fields.context {
                None => {}
                Some(ContextLine::Text(text)) => {
                    ffi::errcontext_msg(TEXT, text.as_ptr());
                }
                Some(ContextLine::Statement(statement)) => {
                    ffi::errcontext_msg(c"SQL statement \"%s\"".as_ptr(), statement.as_ptr());
                }
            }
            if let Some(position) = fields.position {
                ffi::errposition(position);
            }
            if let Some((query, position)) = fields.internal {
                ffi::internalerrposition(position);
                ffi::internalerrquery(query.as_ptr());
            }
        }
        name(pg_sys::PG_DIAG_SCHEMA_NAME, fields.schema);
        name(pg_sys::PG_DIAG_TABLE_NAME, fields.table);
        name(pg_sys::PG_DIAG_COLUMN_NAME, fields.column);
        name(pg_sys::PG_DIAG_DATATYPE_NAME, fields.data_type);
        name(pg_sys::PG_DIAG_CONSTRAINT_NAME, fields.constraint);
    }
}

/// Called by `errfinish` with the watcher of a frame.
unsafe extern "C-unwind" fn call<W: ErrorWatcher>(watcher: *mut c_void) {
    // SAFETY: a watcher lives while its frame is on the stack.
    let watcher = unsafe { &*watcher.cast::<W>() };
    let error = ErrorAtHand(PhantomData);
    if let Ok(fields) = catch_unwind(AssertUnwindSafe(|| watcher.fields(&error))) {
        error.set(&fields);
    }
}

fn innermost() -> *mut Frame {
    // SAFETY: reads a pointer of this single-threaded process.
    unsafe { pg_sys::error_context_stack }
}

/// The frames that are on the stack, the innermost first.
fn frames() -> impl Iterator<Item = *mut Frame> {
    let not_null = |frame: *mut Frame| (!frame.is_null()).then_some(frame);
    // SAFETY: frames live while they are on the stack, on which nothing is put meanwhile.
    std::iter::successors(not_null(innermost()), move |frame| {
        not_null(unsafe { (**frame).previous })
    })
}

/// Takes a frame off the stack. It is the innermost one, unless it was put there before another
/// that still is, or is not there any more: whoever catches an ERROR puts the stack back.
fn take_off(frame: *mut Frame) {
    // SAFETY: frames live while they are on the stack, and so does this one.
    unsafe {
        if ptr::eq(innermost(), frame) {
            pg_sys::error_context_stack = (*frame).previous;
        } else if let Some(inner) = frames().find(|inner| ptr::eq((**inner).previous, frame)) {
            (*inner).previous = (*frame).previous;
        }
    }
}

/// A watcher that is on the stack until this is dropped.
pub struct Watched<W: ErrorWatcher>(NonNull<WatcherFrame<W>>, PhantomData<W>);

struct WatcherFrame<W> {
    frame: Frame,
    watcher: W,
}

impl<W: ErrorWatcher> Watched<W> {
    /// Puts the watcher on the stack.
    pub fn by(watcher: W) -> Self {
        let frame = Box::into_raw(Box::new(WatcherFrame {
            frame: Frame {
                previous: innermost(),
                callback: Some(call::<W>),
                arg: ptr::null_mut(),
            },
            watcher,
        }));
        // SAFETY: a box that is freed by `drop`, which takes the frame off first.
        unsafe {
            (*frame).frame.arg = (&raw mut (*frame).watcher).cast();
            pg_sys::error_context_stack = &raw mut (*frame).frame;
            Self(NonNull::new_unchecked(frame), PhantomData)
        }
    }
}

impl<W: ErrorWatcher> Deref for Watched<W> {
    type Target = W;

    #[inline]
    fn deref(&self) -> &W {
        // SAFETY: the box lives until we are dropped, and its watcher is only ever shared.
        unsafe { &self.0.as_ref().watcher }
    }
}

impl<W: ErrorWatcher> Drop for Watched<W> {
    fn drop(&mut self) {
        let frame = self.0.as_ptr();
        // SAFETY: made by `by`, and freed once, when nothing on the stack refers to it.
        unsafe {
            take_off(&raw mut (*frame).frame);
            drop(Box::from_raw(frame));
        }
    }
}

thread_local! {
    /// The frame of the innermost [`capture`], or null.
    static CAPTURE: Cell<*mut Frame> = const { Cell::new(ptr::null_mut()) };
}

/// Runs `body` with the watcher on the stack. It meets the errors of parallel workers, too.
///
/// # Errors
/// What `body` panics with.
pub fn capture<W: ErrorWatcher, R>(watcher: &W, body: impl FnOnce() -> R) -> thread::Result<R> {
    let mut frame = Frame {
        previous: innermost(),
        callback: Some(call::<W>),
        arg: ptr::from_ref(watcher).cast_mut().cast(),
    };
    let previous = frame.previous;
    // SAFETY: the frame lives in this function, and is taken off again below, on both ways out
    // of `body`.
    unsafe { pg_sys::error_context_stack = &raw mut frame };
    let around = CAPTURE.replace(&raw mut frame);
    let result = catch_unwind(AssertUnwindSafe(body));
    CAPTURE.set(around);
    // SAFETY: what was there before is of a function that is still running further out.
    unsafe { pg_sys::error_context_stack = previous };
    result
}

/// The frame of a run of the executor.
pub struct RunFrame(Frame);

impl RunFrame {
    /// To be put on the stack.
    pub fn new() -> Self {
        Self(Frame {
            previous: innermost(),
            callback: Some(forward_error),
            arg: ptr::null_mut(),
        })
    }

    /// Puts it on the stack, and tells by what it is known there.
    ///
    /// # Safety
    /// It stays where it is until it is taken off, or an ERROR is caught further out.
    pub unsafe fn put_on(&mut self) -> RunId {
        let frame = &raw mut self.0;
        self.0.arg = frame.cast();
        // SAFETY: the caller's promise.
        unsafe { pg_sys::error_context_stack = frame };
        RunId(frame)
    }

    /// Takes it off.
    pub fn take_off(&mut self) {
        take_off(&raw mut self.0);
    }
}

/// A run of the executor. A later one may get the same, once this is not under way any more.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RunId(*mut Frame);

impl RunId {
    /// None.
    pub const NONE: Self = Self(ptr::null_mut());

    /// Whether it is under way.
    pub fn is_running(self) -> bool {
        frames().any(|frame| ptr::eq(frame, self.0))
    }
}

/// Called by `errfinish`, with the frame itself: hands the error to the innermost capture, if
/// that has not got it by its own frame or one further in.
unsafe extern "C-unwind" fn forward_error(this: *mut c_void) {
    let capture = CAPTURE.get();
    for frame in frames() {
        if capture.is_null() || ptr::eq(frame, capture) {
            return;
        }
        // SAFETY: frames live while they are on the stack; a capture's frame, and what it calls,
        // lives until another one, or none, is the innermost.
        unsafe {
            // The innermost of these frames, which are known by pointing at themselves.
            if (*frame).arg == frame.cast() {
                if (*frame).arg == this
                    && let Some(callback) = (*capture).callback
                {
                    callback((*capture).arg);
                }
                return;
            }
        }
    }
}

/// What is said of an error at last.
pub trait LastWord {
    /// What the error gets.
    fn fields(&self) -> ErrorFields<'_>;
}

thread_local! {
    /// One is enough: between noting it and its use nothing else can run.
    static LAST_WORD: Cell<Option<Box<dyn LastWord>>> = const { Cell::new(None) };
    static LAST_FRAME: UnsafeCell<Frame> = const {
        UnsafeCell::new(Frame {
            previous: ptr::null_mut(),
            callback: Some(say_last_word),
            arg: ptr::null_mut(),
        })
    };
}

/// Runs `report`, which reports at once, and gives the report its fields. An ERROR gets them
/// when the panic that stands for it has unwound all frames.
pub fn with_last_word(word: Box<dyn LastWord>, report: impl FnOnce()) {
    let frame = LAST_FRAME.with(UnsafeCell::get);
    take_off(frame);
    let previous = innermost();
    LAST_WORD.set(Some(word));
    // SAFETY: the frame lives as long as the process, and was taken off. Whoever catches an ERROR
    // puts the stack back.
    unsafe {
        (*frame).previous = previous;
        pg_sys::error_context_stack = frame;
    }
    report();
    take_off(frame);
}

/// Called by the `errfinish` of that report.
unsafe extern "C-unwind" fn say_last_word(_arg: *mut c_void) {
    let Some(word) = LAST_WORD.take().map(ManuallyDrop::new) else {
        return;
    };
    if let Ok(fields) = catch_unwind(AssertUnwindSafe(|| word.fields())) {
        ErrorAtHand(PhantomData).set(&fields);
    }
    drop(ManuallyDrop::into_inner(word));
}
