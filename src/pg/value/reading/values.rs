//! The values themselves, read inside one guard: what [`Reader`] does for each JSON value, by
//! what was looked up for its type before.
use super::array::{Array, MAX_DIMENSIONS};
use super::composite::{Composite, order};
use super::scalar::Scalar;
use super::{Domain, Members, Reader, ResultDetail};
use crate::error::{Line, SqlState, refuse_json_unguarded, refuse_unguarded};
use crate::pg::ffi;
use crate::pg::function::cast_unguarded;
use crate::pg::memory::Memory;
use crate::pg::value::hstore;
use crate::pg::value::iso_time;
use crate::pg::value::jsonb::{Container, Kind, Numeric, Value};
use crate::pg::value::sql_value::SqlValue;
use pgrx::pg_sys;
use std::ffi::{CStr, c_char, c_int};
use std::fmt::Write;
use std::ptr;

impl Reader {
    /// The value, in the current context; None for NULL, which is what JSON null is.
    ///
    /// # Errors
    /// What the types' input functions and casts, and CHECKs of domains raise; 22P02 and 22023
    /// for what is no array or object, in core's words.
    ///
    /// # Safety
    /// Runs inside `ffi::guard`, and `value` outlives the result.
    pub unsafe fn read(&self, value: Value<'_>) -> Option<pg_sys::Datum> {
        // SAFETY: the caller's promise.
        unsafe {
            let value = match (&self.members, value) {
                (Members::None, _) | (_, Value::Null | Value::String(_)) => {
                    return self.scalar.read(value);
                }
                (Members::Array(array), value) => array.read(&self.scalar, value),
                (Members::Composite(composite), value) => composite.read(value),
            };
            if let Some(domain) = &self.domain {
                domain.check_unguarded(value);
            }
            Some(value)
        }
    }

    /// The value, in the current context, with its type.
    ///
    /// # Errors
    /// As [`Reader::read`].
    pub fn read_value<'v>(&self, value: Value<'v>) -> SqlValue<'v> {
        // SAFETY: the guard holds nothing, and the reader owns nothing that it is left with by an
        // error; a value of its type, which what it was read from outlives.
        unsafe { SqlValue::of_datum(self.scalar.typid(), ffi::guard(|| self.read(value))) }
    }
}

/// The members of a JSON array, each as a value of the type at its place, in `memory` or in the
/// array.
///
/// # Errors
/// As [`Reader::of`] and [`Reader::read`].
///
/// # Panics
/// If there are not as many.
pub fn read_members<'m>(
    wanted: &[ResultDetail<'_>],
    array: Container<'m>,
    memory: &'m Memory,
) -> Vec<SqlValue<'m>> {
    assert_eq!(wanted.len(), array.len(), "as many members as types");
    let readers: Vec<Reader> = wanted.iter().map(|one| Reader::of(*one, memory)).collect();
    let mut values = vec![None; readers.len()];
    let places = values.iter_mut().zip(&readers);
    // SAFETY: the guard holds nothing, and the array outlives the values.
    memory.scope(|| unsafe {
        ffi::guard(|| {
            for ((value, reader), member) in places.zip(array.members()) {
                *value = reader.read(member);
            }
        });
    });
    let typed = |(wanted, value): (&ResultDetail<'_>, Option<pg_sys::Datum>)| {
        // SAFETY: read as a value of this type, in memory that outlives it.
        unsafe { SqlValue::of_datum(wanted.typid, value) }
    };
    wanted.iter().zip(values).map(typed).collect()
}

impl Domain {
    /// # Safety
    /// A value of the type that the domain is over. Runs inside `ffi::guard`.
    unsafe fn check_unguarded(&self, value: pg_sys::Datum) {
        // SAFETY: a value of the domain's base type by the caller's promise; what core keeps is for this domain, in memory that lives
        // as long.
        unsafe {
            let extra = self.extra.as_ptr();
            ffi::unguarded::domain_check(value, false, self.typid, extra, self.memory);
        }
    }
}

impl Scalar {
    /// The value, in the current context: what the type's input function makes of its
    /// text with the type modifier, exactly as of a literal in an INSERT. JSON null is NULL,
    /// which a domain may refuse.
    ///
    /// # Safety
    /// Runs inside `ffi::guard`, and `value` outlives the result.
    pub unsafe fn read(&self, value: Value<'_>) -> Option<pg_sys::Datum> {
        // SAFETY: the caller's promise; the type's own functions.
        unsafe {
            if let Some(value) = self.read_without_text(value) {
                return Some(value);
            }
            let text = match value {
                Value::Null => ptr::null_mut(),
                // Also below a domain: a string keeps its quotes.
                value if [pg_sys::JSONOID, pg_sys::JSONBOID].contains(&self.base) => {
                    value.to_json_text()
                }
                Value::Number(number) => self.number_text(number),
                Value::Container(container, _) if self.cast_to_json => {
                    self.container_text(container, value)
                }
                value => value.to_input_text(),
            };
            let value = self.read_text(text);
            (!text.is_null()).then_some(value)
        }
    }

    /// The value, where there is a shorter way to what the input function makes of the text; None
    /// where there is none, and for what that function may refuse.
    ///
    /// # Safety
    /// As [`Scalar::read`].
    #[inline]
    unsafe fn read_without_text(&self, value: Value<'_>) -> Option<pg_sys::Datum> {
        // SAFETY: the caller's promise; core's own functions, for the types that they are of.
        unsafe {
            match (self.typid, value) {
                (_, Value::Null) => None,
                (pg_sys::NUMERICOID, Value::Number(number)) if self.typmod < 0 => {
                    Some(number.datum())
                }
                (pg_sys::NUMERICOID, Value::Number(number)) => {
                    Some(ffi::unguarded::DirectFunctionCall2Coll(
                        Some(ffi::functions::numeric),
                        pg_sys::InvalidOid,
                        number.datum(),
                        pg_sys::Datum::from(self.typmod),
                    ))
                }
                (pg_sys::INT2OID | pg_sys::INT4OID | pg_sys::INT8OID, Value::Number(number)) => {
                    small_integer(self.typid, number)
                }
                (pg_sys::BOOLOID, Value::Boolean(boolean)) => Some(pg_sys::Datum::from(boolean)),
                (pg_sys::TEXTOID, Value::String(string)) => Some(text_of(string)),
                (pg_sys::VARCHAROID, Value::String(string)) if self.fits(string) => {
                    Some(text_of(string))
                }
                (pg_sys::UUIDOID, Value::String(string)) => canonical_uuid(string),
                (
                    pg_sys::DATEOID | pg_sys::TIMESTAMPOID | pg_sys::TIMESTAMPTZOID,
                    Value::String(string),
                ) if self.typmod < 0 => iso_time(self.typid, string),
                (pg_sys::JSONBOID, value) => Some(value.to_jsonb()),
                _ => None,
            }
        }
    }

    /// Whether a varchar's length is no limit for a text: it has no more bytes than characters
    /// are allowed.
    fn fits(&self, string: &[u8]) -> bool {
        self.typmod < 0 || string.len() + pg_sys::VARHDRSZ <= self.typmod as usize
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
    /// Runs inside `ffi::guard`.
    unsafe fn number_text(&self, number: Numeric<'_>) -> *mut c_char {
        // SAFETY: the type's own functions, and core's for numeric.
        unsafe {
            let text = Value::Number(number).to_input_text();
            let digits = CStr::from_ptr(text).to_bytes();
            let Some(point) = digits.iter().position(|c| *c == b'.') else {
                return text;
            };
            if !self.from_numeric.is_null() {
                let none = pg_sys::InvalidOid;
                let number = number.datum();
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
                    .map_or(ptr::null_mut(), text);
            }
            if !self.hstore {
                return value.to_input_text();
            }
            let text = hstore_text(container);
            if text.is_null() {
                let json = CStr::from_ptr(value.to_input_text());
                refuse_json_unguarded(c"hstore", json);
            }
            text
        }
    }
}

/// The text that hstore's input function reads, in the current context; null for what is no
/// object, or holds objects or arrays, which an hstore cannot.
///
/// # Safety
/// Runs inside `ffi::guard`.
unsafe fn hstore_text(object: Container<'_>) -> *mut c_char {
    let nested = |value| matches!(value, Value::Container(..));
    if object.kind() != Kind::Object || object.values().any(nested) {
        return ptr::null_mut();
    }
    let text_of = |value: Value<'_>| match value {
        Value::Null => None,
        // SAFETY: there is a guard around by the caller's promise; a value that is not null has a
        // text, which is in the current context as long as it is read.
        value => Some(unsafe { CStr::from_ptr(value.to_input_text()).to_bytes() }),
    };
    let fields = || object.names().zip(object.values().map(text_of));
    let mut length = 1;
    hstore::write_text(fields(), |_| length += 1);
    // SAFETY: the second pass writes the bytes that the first has counted, and a NUL.
    unsafe {
        let begin = ffi::unguarded::palloc(length).cast::<c_char>();
        let mut end = begin;
        hstore::write_text(fields(), |byte| {
            end.write(byte as c_char);
            end = end.add(1);
        });
        end.write(0);
        begin
    }
}

/// A text.
///
/// # Safety
/// In the server's encoding. Runs inside `ffi::guard`.
unsafe fn text_of(string: &[u8]) -> pg_sys::Datum {
    let (begin, length) = (string.as_ptr().cast(), string.len() as c_int);
    // SAFETY: as many bytes as are there; the caller's promise.
    pg_sys::Datum::from(unsafe { ffi::unguarded::cstring_to_text_with_len(begin, length) })
}

/// A number as an integer of one of the three types, rounded as the cast from numeric rounds; None
/// if it is none of 32 bits, or of the type.
///
/// # Safety
/// Runs inside `ffi::guard`.
unsafe fn small_integer(typid: pg_sys::Oid, number: Numeric<'_>) -> Option<pg_sys::Datum> {
    let mut overflow = false;
    // SAFETY: a numeric of a document; with a place for it there is no error.
    let integer = unsafe {
        let number = number.datum().cast_mut_ptr();
        ffi::unguarded::numeric_int4_opt_error(number, &raw mut overflow)
    };
    match typid {
        _ if overflow => None,
        pg_sys::INT2OID => i16::try_from(integer).ok().map(pg_sys::Datum::from),
        pg_sys::INT4OID => Some(pg_sys::Datum::from(integer)),
        _ => Some(pg_sys::Datum::from(i64::from(integer))),
    }
}

/// A date, timestamp or timestamptz in the form in which core writes it to JSON; None for any other
/// form, and where the form is that of another of these types.
///
/// # Safety
/// Runs inside `ffi::guard`.
unsafe fn iso_time(typid: pg_sys::Oid, text: &[u8]) -> Option<pg_sys::Datum> {
    // SAFETY: core's functions of numbers, with places for what they fill.
    unsafe {
        if typid == pg_sys::DATEOID {
            let date = iso_time::date(text)?;
            let day = ffi::unguarded::date2j(date.year, date.month, date.day);
            return Some(pg_sys::Datum::from(
                day - pg_sys::POSTGRES_EPOCH_JDATE as c_int,
            ));
        }
        let at = iso_time::timestamp(text)?;
        let mut behind_utc = match (typid, at.offset) {
            (pg_sys::TIMESTAMPTZOID, Some(offset)) => Some(-offset),
            (pg_sys::TIMESTAMPOID, None) => None,
            _ => return None,
        };
        let mut time = pg_sys::pg_tm {
            tm_sec: at.second,
            tm_min: at.minute,
            tm_hour: at.hour,
            tm_mday: at.date.day,
            tm_mon: at.date.month,
            tm_year: at.date.year,
            ..Default::default()
        };
        let mut result = 0;
        let behind_utc = behind_utc.as_mut().map_or(ptr::null_mut(), ptr::from_mut);
        let failed = ffi::unguarded::tm2timestamp(
            &raw mut time,
            at.microsecond,
            behind_utc,
            &raw mut result,
        );
        (failed == 0).then(|| pg_sys::Datum::from(result))
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

impl Composite {
    /// The value, of a JSON value that is neither null nor a string. Fields that the object
    /// lacks are NULL; it may have others.
    ///
    /// # Errors
    /// 22023 for what is no object; as [`Reader::read`].
    ///
    /// # Safety
    /// As [`Reader::read`].
    pub unsafe fn read(&self, value: Value<'_>) -> pg_sys::Datum {
        // SAFETY: the caller's promise; as many values as the descriptor has columns.
        unsafe {
            let object = match value {
                Value::Container(object, _) if object.kind() == Kind::Object => object,
                Value::Container(..) => refuse(c"cannot call populate_composite on an array"),
                _ => refuse(c"cannot call populate_composite on a scalar"),
            };
            let count = self.desc.types().len();
            let values: *mut pg_sys::Datum =
                ffi::unguarded::palloc0(count * size_of::<pg_sys::Datum>()).cast();
            let nulls: *mut bool = ffi::unguarded::palloc0(count).cast();
            nulls.write_bytes(1, count);
            let mut given = object.names().zip(object.values()).peekable();
            for field in &self.fields {
                let name = order(field.name.to_bytes());
                while given.next_if(|(given, _)| order(given) < name).is_some() {}
                let found = given.next_if(|(given, _)| order(given) == name);
                // A domain may refuse NULL.
                let value = found.map_or(Value::Null, |(_, value)| value);
                if let Some(value) = field.reader.read(value) {
                    values.add(field.place).write(value);
                    nulls.add(field.place).write(false);
                }
            }
            let tuple = ffi::unguarded::heap_form_tuple(self.desc.raw(), values, nulls);
            ffi::unguarded::HeapTupleHeaderGetDatum((*tuple).t_data)
        }
    }
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

/// 22023, in core's words.
///
/// # Safety
/// Runs inside `ffi::guard`, out of which it jumps.
unsafe fn refuse(message: &CStr) -> ! {
    // SAFETY: by the caller's promise there is a guard around, which the ERROR jumps to; the
    // texts live until it is raised, and are copied.
    unsafe { refuse_unguarded(SqlState::InvalidParameterValue, message, None, None) }
}
