//! Types and collations by oid.
//!
//! # Errors
//! A type that is gone is an error of core's (XX000, or 42704 where it says so): the types that
//! are asked for here are those of columns of a table that is locked.
use crate::pg::value::text;
use pgrx::pg_sys;

/// The type that a domain is made of in the end; itself if it is none.
pub fn base(typid: pg_sys::Oid) -> pg_sys::Oid {
    // SAFETY: look-ups by number, with core's error for a type that is gone.
    unsafe { pg_sys::getBaseType(typid) }
}

/// The kind of a type (`pg_type.typtype`); 0 if it is gone.
pub fn kind(typid: pg_sys::Oid) -> u8 {
    // SAFETY: a look-up by number.
    unsafe { pg_sys::get_typtype(typid) as u8 }
}

/// The type of an array's members; None if the type is no array.
pub fn element(typid: pg_sys::Oid) -> Option<pg_sys::Oid> {
    // SAFETY: a look-up by number.
    let element = unsafe { pg_sys::get_element_type(typid) };
    (element != pg_sys::InvalidOid).then_some(element)
}

/// The type of a range's bounds and the collation that they are compared under; None if the type
/// is no range.
pub fn range_bounds(range: pg_sys::Oid) -> Option<(pg_sys::Oid, pg_sys::Oid)> {
    // SAFETY: core makes the entry, or raises an error; entries stay as long as the backend. One
    // that is of a range has its element.
    unsafe {
        let entry = pg_sys::lookup_type_cache(range, pg_sys::TYPECACHE_RANGE_INFO as i32);
        let element = (*entry).rngelemtype.as_ref()?;
        Some((element.type_id, (*entry).rng_collation))
    }
}

/// The range that a multirange consists of; None if the type is no multirange.
pub fn range_of_multirange(multirange: pg_sys::Oid) -> Option<pg_sys::Oid> {
    // SAFETY: a look-up by number.
    let range = unsafe { pg_sys::get_multirange_range(multirange) };
    (range != pg_sys::InvalidOid).then_some(range)
}

/// The collation of a type's own; `InvalidOid` if it has none.
pub fn collation(typid: pg_sys::Oid) -> pg_sys::Oid {
    // SAFETY: a look-up by number.
    unsafe { pg_sys::get_typcollation(typid) }
}

/// The name of a collation as SQL has it, quoted and, where it has to be, qualified.
pub fn collation_name(collation: pg_sys::Oid) -> String {
    // SAFETY: core's look-up gives a C string of palloc's, or raises an error.
    unsafe { text::from_server(pg_sys::generate_collation_name(collation)) }
}

/// The name of a type as SQL has it; `???` if it is gone.
pub fn name(typid: pg_sys::Oid) -> String {
    // SAFETY: core gives a C string of palloc's, whatever the number.
    unsafe { text::from_server(pg_sys::format_type_be(typid)) }
}

/// The name of a type with its type modifier, -1 for none.
pub fn name_with_modifier(typid: pg_sys::Oid, typmod: i32) -> String {
    // SAFETY: core gives a C string of palloc's, whatever the numbers.
    unsafe { text::from_server(pg_sys::format_type_with_typemod(typid, typmod)) }
}

/// The operator of a type's default equality, or `InvalidOid`.
pub fn equality_operator(typid: pg_sys::Oid) -> pg_sys::Oid {
    // SAFETY: core makes the entry, or raises an error; entries stay as long as the backend.
    unsafe { (*pg_sys::lookup_type_cache(typid, pg_sys::TYPECACHE_EQ_OPR as i32)).eq_opr }
}

/// Whether a type has an order: a default operator class of btree.
pub fn has_order(typid: pg_sys::Oid) -> bool {
    // SAFETY: look-ups by number.
    unsafe { pg_sys::GetDefaultOpClass(typid, pg_sys::BTREE_AM_OID) != pg_sys::InvalidOid }
}

/// Whether a type is a domain that refuses NULL, itself or by one that it is over.
pub fn refuses_null(typid: pg_sys::Oid) -> bool {
    let mut typid = typid;
    while kind(typid) == pg_sys::TYPTYPE_DOMAIN {
        // SAFETY: a look-up by number. The row is one of `pg_type`, and is read before it is
        // released.
        unsafe {
            let id = pg_sys::SysCacheIdentifier::TYPEOID as i32;
            let row = pg_sys::SearchSysCache1(id, pg_sys::Datum::from(typid));
            if row.is_null() {
                return false;
            }
            let form = pg_sys::GETSTRUCT(row).cast::<pg_sys::FormData_pg_type>();
            let (not_null, over) = ((*form).typnotnull, (*form).typbasetype);
            pg_sys::ReleaseSysCache(row);
            if not_null {
                return true;
            }
            typid = over;
        }
    }
    false
}
