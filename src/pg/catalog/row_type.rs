//! The columns of a row descriptor, read once.
use crate::pg::rows::RowDesc;
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

/// The columns of a descriptor in order, without dropped ones. It is one of our own: look-ups while
/// it is read may rebuild one of the server's.
pub fn attributes_of(desc: &RowDesc) -> Vec<Attribute> {
    desc.attributes()
        .enumerate()
        .filter(|(_, attribute)| !attribute.attisdropped)
        .map(|(place, attribute)| Attribute {
            place,
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

/// Types and collations of the attributes of a composite type, without dropped ones.
///
/// # Errors
/// As [`RowDesc::of_composite`].
pub fn attribute_types(typid: pg_sys::Oid) -> Vec<(pg_sys::Oid, pg_sys::Oid)> {
    let attributes = attributes_of(&RowDesc::of_composite(typid));
    let types = attributes.iter().map(|a| (a.typid, a.collation));
    types.collect()
}
