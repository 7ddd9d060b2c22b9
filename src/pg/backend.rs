//! The state of the backend: who works in it, where, and what the transaction may do.
//!
//! All of it is in variables of the process, or is drawn by it. Nothing here can fail but as its
//! own doc says.
use crate::text;
use pgrx::pg_sys;
use std::ffi::CStr;

/// The current user: the one whose rights count.
pub fn current_user() -> pg_sys::Oid {
    // SAFETY: core reads a variable of the process.
    unsafe { pg_sys::GetUserId() }
}

/// The name of the current user.
///
/// # Errors
/// 42704 if another session has dropped it meanwhile.
pub fn current_user_name() -> String {
    // SAFETY: core gives a palloc'd C string, or raises an error.
    unsafe { text::from_server(pg_sys::GetUserNameFromId(pg_sys::GetUserId(), false)) }
}

/// Whether the current user is a superuser.
pub fn is_superuser() -> bool {
    // SAFETY: a look-up in the catalogs, about the current user.
    unsafe { pg_sys::superuser() }
}

/// The database that the backend is connected to.
pub fn current_database() -> pg_sys::Oid {
    // SAFETY: an oid, which this single-threaded process sets once when it connects.
    unsafe { pg_sys::MyDatabaseId }
}

/// The number of the cluster, which its standbys share.
pub fn system_identifier() -> u64 {
    // SAFETY: core reads the control file's copy in shared memory, which the postmaster has made
    // before any backend starts.
    unsafe { pg_sys::GetSystemIdentifier() }
}

/// Whether the transaction is READ ONLY. On a standby every one is.
pub fn transaction_is_read_only() -> bool {
    // SAFETY: a bool of this single-threaded process.
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

/// The setting `lock_timeout`, in milliseconds; 0 for none.
pub fn lock_timeout() -> i32 {
    // SAFETY: reads a variable of this process.
    unsafe { pg_sys::LockTimeout }
}

/// Sleeps for so many microseconds. A cancel ends it.
pub fn sleep(microseconds: i64) {
    let seconds = microseconds as f64 / 1_000_000.0;
    // SAFETY: core's own function, which takes a float8, by value.
    unsafe {
        pg_sys::DirectFunctionCall1Coll(
            Some(crate::pg::ffi::functions::pg_sleep),
            pg_sys::InvalidOid,
            pg_sys::Datum::from(seconds.to_bits()),
        );
    }
}

/// Microseconds since 2000-01-01, by the clock of the machine.
pub fn clock() -> pg_sys::TimestampTz {
    // SAFETY: core reads the clock.
    unsafe { pg_sys::GetCurrentTimestamp() }
}

/// A time in the form that the server's own log has it in.
pub fn timestamp_text(time: pg_sys::TimestampTz) -> String {
    // SAFETY: core takes any number, and gives a C string in a buffer of its own, which is
    // copied before it is used again.
    unsafe { text::from_server(pg_sys::timestamptz_to_str(time)) }
}

/// The number of the server process.
pub fn process_id() -> i32 {
    // SAFETY: reads a variable of this process.
    unsafe { pg_sys::MyProcPid }
}

/// A number that nobody can foresee; the clock's, should the machine have no randomness to give.
pub fn unforeseeable_number() -> u64 {
    let mut bytes = [0_u8; size_of::<u64>()];
    // SAFETY: core writes no more bytes than it is told, and there are as many.
    let drawn = unsafe { pg_sys::pg_strong_random(bytes.as_mut_ptr().cast(), bytes.len()) };
    if drawn {
        u64::from_ne_bytes(bytes)
    } else {
        clock() as u64
    }
}

/// Refuses to go deeper where the stack is nearly used up.
///
/// # Errors
/// 54001
pub fn check_stack_depth() {
    // SAFETY: core compares the address of a variable with the base of the stack; its ERROR
    // becomes a panic here.
    unsafe { pg_sys::check_stack_depth() };
}

/// Reserves a prefix of configuration parameters. A parameter with this prefix that nobody has
/// defined by now is removed with a WARNING, and is an error from now on.
pub fn reserve_settings(prefix: &CStr) {
    // SAFETY: a C string, which core copies.
    unsafe { pg_sys::MarkGUCPrefixReserved(prefix.as_ptr()) };
}

/// Whether another transaction of this database has a snapshot in use. Autovacuum, VACUUM and
/// the safe kinds of CREATE INDEX CONCURRENTLY are passed over: they look at no rows of users by
/// it.
pub fn others_hold_snapshots() -> bool {
    const PASSED_OVER: u32 =
        pg_sys::PROC_IS_AUTOVACUUM | pg_sys::PROC_IN_VACUUM | pg_sys::PROC_IN_SAFE_IC;
    let mut count = 0;
    // SAFETY: the look of core's own CREATE INDEX CONCURRENTLY at the other backends, under a
    // lock that core takes and releases. The array is left to the current memory; only the count
    // is used.
    unsafe {
        pg_sys::GetCurrentVirtualXIDs(
            pg_sys::InvalidTransactionId,
            true,
            false,
            PASSED_OVER as i32,
            &raw mut count,
        );
    }
    count > 0
}
