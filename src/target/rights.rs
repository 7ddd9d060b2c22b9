//! What the caller may do with a target, and which of its values they may see.
use super::{Target, UniqueIndex};
use crate::error::{Report, SqlState};
use crate::pg::spi::Connection;
use crate::pg::text;
use pgrx::pg_sys;

fn user() -> pg_sys::Oid {
    // SAFETY: reads a backend-local variable.
    unsafe { pg_sys::GetUserId() }
}

fn on_table(target: &Target, mode: u32) -> bool {
    // SAFETY: an existing table; the caller holds a lock on it.
    unsafe {
        pg_sys::pg_class_aclcheck(target.oid, user(), pg_sys::AclMode::from(mode))
            == pg_sys::AclResult::ACLCHECK_OK
    }
}

fn on_column(target: &Target, column: usize, mode: u32) -> bool {
    let number = target.columns[column].attnum;
    // SAFETY: as above.
    unsafe {
        pg_sys::pg_attribute_aclcheck(target.oid, number, user(), pg_sys::AclMode::from(mode))
            == pg_sys::AclResult::ACLCHECK_OK
    }
}

/// Demands the right, on the table or on each of the columns (if there are any);
/// else 42501 in core's own words.
fn demand(target: &Target, mode: u32, columns: impl IntoIterator<Item = usize>) {
    let mut columns = columns.into_iter().peekable();
    if !on_table(target, mode)
        && (columns.peek().is_none() || !columns.all(|column| on_column(target, column, mode)))
    {
        let name = text::to_server(&target.name);
        // SAFETY: raises the error that the executor raises.
        unsafe {
            pg_sys::aclcheck_error(
                pg_sys::AclResult::ACLCHECK_NO_PRIV,
                pg_sys::ObjectType::OBJECT_TABLE,
                name.as_ptr(),
            );
        }
    }
}

/// USAGE on the schema, which a name would have needed.
fn demand_schema(target: &Target) {
    let result = on_schema(target.schema_oid);
    if result != pg_sys::AclResult::ACLCHECK_OK {
        let name = text::to_server(&target.schema);
        let kind = pg_sys::ObjectType::OBJECT_SCHEMA;
        // SAFETY: raises what core raises.
        unsafe { pg_sys::aclcheck_error(result, kind, name.as_ptr()) };
    }
}

/// What core says of USAGE on a schema.
fn on_schema(schema: pg_sys::Oid) -> pg_sys::AclResult::Type {
    let mode = pg_sys::AclMode::from(pg_sys::ACL_USAGE);
    // SAFETY: an existing schema.
    unsafe {
        #[cfg(feature = "pg15")]
        return pg_sys::pg_namespace_aclcheck(schema, user(), mode);
        #[cfg(not(feature = "pg15"))]
        return pg_sys::object_aclcheck(pg_sys::NamespaceRelationId, schema, user(), mode);
    }
}

/// The rights that `INSERT … ON CONFLICT (key)` demands: INSERT on the named
/// columns, SELECT on the key. They are demanded up front, so that a pure
/// duplicate needs them too and nobody can probe a table that they may not
/// write to.
pub fn demand_insert_or_verify(
    target: &Target,
    named: impl IntoIterator<Item = usize>,
    key: impl IntoIterator<Item = usize>,
) {
    demand_schema(target);
    demand(target, pg_sys::ACL_INSERT, named);
    demand(target, pg_sys::ACL_SELECT, key);
    // With row_security off, a policy in force is an error, as in any query.
    // SAFETY: an existing table.
    unsafe { pg_sys::check_enable_rls(target.oid, pg_sys::InvalidOid, false) };
}

/// INSERT on the columns.
pub fn demand_insert(target: &Target, columns: impl IntoIterator<Item = usize>) {
    demand_schema(target);
    demand(target, pg_sys::ACL_INSERT, columns);
}

/// DELETE.
pub fn demand_delete(target: &Target) {
    demand(target, pg_sys::ACL_DELETE, []);
}

/// UPDATE on the columns.
pub fn demand_update(target: &Target, columns: impl IntoIterator<Item = usize>) {
    demand(target, pg_sys::ACL_UPDATE, columns);
}

/// Whether the caller has any right on a table, or on a column of it. Reads the catalogs,
/// without a lock on the table; false if it is gone.
pub fn has_any(table: pg_sys::Oid) -> bool {
    let any = pg_sys::AclMaskHow::ACLMASK_ANY;
    let on_table = pg_sys::AclMode::from(pg_sys::ACL_ALL_RIGHTS_RELATION);
    let on_column = pg_sys::AclMode::from(pg_sys::ACL_ALL_RIGHTS_COLUMN);
    let mut gone = false;
    // SAFETY: look-ups; of columns only if there is such a table.
    unsafe {
        // One of the rights is enough for both.
        pg_sys::pg_class_aclcheck_ext(table, user(), on_table, &raw mut gone)
            == pg_sys::AclResult::ACLCHECK_OK
            || (!gone
                && pg_sys::pg_attribute_aclcheck_all(table, user(), on_column, any)
                    == pg_sys::AclResult::ACLCHECK_OK)
    }
}

/// Any right on a table, or on a column of it, for whoever wants more said of it than the
/// catalogs say to everybody: without one nobody is to lock it. What is gone is passed.
///
/// # Errors
/// 42501
pub fn demand_any(table: pg_sys::Oid) {
    // SAFETY: a look-up; null if there is no such table. Raises what core raises.
    unsafe {
        let name = pg_sys::get_rel_name(table);
        if !name.is_null() && !has_any(table) {
            let kind = pg_sys::get_relkind_objtype(pg_sys::get_rel_relkind(table));
            pg_sys::aclcheck_error(pg_sys::AclResult::ACLCHECK_NO_PRIV, kind, name);
        }
    }
}

/// Ownership of a table, as DROP TRIGGER asks for it. What is gone is passed.
///
/// # Errors
/// 42501
pub fn demand_ownership(table: pg_sys::Oid) {
    // SAFETY: look-ups; null if there is no such table. Raises what core raises.
    unsafe {
        let name = pg_sys::get_rel_name(table);
        if name.is_null() {
            return;
        }
        #[cfg(feature = "pg15")]
        let owner = pg_sys::pg_class_ownercheck(table, user());
        #[cfg(not(feature = "pg15"))]
        let owner = pg_sys::object_ownercheck(pg_sys::RelationRelationId, table, user());
        if !owner {
            let kind = pg_sys::ObjectType::OBJECT_TRIGGER;
            pg_sys::aclcheck_error(pg_sys::AclResult::ACLCHECK_NOT_OWNER, kind, name);
        }
    }
}

/// SELECT on the whole table.
pub fn demand_select(target: &Target) {
    demand(target, pg_sys::ACL_SELECT, []);
}

/// Whether the caller may truncate a table, and name it.
pub fn may_truncate(table: pg_sys::Oid) -> bool {
    let mode = pg_sys::AclMode::from(pg_sys::ACL_TRUNCATE);
    // SAFETY: an existing table.
    let (result, schema) = unsafe {
        (
            pg_sys::pg_class_aclcheck(table, user(), mode),
            pg_sys::get_rel_namespace(table),
        )
    };
    result == pg_sys::AclResult::ACLCHECK_OK && on_schema(schema) == pg_sys::AclResult::ACLCHECK_OK
}

/// Whether the caller may read the whole table (row-level security aside).
pub fn may_select(target: &Target) -> bool {
    on_table(target, pg_sys::ACL_SELECT)
}

/// Whether policies of row-level security restrict what the caller sees of a table.
pub fn row_security_is_active(target: &Target) -> bool {
    // SAFETY: an existing table; no error for rows that a policy hides.
    let rls = unsafe { pg_sys::check_enable_rls(target.oid, pg_sys::InvalidOid, true) };
    rls == pg_sys::CheckEnableRlsResult::RLS_ENABLED as i32
}

/// Whether the caller sees the row that is stored at this place under this key, by the
/// table's policies and under the active snapshot: asks the table as the caller would.
/// So policies run as the caller, who is inserting into the table, and for whom an INSERT …
/// ON CONFLICT evaluates them.
///
/// The place finds it at once, but takes SELECT on the whole table. The key may take a
/// scan, since its operators may only be applied to rows that the policies show.
///
/// # Errors
/// 42501 without SELECT on the key columns.
pub fn policies_show(
    target: &Target,
    arbiter: &UniqueIndex,
    (table, mut tuple): (pg_sys::Oid, pg_sys::ItemPointerData),
    key: impl Fn(usize) -> Option<pg_sys::Datum>,
) -> bool {
    let mut parameters = Vec::new();
    let mut conditions = Vec::new();
    if may_select(target) {
        conditions.push("tableoid OPERATOR(pg_catalog.=) $1".to_owned());
        conditions.push("ctid OPERATOR(pg_catalog.=) $2".to_owned());
        parameters.push((pg_sys::OIDOID, Some(pg_sys::Datum::from(table))));
        let tuple = pg_sys::Datum::from(&raw mut tuple);
        parameters.push((pg_sys::TIDOID, Some(tuple)));
    } else {
        for part in &arbiter.keys {
            let column = &target.columns[part.column];
            let name = text::quote_identifier(&column.name);
            match key(part.column) {
                None => conditions.push(format!("{name} IS NULL")),
                value => {
                    parameters.push((column.typid, value));
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
    Connection::open().query(&sql, &parameters) > 0
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

/// Which stored values the caller may see.
pub struct Readable {
    /// None: every column; else by position.
    columns: Option<Vec<bool>>,
}

impl Readable {
    /// By the caller's SELECT rights. With row-level security in force nothing
    /// is readable, since the row at hand may be one that a policy hides.
    pub fn by_caller(target: &Target) -> Self {
        let columns = target.columns.len();
        if row_security_is_active(target) {
            Self {
                columns: Some(vec![false; columns]),
            }
        } else if on_table(target, pg_sys::ACL_SELECT) {
            Self { columns: None }
        } else {
            let columns = (0..columns).map(|c| on_column(target, c, pg_sys::ACL_SELECT));
            Self {
                columns: Some(columns.collect()),
            }
        }
    }

    /// What the caller may have sent, or may read: a row that reaches a trigger has
    /// values that defaults and other triggers put there, too. As core has it for
    /// the rows that it shows in errors.
    pub fn sent_by_caller(target: &Target) -> Self {
        let on_either = |column| {
            on_column(target, column, pg_sys::ACL_INSERT)
                || on_column(target, column, pg_sys::ACL_SELECT)
        };
        let whole = on_table(target, pg_sys::ACL_INSERT) || on_table(target, pg_sys::ACL_SELECT);
        Self {
            columns: (!whole).then(|| (0..target.columns.len()).map(on_either).collect()),
        }
    }

    /// Everything: for records that only the extension itself reads.
    pub fn everything() -> Self {
        Self { columns: None }
    }

    /// Whether the stored value of this column may be shown.
    pub fn column(&self, column: usize) -> bool {
        self.columns.as_ref().is_none_or(|columns| columns[column])
    }

    /// Whether every stored value may be shown.
    pub fn all(&self) -> bool {
        self.columns.is_none()
    }

    /// Whether no stored value may be shown.
    pub fn nothing(&self) -> bool {
        self.columns
            .as_ref()
            .is_some_and(|columns| !columns.contains(&true))
    }
}
