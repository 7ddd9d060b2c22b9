//! What the caller may do with a target, and which of its values they may see.
use super::Target;
use super::access::Access;
use crate::pg::backend::current_user;
use crate::pg::catalog::relation;
use crate::pg::relation::permission_check::hooks_see_checks;
use crate::pg::relation::privileges;
use pgrx::pg_sys;

/// A role, by whose rights something is judged.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Role(pg_sys::Oid);

impl Role {
    /// The current user.
    pub fn caller() -> Self {
        Self(current_user())
    }

    /// The role with this oid; the current user if there is none.
    pub fn or_caller(oid: pg_sys::Oid) -> Self {
        if oid == pg_sys::InvalidOid {
            Self::caller()
        } else {
            Self(oid)
        }
    }

    /// Its oid.
    pub fn oid(self) -> pg_sys::Oid {
        self.0
    }

    /// Whether it has this right on the whole table (row-level security aside).
    pub(super) fn has_on(self, target: &Target, right: u32) -> bool {
        privileges::has_on_table(self.0, target.oid, right)
    }

    fn has_on_column(self, target: &Target, column: usize, right: u32) -> bool {
        let number = target.columns[column].attnum;
        privileges::has_on_column(self.0, target.oid, number, right)
    }
}

/// USAGE on the schema, which a name would have needed.
fn check_schema_usage(target: &Target) {
    privileges::check_schema_usage(target.schema_oid, &target.schema);
}

/// The rights that `INSERT … ON CONFLICT (key)` demands: INSERT on the named
/// columns, SELECT on the key. They are demanded up front, so that a pure
/// duplicate needs them too, and a role cannot probe a table that it may not
/// write to.
pub fn check_insert_privileges(
    target: &Target,
    named: impl IntoIterator<Item = usize>,
    key: impl IntoIterator<Item = usize>,
) {
    check_access(
        target,
        Access::to(target).insert(target, named).select(target, key),
    );
}

/// The rights of [`check_insert_privileges`], SELECT on the whole table, by whose places
/// stored rows are addressed, UPDATE on the columns `updated`, if there are any, and DELETE if
/// rows may be deleted.
pub fn check_merge_privileges(
    target: &Target,
    named: impl IntoIterator<Item = usize>,
    key: impl IntoIterator<Item = usize>,
    updated: &[usize],
    deletes: bool,
) {
    let mut access = Access::to(target)
        .insert(target, named)
        .select(target, key)
        .select_by_ctid();
    if deletes {
        access = access.delete();
    }
    check_access(
        target,
        if updated.is_empty() {
            access
        } else {
            access.update(target, updated.iter().copied())
        },
    );
}

/// The rights to insert rows with these columns, to find stored rows by them and the key, to update the
/// columns `updated`, if there are any, and to delete: by statements that name values, not places.
pub fn check_repair_privileges(
    target: &Target,
    named: &[usize],
    key: impl IntoIterator<Item = usize>,
    updated: &[usize],
) {
    let all = || named.iter().copied();
    let access = Access::to(target).insert(target, all()).delete();
    let access = access.select(target, key.into_iter().chain(all()));
    check_access(
        target,
        if updated.is_empty() {
            access
        } else {
            access.update(target, updated.iter().copied())
        },
    );
}

/// The rights to resolve a conflict: SELECT on the whole table, UPDATE on the columns.
pub fn check_resolve_privileges(target: &Target, columns: impl IntoIterator<Item = usize>) {
    check_access(
        target,
        Access::to(target).select_by_ctid().update(target, columns),
    );
}

/// The rights to delete rows and insert others with these columns. The statements that do
/// it are checked in their turn.
pub fn check_overwrite_privileges(target: &Target, columns: impl IntoIterator<Item = usize>) {
    check_schema_usage(target);
    Access::to(target)
        .insert(target, columns)
        .delete()
        .check_without_hooks();
}

fn check_access(target: &Target, access: Access) {
    check_schema_usage(target);
    if hooks_see_checks() {
        // What of the stored rows may be shown counts as read.
        let shown = VisibleColumns::by_rights(target, Role::caller()).columns_of(target);
        access.select(target, shown).check();
    } else {
        access.check_without_hooks();
    }
    // With row_security off, a policy in force is an error, as in any query.
    privileges::check_row_security(target.oid);
}

/// Whether the caller has any right on a table, or on a column of it. Reads the catalogs,
/// without a lock on the table; false if it is gone.
pub fn has_any_privilege(table: pg_sys::Oid) -> bool {
    privileges::has_any(table)
}

/// Any right on a table, or on a column of it, for a caller who asks for more than the catalogs
/// show to every role: a role without one must not lock the table. A table that is gone is passed.
///
/// # Errors
/// 42501
pub fn check_any_privilege(table: pg_sys::Oid) {
    privileges::check_any(table);
}

/// Ownership of a table, as DROP TRIGGER asks for it. What is gone is passed.
///
/// # Errors
/// 42501
pub fn check_ownership(table: pg_sys::Oid) {
    privileges::check_trigger_ownership(table);
}

/// Lets the server see that stored values of these columns, which the caller may read, are
/// shown in an error.
pub fn note_values_shown(target: &Target, columns: impl IntoIterator<Item = usize>) {
    if hooks_see_checks() {
        Access::to(target).select(target, columns).check();
    }
}

/// Whether the caller may truncate a table, and name it.
pub fn may_truncate(table: pg_sys::Oid) -> bool {
    has_privilege(table, pg_sys::ACL_TRUNCATE)
}

/// Whether the caller may read a whole table (row-level security aside), and name it.
pub fn may_read(table: pg_sys::Oid) -> bool {
    has_privilege(table, pg_sys::ACL_SELECT)
}

fn has_privilege(table: pg_sys::Oid, right: u32) -> bool {
    privileges::has_on_table(current_user(), table, right)
        && privileges::may_use_schema(relation::schema(table))
}

/// Whether the caller may read the whole table (row-level security aside).
pub fn may_select(target: &Target) -> bool {
    Role::caller().has_on(target, pg_sys::ACL_SELECT)
}

/// Whether policies of row-level security restrict what the caller sees of a table.
pub fn row_security_is_active(target: &Target) -> bool {
    row_security_is_active_for(target, Role::caller())
}

/// Whether they restrict what is read with a role's rights.
pub fn row_security_is_active_for(target: &Target, role: Role) -> bool {
    privileges::row_security_restricts(target.oid, role.0)
}

/// Which stored values the caller may see.
pub struct VisibleColumns {
    /// None: every column; else by position.
    columns: Option<Vec<bool>>,
}

impl VisibleColumns {
    /// By the caller's SELECT rights. With row-level security in force nothing
    /// is readable, since the row at hand may be one that a policy hides.
    pub fn by_caller(target: &Target) -> Self {
        Self::by_role(target, Role::caller())
    }

    /// By the SELECT rights of the caller and of the role with whose rights a row goes in: what
    /// both may read. A view's owner lends the right to insert, not what they may read themselves.
    pub fn by_caller_and(target: &Target, role: Role) -> Self {
        let by_caller = Self::by_caller(target);
        if role == Role::caller() {
            return by_caller;
        }
        by_caller.and(&Self::by_role(target, role))
    }

    fn by_role(target: &Target, role: Role) -> Self {
        if row_security_is_active_for(target, role) {
            Self::nothing_of(target)
        } else {
            Self::by_rights(target, role)
        }
    }

    fn by_rights(target: &Target, role: Role) -> Self {
        if role.has_on(target, pg_sys::ACL_SELECT) {
            return Self { columns: None };
        }
        let columns =
            (0..target.columns.len()).map(|c| role.has_on_column(target, c, pg_sys::ACL_SELECT));
        Self {
            columns: Some(columns.collect()),
        }
    }

    fn nothing_of(target: &Target) -> Self {
        Self {
            columns: Some(vec![false; target.columns.len()]),
        }
    }

    fn and(self, other: &Self) -> Self {
        let columns = match self.columns {
            None => other.columns.clone(),
            Some(columns) => {
                let both = (0..).zip(columns).map(|(c, on)| on && other.shows(c));
                Some(both.collect())
            }
        };
        Self { columns }
    }

    /// What may be shown of what a column remembers: a value of another column that is in
    /// there takes the right to read both.
    pub fn of_remembered(&self, target: &Target, remembers: usize) -> Self {
        if self.shows(remembers) {
            Self {
                columns: self.columns.clone(),
            }
        } else {
            Self::nothing_of(target)
        }
    }

    /// The columns that may be shown, by position.
    pub fn columns_of(&self, target: &Target) -> Vec<usize> {
        (0..target.columns.len())
            .filter(|c| self.shows(*c))
            .collect()
    }

    /// What the caller may have sent, or may read: a row that reaches a trigger has
    /// values that defaults and other triggers put there, too. As core has it for
    /// the rows that it shows in errors.
    pub fn insertable_by_caller(target: &Target) -> Self {
        let caller = Role::caller();
        let on_either = |column| {
            caller.has_on_column(target, column, pg_sys::ACL_INSERT)
                || caller.has_on_column(target, column, pg_sys::ACL_SELECT)
        };
        let whole =
            caller.has_on(target, pg_sys::ACL_INSERT) || caller.has_on(target, pg_sys::ACL_SELECT);
        Self {
            columns: (!whole).then(|| (0..target.columns.len()).map(on_either).collect()),
        }
    }

    /// Everything: for records that only the extension itself reads.
    pub fn everything() -> Self {
        Self { columns: None }
    }

    /// Whether the stored value of this column may be shown.
    pub fn shows(&self, column: usize) -> bool {
        self.columns.as_ref().is_none_or(|columns| columns[column])
    }

    /// Whether every stored value may be shown.
    pub fn shows_all(&self) -> bool {
        self.columns.is_none()
    }

    /// Whether no stored value may be shown.
    pub fn shows_nothing(&self) -> bool {
        self.columns
            .as_ref()
            .is_some_and(|columns| !columns.contains(&true))
    }
}
