//! Names by oid, and oids by name.
use crate::pg::value::text;
use pgrx::pg_sys;
use std::ffi::{CStr, CString, c_char};

fn found(oid: pg_sys::Oid) -> Option<pg_sys::Oid> {
    (oid != pg_sys::InvalidOid).then_some(oid)
}

/// Copies a string that a look-up has made in the current memory; None if it is null.
///
/// # Safety
/// `name` is null, or a C string of palloc's that nobody else has.
unsafe fn taken(name: *mut c_char) -> Option<CString> {
    if name.is_null() {
        return None;
    }
    // SAFETY: the caller's promise: it is read before it is freed, and nobody has it afterwards.
    unsafe {
        let copy = CStr::from_ptr(name).to_owned();
        pg_sys::pfree(name.cast());
        Some(copy)
    }
}

fn in_utf8(name: CString) -> String {
    text::from_server_bytes(name.to_bytes())
}

/// The oid of a schema.
pub fn schema_oid(name: &CStr) -> Option<pg_sys::Oid> {
    // SAFETY: a look-up by a C string; without the schema it gives `InvalidOid`.
    found(unsafe { pg_sys::get_namespace_oid(name.as_ptr(), true) })
}

/// The oid of a relation of any kind in a schema.
pub fn relation_oid(schema: pg_sys::Oid, name: &CStr) -> Option<pg_sys::Oid> {
    // SAFETY: a look-up by a C string and a number; without the relation it gives `InvalidOid`.
    found(unsafe { pg_sys::get_relname_relid(name.as_ptr(), schema) })
}

/// The oid of the relation that an unqualified name means, by the `search_path`.
pub fn visible_relation_oid(name: &CStr) -> Option<pg_sys::Oid> {
    // SAFETY: a look-up by a C string; without the relation it gives `InvalidOid`.
    found(unsafe { pg_sys::RelnameGetRelid(name.as_ptr()) })
}

/// The oid of a type in a schema.
pub fn type_oid(schema: pg_sys::Oid, name: &CStr) -> Option<pg_sys::Oid> {
    let none = pg_sys::Datum::null();
    // SAFETY: a look-up in the syscache of types by its two keys, a name (a C string will do, as
    // for core's own TYPENAMENSP look-ups) and a number.
    found(unsafe {
        pg_sys::GetSysCacheOid(
            pg_sys::SysCacheIdentifier::TYPENAMENSP as i32,
            pg_sys::Anum_pg_type_oid as pg_sys::AttrNumber,
            pg_sys::Datum::from(name.as_ptr()),
            pg_sys::Datum::from(schema),
            none,
            none,
        )
    })
}

/// The oid of a role.
pub fn role_oid(name: &CStr) -> Option<pg_sys::Oid> {
    // SAFETY: a look-up by a C string; without the role it gives `InvalidOid`.
    found(unsafe { pg_sys::get_role_oid(name.as_ptr(), true) })
}

/// The oid of a language of functions.
pub fn language_oid(name: &CStr) -> Option<pg_sys::Oid> {
    // SAFETY: a look-up by a C string; without the language it gives `InvalidOid`.
    found(unsafe { pg_sys::get_language_oid(name.as_ptr(), true) })
}

/// The oid of an extension.
pub fn extension_oid(name: &CStr) -> Option<pg_sys::Oid> {
    // SAFETY: a look-up by a C string; without the extension it gives `InvalidOid`.
    found(unsafe { pg_sys::get_extension_oid(name.as_ptr(), true) })
}

/// The name of a function, in the server's encoding; None if there is none.
pub fn function_name(function: pg_sys::Oid) -> Option<CString> {
    // SAFETY: the look-up makes a copy for us, or gives null.
    unsafe { taken(pg_sys::get_func_name(function)) }
}

/// The name of a relation; None if it is gone.
pub fn relation_name(relation: pg_sys::Oid) -> Option<String> {
    // SAFETY: the look-up makes a copy for us, or gives null.
    unsafe { taken(pg_sys::get_rel_name(relation)) }.map(in_utf8)
}

/// The name of a relation's schema; None if one of the two is gone.
pub fn schema_of_relation(relation: pg_sys::Oid) -> Option<String> {
    // SAFETY: the look-ups make a copy for us, or give null: there is no schema `InvalidOid`.
    unsafe {
        taken(pg_sys::get_namespace_name(pg_sys::get_rel_namespace(
            relation,
        )))
    }
    .map(in_utf8)
}

/// The name of a function's schema; None if one of the two is gone.
pub fn schema_of_function(function: pg_sys::Oid) -> Option<String> {
    // SAFETY: the look-ups make a copy for us, or give null: there is no schema `InvalidOid`.
    unsafe {
        taken(pg_sys::get_namespace_name(pg_sys::get_func_namespace(
            function,
        )))
    }
    .map(in_utf8)
}

/// The quoted, schema-qualified name of a relation; None if it is gone.
pub fn qualified_name(relation: pg_sys::Oid) -> Option<String> {
    let (schema, name) = (schema_of_relation(relation)?, relation_name(relation)?);
    Some(format!(
        "{}.{}",
        text::quote_identifier(&schema),
        text::quote_identifier(&name)
    ))
}

/// The name of a role, quoted where SQL needs it, in the server's encoding; None if the role is
/// gone.
pub fn quoted_role_name(role: pg_sys::Oid) -> Option<CString> {
    // SAFETY: the look-up makes a copy for us, or gives null.
    unsafe { taken(pg_sys::GetUserNameFromId(role, true)) }.map(|name| quoted(&name))
}

/// The schema-qualified name of a relation, each part quoted where SQL needs it, in the server's
/// encoding; None if it is gone.
pub fn quoted_relation_name(relation: pg_sys::Oid) -> Option<CString> {
    // SAFETY: the look-ups make copies for us, or give null.
    let (schema, name) = unsafe {
        (
            taken(pg_sys::get_namespace_name(pg_sys::get_rel_namespace(
                relation,
            )))?,
            taken(pg_sys::get_rel_name(relation))?,
        )
    };
    let parts = [quoted(&schema).into_bytes(), quoted(&name).into_bytes()];
    // None of them holds a NUL.
    CString::new(parts.join(&b'.')).ok()
}

/// An identifier in the server's encoding, quoted where SQL needs it.
fn quoted(name: &CStr) -> CString {
    // SAFETY: core gives back its argument or a C string of palloc's; both live until they are
    // copied here.
    unsafe { CStr::from_ptr(pg_sys::quote_identifier(name.as_ptr())).to_owned() }
}

/// The names that a text in the server's encoding consists of, parted by dots, by core's own
/// rules for identifiers; None if it is none.
pub fn split_qualified(text: &CStr) -> Option<Vec<CString>> {
    let mut copy = text.to_bytes_with_nul().to_vec();
    let mut list = std::ptr::null_mut();
    // SAFETY: core writes into our copy, never beyond its NUL, and the list points into it; the
    // copy lives until the names are copied. No list means an empty one.
    unsafe {
        let separator = b'.' as c_char;
        if !pg_sys::SplitIdentifierString(copy.as_mut_ptr().cast(), separator, &raw mut list) {
            return None;
        }
        let names = crate::pg::list::members::<c_char>(list)
            .map(|name| CStr::from_ptr(name).to_owned())
            .collect();
        pg_sys::list_free(list);
        Some(names)
    }
}
