//! The state of the session and its transaction: its user, its clock, its settings.
use crate::pg::value::text;
use pgrx::pg_sys;
use std::ffi::CStr;

/// The role whose rights count now.
pub fn current_role() -> pg_sys::Oid {
    // SAFETY: reads a variable of this process.
    unsafe { pg_sys::GetUserId() }
}

/// The name of that role.
///
/// # Errors
/// 42704 if another session has dropped it meanwhile.
pub fn current_role_name() -> String {
    // SAFETY: core gives a palloc'd C string, or raises an error.
    unsafe { text::from_server(pg_sys::GetUserNameFromId(pg_sys::GetUserId(), false)) }
}

/// Whether that role is a superuser.
pub fn is_superuser() -> bool {
    // SAFETY: a look-up in the catalogs, about the current user.
    unsafe { pg_sys::superuser() }
}

/// Whether that role has the privileges of another one.
pub fn has_privileges_of(role: pg_sys::Oid) -> bool {
    // SAFETY: a look-up in the catalogs, which takes any two numbers.
    unsafe { pg_sys::has_privs_of_role(pg_sys::GetUserId(), role) }
}

/// The number of the server process.
pub fn process_id() -> i32 {
    // SAFETY: reads a variable of this process.
    unsafe { pg_sys::MyProcPid }
}

/// The time by the clock, in microseconds since 2000.
pub fn now() -> pg_sys::TimestampTz {
    // SAFETY: reads the clock.
    unsafe { pg_sys::GetCurrentTimestamp() }
}

/// A time in the form that the server's own log has it in.
pub fn timestamp_text(time: pg_sys::TimestampTz) -> String {
    // SAFETY: core takes any number, and gives a C string in a buffer of its own, which is
    // copied before it is used again.
    unsafe { text::from_server(pg_sys::timestamptz_to_str(time)) }
}

/// The setting `lock_timeout`, in milliseconds; 0 for none.
pub fn lock_timeout() -> i32 {
    // SAFETY: reads a variable of this process.
    unsafe { pg_sys::LockTimeout }
}

/// Whether the transaction is READ ONLY, as all on a standby are.
pub fn is_read_only() -> bool {
    // SAFETY: reads a variable of this process.
    unsafe { pg_sys::XactReadOnly }
}

/// Refuses a READ ONLY transaction.
///
/// # Errors
/// 25006, for the command of this name.
pub fn check_not_read_only(command: &CStr) {
    // SAFETY: a C string, which core only puts into its message.
    unsafe { pg_sys::PreventCommandIfReadOnly(command.as_ptr()) };
}

/// Whether the transaction is SERIALIZABLE.
pub fn is_serializable() -> bool {
    // SAFETY: reads a variable of this process.
    unsafe { pg_sys::XactIsoLevel == pg_sys::XACT_SERIALIZABLE as i32 }
}
