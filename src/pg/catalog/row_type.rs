//! The columns of a row descriptor, read once.
use crate::pg::ffi;
use crate::pg::value::text;
use pgrx::pg_sys;

/// A column, as a descriptor has it.
#[derive(Clone, Debug)]
pub struct Attribute {
    /// Its name.
    pub name: String,
    /// Its type, and the type's modifier, -1 for none.
    pub typid: pg_sys::Oid,
    pub typmod: i32,
    /// `InvalidOid` for a type without collation.
    pub collation: pg_sys::Oid,
    pub not_null: bool,
    /// `a`lways or by `d`efault; None for a column that is no identity.
    pub identity: Option<char>,
}

/// The columns of a descriptor in order, without dropped ones.
///
/// # Safety
/// The descriptor is valid. Look-ups while it is read may rebuild the relation that it belongs
/// to, so it is copied first.
pub unsafe fn attributes_of(desc: pg_sys::TupleDesc) -> Vec<Attribute> {
    // SAFETY: the caller's promise. The copy is ours, has as many columns as it says, and is
    // freed when nothing refers to it; names in descriptors end with a NUL.
    unsafe {
        // With the constraints: the other kind of copy is without NOT NULL and identity.
        let copy = pg_sys::CreateTupleDescCopyConstr(desc);
        let attributes = (0..(*copy).natts)
            .map(|i| ffi::attribute(copy, i))
            .filter(|attribute| !attribute.attisdropped)
            .map(|attribute| Attribute {
                name: text::from_name(&attribute.attname),
                typid: attribute.atttypid,
                typmod: attribute.atttypmod,
                collation: attribute.attcollation,
                not_null: attribute.attnotnull,
                identity: match attribute.attidentity as u8 {
                    0 => None,
                    identity => Some(char::from(identity)),
                },
            })
            .collect();
        pg_sys::FreeTupleDesc(copy);
        attributes
    }
}

/// Types and collations of the attributes of a composite type, without dropped ones.
///
/// # Errors
/// 42809 for what is no composite type, in core's words.
pub fn attribute_types(typid: pg_sys::Oid) -> Vec<(pg_sys::Oid, pg_sys::Oid)> {
    // SAFETY: core gives a copy of the descriptor, or raises an error; it is ours, and is freed
    // when nothing refers to it.
    unsafe {
        let desc = pg_sys::lookup_rowtype_tupdesc_copy(typid, -1);
        let types = (0..(*desc).natts)
            .map(|i| ffi::attribute(desc, i))
            .filter(|attribute| !attribute.attisdropped)
            .map(|attribute| (attribute.atttypid, attribute.attcollation))
            .collect();
        pg_sys::FreeTupleDesc(desc);
        types
    }
}
