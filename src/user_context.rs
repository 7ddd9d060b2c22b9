//! Work with the rights of another role: on the extension's own tables as their owner (see
//! [`StateTable`](crate::state::StateTable)), or on catalogs.
use crate::pg::transaction::local_settings::LocalSettings;
use crate::pg::unwinding;
use pgrx::pg_sys;
use std::ffi::c_int;

/// While it lives, the current user is another role. An error's abort restores the user as well.
///
/// The caller's `search_path` is off meanwhile, and so is everything that
/// SECURITY_RESTRICTED_OPERATION forbids: no name that the caller made (a
/// temporary type called `oid`, say) may be met with the owner's rights.
pub struct UserContext {
    user: pg_sys::Oid,
    context: c_int,
    _path: LocalSettings,
}

impl UserContext {
    /// Switches to a role. Only SQL of our own may run before it is dropped.
    pub fn switch_to(owner: pg_sys::Oid) -> Self {
        // SAFETY: the user id is restored below, or by the abort.
        unsafe {
            let (mut user, mut context) = (pg_sys::InvalidOid, 0);
            pg_sys::GetUserIdAndSecContext(&raw mut user, &raw mut context);
            pg_sys::SetUserIdAndSecContext(
                owner,
                context
                    | (pg_sys::SECURITY_LOCAL_USERID_CHANGE
                        | pg_sys::SECURITY_RESTRICTED_OPERATION
                        | pg_sys::SECURITY_NOFORCE_RLS) as c_int,
            );
            let path = LocalSettings::set(&[(c"search_path", c"pg_catalog, pg_temp")]);
            Self {
                user,
                context,
                _path: path,
            }
        }
    }
}

impl Drop for UserContext {
    fn drop(&mut self) {
        if !unwinding() {
            // SAFETY: what it was before.
            unsafe { pg_sys::SetUserIdAndSecContext(self.user, self.context) };
        }
    }
}
