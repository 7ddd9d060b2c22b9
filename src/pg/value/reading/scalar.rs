//! Types that JSON does not fill member by member: numbers, texts, and all that has a notation
//! of its own.
use crate::error::refuse_json_unguarded;
use crate::pg::memory::Memory;
use crate::pg::value::cast::cast_unguarded;
use crate::pg::value::hstore;
use crate::pg::value::jsonb::{Container, Value};
use crate::pg::{ffi, lookup_function};
use pgrx::pg_sys;
use std::ffi::{CStr, c_char};

/// Reads values of a type, of an array or composite those that are written in its notation.
pub struct Scalar {
    typid: pg_sys::Oid,
    /// The type that a domain is over, else the type itself.
    base: pg_sys::Oid,
    typmod: i32,
    input: *mut pg_sys::FmgrInfo,
    input_param: pg_sys::Oid,
    output: *mut pg_sys::FmgrInfo,
    /// The assignment cast from numeric of its type (or a domain's base type), if that
    /// gives something else than the number's text would; or null.
    from_numeric: *mut pg_sys::FmgrInfo,
    /// Whether its type is shown in JSON by a cast of its own.
    cast_to_json: bool,
    /// If so, the cast from jsonb; or null.
    from_jsonb: *mut pg_sys::FmgrInfo,
    /// Whether it is an hstore.
    hstore: bool,
}

impl Scalar {
    /// The type of what is read.
    pub fn typid(&self) -> pg_sys::Oid {
        self.typid
    }

    /// For values of this type with this modifier; functions are set up in `memory`.
    pub fn of(typid: pg_sys::Oid, typmod: i32, memory: &Memory) -> Self {
        let (mut function, mut input_param) = (pg_sys::InvalidOid, pg_sys::InvalidOid);
        // SAFETY: look-ups for an existing type; the functions live as long as `memory`.
        let (base, input, output) = unsafe {
            let base = pg_sys::getBaseType(typid);
            pg_sys::getTypeInputInfo(typid, &raw mut function, &raw mut input_param);
            let input = lookup_function(memory.context(), function);
            let mut is_varlena = false;
            pg_sys::getTypeOutputInfo(typid, &raw mut function, &raw mut is_varlena);
            (base, input, lookup_function(memory.context(), function))
        };
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
                std::ptr::null_mut()
            },
            hstore: cast_to_json && hstore::is_hstore(base),
        }
    }

    /// The type's output function.
    pub fn output(&self) -> *mut pg_sys::FmgrInfo {
        self.output
    }

    /// The value, in the current context: what the type's input function makes of its
    /// text with the type modifier, exactly as of a literal in an INSERT. JSON null is NULL,
    /// which a domain may refuse.
    ///
    /// # Safety
    /// Runs inside `ffi::guard`, and `value` outlives the result.
    pub unsafe fn read(&self, value: Value<'_>) -> Option<pg_sys::Datum> {
        // SAFETY: the type's own functions; the shortcuts give what the way
        // over the text would.
        unsafe {
            let text = match (self.typid, value) {
                (_, Value::Null) => std::ptr::null_mut(),
                (pg_sys::NUMERICOID, Value::Number(number)) if self.typmod < 0 => {
                    return Some(number);
                }
                (pg_sys::NUMERICOID, Value::Number(number)) => {
                    return Some(ffi::unguarded::DirectFunctionCall2Coll(
                        Some(ffi::functions::numeric),
                        pg_sys::InvalidOid,
                        number,
                        pg_sys::Datum::from(self.typmod),
                    ));
                }
                (pg_sys::BOOLOID, Value::Boolean(boolean)) => {
                    return Some(pg_sys::Datum::from(boolean));
                }
                (pg_sys::TEXTOID, Value::String(string)) => {
                    return Some(pg_sys::Datum::from(
                        ffi::unguarded::cstring_to_text_with_len(
                            string.as_ptr().cast(),
                            string.len() as i32,
                        ),
                    ));
                }
                (pg_sys::UUIDOID, Value::String(string)) => match canonical_uuid(string) {
                    Some(uuid) => return Some(uuid),
                    None => value.to_input_text(),
                },
                (pg_sys::JSONBOID, value) => return Some(value.to_jsonb()),
                // Also below a domain: a string keeps its quotes.
                (_, value) if [pg_sys::JSONOID, pg_sys::JSONBOID].contains(&self.base) => {
                    value.to_json_text()
                }
                (_, Value::Number(number)) => self.number_text(number),
                (_, Value::Container(container, _)) if self.cast_to_json => {
                    self.container_text(container, value)
                }
                (_, value) => value.to_input_text(),
            };
            let value = self.read_text(text);
            (!text.is_null()).then_some(value)
        }
    }

    /// What the type's input function makes of a text, or of null.
    ///
    /// # Safety
    /// Runs inside `ffi::guard`; a text in the server's encoding, or null.
    pub unsafe fn read_text(&self, text: *mut c_char) -> pg_sys::Datum {
        // SAFETY: the type's own function.
        unsafe {
            ffi::unguarded::InputFunctionCall(self.input, text, self.input_param, self.typmod)
        }
    }

    /// The text that the type's input function is to read for a JSON number: what an
    /// INSERT would make of it as a literal. Where a number has a decimal point, the
    /// literal is a numeric, and goes through the type's assignment cast: 1.0 is an
    /// integer, 1.5 is rounded to one, and money has a point whatever the locale.
    ///
    /// # Safety
    /// Runs inside `ffi::guard`; a numeric.
    unsafe fn number_text(&self, number: pg_sys::Datum) -> *mut c_char {
        // SAFETY: the type's own functions, and core's for numeric.
        unsafe {
            let text = Value::Number(number).to_input_text();
            let digits = CStr::from_ptr(text).to_bytes();
            let Some(point) = digits.iter().position(|c| *c == b'.') else {
                return text;
            };
            if !self.from_numeric.is_null() {
                let none = pg_sys::InvalidOid;
                let value = ffi::unguarded::FunctionCall1Coll(self.from_numeric, none, number);
                return ffi::unguarded::OutputFunctionCall(self.output, value);
            }
            // There is no cast to oid, but whole numbers are one.
            if self.base == pg_sys::OIDOID && digits[point + 1..].iter().all(|c| *c == b'0') {
                *text.add(point) = 0;
            }
            text
        }
    }

    /// The text that the type's input function is to read for a JSON object or array, where
    /// `to_jsonb` shows the type's values by a cast: what the cast back makes of it. For
    /// hstore, which has none, its own notation. Else the JSON, which the type may read. Null,
    /// if the cast gives NULL.
    ///
    /// # Safety
    /// Runs inside `ffi::guard`.
    unsafe fn container_text(&self, container: Container<'_>, value: Value<'_>) -> *mut c_char {
        // SAFETY: the type's own functions, which exist where they are not null.
        unsafe {
            if !self.from_jsonb.is_null() {
                let text = |value| ffi::unguarded::OutputFunctionCall(self.output, value);
                return cast_unguarded(self.from_jsonb, value.to_jsonb())
                    .map_or(std::ptr::null_mut(), text);
            }
            if !self.hstore {
                return value.to_input_text();
            }
            let text = hstore::text_of(container);
            if text.is_null() {
                let json = CStr::from_ptr(value.to_input_text());
                refuse_json_unguarded(c"hstore", json);
            }
            text
        }
    }
}

/// A uuid in the form in which core writes it, without the detour over a C
/// string (and, before 17, sixteen calls of strtoul); None for any other form.
///
/// # Safety
/// Runs inside `ffi::guard`.
unsafe fn canonical_uuid(text: &[u8]) -> Option<pg_sys::Datum> {
    const CANONICAL: usize = 36;
    if text.len() != CANONICAL {
        return None;
    }
    let uuid = uuid::Uuid::try_parse_ascii(text).ok()?;
    // SAFETY: core allocates as many bytes as are written.
    unsafe {
        let bytes = uuid.as_bytes();
        let value = ffi::unguarded::palloc(bytes.len()).cast::<u8>();
        value.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        Some(pg_sys::Datum::from(value))
    }
}

/// The function of the assignment cast from numeric to a type that is built in, or null
/// where there is none, or the number's text serves: for numeric, floats and text. A type of
/// the user's might make something else of the literal 1.0 than of 1, and JSON does not tell
/// these two apart: it always has the text.
fn cast_from_numeric(base: pg_sys::Oid, memory: &Memory) -> *mut pg_sys::FmgrInfo {
    let by_text = [pg_sys::NUMERICOID, pg_sys::FLOAT4OID, pg_sys::FLOAT8OID].contains(&base);
    if by_text || base.to_u32() >= pg_sys::FirstNormalObjectId {
        return std::ptr::null_mut();
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
    let mut function = pg_sys::InvalidOid;
    // SAFETY: look-ups for existing types and an existing function.
    unsafe {
        let path = pg_sys::find_coercion_pathway(base, from, context, &raw mut function);
        let one_argument = || pg_sys::get_func_nargs(function) == 1;
        if path == pg_sys::CoercionPathType::COERCION_PATH_FUNC && one_argument() {
            lookup_function(memory.context(), function)
        } else {
            std::ptr::null_mut()
        }
    }
}

/// Whether `to_jsonb` would use a cast of the type's own, which it does for
/// types that are not built in.
pub fn has_cast_to_json(base: pg_sys::Oid) -> bool {
    if base.to_u32() < pg_sys::FirstNormalObjectId {
        return false;
    }
    let mut function = pg_sys::InvalidOid;
    // SAFETY: a look-up for existing types.
    let path = unsafe {
        pg_sys::find_coercion_pathway(
            pg_sys::JSONOID,
            base,
            pg_sys::CoercionContext::COERCION_EXPLICIT,
            &raw mut function,
        )
    };
    path == pg_sys::CoercionPathType::COERCION_PATH_FUNC
}
