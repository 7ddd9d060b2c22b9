//! The values of a type: how they are read from JSON and shown in it, with the functions of the
//! type.
use crate::pg::catalog::types;
use crate::pg::ffi;
use crate::pg::function::to_jsonb_of;
use crate::pg::memory::Memory;
use crate::pg::value::by_reference::packed_content_of;
use crate::pg::value::comparison::{
    Equality, Order, Storage, image_order, same_image, to_ordering,
};
use crate::pg::value::document::JsonbDatum;
use crate::pg::value::json_text;
use crate::pg::value::jsonb::{Container, Kind, Numeric, ObjectBuilder, Value};
use crate::pg::value::reading::{Scalar, has_cast_to_json};
use crate::pg::value::sql_value::SqlValue;
use pgrx::pg_sys;
use std::cmp::Ordering;
use std::ffi::CStr;
use std::ptr;

/// In which form values are put down as JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonForm {
    /// As core's `to_jsonb` shows them.
    Shown,
    /// In a form that can be read as a payload.
    Readable,
    /// Likewise, but a json that jsonb refuses as its text: no payload can have it.
    Recorded,
    /// In a form from which every value is the very same.
    Lossless,
}

/// What is known of the values of a column.
pub struct ValueType {
    pub typid: pg_sys::Oid,
    /// The type that a domain is over, else the type itself.
    pub base: pg_sys::Oid,
    /// The collation under which they are compared, or `InvalidOid`.
    pub collation: pg_sys::Oid,
    /// Whether the type (or a domain's base type) is an array or a composite, which JSON fills
    /// member by member.
    pub nested: bool,
    /// How they are compared.
    pub equality: Equality,
    pub storage: Storage,
    /// Whether the type is shown in JSON by a cast of its own, or that of a member, at any
    /// depth.
    cast_to_json_within: bool,
    /// Reads them from JSON, those of an array or composite in its own notation.
    scalar: Scalar,
    to_jsonb: *mut pg_sys::FmgrInfo,
}

impl ValueType {
    /// That of a column's values; functions are set up in `memory`.
    pub fn of(attribute: &pg_sys::FormData_pg_attribute, memory: &Memory) -> Self {
        let (typid, typmod) = (attribute.atttypid, attribute.atttypmod);
        let base = types::base(typid);
        Self {
            typid,
            base,
            collation: attribute.attcollation,
            nested: types::kind(base) == pg_sys::TYPTYPE_COMPOSITE
                || types::element(base).is_some(),
            equality: Equality::of(typid, base),
            storage: (attribute.attbyval, attribute.attlen),
            cast_to_json_within: has_cast_to_json_within(base),
            scalar: Scalar::of(typid, typmod, memory),
            // SAFETY: the function lives as long as `memory`, as those of `scalar` do.
            to_jsonb: unsafe {
                to_jsonb_of(memory.context(), typid, typmod, attribute.attcollation)
            },
        }
    }

    /// The value that a JSON value has in a column of the type, in the current context; of an array
    /// or composite, a string or null ([`Reader`](crate::pg::value::reading::Reader) reads all).
    /// None is NULL.
    ///
    /// # Safety
    /// Runs inside `ffi::guard`, and `value` outlives the result.
    pub unsafe fn read(&self, value: Value<'_>) -> Option<pg_sys::Datum> {
        // SAFETY: the caller's promise.
        unsafe { self.scalar.read(value) }
    }

    /// The text of a JSON number that an integer type could only take rounded, in the
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
    /// `value` is a non-null value of the type.
    unsafe fn show<'a>(&self, value: pg_sys::Datum) -> &'a CStr {
        // SAFETY: a value of the type, by the caller's promise, and the output function of that
        // type, which gives a C string in the current memory.
        unsafe { CStr::from_ptr(pg_sys::OutputFunctionCall(self.scalar.output(), value)) }
    }

    /// Likewise, of a value with its type; None for NULL.
    ///
    /// # Panics
    /// If the value is of another type.
    pub fn show_value<'a>(&self, value: SqlValue<'_>) -> Option<&'a CStr> {
        // SAFETY: a value of the type, as is checked.
        self.datum_of(value)
            .map(|value| unsafe { self.show(value) })
    }

    /// The datum of a value of the type, or of the type that it is a domain over, whose values are
    /// stored alike.
    ///
    /// # Panics
    /// If it is of another type.
    #[inline]
    pub fn datum_of(&self, value: SqlValue<'_>) -> Option<pg_sys::Datum> {
        assert!(
            value.typid() == self.typid || value.typid() == self.base,
            "a value is of another type than its column"
        );
        value.to_datum()
    }

    /// Puts a value into an object, in this form.
    ///
    /// # Panics
    /// If the value is of another type.
    ///
    /// # Safety
    /// The value lives until the object is finished. Runs inside `ffi::guard`.
    pub unsafe fn put(&self, form: JsonForm, object: &mut ObjectBuilder, value: SqlValue<'_>) {
        let value = self.datum_of(value);
        // SAFETY: a value of the type, as was checked; the caller's promise.
        unsafe {
            match (form, value) {
                (JsonForm::Shown, _) => self.put_into(object, value),
                (JsonForm::Recorded, Some(json)) if self.refused_json(json).is_some() => {
                    self.put_into(object, value);
                }
                (JsonForm::Readable | JsonForm::Recorded, _) => self.put_readable(object, value),
                (JsonForm::Lossless, _) => self.put_lossless(object, value),
            }
        }
    }

    /// Puts a value into an object as core's `to_jsonb` shows it; a json that it refuses, as
    /// its text.
    ///
    /// # Safety
    /// `value` is of the type, and lives until the object is finished.
    /// Runs inside `ffi::guard`.
    unsafe fn put_into(&self, object: &mut ObjectBuilder, value: Option<pg_sys::Datum>) {
        // SAFETY: each arm has the type that it treats; the shortcuts give what
        // to_jsonb would.
        unsafe {
            let Some(value) = value else {
                return object.value(Value::Null);
            };
            let integer = |value: i64| {
                let number = ffi::unguarded::int64_to_numeric(value);
                Value::Number(Numeric::new(pg_sys::Datum::from(number)))
            };
            match self.typid {
                pg_sys::INT2OID => object.value(integer((value.value() as i16).into())),
                pg_sys::INT4OID => object.value(integer((value.value() as i32).into())),
                pg_sys::INT8OID => object.value(integer(value.value() as i64)),
                pg_sys::BOOLOID => object.value(Value::Boolean(value.value() != 0)),
                pg_sys::TEXTOID | pg_sys::VARCHAROID | pg_sys::BPCHAROID => {
                    object.value(Value::String(packed_content_of(value)));
                }
                pg_sys::NUMERICOID => match finite_numeric(value) {
                    Some(number) => object.value(Value::Number(Numeric::new(number))),
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

    /// Puts a value into an object, in a form that [`ValueType::read`] reads: a type that is shown as
    /// an object because it has a cast to json (hstore) is put as its text, and so is an array or
    /// composite with members of such a type.
    ///
    /// # Safety
    /// As [`ValueType::put_into`].
    unsafe fn put_readable(&self, object: &mut ObjectBuilder, value: Option<pg_sys::Datum>) {
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

    /// Puts a value into an object, in a form from which [`ValueType::read_lossless`] has the very
    /// same value: where JSON cannot tell it (bounds of an array, a JSON null from none), it is its
    /// text.
    ///
    /// # Safety
    /// As [`ValueType::put_into`].
    unsafe fn put_lossless(&self, object: &mut ObjectBuilder, value: Option<pg_sys::Datum>) {
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

    /// The value that [`JsonForm::Lossless`] wrote down, in the current context; None for an array
    /// or composite in JSON's notation, which somebody else wrote.
    pub fn read_lossless<'v>(&self, value: Value<'v>) -> Option<SqlValue<'v>> {
        // SAFETY: the guard holds nothing; a value of the type, which what it was read from
        // outlives.
        unsafe {
            let value = ffi::guard(|| self.read_lossless_unguarded(value));
            value.map(|value| SqlValue::of_datum(self.typid, value))
        }
    }

    /// Likewise.
    ///
    /// # Safety
    /// As [`ValueType::read`].
    unsafe fn read_lossless_unguarded(&self, value: Value<'_>) -> Option<Option<pg_sys::Datum>> {
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
    /// As [`ValueType::to_jsonb`].
    pub unsafe fn refused_json<'v>(&self, value: pg_sys::Datum) -> Option<&'v [u8]> {
        if self.base != pg_sys::JSONOID {
            return None;
        }
        // SAFETY: a value of the type, by the caller's promise: a json, which is a varlena.
        let text = unsafe { packed_content_of(value) };
        json_text::is_refused(text).then_some(text)
    }

    /// The value as jsonb, by core's `to_jsonb`, in the current context.
    ///
    /// # Safety
    /// `value` is a non-null value of the type. Runs inside
    /// `ffi::guard`.
    pub unsafe fn to_jsonb(&self, value: pg_sys::Datum) -> pg_sys::Datum {
        // SAFETY: set up with the column, for this type.
        unsafe { ffi::unguarded::FunctionCall1Coll(self.to_jsonb, pg_sys::InvalidOid, value) }
    }
}

impl ValueType {
    /// Whether two values are equal. NULL equals NULL.
    ///
    /// # Panics
    /// If one of them is of another type.
    pub fn equals(&self, a: SqlValue<'_>, b: SqlValue<'_>) -> bool {
        let (a, b) = (self.datum_of(a), self.datum_of(b));
        // SAFETY: values of the type, as was checked; the guard holds nothing.
        unsafe { ffi::guard(|| self.equal(a, b)) }
    }

    /// Likewise.
    ///
    /// # Safety
    /// Both are of the type. Runs inside `ffi::guard`.
    #[inline]
    pub unsafe fn equal(&self, a: Option<pg_sys::Datum>, b: Option<pg_sys::Datum>) -> bool {
        let (a, b) = match (a, b) {
            (None, None) => return true,
            (Some(a), Some(b)) => (a, b),
            _ => return false,
        };
        // SAFETY: the caller's promise; what is called is the type's own.
        unsafe {
            match self.equality {
                // The server unpacks a stored numeric, to compare it.
                Equality::Function(_) if self.is_same_numeric(a, b) => true,
                Equality::Function(function) => {
                    function.call_unguarded(self.collation, a, b).value() != 0
                }
                Equality::Image => same_image(self.storage, a, b),
                // Equal texts first: a stored json may hold what jsonb refuses. Then it differs from
                // every other; an error would quote it, to whoever sent the payload.
                Equality::Json => {
                    let refused = |value| self.refused_json(value).is_some();
                    same_image(self.storage, a, b)
                        || (!refused(a)
                            && !refused(b)
                            && self.call_as_jsonb(ffi::functions::jsonb_eq, a, b).value() != 0)
                }
            }
        }
    }

    /// Whether two values are numerics of the same digits and scale.
    ///
    /// # Safety
    /// As [`ValueType::equal`], values that are not NULL.
    #[inline]
    unsafe fn is_same_numeric(&self, a: pg_sys::Datum, b: pg_sys::Datum) -> bool {
        // SAFETY: the caller's promise: a numeric is a varlena.
        self.base == pg_sys::NUMERICOID && unsafe { packed_content_of(a) == packed_content_of(b) }
    }

    /// Two values of the type, to be compared by [`differing_pairs`].
    ///
    /// # Panics
    /// If one of them is of another type.
    #[inline]
    pub fn pair<'v>(&'v self, a: SqlValue<'v>, b: SqlValue<'v>) -> Pair<'v> {
        Pair {
            typed: self,
            a: self.datum_of(a),
            b: self.datum_of(b),
        }
    }

    /// The order of the type's values.
    pub fn order(&self) -> ValueOrder {
        ValueOrder {
            typid: self.typid,
            order: Order::of(self.typid, self.base),
        }
    }

    /// Compares two values of the type in its order. NULL comes before every value.
    ///
    /// # Panics
    /// If the order or a value is of another type.
    pub fn compare(&self, order: ValueOrder, a: SqlValue<'_>, b: SqlValue<'_>) -> Ordering {
        assert_eq!(self.typid, order.typid, "values have another order");
        match (self.datum_of(a), self.datum_of(b)) {
            (None, None) => Ordering::Equal,
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            // SAFETY: non-null values of the type, whose order this is, as was checked; the guard
            // holds nothing.
            (Some(a), Some(b)) => unsafe { ffi::guard(|| self.compare_unguarded(order, a, b)) },
        }
    }

    /// Likewise, values that are not NULL.
    ///
    /// # Safety
    /// Both are of the type, as the order is. Runs inside `ffi::guard`.
    pub unsafe fn compare_unguarded(
        &self,
        order: ValueOrder,
        a: pg_sys::Datum,
        b: pg_sys::Datum,
    ) -> Ordering {
        // SAFETY: the caller's promise; what is called is the type's own.
        unsafe {
            match order.order {
                Order::Function(function) => {
                    to_ordering(function.call_unguarded(self.collation, a, b))
                }
                Order::Json => {
                    let refused = |value| self.refused_json(value).is_some();
                    match (refused(a), refused(b)) {
                        (true, true) => image_order(self.storage, a, b),
                        (false, false) => {
                            to_ordering(self.call_as_jsonb(ffi::functions::jsonb_cmp, a, b))
                        }
                        (a, b) => a.cmp(&b),
                    }
                }
                Order::Image => image_order(self.storage, a, b),
            }
        }
    }

    /// Calls a function of jsonb.
    ///
    /// # Safety
    /// Two non-null values of the type, and a function of two documents. Runs inside `ffi::guard`.
    unsafe fn call_as_jsonb(
        &self,
        function: unsafe extern "C-unwind" fn(pg_sys::FunctionCallInfo) -> pg_sys::Datum,
        a: pg_sys::Datum,
        b: pg_sys::Datum,
    ) -> pg_sys::Datum {
        // SAFETY: the caller's promise; `to_jsonb` gives documents in the current memory.
        unsafe {
            let (a, b) = (self.to_jsonb(a), self.to_jsonb(b));
            let none = pg_sys::InvalidOid;
            ffi::unguarded::DirectFunctionCall2Coll(Some(function), none, a, b)
        }
    }
}

/// Two values of a type, each of which may be NULL.
pub struct Pair<'v> {
    typed: &'v ValueType,
    a: Option<pg_sys::Datum>,
    b: Option<pg_sys::Datum>,
}

/// How the values of a type are ordered: by the type's own order, or else by their bytes.
#[derive(Clone, Copy, Debug)]
pub struct ValueOrder {
    typid: pg_sys::Oid,
    order: Order,
}

/// So many pairs are compared under one guard.
pub const PAIRS: usize = 16;

/// Which of the pairs differ: each has a bit, the first one the lowest. NULL equals NULL.
pub fn differing_pairs(pairs: &[Option<Pair<'_>>; PAIRS]) -> u32 {
    // SAFETY: two values of one type each, as `pair` has checked; inside, nothing is owned and
    // nothing panics.
    unsafe {
        ffi::guard(|| {
            let differs = |pair: &Pair<'_>| !pair.typed.equal(pair.a, pair.b);
            pairs.iter().rev().fold(0, |found, pair| {
                found << 1 | u32::from(pair.as_ref().is_some_and(differs))
            })
        })
    }
}

/// An object with these values, each of its own type, in the current context.
///
/// # Errors
/// What the types' output functions raise; 22P02 and the like for what JSON cannot hold.
///
/// # Panics
/// If a value is of another type than is said.
pub fn object_of_values<'v>(
    form: JsonForm,
    fields: impl IntoIterator<Item = (&'v CStr, &'v ValueType, SqlValue<'v>)>,
) -> JsonbDatum {
    let mut fields = fields.into_iter();
    // SAFETY: names and values live longer than this. What is the caller's has returned before a
    // function of the server is called without a guard of its own; the rest owns nothing.
    unsafe {
        JsonbDatum::new(ffi::guard(|| {
            let mut object = ObjectBuilder::new();
            for (name, typed, value) in &mut fields {
                object.key(name);
                typed.put(form, &mut object, value);
            }
            object.finish()
        }))
    }
}

/// Whether the type is shown in JSON by a cast of its own, or that of a member, at any depth.
fn has_cast_to_json_within(base: pg_sys::Oid) -> bool {
    let mut found = false;
    types::visit(base, |part| found = found || has_cast_to_json(part));
    found
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
