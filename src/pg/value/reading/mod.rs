//! From JSON to a value of any type: the one way for columns, members of arrays and
//! composites, and arguments of commands.
//!
//! An array or composite is filled member by member from a JSON array or object, as
//! `jsonb_populate_record` does; every member is read as a column of its type is. Core's own
//! function reads the text of a number, where a literal would be a number, and has no way back
//! for types that `to_jsonb` shows by a cast, nor for arrays of what is shown as an array.
#[forbid(unsafe_code)]
mod array;
#[forbid(unsafe_code)]
mod composite;
#[forbid(unsafe_code)]
mod scalar;
mod values;

pub use scalar::{Scalar, has_cast_to_json};
pub use values::read_members;

use crate::pg::backend::check_stack_depth;
use crate::pg::catalog::types;
use crate::pg::memory::Memory;
use array::Array;
use composite::Composite;
use pgrx::pg_sys;
use std::cell::Cell;
use std::collections::HashMap;
use std::ffi::{CStr, CString, c_void};
use std::ptr;
use std::rc::Rc;

/// Reads values of a type.
pub struct Reader {
    /// What is no array or composite in JSON: strings in the type's notation, and NULL.
    scalar: Scalar,
    members: Members,
    /// The type, if it is a domain, whose CHECKs see what was put together.
    domain: Option<Domain>,
}

enum Members {
    None,
    Array(Box<Array>),
    Composite(Composite),
}

struct Domain {
    typid: pg_sys::Oid,
    /// What core keeps between two checks, in `memory`.
    extra: Cell<*mut c_void>,
    memory: pg_sys::MemoryContext,
}

/// What is to be read.
#[derive(Clone, Copy)]
pub struct ResultDetail<'n> {
    /// What people call it, in the server's encoding.
    pub name: &'n CStr,
    pub typid: pg_sys::Oid,
    /// The type modifier, or -1.
    pub typmod: i32,
    /// How many dimensions it is declared with, if it is an array; or 0.
    pub dimensions: i64,
}

/// The readers of members that were made for one type so far: each of them once, however many
/// composites have such a field. Where two fields are of a type with two fields of a type, and
/// so on, one reader for each place would be more than the memory holds.
#[derive(Default)]
struct MemberReaders(HashMap<(CString, pg_sys::Oid, i32, i64), Rc<Reader>>);

impl MemberReaders {
    fn of(&mut self, wanted: ResultDetail<'_>, memory: &Memory) -> Rc<Reader> {
        let name = wanted.name.to_owned();
        let key = (name, wanted.typid, wanted.typmod, wanted.dimensions);
        if let Some(made) = self.0.get(&key) {
            return Rc::clone(made);
        }
        let made = Rc::new(Reader::with(wanted, memory, self));
        self.0.insert(key, Rc::clone(&made));
        made
    }
}

impl Reader {
    /// For values of this type, with functions and descriptors in `memory`.
    ///
    /// # Errors
    /// 54001 for a type that is nested too deeply; 57014.
    pub fn of(wanted: ResultDetail<'_>, memory: &Memory) -> Self {
        Self::with(wanted, memory, &mut MemberReaders::default())
    }

    fn with(wanted: ResultDetail<'_>, memory: &Memory, members: &mut MemberReaders) -> Self {
        // A type is nested as deeply as its owner likes, and has as many members.
        pgrx::check_for_interrupts!();
        check_stack_depth();
        let scalar = Scalar::of(wanted.typid, wanted.typmod, memory);
        let (base, typmod) = types::base_and_modifier(wanted.typid, wanted.typmod);
        let wanted_base = ResultDetail {
            typid: base,
            typmod,
            dimensions: types::declared_dimensions(wanted.typid, wanted.dimensions),
            ..wanted
        };
        let members = if let Some(element) = types::element(base) {
            Members::Array(Box::new(Array::of(wanted_base, element, memory, members)))
        } else if types::kind(base) == pg_sys::TYPTYPE_COMPOSITE {
            Members::Composite(Composite::of(base, memory, members))
        } else {
            Members::None
        };
        let nested = !matches!(members, Members::None);
        let domain = (base != wanted.typid && nested).then(|| Domain {
            typid: wanted.typid,
            extra: Cell::new(ptr::null_mut()),
            memory: memory.context(),
        });
        Self {
            scalar,
            members,
            domain,
        }
    }
}
