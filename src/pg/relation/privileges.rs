//! What a role may do with a table, by the catalogs alone: neither hooks nor policies are asked.
//!
//! Tables are named by oid, and need not be locked. One that is gone is core's error, 42P01, where
//! nothing else is said.
use crate::pg::backend::current_user;
use crate::pg::catalog::name::relation_name;
use crate::pg::catalog::relation;
use crate::pg::ffi::plain;
use crate::pg::value::text;
use pgrx::pg_sys;
use std::ffi::c_char;

const OK: pg_sys::AclResult::Type = pg_sys::AclResult::ACLCHECK_OK;

/// Whether a role has one of these rights (`ACL_SELECT` and its like) on a whole table.
pub fn has_on_table(role: pg_sys::Oid, table: pg_sys::Oid, rights: u32) -> bool {
    plain::pg_class_aclcheck(table, role, pg_sys::AclMode::from(rights)) == OK
}

/// Whether a role has one of these rights on a column, or on the whole table.
///
/// # Errors
/// 42703 for a number that no column has.
pub fn has_on_column(
    role: pg_sys::Oid,
    table: pg_sys::Oid,
    column: pg_sys::AttrNumber,
    rights: u32,
) -> bool {
    plain::pg_attribute_aclcheck(table, column, role, pg_sys::AclMode::from(rights)) == OK
}

/// Whether the current user has any right on a table, or on a column of it; false if it is gone.
pub fn has_any(table: pg_sys::Oid) -> bool {
    let on_table = pg_sys::AclMode::from(pg_sys::ACL_ALL_RIGHTS_RELATION);
    let on_column = pg_sys::AclMode::from(pg_sys::ACL_ALL_RIGHTS_COLUMN);
    plain::has_any_right(table, current_user(), on_table, on_column)
}

/// As [`has_any`], with core's error. What is gone is passed.
///
/// # Errors
/// 42501
pub fn check_any(table: pg_sys::Oid) {
    if let Some(name) = relation_name(table)
        && !has_any(table)
    {
        let kind = plain::get_relkind_objtype(relation::kind(table) as c_char);
        refuse(pg_sys::AclResult::ACLCHECK_NO_PRIV, kind, &name);
    }
}

/// Ownership of a table by the current user, as DROP TRIGGER asks for it. What is gone is passed.
///
/// # Errors
/// 42501
pub fn check_trigger_ownership(table: pg_sys::Oid) {
    let Some(name) = relation_name(table) else {
        return;
    };
    if !plain::owns_relation(table, current_user()) {
        let kind = pg_sys::ObjectType::OBJECT_TRIGGER;
        refuse(pg_sys::AclResult::ACLCHECK_NOT_OWNER, kind, &name);
    }
}

/// Whether the current user has USAGE on a schema. One that is gone is core's error.
pub fn may_use_schema(schema: pg_sys::Oid) -> bool {
    schema_usage(schema) == OK
}

/// USAGE on a schema, which has this name.
///
/// # Errors
/// 42501
pub fn check_schema_usage(schema: pg_sys::Oid, name: &str) {
    let result = schema_usage(schema);
    if result != OK {
        refuse(result, pg_sys::ObjectType::OBJECT_SCHEMA, name);
    }
}

fn schema_usage(schema: pg_sys::Oid) -> pg_sys::AclResult::Type {
    plain::schema_aclcheck(
        schema,
        current_user(),
        pg_sys::AclMode::from(pg_sys::ACL_USAGE),
    )
}

/// Raises core's error about a right that is missing.
fn refuse(result: pg_sys::AclResult::Type, kind: pg_sys::ObjectType::Type, name: &str) {
    plain::aclcheck_error(result, kind, &text::to_server(name));
}

/// Whether policies of row-level security restrict what is read of a table with a role's rights.
pub fn row_security_restricts(table: pg_sys::Oid, role: pg_sys::Oid) -> bool {
    // No error for rows that a policy hides.
    let security = plain::check_enable_rls(table, role, true);
    security == pg_sys::CheckEnableRlsResult::RLS_ENABLED as i32
}

/// Where `row_security` is off, a policy that is in force for the current user is an error, as in
/// any query.
///
/// # Errors
/// 42501
pub fn check_row_security(table: pg_sys::Oid) {
    plain::check_enable_rls(table, pg_sys::InvalidOid, false);
}
