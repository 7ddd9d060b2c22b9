//! Arrays, from JSON arrays.
//!
//! Arrays within an array are further dimensions. Where a member may itself be shown as a JSON
//! array (a json, a domain over an array, what has a cast to json), two readings are possible:
//! there the number of dimensions is the one that was declared.
use super::{MemberReaders, Reader, ResultDetail, has_cast_to_json};
use crate::pg::catalog::types;
use crate::pg::memory::Memory;
use crate::pg::value::hstore::is_hstore;
use pgrx::pg_sys;
use std::ffi::CString;
use std::rc::Rc;

pub(super) const MAX_DIMENSIONS: usize = pg_sys::MAXDIM as usize;

/// Reads arrays of a type.
pub struct Array {
    pub(super) name: CString,
    pub(super) typid: pg_sys::Oid,
    pub(super) element: Rc<Reader>,
    /// How many levels of JSON arrays are dimensions, at most.
    pub(super) levels: usize,
    /// Whether it is an int2vector or oidvector: one dimension, from 0, without NULL.
    pub(super) vector: bool,
}

impl Array {
    /// For an array type (no domain) with elements of this type.
    pub fn of(
        wanted: ResultDetail<'_>,
        element: pg_sys::Oid,
        memory: &Memory,
        members: &mut MemberReaders,
    ) -> Self {
        let vector = [pg_sys::INT2VECTOROID, pg_sys::OIDVECTOROID].contains(&wanted.typid);
        let levels = if vector {
            1
        } else if may_be_shown_as_array(element) {
            wanted.dimensions.max(1) as usize
        } else {
            usize::MAX
        };
        let member = ResultDetail {
            typid: element,
            dimensions: 0,
            ..wanted
        };
        Self {
            name: wanted.name.to_owned(),
            typid: element,
            element: members.of(member, memory),
            levels,
            vector,
        }
    }
}

/// Whether `to_jsonb` may show a value of the type as a JSON array, so that an array of them
/// looks like one of more dimensions.
fn may_be_shown_as_array(typid: pg_sys::Oid) -> bool {
    let base = types::base(typid);
    let json = [pg_sys::JSONOID, pg_sys::JSONBOID].contains(&base);
    json || types::element(base).is_some() || has_cast_to_json(base) && !is_hstore(base)
}
