//! Work on the extension's own tables, as their owner.
use crate::pg::transaction::local_settings::LocalSettings;
use crate::pg::transaction::user::SwitchedUser;
use crate::state::StateTable;
use pgrx::pg_sys;

/// While it lives, the current user is the owner of the extension's tables. An error's
/// abort restores the user as well.
///
/// The caller's `search_path` is off meanwhile, and so is everything that
/// SECURITY_RESTRICTED_OPERATION forbids: no name that the caller made (a
/// temporary type called `oid`, say) may be met with the owner's rights.
pub struct UserContext {
    _user: SwitchedUser,
    _path: LocalSettings,
}

impl UserContext {
    /// Switches to the owner of a table of state, which is locked until the transaction ends
    /// and was found to be as the extension made it. Only SQL of our own, over this table,
    /// may run before it is dropped.
    ///
    /// # Errors
    /// As [`StateTable::open`].
    pub fn owner_of(state: StateTable) -> Self {
        let (_, relation) = state.open();
        Self::switch_to(relation.owner())
    }

    /// Switches to a role, to look at catalogs.
    pub fn switch_to(owner: pg_sys::Oid) -> Self {
        Self {
            _user: SwitchedUser::to(owner),
            _path: LocalSettings::set(&[(c"search_path", c"pg_catalog, pg_temp")]),
        }
    }
}
