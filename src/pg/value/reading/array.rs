//! Arrays, from JSON arrays.
//!
//! Arrays within an array are further dimensions. Where a member may itself be shown as a JSON
//! array (a json, a domain over an array, what has a cast to json), two readings are possible:
//! there the number of dimensions is the one that was declared.
use super::{MemberReaders, Reader, ResultDetail, Scalar, has_cast_to_json};
use crate::error::{Line, SqlState, refuse_unguarded};
use crate::pg::catalog::types;
use crate::pg::ffi;
use crate::pg::memory::Memory;
use crate::pg::value::hstore::is_hstore;
use crate::pg::value::jsonb::{Container, Kind, Value};
use pgrx::pg_sys;
use std::ffi::{CString, c_int};
use std::fmt::Write;
use std::rc::Rc;

const MAX_DIMENSIONS: usize = pg_sys::MAXDIM as usize;

/// Reads arrays of a type.
pub struct Array {
    name: CString,
    typid: pg_sys::Oid,
    element: Rc<Reader>,
    /// How many levels of JSON arrays are dimensions, at most.
    levels: usize,
    /// Whether it is an int2vector or oidvector: one dimension, from 0, without NULL.
    vector: bool,
}

/// An array that is being filled.
struct Filling {
    state: *mut pg_sys::ArrayBuildState,
    dimensions: c_int,
    lengths: [c_int; MAX_DIMENSIONS],
    /// Where we are.
    place: [usize; MAX_DIMENSIONS],
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

    /// The value, of a JSON value that is neither null nor a string. `whole` reads what is in
    /// the type's own notation.
    ///
    /// # Errors
    /// 22P02 for what is no array, or whose arrays are of different lengths; 54000 for too
    /// many dimensions; as [`Reader::read`].
    ///
    /// # Safety
    /// As [`Reader::read`].
    pub unsafe fn read(&self, whole: &Scalar, value: Value<'_>) -> pg_sys::Datum {
        // SAFETY: the caller's promise; as many lengths and bounds as dimensions.
        unsafe {
            let Some(array) = as_array(value) else {
                self.refuse_no_array(&[])
            };
            if self.vector && array.len() == 0 {
                return whole.read_text(c"".as_ptr().cast_mut());
            }
            if self.vector && array.members().any(|member| matches!(member, Value::Null)) {
                // As the text of no vector, which its input function refuses.
                return whole.read_text(value.to_input_text());
            }
            let memory = pg_sys::CurrentMemoryContext;
            let (dimensions, lengths) = self.dimensions(array);
            let mut filling = Filling {
                state: ffi::unguarded::initArrayResult(self.typid, memory, false),
                dimensions: dimensions as c_int,
                lengths,
                place: [0; MAX_DIMENSIONS],
            };
            self.fill(array, 0, &mut filling);
            let mut bounds = [c_int::from(!self.vector); MAX_DIMENSIONS];
            ffi::unguarded::makeMdArrayResult(
                filling.state,
                filling.dimensions,
                filling.lengths.as_mut_ptr(),
                bounds.as_mut_ptr(),
                memory,
                false,
            )
        }
    }

    /// The number of dimensions, and their lengths: those of what comes first on each level.
    ///
    /// # Safety
    /// As [`Reader::read`].
    unsafe fn dimensions(&self, array: Container<'_>) -> (usize, [c_int; MAX_DIMENSIONS]) {
        let mut lengths = [0; MAX_DIMENSIONS];
        let (mut level, mut array) = (0, array);
        loop {
            if level == MAX_DIMENSIONS {
                // SAFETY: by the caller's promise there is a guard around, which the ERROR jumps to; the
                // texts live until it is raised, and are copied.
                unsafe { refuse_dimensions() }
            }
            lengths[level] = array.len() as c_int;
            level += 1;
            match array.members().next().and_then(as_array) {
                Some(first) if level < self.levels => array = first,
                _ => return (level, lengths),
            }
        }
    }

    /// Adds the members of an array on this level, from 0.
    ///
    /// # Safety
    /// As [`Reader::read`].
    unsafe fn fill(&self, array: Container<'_>, level: usize, filling: &mut Filling) {
        // SAFETY: the caller's promise; a level is one of the dimensions.
        unsafe {
            if array.len() as c_int != filling.lengths[level] {
                let detail =
                    c"Multidimensional arrays must have sub-arrays with matching dimensions.";
                let state = SqlState::InvalidTextRepresentation;
                refuse_unguarded(state, c"malformed JSON array", Some(detail), None)
            }
            let innermost = level + 1 == filling.dimensions as usize;
            for (i, member) in array.members().enumerate() {
                ffi::check_for_interrupts_unguarded();
                filling.place[level] = i;
                if !innermost {
                    let Some(within) = as_array(member) else {
                        self.refuse_no_array(&filling.place[..=level])
                    };
                    self.fill(within, level + 1, filling);
                    continue;
                }
                let value = self.element.read(member);
                ffi::unguarded::accumArrayResult(
                    filling.state,
                    value.unwrap_or(pg_sys::Datum::null()),
                    value.is_none(),
                    self.typid,
                    pg_sys::CurrentMemoryContext,
                );
            }
        }
    }

    /// 22P02, in core's words.
    ///
    /// # Safety
    /// Runs inside `ffi::guard`, out of which it jumps.
    unsafe fn refuse_no_array(&self, place: &[usize]) -> ! {
        let mut hint = Line::new();
        hint.push(if place.is_empty() {
            b"See the value of key \""
        } else {
            b"See the array element "
        });
        for i in place {
            // A line is cut off where it ends, and never refuses.
            let _ = write!(hint, "[{i}]");
        }
        if !place.is_empty() {
            hint.push(b" of key \"");
        }
        hint.push(self.name.as_bytes());
        hint.push(b"\".");
        let state = SqlState::InvalidTextRepresentation;
        // SAFETY: by the caller's promise there is a guard around, which the ERROR jumps to; the
        // texts live until it is raised, and are copied.
        unsafe { refuse_unguarded(state, c"expected JSON array", None, Some(hint.as_c_str())) }
    }
}

/// 54000, in core's words.
///
/// # Safety
/// Runs inside `ffi::guard`, out of which it jumps.
unsafe fn refuse_dimensions() -> ! {
    let mut message = Line::new();
    let _ = write!(
        message,
        "number of array dimensions exceeds the maximum allowed ({MAX_DIMENSIONS})"
    );
    let state = SqlState::ProgramLimitExceeded;
    // SAFETY: by the caller's promise there is a guard around, which the ERROR jumps to; the
    // texts live until it is raised, and are copied.
    unsafe { refuse_unguarded(state, message.as_c_str(), None, None) }
}

fn as_array(value: Value<'_>) -> Option<Container<'_>> {
    match value {
        Value::Container(array, _) if array.kind() == Kind::Array => Some(array),
        _ => None,
    }
}

/// Whether `to_jsonb` may show a value of the type as a JSON array, so that an array of them
/// looks like one of more dimensions.
fn may_be_shown_as_array(typid: pg_sys::Oid) -> bool {
    let base = types::base(typid);
    let json = [pg_sys::JSONOID, pg_sys::JSONBOID].contains(&base);
    json || types::element(base).is_some() || has_cast_to_json(base) && !is_hstore(base)
}
