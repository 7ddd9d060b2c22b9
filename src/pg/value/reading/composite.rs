//! Composites, from JSON objects.
use super::{MemberReaders, Reader, ResultDetail};
use crate::pg::catalog::row_type;
use crate::pg::memory::Memory;
use crate::pg::rows::RowDesc;
use crate::pg::value::text;
use pgrx::pg_sys;
use std::ffi::CString;
use std::rc::Rc;

/// Reads composites of a type.
pub struct Composite {
    pub(super) desc: RowDesc,
    /// In jsonb's order of names.
    pub(super) fields: Vec<Field>,
}

pub(super) struct Field {
    pub(super) name: CString,
    /// From 0.
    pub(super) place: usize,
    pub(super) reader: Rc<Reader>,
}

/// jsonb's order of names.
pub(super) fn order(name: &[u8]) -> (usize, &[u8]) {
    (name.len(), name)
}

impl Composite {
    /// For a composite type, with the functions of its members in `memory`.
    pub fn of(typid: pg_sys::Oid, memory: &Memory, members: &mut MemberReaders) -> Self {
        let desc = RowDesc::of_composite(typid);
        let mut fields: Vec<Field> = row_type::attributes_of(&desc)
            .iter()
            .map(|attribute| {
                let name = text::to_server(&attribute.name);
                let wanted = ResultDetail {
                    name: &name,
                    typid: attribute.typid,
                    typmod: attribute.typmod,
                    dimensions: attribute.dimensions,
                };
                Field {
                    place: attribute.place,
                    reader: members.of(wanted, memory),
                    name,
                }
            })
            .collect();
        fields.sort_unstable_by(|a, b| order(a.name.to_bytes()).cmp(&order(b.name.to_bytes())));
        Self { desc, fields }
    }
}
