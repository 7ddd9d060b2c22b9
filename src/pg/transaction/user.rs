//! Work as another user.
use crate::pg::ffi::plain;
use crate::pg::unwinding;
use pgrx::pg_sys;
use std::ffi::c_int;

/// While it lives, the current user is another role, in the context of a
/// SECURITY_RESTRICTED_OPERATION, and row-level security applies to nothing that the role owns.
/// An error's abort restores the user as well.
pub struct SwitchedUser {
    user: pg_sys::Oid,
    context: c_int,
}

impl SwitchedUser {
    /// Switches to a role. Which privileges that gives is the caller's concern.
    pub fn to(role: pg_sys::Oid) -> Self {
        let (user, context) = plain::GetUserIdAndSecContext();
        let restricted = pg_sys::SECURITY_LOCAL_USERID_CHANGE
            | pg_sys::SECURITY_RESTRICTED_OPERATION
            | pg_sys::SECURITY_NOFORCE_RLS;
        plain::SetUserIdAndSecContext(role, context | restricted as c_int);
        Self { user, context }
    }
}

impl Drop for SwitchedUser {
    fn drop(&mut self) {
        if !unwinding() {
            plain::SetUserIdAndSecContext(self.user, self.context);
        }
    }
}
