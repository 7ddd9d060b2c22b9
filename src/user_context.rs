//! Work with the rights of another role: on the extension's own tables as their owner (see
//! [`StateTable`](crate::state::StateTable)), or on catalogs.
use crate::pg::transaction::local_settings::LocalSettings;
use crate::pg::transaction::user::SwitchedUser;
use pgrx::pg_sys;

/// While it lives, the current user is another role. An error's abort restores the user as well.
///
/// The caller's `search_path` is off meanwhile, and so is everything that
/// SECURITY_RESTRICTED_OPERATION forbids: no name that the caller made (a
/// temporary type called `oid`, say) may be met with the owner's rights.
pub struct UserContext {
    _user: SwitchedUser,
    _path: LocalSettings,
}

impl UserContext {
    /// Switches to a role. Only SQL of our own may run before it is dropped.
    pub fn switch_to(owner: pg_sys::Oid) -> Self {
        Self {
            _user: SwitchedUser::to(owner),
            _path: LocalSettings::set(&[(c"search_path", c"pg_catalog, pg_temp")]),
        }
    }
}
