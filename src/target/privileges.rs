//! What the caller may do with a target, and which of its values they may see.
use super::access::{Access, hooks_see_reads};
use super::{Target, UniqueIndex};
use crate::error::{Report, SqlState};
use crate::pg::statement::query_as::row_exists_as;
use crate::pg::statement::spi::Parameter;
use crate::pg::value::text;
use pgrx::pg_sys;

/// A role, by whose rights something is judged.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Role(pg_sys::Oid);

impl Role {
    /// The current user.
    pub fn caller() -> Self {
        // SAFETY: reads a variable of the backend's, which is set for as long as it works.
        Self(unsafe { pg_sys::GetUserId() })
    }

    /// The role with this oid; the current user if there is none.
    pub fn or_caller(oid: pg_sys::Oid) -> Self {
        if oid == pg_sys::InvalidOid {
            Self::caller()
        } else {
            Self(oid)
        }
    }

    fn has_on(self, target: &Target, mode: u32) -> bool {
        // SAFETY: an existing table; the caller holds a lock on it.
        unsafe {
            pg_sys::pg_class_aclcheck(target.oid, self.0, pg_sys::AclMode::from(mode))
                == pg_sys::AclResult::ACLCHECK_OK
        }
    }

    fn has_on_column(self, target: &Target, column: usize, mode: u32) -> bool {
        let number = target.columns[column].attnum;
        // SAFETY: an existing column of an existing table, on which the caller holds a lock.
        unsafe {
            pg_sys::pg_attribute_aclcheck(target.oid, number, self.0, pg_sys::AclMode::from(mode))
                == pg_sys::AclResult::ACLCHECK_OK
        }
    }
}

/// USAGE on the schema, which a name would have needed.
fn check_schema_usage(target: &Target) {
    let result = schema_usage(target.schema_oid);
    if result != pg_sys::AclResult::ACLCHECK_OK {
        let name = text::to_server(&target.schema);
        let kind = pg_sys::ObjectType::OBJECT_SCHEMA;
        // SAFETY: a C string that is read while the error is made; the error is raised in core's
        // way, out of a call that is guarded.
        unsafe { pg_sys::aclcheck_error(result, kind, name.as_ptr()) };
    }
}

/// What core says of USAGE on a schema.
fn schema_usage(schema: pg_sys::Oid) -> pg_sys::AclResult::Type {
    let mode = pg_sys::AclMode::from(pg_sys::ACL_USAGE);
    // SAFETY: a look-up in a catalog; a schema that is gone is an error of core's.
    unsafe {
        #[cfg(feature = "pg15")]
        return pg_sys::pg_namespace_aclcheck(schema, pg_sys::GetUserId(), mode);
        #[cfg(not(feature = "pg15"))]
        return pg_sys::object_aclcheck(
            pg_sys::NamespaceRelationId,
            schema,
            pg_sys::GetUserId(),
            mode,
        );
    }
}

/// The rights that `INSERT … ON CONFLICT (key)` demands: INSERT on the named
/// columns, SELECT on the key. They are demanded up front, so that a pure
/// duplicate needs them too and nobody can probe a table that they may not
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
/// stored rows are addressed, and UPDATE on the columns `updated`, if there are any.
pub fn check_merge_privileges(
    target: &Target,
    named: impl IntoIterator<Item = usize>,
    key: impl IntoIterator<Item = usize>,
    updated: &[usize],
) {
    let access = Access::to(target)
        .insert(target, named)
        .select(target, key)
        .select_by_ctid();
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
    if hooks_see_reads() {
        // What of the stored rows may be shown counts as read.
        let shown = VisibleColumns::by_rights(target, Role::caller()).columns_of(target);
        access.select(target, shown).check();
    } else {
        access.check_without_hooks();
    }
    // With row_security off, a policy in force is an error, as in any query.
    // SAFETY: look-ups in catalogs, for a table that the caller has locked.
    unsafe { pg_sys::check_enable_rls(target.oid, pg_sys::InvalidOid, false) };
}

/// Whether the caller has any right on a table, or on a column of it. Reads the catalogs,
/// without a lock on the table; false if it is gone.
pub fn has_any_privilege(table: pg_sys::Oid) -> bool {
    let any = pg_sys::AclMaskHow::ACLMASK_ANY;
    let on_table = pg_sys::AclMode::from(pg_sys::ACL_ALL_RIGHTS_RELATION);
    let on_column = pg_sys::AclMode::from(pg_sys::ACL_ALL_RIGHTS_COLUMN);
    let mut gone = false;
    // SAFETY: look-ups; of columns only if there is such a table.
    unsafe {
        // One of the rights is enough for both.
        pg_sys::pg_class_aclcheck_ext(table, pg_sys::GetUserId(), on_table, &raw mut gone)
            == pg_sys::AclResult::ACLCHECK_OK
            || (!gone
                && pg_sys::pg_attribute_aclcheck_all(table, pg_sys::GetUserId(), on_column, any)
                    == pg_sys::AclResult::ACLCHECK_OK)
    }
}

/// Any right on a table, or on a column of it, for whoever wants more said of it than the
/// catalogs say to everybody: without one nobody is to lock it. What is gone is passed.
///
/// # Errors
/// 42501
pub fn check_any_privilege(table: pg_sys::Oid) {
    // SAFETY: a look-up; null if there is no such table. Raises what core raises.
    unsafe {
        let name = pg_sys::get_rel_name(table);
        if !name.is_null() && !has_any_privilege(table) {
            let kind = pg_sys::get_relkind_objtype(pg_sys::get_rel_relkind(table));
            pg_sys::aclcheck_error(pg_sys::AclResult::ACLCHECK_NO_PRIV, kind, name);
        }
    }
}

/// Ownership of a table, as DROP TRIGGER asks for it. What is gone is passed.
///
/// # Errors
/// 42501
pub fn check_ownership(table: pg_sys::Oid) {
    // SAFETY: look-ups; null if there is no such table. Raises what core raises.
    unsafe {
        let name = pg_sys::get_rel_name(table);
        if name.is_null() {
            return;
        }
        #[cfg(feature = "pg15")]
        let owner = pg_sys::pg_class_ownercheck(table, pg_sys::GetUserId());
        #[cfg(not(feature = "pg15"))]
        let owner =
            pg_sys::object_ownercheck(pg_sys::RelationRelationId, table, pg_sys::GetUserId());
        if !owner {
            let kind = pg_sys::ObjectType::OBJECT_TRIGGER;
            pg_sys::aclcheck_error(pg_sys::AclResult::ACLCHECK_NOT_OWNER, kind, name);
        }
    }
}

/// Lets the server see that stored values of these columns, which the caller may read, are
/// shown in an error.
pub fn note_values_shown(target: &Target, columns: impl IntoIterator<Item = usize>) {
    if hooks_see_reads() {
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

fn has_privilege(table: pg_sys::Oid, mode: u32) -> bool {
    // SAFETY: look-ups in catalogs; a table that is gone is an error of core's.
    let (result, schema) = unsafe {
        (
            pg_sys::pg_class_aclcheck(table, pg_sys::GetUserId(), pg_sys::AclMode::from(mode)),
            pg_sys::get_rel_namespace(table),
        )
    };
    result == pg_sys::AclResult::ACLCHECK_OK
        && schema_usage(schema) == pg_sys::AclResult::ACLCHECK_OK
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
    // SAFETY: an existing table; no error for rows that a policy hides.
    let rls = unsafe { pg_sys::check_enable_rls(target.oid, role.0, true) };
    rls == pg_sys::CheckEnableRlsResult::RLS_ENABLED as i32
}

/// Whether a role sees the row that is stored at this place under this key, by the
/// table's policies and under the active snapshot: asks the table as the role would.
/// So policies run as the caller, who is inserting into the table, and for whom an INSERT …
/// ON CONFLICT evaluates them.
///
/// The place finds it at once, but takes SELECT on the whole table. The key may take a
/// scan, since its operators may only be applied to rows that the policies show.
///
/// The SELECT keeps its locks on the indexes, of every partition. So a caller who may write
/// afterwards has taken [`Target::lock_to_write`] before.
///
/// # Errors
/// 42501 without SELECT on the key columns.
pub fn policies_show(
    target: &Target,
    role: Role,
    arbiter: &UniqueIndex,
    (table, mut tuple): (pg_sys::Oid, pg_sys::ItemPointerData),
    key: impl Fn(usize) -> Option<pg_sys::Datum>,
) -> bool {
    let mut parameters = Vec::new();
    let mut conditions = Vec::new();
    if role.has_on(target, pg_sys::ACL_SELECT) {
        conditions.push("tableoid OPERATOR(pg_catalog.=) $1".to_owned());
        conditions.push("ctid OPERATOR(pg_catalog.=) $2".to_owned());
        let tuple = pg_sys::Datum::from(&raw mut tuple);
        // SAFETY: a tid is what is pointed to, which lives in this function.
        let tuple = unsafe { Parameter::of_datum(pg_sys::TIDOID, Some(tuple)) };
        parameters.extend([Parameter::oid(table), tuple]);
    } else {
        for part in &arbiter.keys {
            let column = &target.columns[part.column];
            let name = text::quote_identifier(&column.name);
            match key(part.column) {
                None => conditions.push(format!("{name} IS NULL")),
                value => {
                    // SAFETY: the key's value for this column, as the caller has it from a
                    // working row, which outlives the call.
                    parameters.push(unsafe { Parameter::of_datum(column.typid, value) });
                    conditions.push(part.equals(&name, &format!("${}", parameters.len())));
                }
            }
        }
    }
    let sql = format!(
        "SELECT FROM {} WHERE {}",
        target.qualified(),
        conditions.join(" AND ")
    );
    row_exists_as(role.0, &sql, &parameters)
}

/// 42501 in core's own words, for a row under whose key the caller must not see
/// what is stored: no more is said of it than of one that a policy refuses.
pub fn hidden_by_policy(target: &Target) -> Report {
    Report::new(
        SqlState::InsufficientPrivilege,
        format!(
            "new row violates row-level security policy for table \"{}\"",
            target.name
        ),
    )
}

/// 42501 for a stored row that a policy does not let be updated.
pub fn kept_by_policy(target: &Target) -> Report {
    Report::new(
        SqlState::InsufficientPrivilege,
        format!(
            "row-level security policy for table \"{}\" does not allow an update of a stored row",
            target.name
        ),
    )
    .table(&target.schema, &target.name)
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
