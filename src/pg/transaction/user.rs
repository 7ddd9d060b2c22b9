//! Work as another user.
use crate::pg::ffi::plain;
use crate::pg::unwinding;
use pgrx::pg_sys;
use std::ffi::{CStr, c_int};

/// The setting, and its value, under which expressions are evaluated as a table's owner
/// (`GUC_SAFE_SEARCH_PATH`).
pub const SEARCH_PATH: (&CStr, &CStr) = (c"search_path", c"pg_catalog, pg_temp");

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

/// While it lives, expressions of a table's definition are prepared with the rights of the
/// table's owner, as ANALYZE and REINDEX evaluate them: in the context of a
/// SECURITY_RESTRICTED_OPERATION, and without the caller's `search_path`. Settings that they change
/// are as before afterwards. An error's abort restores all of it.
///
/// Only for callers who have the owner's rights anyway: a name can still lead to a temporary table of
/// the caller's, and so to code of the caller's that runs as the owner.
pub struct OwnerRights {
    user: pg_sys::Oid,
    context: c_int,
    level: c_int,
}

impl OwnerRights {
    /// Takes those of a role.
    pub fn of(owner: pg_sys::Oid) -> Self {
        let (user, context) = plain::GetUserIdAndSecContext();
        let level = plain::NewGUCNestLevel();
        plain::set_option_in_level(SEARCH_PATH.0, SEARCH_PATH.1);
        let restricted = pg_sys::SECURITY_RESTRICTED_OPERATION as c_int;
        plain::SetUserIdAndSecContext(owner, context | restricted);
        Self {
            user,
            context,
            level,
        }
    }
}

impl Drop for OwnerRights {
    fn drop(&mut self) {
        if !unwinding() {
            plain::abandon_settings_level(self.level);
            plain::SetUserIdAndSecContext(self.user, self.context);
        }
    }
}
