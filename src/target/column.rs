//! One column of a target, with the functions of its type.
use super::default_kind::{DefaultKind, default_kind_of};
use super::{OpenRelation, attribute_name};
use crate::pg::ffi;
use crate::pg::memory::Memory;
use crate::pg::value::json_text;
use crate::pg::value::jsonb::{Container, Kind, ObjectBuilder, Value, to_jsonb_of};
use crate::pg::value::reading::{ResultDetail, Scalar, has_cast_to_json};
use crate::pg::value::text;
use pgrx::pg_sys;
use std::collections::HashSet;
use std::ffi::{CStr, CString};
use std::ptr;

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
    pub name: String,
    /// Its name in the server's encoding.
    pub c_name: CString,
    /// Its number in the table, from 1.
    pub attnum: pg_sys::AttrNumber,
    pub typid: pg_sys::Oid,
    /// The type that a domain is over, else the type itself.
    base: pg_sys::Oid,
    /// The type modifier, or -1.
    pub typmod: i32,
    /// Its collation, or `InvalidOid`.
    pub collation: pg_sys::Oid,
    /// How many dimensions it is declared with, if it is an array; or 0.
    dimensions: i64,
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
    pub has_volatile_default: bool,
    /// The kind of a default that is the same throughout a statement, but not for
    /// ever: the time of the statement, or what the session is.
    pub stable_default: Option<DefaultKind>,
    /// Whether its type (or a domain's base type) is an array or a composite,
    /// which JSON fills member by member.
    pub nested: bool,
    /// Whether and how it is computed from other columns: `s`tored, `v`irtual,
    /// or 0.
    pub generated: u8,
    /// How its values are compared.
    pub equality: Equality,
    /// Whether its type is shown in JSON by a cast of its own, or that of a member, at any
    /// depth.
    cast_to_json_within: bool,
    /// Reads values from JSON, of an array or composite those in its own notation.
    scalar: Scalar,
    by_value: bool,
    length: i16,
    to_jsonb: *mut pg_sys::FmgrInfo,
}

impl Column {
    /// The columns of an open relation, without dropped ones.
    pub fn of_relation(relation: &OpenRelation, memory: &Memory) -> Vec<Self> {
        relation
            .attribute_rows()
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
            let name = attribute_name(attribute);
            let (has_default, has_volatile_default, stable_default) =
                default_of(relation, attribute);
            Self {
                name: text::from_server(name.as_ptr()),
                c_name: name,
                attnum: attribute.attnum,
                typid: attribute.atttypid,
                base,
                typmod: attribute.atttypmod,
                collation: attribute.attcollation,
                dimensions: attribute.attndims.into(),
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
                has_volatile_default,
                stable_default,
                nested,
                generated: attribute.attgenerated as u8,
                cast_to_json_within: has_cast_to_json_within(base),
                scalar: Scalar::of(attribute.atttypid, attribute.atttypmod, memory),
                equality: Equality::of_type(attribute.atttypid, base),
                by_value: attribute.attbyval,
                length: attribute.attlen,
                to_jsonb: to_jsonb_of(
                    memory.context(),
                    attribute.atttypid,
                    attribute.atttypmod,
                    attribute.attcollation,
                ),
            }
        }
    }

    /// The value that a JSON value has in this column, in the current context; of an array
    /// or composite, a string or null ([`Reader`](crate::pg::value::reading::Reader) reads all).
    /// None is NULL.
    ///
    /// # Safety
    /// Runs inside `ffi::guard`, and `value` outlives the result.
    pub unsafe fn read(&self, value: Value<'_>) -> Option<pg_sys::Datum> {
        // SAFETY: the caller's promise.
        unsafe { self.scalar.read(value) }
    }

    /// What a reader of this column's values is asked for.
    pub fn wanted(&self) -> ResultDetail<'_> {
        ResultDetail {
            name: &self.c_name,
            typid: self.typid,
            typmod: self.typmod,
            dimensions: self.dimensions,
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
        // SAFETY: a value of the type, by the caller's promise, and the output function of that
        // type, which gives a C string in the current memory.
        unsafe { CStr::from_ptr(pg_sys::OutputFunctionCall(self.scalar.output(), value)) }
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
                pg_sys::NUMERICOID => match finite_numeric(value) {
                    Some(number) => object.value(Value::Number(number)),
                    None => object.document(self.to_jsonb(value)),
                },
                pg_sys::DATEOID | pg_sys::TIMESTAMPOID | pg_sys::TIMESTAMPTZOID => {
                    let (typid, none) = (self.typid, ptr::null());
                    let text =
                        ffi::unguarded::JsonEncodeDateTime(ptr::null_mut(), value, typid, none);
                    object.value(Value::String(CStr::from_ptr(text).to_bytes()));
                }
                pg_sys::UUIDOID => {
                    let text = ffi::unguarded::OutputFunctionCall(self.scalar.output(), value);
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

    /// Puts a value into an object, in a form that [`Column::read`] reads: a type that is shown as
    /// an object because it has a cast to json (hstore) is put as its text, and so is an array or
    /// composite with members of such a type.
    ///
    /// # Safety
    /// As [`Column::put_into`].
    pub unsafe fn put_readable(&self, object: &mut ObjectBuilder, value: Option<pg_sys::Datum>) {
        // SAFETY: the caller's promise.
        unsafe {
            match value {
                Some(value) if self.cast_to_json_within => {
                    let text = ffi::unguarded::OutputFunctionCall(self.scalar.output(), value);
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

    /// Puts a value into an object, in a form from which [`Column::read_lossless`] has the very
    /// same value: where JSON cannot tell it (bounds of an array, a JSON null from none), it is its
    /// text.
    ///
    /// # Safety
    /// As [`Column::put_into`].
    pub unsafe fn put_lossless(&self, object: &mut ObjectBuilder, value: Option<pg_sys::Datum>) {
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
                let text = ffi::unguarded::OutputFunctionCall(self.scalar.output(), datum);
                object.value(Value::String(CStr::from_ptr(text).to_bytes()));
            } else {
                self.put_readable(object, value);
            }
        }
    }

    /// The value that [`Column::put_lossless`] wrote down; None for an array or
    /// composite in JSON's notation, which somebody else wrote.
    ///
    /// # Safety
    /// As [`Column::read`].
    pub unsafe fn read_lossless(&self, value: Value<'_>) -> Option<Option<pg_sys::Datum>> {
        let json = self.base == pg_sys::JSONBOID || self.base == pg_sys::JSONOID;
        // SAFETY: the caller's promise; text goes through the type's own function.
        unsafe {
            match value {
                Value::String(_) if self.nested || json => {
                    let text = value.to_input_text();
                    Some(Some(self.scalar.read_text(text)))
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
        // SAFETY: a value of the column, by the caller's promise: a json, which is a varlena.
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
    pub fn has_changing_default(&self) -> bool {
        self.has_volatile_default
            || self
                .stable_default
                .is_some_and(DefaultKind::differs_in_retry)
    }

    /// Whether an INSERT that leaves it out fills it with a value that is the same in the
    /// next attempt: that of an immutable default, or what the session is.
    pub fn has_repeatable_default(&self) -> bool {
        self.has_default && !self.has_changing_default()
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

    /// Whether a unique index can be on it: its type has an order.
    pub fn can_be_indexed(&self) -> bool {
        // SAFETY: a look-up in the catalogs for the type of an existing column; `InvalidOid` if
        // it has no default operator class.
        let class = unsafe { pg_sys::GetDefaultOpClass(self.base, pg_sys::BTREE_AM_OID) };
        class != pg_sys::InvalidOid
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
) -> (bool, bool, Option<DefaultKind>) {
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
        (true, false, mutable.then(|| default_kind_of(default)))
    }
}

/// A numeric as jsonb has it, or None for NaN and the infinities, which JSON has as strings.
/// Core's `to_jsonb` comes to the same by way of the number's text.
///
/// # Safety
/// `value` is a non-null numeric. Runs inside `ffi::guard`.
unsafe fn finite_numeric(value: pg_sys::Datum) -> Option<pg_sys::Datum> {
    // SAFETY: the caller's promise; a numeric is looked into whole, with a long header.
    unsafe {
        let whole = ffi::unguarded::pg_detoast_datum(value.cast_mut_ptr());
        let number: pg_sys::Numeric = whole.cast();
        let special =
            ffi::unguarded::numeric_is_nan(number) || ffi::unguarded::numeric_is_inf(number);
        (!special).then(|| pg_sys::Datum::from(whole))
    }
}

/// Whether that holds of a type, or of the members of an array or composite, at any depth.
fn has_cast_to_json_within(base: pg_sys::Oid) -> bool {
    has_cast_to_json_in(base, &mut HashSet::new())
}

/// The same, of a type that is not in `seen`. Each type is asked once, in however many places it is.
fn has_cast_to_json_in(base: pg_sys::Oid, seen: &mut HashSet<pg_sys::Oid>) -> bool {
    if !seen.insert(base) {
        return false;
    }
    if has_cast_to_json(base) {
        return true;
    }
    // SAFETY: look-ups for an existing type, whose members exist while it does. The descriptor
    // is counted, and stays while it is read. No type is a member of itself.
    unsafe {
        pg_sys::check_stack_depth();
        let element = pg_sys::get_element_type(base);
        if element != pg_sys::InvalidOid {
            return has_cast_to_json_in(pg_sys::getBaseType(element), seen);
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
            .any(|member| has_cast_to_json_in(pg_sys::getBaseType(member), seen))
    }
}
