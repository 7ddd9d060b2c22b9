//! Types that JSON does not fill member by member: numbers, texts, and all that has a notation
//! of its own.
use crate::pg::catalog::types;
use crate::pg::ffi::plain;
use crate::pg::function::function_in;
use crate::pg::memory::Memory;
use crate::pg::value::hstore;
use pgrx::pg_sys;
use std::ptr;

/// Reads values of a type, of an array or composite those that are written in its notation.
pub struct Scalar {
    pub(super) typid: pg_sys::Oid,
    /// The type that a domain is over, else the type itself.
    pub(super) base: pg_sys::Oid,
    pub(super) typmod: i32,
    pub(super) input: *mut pg_sys::FmgrInfo,
    pub(super) input_param: pg_sys::Oid,
    pub(super) output: *mut pg_sys::FmgrInfo,
    /// The assignment cast from numeric of its type (or a domain's base type), if that
    /// gives something else than the number's text would; or null.
    pub(super) from_numeric: *mut pg_sys::FmgrInfo,
    /// Whether its type is shown in JSON by a cast of its own.
    pub(super) cast_to_json: bool,
    /// If so, the cast from jsonb; or null.
    pub(super) from_jsonb: *mut pg_sys::FmgrInfo,
    /// Whether it is an hstore.
    pub(super) hstore: bool,
}

impl Scalar {
    /// The type of what is read.
    pub fn typid(&self) -> pg_sys::Oid {
        self.typid
    }

    /// For values of this type with this modifier; functions are set up in `memory`.
    pub fn of(typid: pg_sys::Oid, typmod: i32, memory: &Memory) -> Self {
        let base = types::base(typid);
        let (input, input_param) = types::input_function(typid);
        let input = function_in(memory, input);
        let output = function_in(memory, types::output_function(typid));
        let cast_to_json = has_cast_to_json(base);
        Self {
            typid,
            base,
            typmod,
            input,
            input_param,
            output,
            from_numeric: cast_from_numeric(base, memory),
            cast_to_json,
            from_jsonb: if cast_to_json {
                let context = pg_sys::CoercionContext::COERCION_EXPLICIT;
                cast_from(pg_sys::JSONBOID, base, context, memory)
            } else {
                ptr::null_mut()
            },
            hstore: cast_to_json && hstore::is_hstore(base),
        }
    }

    /// The type's output function.
    pub fn output(&self) -> *mut pg_sys::FmgrInfo {
        self.output
    }
}

/// The function of the assignment cast from numeric to a type that is built in, or null
/// where there is none, or the number's text serves: for numeric, floats and text. A type of
/// the user's might make something else of the literal 1.0 than of 1, and JSON does not tell
/// these two apart: it always has the text.
fn cast_from_numeric(base: pg_sys::Oid, memory: &Memory) -> *mut pg_sys::FmgrInfo {
    let by_text = [pg_sys::NUMERICOID, pg_sys::FLOAT4OID, pg_sys::FLOAT8OID].contains(&base);
    if by_text || base.to_u32() >= pg_sys::FirstNormalObjectId {
        return ptr::null_mut();
    }
    let context = pg_sys::CoercionContext::COERCION_ASSIGNMENT;
    cast_from(pg_sys::NUMERICOID, base, context, memory)
}

/// The function of the cast from one type to another, by that alone; or null.
fn cast_from(
    from: pg_sys::Oid,
    base: pg_sys::Oid,
    context: pg_sys::CoercionContext::Type,
    memory: &Memory,
) -> *mut pg_sys::FmgrInfo {
    plain::cast_function(from, base, context)
        .filter(|function| plain::get_func_nargs(*function) == 1)
        .map_or(ptr::null_mut(), |function| function_in(memory, function))
}

/// Whether `to_jsonb` would use a cast of the type's own, which it does for
/// types that are not built in.
pub fn has_cast_to_json(base: pg_sys::Oid) -> bool {
    if base.to_u32() < pg_sys::FirstNormalObjectId {
        return false;
    }
    let context = pg_sys::CoercionContext::COERCION_EXPLICIT;
    plain::cast_function(base, pg_sys::JSONOID, context).is_some()
}
