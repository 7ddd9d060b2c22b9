//! The state of the backend: who works in it, where, and what the transaction may do.
//!
//! All of it is in variables of the process, or is drawn by it. Nothing here can fail but as its
//! own doc says.
use crate::pg::ffi::plain;
use crate::text;
use pgrx::pg_sys;
use std::ffi::{CStr, c_int};

/// The current user: the one whose rights count.
pub fn current_user() -> pg_sys::Oid {
    plain::GetUserId()
}

/// The name of the current user.
///
/// # Errors
/// 42704 if another session has dropped it meanwhile.
pub fn current_user_name() -> String {
    let name = plain::GetUserNameFromId(current_user(), false);
    text::from_server_bytes(name.unwrap_or_default().to_bytes())
}

/// Whether the server is a standby, or starts after a crash.
pub fn is_standby() -> bool {
    plain::RecoveryInProgress()
}

/// Whether the current user is a superuser.
pub fn is_superuser() -> bool {
    plain::superuser()
}

/// The database that the backend is connected to.
pub fn current_database() -> pg_sys::Oid {
    plain::MyDatabaseId()
}

/// The number of the cluster, which its standbys share.
pub fn system_identifier() -> u64 {
    plain::GetSystemIdentifier()
}

/// Whether the transaction is READ ONLY. On a standby every one is.
pub fn transaction_is_read_only() -> bool {
    plain::XactReadOnly()
}

/// The transaction's id, which it gets now if it has none.
pub fn transaction_id() -> pg_sys::TransactionId {
    plain::GetTopTransactionId()
}

/// Whether the transaction has this id, or one of its subtransactions.
pub fn is_own_transaction(id: pg_sys::TransactionId) -> bool {
    plain::TransactionIdIsCurrentTransactionId(id)
}

/// Whether a transaction is going on that has not failed.
pub fn is_in_transaction() -> bool {
    plain::IsTransactionState()
}

/// The number of the subtransaction.
pub fn subtransaction() -> pg_sys::SubTransactionId {
    plain::GetCurrentSubTransactionId()
}

/// Refuses a READ ONLY transaction.
///
/// # Errors
/// 25006, for the command of this name.
pub fn check_not_read_only(command: &CStr) {
    plain::PreventCommandIfReadOnly(command);
}

/// Whether the transaction is SERIALIZABLE.
pub fn is_serializable() -> bool {
    plain::XactIsoLevel() == pg_sys::XACT_SERIALIZABLE as i32
}

/// Whether the session applies what a publisher sends (`session_replication_role`).
pub fn is_replica() -> bool {
    plain::SessionReplicationRole() == pg_sys::SESSION_REPLICATION_ROLE_REPLICA as i32
}

/// The setting `lock_timeout`, in milliseconds; 0 for none.
pub fn lock_timeout() -> i32 {
    plain::LockTimeout()
}

/// Sleeps for so many microseconds. A cancel ends it.
pub fn sleep(microseconds: i64) {
    plain::sleep(microseconds as f64 / 1_000_000.0);
}

/// Microseconds since 2000-01-01, by the clock of the machine.
pub fn clock() -> pg_sys::TimestampTz {
    plain::GetCurrentTimestamp()
}

/// A time in the form that the server's own log has it in.
pub fn timestamp_text(time: pg_sys::TimestampTz) -> String {
    text::from_server_bytes(plain::timestamptz_to_str(time).to_bytes())
}

/// The number of the server process.
pub fn process_id() -> i32 {
    plain::MyProcPid()
}

/// A number that nobody can foresee; the clock's, should the machine have no randomness to give.
pub fn unforeseeable_number() -> u64 {
    let mut bytes = [0_u8; size_of::<u64>()];
    if plain::pg_strong_random(&mut bytes) {
        u64::from_ne_bytes(bytes)
    } else {
        clock() as u64
    }
}

/// Refuses to go deeper where the stack is nearly used up.
///
/// # Errors
/// 54001
#[inline]
pub fn check_stack_depth() {
    if plain::stack_is_too_deep() {
        plain::check_stack_depth();
    }
}

/// Reserves a prefix of configuration parameters. A parameter with this prefix that nobody has
/// defined by now is removed with a WARNING, and is an error from now on.
pub fn reserve_settings(prefix: &CStr) {
    plain::MarkGUCPrefixReserved(prefix);
}

/// Whether another transaction of this database has a snapshot in use. Autovacuum, VACUUM and
/// the safe kinds of CREATE INDEX CONCURRENTLY are passed over: they look at no rows of users by
/// it.
pub fn others_hold_snapshots() -> bool {
    const PASSED_OVER: u32 =
        pg_sys::PROC_IS_AUTOVACUUM | pg_sys::PROC_IN_VACUUM | pg_sys::PROC_IN_SAFE_IC;
    // The look of core's own CREATE INDEX CONCURRENTLY at the other backends.
    plain::count_of_virtual_xids(PASSED_OVER as c_int) > 0
}
