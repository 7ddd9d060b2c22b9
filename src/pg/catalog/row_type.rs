//! The columns of a row descriptor, read once.
use crate::pg::ffi;
use crate::pg::memory::Memory;
use crate::pg::value::text;
use pgrx::pg_sys;

/// A column, as a descriptor has it.
#[derive(Clone, Debug)]
pub struct Attribute {
    /// Its place in the descriptor, from 0.
    pub place: usize,
    /// Its name.
    pub name: String,
    /// Its type, and the type's modifier, -1 for none.
    pub typid: pg_sys::Oid,
    pub typmod: i32,
    /// How many dimensions an array is declared with; 0 for what is none.
    pub dimensions: i64,
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
    // SAFETY: the caller's promise. The copy is ours, and is freed when nothing refers to it.
    unsafe {
        // With the constraints: the other kind of copy is without NOT NULL and identity.
        let copy = pg_sys::CreateTupleDescCopyConstr(desc);
        let attributes = attributes_of_copy(copy);
        pg_sys::FreeTupleDesc(copy);
        attributes
    }
}

/// # Safety
/// The descriptor is valid, and a copy that nobody changes.
unsafe fn attributes_of_copy(copy: pg_sys::TupleDesc) -> Vec<Attribute> {
    // SAFETY: the caller's promise: it has as many columns as it says, and names in descriptors
    // end with a NUL.
    unsafe {
        (0..(*copy).natts)
            .map(|i| (i, ffi::attribute(copy, i)))
            .filter(|(_, attribute)| !attribute.attisdropped)
            .map(|(i, attribute)| Attribute {
                place: i as usize,
                name: text::from_name(&attribute.attname),
                typid: attribute.atttypid,
                typmod: attribute.atttypmod,
                dimensions: attribute.attndims.into(),
                collation: attribute.attcollation,
                not_null: attribute.attnotnull,
                identity: match attribute.attidentity as u8 {
                    0 => None,
                    identity => Some(char::from(identity)),
                },
            })
            .collect()
    }
}

/// A copy of a composite type's descriptor, in memory that has an owner, and its attributes
/// without dropped ones.
///
/// # Errors
/// 42809 for what is no composite type, in core's words.
pub fn composite_in(memory: &Memory, typid: pg_sys::Oid) -> (pg_sys::TupleDesc, Vec<Attribute>) {
    // SAFETY: core gives a copy of the descriptor, or raises an error.
    memory.scope(|| unsafe {
        let desc = pg_sys::lookup_rowtype_tupdesc_copy(typid, -1);
        (desc, attributes_of_copy(desc))
    })
}

/// Types and collations of the attributes of a composite type, without dropped ones.
///
/// # Errors
/// As [`composite_in`].
pub fn attribute_types(typid: pg_sys::Oid) -> Vec<(pg_sys::Oid, pg_sys::Oid)> {
    let memory = Memory::in_current(c"pg_idempotent composite type");
    let (_, attributes) = composite_in(&memory, typid);
    let types = attributes.iter().map(|a| (a.typid, a.collation));
    types.collect()
}
