//! The wait points of the test build.
//!
//! The driver listens on a socket of its own. A session that comes to a point writes the point's name
//! there, and reads until a byte comes: it is let go. So the driver is told of every stop at once, asks
//! nobody for it, and knows a session that stands at a point from one that waits for a lock: that
//! one has told it nothing, and the server says what it waits for.
use crate::pg::{backend, interrupt};
use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting};
use std::cell::RefCell;
use std::ffi::{CStr, CString, OsStr};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::time::Duration;

type Text = GucSetting<Option<CString>>;

static DRIVER: Text = Text::new(None);

static LEAVE_OUT: Text = Text::new(None);

static EXPECT: Text = Text::new(None);

/// A session that stands at a point looks for interrupts so often, should a signal come just before it
/// reads.
const LOOK_FOR_INTERRUPTS: Duration = Duration::from_millis(5);

thread_local! {
    static STREAM: RefCell<Option<UnixStream>> = const { RefCell::new(None) };
}

/// Defines the parameters of the test build.
pub fn define_settings() {
    let define = |name, what, setting| {
        let (context, flags) = (GucContext::Suset, GucFlags::default());
        GucRegistry::define_string_guc(
            name,
            what,
            c"For tests/schedules only.",
            setting,
            context,
            flags,
        );
    };
    define(
        c"pg_idempotent.schedule_driver",
        c"The socket of the driver.",
        &DRIVER,
    );
    define(
        c"pg_idempotent.leave_out",
        c"The part of a protocol that is left out.",
        &LEAVE_OUT,
    );
    define(
        c"pg_idempotent.expect_keys",
        c"What keys are taken to be: new or stored.",
        &EXPECT,
    );
}

/// A place at which a driver may hold the session.
///
/// # Errors
/// That of an interrupt, as the wait for a lock has it.
pub fn wait(point: &str) {
    let Some(driver) = DRIVER.get().filter(|path| !path.is_empty()) else {
        return;
    };
    tell(&driver, point).expect("the driver listens");
    while !is_let_go() {
        interrupt::check();
    }
}

/// Whether a test leaves this part of a protocol out, to see that the defect is found.
pub fn is_left_out(part: &str) -> bool {
    LEAVE_OUT
        .get()
        .is_some_and(|left_out| left_out.as_bytes() == part.as_bytes())
}

/// Whether keys are expected to be new, where a test says so: what the session has seen before
/// would make each schedule depend on those before it.
pub fn expects_new() -> Option<bool> {
    let expected = EXPECT.get().filter(|text| !text.is_empty())?;
    Some(expected.as_c_str() == c"new")
}

/// Tells the driver where the session is; at first who it is.
fn tell(driver: &CStr, point: &str) -> io::Result<()> {
    STREAM.with_borrow_mut(|stream| {
        let mut text = String::new();
        if stream.is_none() {
            let path = OsStr::from_bytes(driver.to_bytes());
            let new = UnixStream::connect(path)?;
            new.set_read_timeout(Some(LOOK_FOR_INTERRUPTS))?;
            *stream = Some(new);
            text = format!("{}\n", backend::process_id());
        }
        text.push_str(point);
        text.push('\n');
        stream
            .as_mut()
            .expect("connected")
            .write_all(text.as_bytes())
    })
}

/// Waits a moment for the driver's byte. A signal ends the wait. A driver that has gone holds nobody.
fn is_let_go() -> bool {
    STREAM.with_borrow_mut(
        |stream| match stream.as_mut().map(|driver| driver.read(&mut [0])) {
            Some(Err(_)) => false,
            Some(Ok(1)) | None => true,
            Some(Ok(_)) => {
                *stream = None;
                true
            }
        },
    )
}
