//! Names by oid, and oids by name.
use crate::pg::catalog::syscache;
use crate::pg::ffi::plain;
use crate::pg::value::text;
use pgrx::pg_sys;
use std::ffi::{CStr, CString};

fn found(oid: pg_sys::Oid) -> Option<pg_sys::Oid> {
    (oid != pg_sys::InvalidOid).then_some(oid)
}

fn in_utf8(name: CString) -> String {
    text::from_server_bytes(name.to_bytes())
}

/// The oid of a schema.
pub fn schema_oid(name: &CStr) -> Option<pg_sys::Oid> {
    found(plain::get_namespace_oid(name, true))
}

/// The oid of a relation of any kind in a schema.
pub fn relation_oid(schema: pg_sys::Oid, name: &CStr) -> Option<pg_sys::Oid> {
    found(plain::get_relname_relid(name, schema))
}

/// The oid of the relation that an unqualified name means, by the `search_path`.
pub fn visible_relation_oid(name: &CStr) -> Option<pg_sys::Oid> {
    found(plain::RelnameGetRelid(name))
}

/// The oid of a type in a schema.
pub fn type_oid(schema: pg_sys::Oid, name: &CStr) -> Option<pg_sys::Oid> {
    found(syscache::type_oid(schema, name))
}

/// The oid of a role.
pub fn role_oid(name: &CStr) -> Option<pg_sys::Oid> {
    found(plain::get_role_oid(name, true))
}

/// The oid of a language of functions.
pub fn language_oid(name: &CStr) -> Option<pg_sys::Oid> {
    found(plain::get_language_oid(name, true))
}

/// The oid of an extension.
pub fn extension_oid(name: &CStr) -> Option<pg_sys::Oid> {
    found(plain::get_extension_oid(name, true))
}

/// The name of an extension; None if it is gone.
pub fn extension_name(extension: pg_sys::Oid) -> Option<CString> {
    plain::get_extension_name(extension)
}

/// The name of a relation; None if it is gone.
pub fn relation_name(relation: pg_sys::Oid) -> Option<String> {
    plain::get_rel_name(relation).map(in_utf8)
}

/// The name of a schema; None if it is gone.
pub fn schema_name(schema: pg_sys::Oid) -> Option<String> {
    plain::get_namespace_name(schema).map(in_utf8)
}

/// A name with its schema, both quoted where SQL needs it; None if the schema is gone.
pub fn qualified(schema: pg_sys::Oid, name: &str) -> Option<String> {
    let schema = text::quote_identifier(&schema_name(schema)?);
    Some(format!("{schema}.{}", text::quote_identifier(name)))
}

/// The name of a relation's schema; None if one of the two is gone.
pub fn schema_of_relation(relation: pg_sys::Oid) -> Option<String> {
    // There is no schema `InvalidOid`.
    schema_name(plain::get_rel_namespace(relation))
}

/// The quoted, schema-qualified name of a relation; None if it is gone.
pub fn qualified_name(relation: pg_sys::Oid) -> Option<String> {
    qualified(
        plain::get_rel_namespace(relation),
        &relation_name(relation)?,
    )
}

/// The name of a function; None if it is gone.
pub fn function_name(function: pg_sys::Oid) -> Option<String> {
    plain::get_func_name(function).map(in_utf8)
}

/// The name of a function's schema; None if one of the two is gone.
pub fn schema_of_function(function: pg_sys::Oid) -> Option<String> {
    schema_name(plain::get_func_namespace(function))
}

/// The name of a role, quoted where SQL needs it, in the server's encoding; None if the role is
/// gone.
pub fn quoted_role_name(role: pg_sys::Oid) -> Option<CString> {
    plain::GetUserNameFromId(role, true).map(|name| plain::quote_identifier(&name))
}

/// The schema-qualified name of a relation, each part quoted where SQL needs it, in the server's
/// encoding; None if it is gone.
pub fn quoted_relation_name(relation: pg_sys::Oid) -> Option<CString> {
    let schema = plain::get_namespace_name(plain::get_rel_namespace(relation))?;
    let name = plain::get_rel_name(relation)?;
    let parts = [&schema, &name].map(|part| plain::quote_identifier(part).into_bytes());
    // None of them holds a NUL.
    CString::new(parts.join(&b'.')).ok()
}

/// The names that a text in the server's encoding consists of, parted by dots, by core's own
/// rules for identifiers; None if it is none.
pub fn split_qualified(text: &CStr) -> Option<Vec<CString>> {
    text::split_server_identifiers(text, b'.')
}
