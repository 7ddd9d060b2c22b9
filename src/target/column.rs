//! One column of a target, with the functions of its type.
use super::OpenRelation;
use super::default::{Nature, nature_of};
use crate::error::refuse_json_unguarded;
use crate::pg::cast::cast_unguarded;
use crate::pg::ffi;
use crate::pg::function_in;
use crate::pg::hstore;
use crate::pg::json_text;
use crate::pg::jsonb::{Container, Kind, ObjectBuilder, Value, to_jsonb_of};
use crate::pg::memory::Memory;
use crate::pg::text;
use pgrx::pg_sys;
use std::ffi::{CStr, CString, c_char};

/// How two values of a column are compared.
#[derive(Clone, Copy, Debug)]
pub enum Equality {
    /// The type's default equality. The function lives in core's type cache.
    Function(*mut pg_sys::FmgrInfo),
    /// `json` has no equality; compared as jsonb.
    Json,
    /// A type without default equality: by its bytes.
    Image,
}

/// One column.
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its name in the server's encoding.
    pub c_name: CString,
    /// Its number in the table, from 1.
    pub attnum: pg_sys::AttrNumber,
    /// Its type.
    pub typid: pg_sys::Oid,
    /// The type that a domain is over, else the type itself.
    base: pg_sys::Oid,
    /// The type modifier, or -1.
    pub typmod: i32,
    /// Its collation, or `InvalidOid`.
    pub collation: pg_sys::Oid,
    /// Whether it is declared NOT NULL.
    pub not_null: bool,
    /// Whether an INSERT that does not name it fills it without fail and without
    /// effect: it is NULL and may be, or its default is a constant or the time;
    /// and its type is no domain.
    pub may_be_omitted: bool,
    /// Whether an INSERT may name it.
    pub may_be_named: bool,
    /// Whether it has a default (its own, its identity's, or its domain's).
    pub has_default: bool,
    /// Whether an INSERT that does not name it fills it with a value that is
    /// another every time: an identity, a sequence, anything volatile (the clock that
    /// goes on within a statement among it).
    pub machine_made: bool,
    /// The nature of a default that is the same throughout a statement, but not for
    /// ever: the time of the statement, or what the session is.
    pub stable_default: Option<Nature>,
    /// Whether its type (or a domain's base type) is an array or a composite,
    /// which JSON fills member by member.
    pub nested: bool,
    /// Whether and how it is computed from other columns: `s`tored, `v`irtual,
    /// or 0.
    pub generated: u8,
    /// How its values are compared.
    pub equality: Equality,
    /// Whether its type is shown in JSON by a cast of its own.
    cast_to_json: bool,
    /// If so, the cast from jsonb; or null.
    from_jsonb: *mut pg_sys::FmgrInfo,
    /// Likewise, or that of a member, at any depth.
    cast_to_json_within: bool,
    /// Whether it is an hstore.
    hstore: bool,
    by_value: bool,
    length: i16,
    input: *mut pg_sys::FmgrInfo,
    input_param: pg_sys::Oid,
    /// The assignment cast from numeric of its type (or a domain's base type), if that
    /// gives something else than the number's text would; or null.
    from_numeric: *mut pg_sys::FmgrInfo,
    output: *mut pg_sys::FmgrInfo,
    to_jsonb: *mut pg_sys::FmgrInfo,
}

impl Column {
    /// The columns of an open relation, without dropped ones.
    pub fn of_relation(relation: &OpenRelation, memory: &Memory) -> Vec<Self> {
        let desc = relation.desc();
        // SAFETY: an open relation's descriptor.
        let natts = unsafe { (*desc).natts };
        (0..natts)
            // SAFETY: within the descriptor; its entries live while it is open.
            .map(|i| unsafe { ffi::attribute(desc, i) })
            .filter(|attribute| !attribute.attisdropped)
            .map(|attribute| Self::of_attribute(relation, attribute, memory))
            .collect()
    }

    fn of_attribute(
        relation: &OpenRelation,
        attribute: &pg_sys::FormData_pg_attribute,
        memory: &Memory,
    ) -> Self {
        let desc = relation.desc();
        // SAFETY: the type of an existing column; functions are set up in
        // memory that lives as long as the column.
        unsafe {
            let base = pg_sys::getBaseType(attribute.atttypid);
            let nested = pg_sys::get_typtype(base) as u8 == pg_sys::TYPTYPE_COMPOSITE
                || pg_sys::get_element_type(base) != pg_sys::InvalidOid;
            let (mut function, mut param) = (pg_sys::InvalidOid, pg_sys::InvalidOid);
            pg_sys::getTypeInputInfo(attribute.atttypid, &raw mut function, &raw mut param);
            let input = function_in(memory.context(), function);
            let mut is_varlena = false;
            pg_sys::getTypeOutputInfo(attribute.atttypid, &raw mut function, &raw mut is_varlena);
            let output = function_in(memory.context(), function);
            let name = CStr::from_ptr(attribute.attname.data.as_ptr());
            let (has_default, machine_made, stable_default) = default_of(relation, attribute);
            let cast_to_json = has_cast_to_json(base);
            Self {
                name: text::from_server(name.as_ptr()),
                c_name: name.to_owned(),
                attnum: attribute.attnum,
                typid: attribute.atttypid,
                base,
                typmod: attribute.atttypmod,
                collation: attribute.attcollation,
                not_null: attribute.attnotnull,
                may_be_omitted: base == attribute.atttypid
                    && attribute.attidentity == 0
                    && if attribute.atthasdef {
                        has_plain_default(desc, attribute.attnum)
                    } else {
                        !attribute.attnotnull
                    },
                may_be_named: attribute.attidentity as u8 != pg_sys::ATTRIBUTE_IDENTITY_ALWAYS,
                has_default,
                machine_made,
                stable_default,
                nested,
                generated: attribute.attgenerated as u8,
                cast_to_json,
                cast_to_json_within: has_cast_to_json_within(base),
                from_jsonb: if cast_to_json {
                    let context = pg_sys::CoercionContext::COERCION_EXPLICIT;
                    cast_from(pg_sys::JSONBOID, base, context, memory)
                } else {
                    std::ptr::null_mut()
                },
                hstore: cast_to_json && hstore::is_hstore(base),
                equality: Equality::of_type(attribute.atttypid, base),
                by_value: attribute.attbyval,
                length: attribute.attlen,
                input,
                input_param: param,
                from_numeric: cast_from_numeric(base, memory),
                output,
                to_jsonb: to_jsonb_of(
                    memory.context(),
                    attribute.atttypid,
                    attribute.atttypmod,
                    attribute.attcollation,
                ),
            }
        }
    }

    /// The value that a JSON scalar (or, for a type that is not nested, any JSON
    /// value) has in this column, in the current context: what the type's input
    /// function makes of its text with the column's type modifier, exactly as of
    /// a literal in an INSERT. JSON null is NULL, which a domain may refuse.
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
                        ffi::functions::numeric,
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
                (pg_sys::JSONOID, value) => value.to_json_text(),
                (_, Value::Number(number)) => self.number_text(number),
                (_, Value::Container(container, _)) if self.cast_to_json => {
                    self.container_text(container, value)
                }
                (_, value) => value.to_input_text(),
            };
            let value =
                ffi::unguarded::InputFunctionCall(self.input, text, self.input_param, self.typmod);
            (!text.is_null()).then_some(value)
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

    /// The text of a JSON number that an integer column could only take rounded, in the
    /// current context.
    pub fn rounded<'v>(&self, value: Value<'v>) -> Option<&'v CStr> {
        if ![pg_sys::INT2OID, pg_sys::INT4OID, pg_sys::INT8OID].contains(&self.base) {
            return None;
        }
        let Value::Number(_) = value else { return None };
        // SAFETY: a number of a document; the guard holds nothing.
        let text = unsafe { CStr::from_ptr(ffi::guard(|| value.to_input_text())) };
        let mut parts = text.to_bytes().split(|c| *c == b'.');
        let fraction = parts.nth(1).unwrap_or_default();
        fraction.iter().any(|c| *c != b'0').then_some(text)
    }

    /// The value as the type's output function shows it, in the server's
    /// encoding and the current context.
    ///
    /// # Safety
    /// `value` is a non-null value of the column's type.
    pub unsafe fn show<'a>(&self, value: pg_sys::Datum) -> &'a CStr {
        // SAFETY: the type's own output function.
        unsafe { CStr::from_ptr(pg_sys::OutputFunctionCall(self.output, value)) }
    }

    /// Puts a value into an object as core's `to_jsonb` shows it; a json that it refuses, as
    /// its text.
    ///
    /// # Safety
    /// `value` is of the column's type, and lives until the object is finished.
    /// Runs inside `ffi::guard`.
    pub unsafe fn put_into(&self, object: &mut ObjectBuilder, value: Option<pg_sys::Datum>) {
        // SAFETY: each arm has the type that it treats; the shortcuts give what
        // to_jsonb would.
        unsafe {
            let Some(value) = value else {
                return object.value(Value::Null);
            };
            let integer = |value: i64| {
                let number = ffi::unguarded::int64_to_numeric(value);
                Value::Number(pg_sys::Datum::from(number))
            };
            match self.typid {
                pg_sys::INT2OID => object.value(integer((value.value() as i16).into())),
                pg_sys::INT4OID => object.value(integer((value.value() as i32).into())),
                pg_sys::INT8OID => object.value(integer(value.value() as i64)),
                pg_sys::BOOLOID => object.value(Value::Boolean(value.value() != 0)),
                pg_sys::TEXTOID | pg_sys::VARCHAROID | pg_sys::BPCHAROID => {
                    object.value(Value::String(bytes_of(value)));
                }
                pg_sys::UUIDOID => {
                    let text = ffi::unguarded::OutputFunctionCall(self.output, value);
                    object.value(Value::String(CStr::from_ptr(text).to_bytes()));
                }
                pg_sys::JSONBOID => {
                    let document = ffi::unguarded::pg_detoast_datum(value.cast_mut_ptr());
                    object.document(pg_sys::Datum::from(document));
                }
                _ => match self.refused_json(value) {
                    Some(text) => object.value(Value::String(text)),
                    None => object.document(self.to_jsonb(value)),
                },
            }
        }
    }

    /// Likewise, in a form that [`Column::read`] reads: a type that is shown as an
    /// object because it has a cast to json (hstore) is put as its text, and so is an array
    /// or composite with members of such a type.
    ///
    /// # Safety
    /// As [`Column::put_into`].
    pub unsafe fn put_readable(&self, object: &mut ObjectBuilder, value: Option<pg_sys::Datum>) {
        // SAFETY: the caller's promise.
        unsafe {
            match value {
                Some(value) if self.cast_to_json_within => {
                    let text = ffi::unguarded::OutputFunctionCall(self.output, value);
                    object.value(Value::String(CStr::from_ptr(text).to_bytes()));
                }
                // Its text would be read as a JSON string.
                Some(value) if self.base == pg_sys::JSONOID => {
                    object.document(self.to_jsonb(value));
                }
                value => self.put_into(object, value),
            }
        }
    }

    /// Likewise, in a form from which [`Column::recall`] has the very same value:
    /// where JSON cannot tell it (bounds of an array, a JSON null from none), it is
    /// its text.
    ///
    /// # Safety
    /// As [`Column::put_into`].
    pub unsafe fn put_to_recall(&self, object: &mut ObjectBuilder, value: Option<pg_sys::Datum>) {
        // SAFETY: the caller's promise.
        unsafe {
            let Some(datum) = value else {
                return object.value(Value::Null);
            };
            let as_text = if self.base == pg_sys::JSONBOID {
                Container::of_datum_unguarded(datum).kind() == Kind::Scalar
            } else {
                self.nested || self.base == pg_sys::JSONOID
            };
            if as_text {
                let text = ffi::unguarded::OutputFunctionCall(self.output, datum);
                object.value(Value::String(CStr::from_ptr(text).to_bytes()));
            } else {
                self.put_readable(object, value);
            }
        }
    }

    /// The value that [`Column::put_to_recall`] wrote down; None for an array or
    /// composite in JSON's notation, which somebody else wrote.
    ///
    /// # Safety
    /// As [`Column::read`].
    pub unsafe fn recall(&self, value: Value<'_>) -> Option<Option<pg_sys::Datum>> {
        let json = self.base == pg_sys::JSONBOID || self.base == pg_sys::JSONOID;
        // SAFETY: the caller's promise; text goes through the type's own function.
        unsafe {
            match value {
                Value::String(_) if self.nested || json => {
                    let text = value.to_input_text();
                    let (input, parameter) = (self.input, self.input_param);
                    let datum =
                        ffi::unguarded::InputFunctionCall(input, text, parameter, self.typmod);
                    Some(Some(datum))
                }
                Value::Null => Some(None),
                _ if self.nested => None,
                value => Some(self.read(value)),
            }
        }
    }

    /// The text of a value, if it is a json that jsonb refuses: core's error would quote it.
    ///
    /// # Safety
    /// As [`Column::to_jsonb`].
    pub unsafe fn refused_json<'v>(&self, value: pg_sys::Datum) -> Option<&'v [u8]> {
        if self.base != pg_sys::JSONOID {
            return None;
        }
        // SAFETY: a json is a varlena.
        let text = unsafe { bytes_of(value) };
        json_text::is_refused(text).then_some(text)
    }

    /// The value as jsonb, by core's `to_jsonb`, in the current context.
    ///
    /// # Safety
    /// `value` is a non-null value of the column's type. Runs inside
    /// `ffi::guard`.
    pub unsafe fn to_jsonb(&self, value: pg_sys::Datum) -> pg_sys::Datum {
        // SAFETY: set up with the column, for this type.
        unsafe { ffi::unguarded::FunctionCall1Coll(self.to_jsonb, pg_sys::InvalidOid, value) }
    }

    /// Whether every INSERT that leaves it out fills it with another value: as part of
    /// a key, it makes each attempt another event.
    pub fn is_made_anew(&self) -> bool {
        self.machine_made || self.stable_default == Some(Nature::Clock)
    }

    /// Whether an INSERT that leaves it out fills it with a value that is the same in the
    /// next attempt: that of an immutable default, or what the session is.
    pub fn default_repeats(&self) -> bool {
        self.has_default && !self.is_made_anew()
    }

    /// Whether it may be NULL.
    pub fn may_be_null(&self) -> bool {
        !self.not_null && !self.domain_is_not_null()
    }

    /// Whether rows do not hold it: it is computed when read (from 18 on).
    pub fn virtual_generated(&self) -> bool {
        self.generated == b'v'
    }

    /// What an INSERT that does not name it gives it, if that is the same every
    /// time; None if only an INSERT knows.
    ///
    /// Evaluates IMMUTABLE functions in the default as the current user: for a caller
    /// who inserts, and for whom the INSERT does so.
    pub fn constant_default(&self, relation: &OpenRelation) -> Option<Option<pg_sys::Datum>> {
        // SAFETY: a column of the open relation; what is folded lives in the
        // current context.
        unsafe {
            let default = pg_sys::build_column_default(relation.raw(), self.attnum.into());
            if default.is_null() {
                return Some(None);
            }
            let folded = pg_sys::eval_const_expressions(std::ptr::null_mut(), default);
            if (*folded).type_ != pg_sys::NodeTag::T_Const {
                return None;
            }
            let value = &*folded.cast::<pg_sys::Const>();
            Some((!value.constisnull).then_some(value.constvalue))
        }
    }

    /// The type that a domain is over, else the type itself.
    pub fn base_type(&self) -> pg_sys::Oid {
        self.base
    }

    /// The operator of its type's default equality, or `InvalidOid`.
    pub fn equality_operator(&self) -> pg_sys::Oid {
        // SAFETY: entries of the type cache are never freed.
        unsafe { (*pg_sys::lookup_type_cache(self.typid, pg_sys::TYPECACHE_EQ_OPR as i32)).eq_opr }
    }

    /// Whether its type is a domain that refuses NULL.
    pub fn domain_is_not_null(&self) -> bool {
        let mut typid = self.typid;
        while typid != self.base {
            // SAFETY: a syscache look-up; the row is read before it is released.
            unsafe {
                let id = pg_sys::SysCacheIdentifier::TYPEOID as i32;
                let tuple = pg_sys::SearchSysCache1(id, pg_sys::Datum::from(typid));
                if tuple.is_null() {
                    return false;
                }
                let form = pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_type>();
                let (not_null, over) = ((*form).typnotnull, (*form).typbasetype);
                pg_sys::ReleaseSysCache(tuple);
                if not_null {
                    return true;
                }
                typid = over;
            }
        }
        false
    }

    /// Storage of the type, for comparison by image.
    pub fn storage(&self) -> (bool, i16) {
        (self.by_value, self.length)
    }
}

/// The bytes of a text or json.
///
/// # Safety
/// A varlena, which outlives them. Runs inside `ffi::guard`.
unsafe fn bytes_of<'v>(value: pg_sys::Datum) -> &'v [u8] {
    // SAFETY: the caller's promise; the header says how long it is.
    unsafe {
        let text = ffi::unguarded::pg_detoast_datum_packed(value.cast_mut_ptr());
        std::slice::from_raw_parts(
            pgrx::varlena::vardata_any(text).cast::<u8>(),
            pgrx::varlena::varsize_any_exhdr(text),
        )
    }
}

impl Equality {
    fn of_type(typid: pg_sys::Oid, base: pg_sys::Oid) -> Self {
        if base == pg_sys::JSONOID {
            return Self::Json;
        }
        // SAFETY: entries of the type cache are never freed.
        unsafe {
            let entry = pg_sys::lookup_type_cache(typid, pg_sys::TYPECACHE_EQ_OPR_FINFO as i32);
            let function = &raw mut (*entry).eq_opr_finfo;
            if (*function).fn_oid == pg_sys::InvalidOid {
                Self::Image
            } else {
                Self::Function(function)
            }
        }
    }
}

/// Whether a column's default cannot fail, is not NULL, and has no effect: a
/// constant, or the time of the transaction.
///
/// # Safety
/// The column has a default.
unsafe fn has_plain_default(desc: pg_sys::TupleDesc, number: pg_sys::AttrNumber) -> bool {
    // SAFETY: the descriptor of an open relation keeps its defaults, as text.
    unsafe {
        let Some(constraints) = (*desc).constr.as_ref() else {
            return false;
        };
        (0..constraints.num_defval as usize)
            .map(|i| &*constraints.defval.add(i))
            .filter(|default| default.adnum == number)
            .any(|default| {
                // As it is written: nothing is simplified or called.
                let node = pg_sys::stringToNode(default.adbin).cast::<pg_sys::Node>();
                match (*node).type_ {
                    pg_sys::NodeTag::T_Const => !(*node.cast::<pg_sys::Const>()).constisnull,
                    pg_sys::NodeTag::T_SQLValueFunction => true,
                    pg_sys::NodeTag::T_FuncExpr => {
                        let function = (*node.cast::<pg_sys::FuncExpr>()).funcid;
                        function == pg_sys::Oid::from(pg_sys::F_NOW)
                    }
                    _ => false,
                }
            })
    }
}

/// Whether a column has a default (its own, its identity's, or its domain's); whether
/// that is volatile; and else its nature, if it is not immutable. The default is read as it
/// is written: to call one of its functions is not needed to know how volatile they say they
/// are.
///
/// # Safety
/// `attribute` is a column of the open relation.
unsafe fn default_of(
    relation: &OpenRelation,
    attribute: &pg_sys::FormData_pg_attribute,
) -> (bool, bool, Option<Nature>) {
    if attribute.attgenerated != 0 {
        return (false, false, None);
    }
    // SAFETY: the caller's promise; null if there is no default.
    unsafe {
        let default = pg_sys::build_column_default(relation.raw(), attribute.attnum.into());
        if default.is_null() {
            return (false, false, None);
        }
        if pg_sys::contain_volatile_functions(default) {
            return (true, true, None);
        }
        let mutable = pg_sys::contain_mutable_functions(default);
        (true, false, mutable.then(|| nature_of(default)))
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
            function_in(memory.context(), function)
        } else {
            std::ptr::null_mut()
        }
    }
}

/// Whether `to_jsonb` would use a cast of the type's own, which it does for
/// types that are not built in.
fn has_cast_to_json(base: pg_sys::Oid) -> bool {
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

/// Whether that holds of a type, or of the members of an array or composite, at any depth.
fn has_cast_to_json_within(base: pg_sys::Oid) -> bool {
    if has_cast_to_json(base) {
        return true;
    }
    // SAFETY: look-ups for an existing type, whose members exist while it does. The descriptor
    // is counted, and stays while it is read. No type is a member of itself.
    unsafe {
        let element = pg_sys::get_element_type(base);
        if element != pg_sys::InvalidOid {
            return has_cast_to_json_within(pg_sys::getBaseType(element));
        }
        if pg_sys::get_typtype(base) as u8 != pg_sys::TYPTYPE_COMPOSITE {
            return false;
        }
        let desc = pg_sys::lookup_rowtype_tupdesc(base, -1);
        let members: Vec<pg_sys::Oid> = (0..(*desc).natts)
            .map(|i| ffi::attribute(desc, i))
            .filter(|member| !member.attisdropped)
            .map(|member| member.atttypid)
            .collect();
        if (*desc).tdrefcount >= 0 {
            pg_sys::DecrTupleDescRefCount(desc);
        }
        members
            .into_iter()
            .any(|member| has_cast_to_json_within(pg_sys::getBaseType(member)))
    }
}
