//! Work on the extension's own tables, as their owner.
use crate::error::{Report, SqlState};
use crate::pg::local_settings::LocalSettings;
use crate::pg::unwinding;
use crate::target::OpenRelation;
use pgrx::pg_sys;
use std::ffi::c_int;

/// While it lives, the current user is the owner of the extension's tables. An error's
/// abort restores the user as well.
///
/// The caller's `search_path` is off meanwhile, and so is everything that
/// SECURITY_RESTRICTED_OPERATION forbids: no name that the caller made (a
/// temporary type called `oid`, say) may be met with the owner's rights.
pub struct AsOwner {
    user: pg_sys::Oid,
    context: c_int,
    _path: LocalSettings,
}

impl AsOwner {
    /// Switches. Only SQL of our own, over objects of our own, may run before
    /// it is dropped.
    pub fn switch() -> Self {
        // SAFETY: catalog look-ups by constant names; the user id is restored
        // below, or by the abort.
        unsafe {
            let schema = pg_sys::get_namespace_oid(c"idempotent".as_ptr(), true);
            let table = pg_sys::get_relname_relid(c"conflict_records".as_ptr(), schema);
            if table == pg_sys::InvalidOid {
                Report::new(
                    SqlState::UndefinedTable,
                    "relation \"idempotent.conflict_records\" does not exist",
                )
                .hint("Install the extension with CREATE EXTENSION pg_idempotent.")
                .raise()
            }
            let owner = (*(*OpenRelation::open(table).raw()).rd_rel).relowner;
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

impl Drop for AsOwner {
    fn drop(&mut self) {
        if !unwinding() {
            // SAFETY: what it was before.
            unsafe { pg_sys::SetUserIdAndSecContext(self.user, self.context) };
        }
    }
}
