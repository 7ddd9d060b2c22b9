//! Types and collations by oid.
//!
//! # Errors
//! A type that is gone is an error of core's (XX000, or 42704 where it says so): the types that
//! are asked for here are those of columns of a table that is locked.
use crate::pg::catalog::name::qualified;
use crate::pg::catalog::row_type::attribute_types;
use crate::pg::catalog::syscache;
use crate::pg::ffi::plain::{self, Storage};
use crate::pg::interrupt;
use crate::pg::value::text;
use pgrx::pg_sys;
use std::collections::HashSet;
use std::ffi::CString;

fn found(oid: pg_sys::Oid) -> Option<pg_sys::Oid> {
    (oid != pg_sys::InvalidOid).then_some(oid)
}

/// A name, which core gives for whatever number, or has raised an error.
fn in_utf8(name: Option<CString>) -> String {
    text::from_server_bytes(name.unwrap_or_default().to_bytes())
}

/// The type that a domain is made of in the end; itself if it is none.
pub fn base(typid: pg_sys::Oid) -> pg_sys::Oid {
    plain::getBaseType(typid)
}

/// The same, with the modifier that a domain gives to its type; another type keeps this one.
pub fn base_and_modifier(typid: pg_sys::Oid, typmod: i32) -> (pg_sys::Oid, i32) {
    plain::getBaseTypeAndTypmod(typid, typmod)
}

/// The kind of a type (`pg_type.typtype`); 0 if it is gone.
pub fn kind(typid: pg_sys::Oid) -> u8 {
    plain::get_typtype(typid) as u8
}

/// The type of an array's members; None if the type is no array.
pub fn element(typid: pg_sys::Oid) -> Option<pg_sys::Oid> {
    found(plain::get_element_type(typid))
}

/// The relation of a composite type; None if the type is none.
pub fn row_type_relation(typid: pg_sys::Oid) -> Option<pg_sys::Oid> {
    let relation = syscache::find(typid, |row| {
        let form: &pg_sys::FormData_pg_type = row.form();
        form.typrelid
    });
    found(relation?)
}

/// Shows a type, and then all that it is made of, at any depth: what a domain is over, the members of
/// an array, the columns of a composite type, the bounds of a range. Each is shown once, before its parts are looked up.
pub fn visit(typid: pg_sys::Oid, mut show: impl FnMut(pg_sys::Oid)) {
    let (mut met, mut ahead) = (HashSet::new(), vec![typid]);
    while let Some(typid) = ahead.pop() {
        if met.insert(typid) {
            interrupt::check();
            show(typid);
            ahead.extend(parts(typid));
        }
    }
}

/// What a type is directly made of.
fn parts(typid: pg_sys::Oid) -> Vec<pg_sys::Oid> {
    let found = syscache::find(typid, |row| {
        let form: &pg_sys::FormData_pg_type = row.form();
        (form.typtype as u8, form.typbasetype)
    });
    match found {
        Some((pg_sys::TYPTYPE_DOMAIN, over)) => vec![over],
        Some((pg_sys::TYPTYPE_COMPOSITE, _)) => {
            let columns = attribute_types(typid).into_iter();
            columns.map(|(column, _)| column).collect()
        }
        Some((pg_sys::TYPTYPE_RANGE, _)) => {
            let bounds = range_bounds(typid).into_iter();
            bounds.map(|(bound, _)| bound).collect()
        }
        Some((pg_sys::TYPTYPE_MULTIRANGE, _)) => range_of_multirange(typid).into_iter().collect(),
        _ => element(typid).into_iter().collect(),
    }
}

/// The type of a range's bounds and the collation that they are compared under; None if the type
/// is no range.
pub fn range_bounds(range: pg_sys::Oid) -> Option<(pg_sys::Oid, pg_sys::Oid)> {
    let bound = found(plain::get_range_subtype(range))?;
    Some((bound, plain::get_range_collation(range)))
}

/// The range that a multirange consists of; None if the type is no multirange.
pub fn range_of_multirange(multirange: pg_sys::Oid) -> Option<pg_sys::Oid> {
    found(plain::get_multirange_range(multirange))
}

/// The collation of a type's own; `InvalidOid` if it has none.
pub fn collation(typid: pg_sys::Oid) -> pg_sys::Oid {
    plain::get_typcollation(typid)
}

/// How a type is stored.
pub fn storage(typid: pg_sys::Oid) -> Storage {
    plain::storage_of_type(typid)
}

/// The output function of a type.
pub fn output_function(typid: pg_sys::Oid) -> pg_sys::Oid {
    plain::output_function(typid)
}

/// The input function of a type, and the oid that it is given with the text.
pub fn input_function(typid: pg_sys::Oid) -> (pg_sys::Oid, pg_sys::Oid) {
    plain::input_function(typid)
}

/// Whether values of a type are compared under a collation.
pub fn is_collatable(typid: pg_sys::Oid) -> bool {
    plain::type_is_collatable(typid)
}

/// Whether only texts of the same bytes are equal under a collation.
///
/// # Errors
/// XX000 if the collation is gone.
pub fn is_deterministic(collation: pg_sys::Oid) -> bool {
    plain::get_collation_isdeterministic(collation)
}

/// The name of a collation as SQL has it, quoted and, where it has to be, qualified.
pub fn collation_name(collation: pg_sys::Oid) -> String {
    in_utf8(plain::generate_collation_name(collation))
}

/// The name of a collation as SQL has it, with its schema; None if it is gone.
pub fn qualified_collation_name(collation: pg_sys::Oid) -> Option<String> {
    let (schema, name) = syscache::find(collation, |row| {
        let form: &pg_sys::FormData_pg_collation = row.form();
        (form.collnamespace, text::from_name(&form.collname))
    })?;
    qualified(schema, &name)
}

/// The name of a type as SQL has it; `???` if it is gone.
pub fn name(typid: pg_sys::Oid) -> String {
    in_utf8(plain::format_type_be(typid))
}

/// The name of a type as SQL has it, with its schema; `???` if it is gone.
pub fn qualified_name(typid: pg_sys::Oid) -> String {
    in_utf8(plain::format_type_be_qualified(typid))
}

/// The name of a type with its type modifier, -1 for none.
pub fn name_with_modifier(typid: pg_sys::Oid, typmod: i32) -> String {
    in_utf8(plain::format_type_with_typemod(typid, typmod))
}

/// The extension that a type came with; None if it came with none.
pub fn extension(typid: pg_sys::Oid) -> Option<pg_sys::Oid> {
    found(plain::getExtensionOfObject(pg_sys::TypeRelationId, typid))
}

/// How many dimensions an array type is declared with: by the column that has it, or by a
/// domain.
pub fn declared_dimensions(typid: pg_sys::Oid, by_column: i64) -> i64 {
    let (mut typid, mut dimensions) = (typid, by_column);
    loop {
        let found = syscache::find(typid, |row| {
            let form: &pg_sys::FormData_pg_type = row.form();
            (form.typndims, form.typbasetype)
        });
        let Some((declared, over)) = found else {
            return dimensions;
        };
        dimensions = dimensions.max(declared.into());
        if over == pg_sys::InvalidOid {
            return dimensions;
        }
        typid = over;
    }
}

/// The operator of a type's default equality, or `InvalidOid`.
pub fn equality_operator(typid: pg_sys::Oid) -> pg_sys::Oid {
    plain::equality_operator(typid)
}

/// Whether a type has an order: a default operator class of btree.
pub fn has_order(typid: pg_sys::Oid) -> bool {
    plain::GetDefaultOpClass(typid, pg_sys::BTREE_AM_OID) != pg_sys::InvalidOid
}

/// Whether a type is a domain that refuses NULL, itself or by one that it is over.
pub fn refuses_null(typid: pg_sys::Oid) -> bool {
    let mut typid = typid;
    while kind(typid) == pg_sys::TYPTYPE_DOMAIN {
        let found = syscache::find(typid, |row| {
            let form: &pg_sys::FormData_pg_type = row.form();
            (form.typnotnull, form.typbasetype)
        });
        match found {
            Some((false, over)) => typid = over,
            Some((true, _)) => return true,
            None => return false,
        }
    }
    false
}
