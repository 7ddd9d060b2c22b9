//! Reading and building jsonb.
//!
//! Building is core's. Reading is our own, because it is done for every field
//! of every payload: core's iterator costs a call and a copied value for each
//! key and each value, more than the fields' input functions. The format is the
//! one that `utils/jsonb.h` documents and that every stored jsonb has: a header
//! with a count, an array of entries (an object's keys first, then its values),
//! and the data, in which entries say where they end.
use crate::pg::ffi;
use crate::pg::memory::Memory;
use crate::pg::value::by_reference::content_of;
use pgrx::pg_sys;
use std::cmp::Ordering;
use std::ffi::{CStr, CString, c_char, c_int};
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr;
use std::slice;

/// A detoasted jsonb document, or an object or array inside one.
#[derive(Clone, Copy)]
pub struct Container<'d>(*mut pg_sys::JsonbContainer, PhantomData<&'d ()>);

/// What a document or container is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `{…}`
    Object,
    /// `[…]`
    Array,
    /// A single string, number, boolean or null.
    Scalar,
}

/// One value inside a document.
#[derive(Clone, Copy)]
pub enum Value<'d> {
    /// JSON null.
    Null,
    /// A string, in the server's encoding.
    String(&'d [u8]),
    /// A number.
    Number(Numeric<'d>),
    /// A boolean.
    Boolean(bool),
    /// An object or array, and its length in bytes.
    Container(Container<'d>, usize),
}

/// A numeric inside a document, or in the current memory: neither compressed nor out of line.
#[derive(Clone, Copy)]
pub struct Numeric<'d>(pg_sys::Datum, PhantomData<&'d ()>);

impl<'d> Numeric<'d> {
    /// That in a datum.
    ///
    /// # Safety
    /// The datum is such a numeric, and lives for `'d`.
    pub unsafe fn new(datum: pg_sys::Datum) -> Self {
        Self(datum, PhantomData)
    }

    /// The datum.
    pub fn datum(self) -> pg_sys::Datum {
        self.0
    }

    /// The bytes behind its header.
    pub fn content(self) -> &'d [u8] {
        // SAFETY: a varlena that is whole, by the promise of `new`.
        unsafe { content_of(self.0) }
    }
}

/// Where the next entry's data begins, relative to the container's data.
#[derive(Clone, Copy)]
struct Cursor<'d> {
    entries: *const u32,
    data: *const u8,
    offset: usize,
    document: PhantomData<&'d ()>,
}

impl<'d> Cursor<'d> {
    /// The next entry.
    ///
    /// # Safety
    /// There is one.
    #[inline]
    unsafe fn next(&mut self) -> Value<'d> {
        // SAFETY: the caller's promise, and the format.
        unsafe {
            let entry = *self.entries;
            self.entries = self.entries.add(1);
            let begin = self.offset;
            let field = (entry & pg_sys::JENTRY_OFFLENMASK) as usize;
            self.offset = if entry & pg_sys::JENTRY_HAS_OFF != 0 {
                field
            } else {
                begin + field
            };
            let length = self.offset - begin;
            // Numbers and containers are aligned.
            let aligned = (begin + 3) & !3;
            match entry & pg_sys::JENTRY_TYPEMASK {
                pg_sys::JENTRY_ISSTRING => {
                    Value::String(slice::from_raw_parts(self.data.add(begin), length))
                }
                pg_sys::JENTRY_ISNUMERIC => {
                    Value::Number(Numeric::new(pg_sys::Datum::from(self.data.add(aligned))))
                }
                pg_sys::JENTRY_ISBOOL_TRUE => Value::Boolean(true),
                pg_sys::JENTRY_ISBOOL_FALSE => Value::Boolean(false),
                pg_sys::JENTRY_ISNULL => Value::Null,
                _ => {
                    let container = self.data.add(aligned).cast_mut().cast();
                    Value::Container(
                        Container(container, PhantomData),
                        length - (aligned - begin),
                    )
                }
            }
        }
    }
}

impl<'d> Container<'d> {
    /// The document in a jsonb datum, detoasted into the current context.
    ///
    /// # Safety
    /// `datum` is a non-null value of type jsonb, and the current context
    /// outlives `'d`.
    pub unsafe fn of_datum(datum: pg_sys::Datum) -> Self {
        // SAFETY: the caller's promise.
        unsafe {
            let document = pg_sys::pg_detoast_datum(datum.cast_mut_ptr()).cast::<pg_sys::Jsonb>();
            Self(&raw mut (*document).root, PhantomData)
        }
    }

    /// The document in a jsonb datum, as [`Container::of_datum`] gives it.
    ///
    /// # Safety
    /// As [`Container::of_datum`]. Runs inside `ffi::guard`.
    pub unsafe fn of_datum_unguarded(datum: pg_sys::Datum) -> Self {
        // SAFETY: the caller's promise.
        unsafe {
            let document = ffi::unguarded::pg_detoast_datum(datum.cast_mut_ptr());
            Self(
                &raw mut (*document.cast::<pg_sys::Jsonb>()).root,
                PhantomData,
            )
        }
    }

    /// Whether it equals another, as `=` of jsonb has it.
    pub fn equals(self, other: Container<'_>) -> bool {
        // SAFETY: a container is valid as long as its lifetime, which both have; core's
        // comparison of two, that only reads.
        unsafe { pg_sys::compareJsonbContainers(self.0, other.0) == 0 }
    }

    /// Its canonical text, in the server's encoding.
    pub fn to_text(self) -> CString {
        // SAFETY: a container is valid as long as its lifetime; the server makes a C string in
        // the current context, which is copied before it is freed.
        unsafe {
            let text = pg_sys::JsonbToCString(ptr::null_mut(), self.0, 0);
            let copy = CStr::from_ptr(text).to_owned();
            pg_sys::pfree(text.cast());
            copy
        }
    }

    /// The names of the fields in which two objects differ, in their order; None if
    /// one of them is no object. At most so many are named; how many there are comes
    /// with them.
    pub fn differing_fields(self, other: Container<'d>, most: usize) -> Option<FieldDifferences> {
        if self.kind() != Kind::Object || other.kind() != Kind::Object {
            return None;
        }
        // Fields of jsonb are in one order, by length and bytes.
        let fields = |object: Container<'d>| object.names().zip(object.values()).peekable();
        let place = |(name, _): &(&'d [u8], Value<'d>)| (name.len(), *name);
        let (mut ours, mut theirs) = (fields(self), fields(other));
        let mut differing = FieldDifferences::default();
        loop {
            pgrx::check_for_interrupts!();
            let order = match (ours.peek(), theirs.peek()) {
                (None, None) => return Some(differing),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(ours), Some(theirs)) => place(ours).cmp(&place(theirs)),
            };
            let our = ours.next_if(|_| order.is_le());
            let their = theirs.next_if(|_| order.is_ge());
            let name = match (our, their) {
                (Some((_, our)), Some((_, their))) if our.equals(their) => continue,
                (Some((name, _)), _) | (None, Some((name, _))) => name,
                (None, None) => unreachable!("one of the two is taken"),
            };
            differing.count += 1;
            if differing.names.len() < most {
                differing.names.push(display_field(name));
            }
        }
    }

    fn header(self) -> u32 {
        // SAFETY: a container is valid as long as its lifetime, and begins with its header.
        unsafe { (*self.0).header }
    }

    /// Whether it is an object, an array or a scalar.
    pub fn kind(self) -> Kind {
        if self.header() & pg_sys::JB_FSCALAR != 0 {
            Kind::Scalar
        } else if self.header() & pg_sys::JB_FARRAY != 0 {
            Kind::Array
        } else {
            Kind::Object
        }
    }

    /// What it is, in the words of `jsonb_typeof`.
    pub fn kind_name(self) -> &'static str {
        match self.kind() {
            Kind::Object => "object",
            Kind::Array => "array",
            Kind::Scalar => self.members().next().map_or("scalar", Value::kind_name),
        }
    }

    /// How many members or fields it has.
    pub fn len(self) -> usize {
        (self.header() & pg_sys::JB_CMASK) as usize
    }

    fn cursor(self) -> Cursor<'d> {
        let entries = if self.kind() == Kind::Object {
            2 * self.len()
        } else {
            self.len()
        };
        // SAFETY: a container is valid as long as its lifetime. Its header counts its entries,
        // which follow it, as the data follow them.
        unsafe {
            let first = (*self.0).children.as_ptr();
            let data = first.add(entries).cast();
            Cursor {
                entries: first,
                data,
                offset: 0,
                document: PhantomData,
            }
        }
    }

    /// The members of an array, in order.
    pub fn members(self) -> impl Iterator<Item = Value<'d>> {
        let mut cursor = self.cursor();
        // SAFETY: `next` is called once for each of the entries that the header counts, which
        // a valid container has.
        (0..self.len()).map(move |_| unsafe { cursor.next() })
    }

    /// The names of an object's fields, in jsonb's order.
    pub fn names(self) -> impl Iterator<Item = &'d [u8]> {
        self.members_of_object(false)
            .filter_map(|value| match value {
                Value::String(name) => Some(name),
                _ => None,
            })
    }

    /// The values of an object's fields, in the order of [`Container::names`].
    pub fn values(self) -> impl Iterator<Item = Value<'d>> {
        self.members_of_object(true)
    }

    /// Nothing else has fields: a document of state may be any that the owner of the
    /// database has put there.
    fn members_of_object(self, values: bool) -> impl Iterator<Item = Value<'d>> {
        let count = match self.kind() {
            Kind::Object => self.len(),
            Kind::Array | Kind::Scalar => 0,
        };
        let mut cursor = self.cursor();
        if values {
            for _ in 0..count {
                // SAFETY: an object has as many keys as its header counts.
                unsafe { cursor.next() };
            }
        }
        // SAFETY: an object has as many values behind its keys, and `next` is called once for
        // each.
        (0..count).map(move |_| unsafe { cursor.next() })
    }

    /// Whether two objects have fields of the same names: then their keys are
    /// the same bytes.
    pub fn same_names(self, other: Container<'_>) -> bool {
        if self.header() != other.header() {
            return false;
        }
        let count = self.len();
        // SAFETY: both have `count` keys, whose data come first; the last key's
        // end is where the values begin.
        unsafe {
            let keys = |container: Container<'_>| {
                let mut cursor = container.cursor();
                let entries = slice::from_raw_parts(cursor.entries, count);
                for _ in 0..count {
                    cursor.next();
                }
                (entries, slice::from_raw_parts(cursor.data, cursor.offset))
            };
            let (entries, names) = keys(self);
            let other_entries = slice::from_raw_parts(other.cursor().entries, count);
            entries == other_entries
                && names == slice::from_raw_parts(other.cursor().data, names.len())
        }
    }
}

/// The fields in which two objects differ.
#[derive(Default)]
pub struct FieldDifferences {
    /// The names of the first, in jsonb's order, for people.
    pub names: Vec<String>,
    /// How many they are.
    pub count: usize,
}

/// A field's name, for people.
fn display_field(name: &[u8]) -> String {
    if name.is_empty() {
        return "\"\"".to_owned();
    }
    crate::pg::value::text::abbreviated(&crate::pg::value::text::from_server_bytes(name))
        .into_owned()
}

impl Value<'_> {
    /// Whether it equals another, as `=` of jsonb has it.
    pub fn equals(self, other: Value<'_>) -> bool {
        match (self, other) {
            (Self::Null, Value::Null) => true,
            (Self::String(a), Value::String(b)) => a == b,
            (Self::Boolean(a), Value::Boolean(b)) => a == b,
            (Self::Container(a, _), Value::Container(b, _)) => a.equals(b),
            // SAFETY: core's equality of two numerics; the guard holds nothing.
            (Self::Number(a), Value::Number(b)) => unsafe {
                let equal = ffi::functions::numeric_eq;
                let none = pg_sys::InvalidOid;
                let (a, b) = (a.datum(), b.datum());
                ffi::guard(|| ffi::unguarded::DirectFunctionCall2Coll(Some(equal), none, a, b))
                    .value()
                    != 0
            },
            _ => false,
        }
    }

    /// What it is, in the words of `jsonb_typeof`.
    pub fn kind_name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::String(_) => "string",
            Self::Number(_) => "number",
            Self::Boolean(_) => "boolean",
            Self::Container(container, _) => container.kind_name(),
        }
    }

    /// The value in core's form.
    fn to_core(self) -> pg_sys::JsonbValue {
        // SAFETY: a plain C struct; the tag's member of the union is set.
        unsafe {
            let mut value: pg_sys::JsonbValue = MaybeUninit::zeroed().assume_init();
            match self {
                Self::Null => value.type_ = pg_sys::jbvType::jbvNull,
                Self::String(string) => {
                    value.type_ = pg_sys::jbvType::jbvString;
                    value.val.string.val = string.as_ptr().cast_mut().cast();
                    value.val.string.len = string.len() as c_int;
                }
                Self::Number(number) => {
                    value.type_ = pg_sys::jbvType::jbvNumeric;
                    value.val.numeric = number.datum().cast_mut_ptr();
                }
                Self::Boolean(boolean) => {
                    value.type_ = pg_sys::jbvType::jbvBool;
                    value.val.boolean = boolean;
                }
                Self::Container(container, length) => {
                    value.type_ = pg_sys::jbvType::jbvBinary;
                    value.val.binary.data = container.0;
                    value.val.binary.len = length as c_int;
                }
            }
            value
        }
    }

    /// As a jsonb datum in the current context.
    ///
    /// # Safety
    /// Runs inside `ffi::guard`.
    pub unsafe fn to_jsonb(self) -> pg_sys::Datum {
        let mut value = self.to_core();
        // SAFETY: a valid value.
        unsafe { pg_sys::Datum::from(ffi::unguarded::JsonbValueToJsonb(&raw mut value)) }
    }

    /// The text that a type's input function reads, in the current context, as
    /// `jsonb_populate_record` makes it: strings without their quotes, objects
    /// and arrays as JSON text. JSON null has none.
    ///
    /// # Safety
    /// Runs inside `ffi::guard`.
    pub unsafe fn to_input_text(self) -> *mut c_char {
        // SAFETY: each arm has the kind of value that it treats.
        unsafe {
            match self {
                Self::Null => ptr::null_mut(),
                Self::String(string) => {
                    ffi::unguarded::pnstrdup(string.as_ptr().cast(), string.len())
                }
                Self::Number(number) => ffi::unguarded::DirectFunctionCall1Coll(
                    Some(ffi::functions::numeric_out),
                    pg_sys::InvalidOid,
                    number.datum(),
                )
                .cast_mut_ptr(),
                Self::Boolean(boolean) => {
                    let text = if boolean { c"true" } else { c"false" };
                    ffi::unguarded::pnstrdup(text.as_ptr(), text.count_bytes())
                }
                Self::Container(container, length) => {
                    ffi::unguarded::JsonbToCString(ptr::null_mut(), container.0, length as c_int)
                }
            }
        }
    }

    /// As JSON text, strings with their quotes.
    ///
    /// # Safety
    /// Runs inside `ffi::guard`.
    pub unsafe fn to_json_text(self) -> *mut c_char {
        let mut value = self.to_core();
        // SAFETY: a valid value; a document's length is in its header.
        unsafe {
            let document = ffi::unguarded::JsonbValueToJsonb(&raw mut value);
            let length = pgrx::varlena::varsize_any(document.cast()) as c_int;
            let root = &raw mut (*document).root;
            ffi::unguarded::JsonbToCString(ptr::null_mut(), root, length)
        }
    }
}

/// Builds one JSON object, field by field, in the current context.
///
/// Its whole life is to pass inside one `ffi::guard`.
pub struct ObjectBuilder {
    state: *mut pg_sys::JsonbParseState,
}

impl ObjectBuilder {
    /// An empty object.
    ///
    /// # Safety
    /// Runs inside `ffi::guard`, as all that follows.
    pub unsafe fn new() -> Self {
        let mut this = Self {
            state: ptr::null_mut(),
        };
        // SAFETY: a builder without a state takes the token that opens an object, which has
        // no value; there is a guard around by the caller's promise.
        unsafe {
            this.push(
                pg_sys::JsonbIteratorToken::WJB_BEGIN_OBJECT,
                ptr::null_mut(),
            )
        };
        this
    }

    /// # Safety
    /// What the value points to lives until [`ObjectBuilder::finish`].
    unsafe fn push(
        &mut self,
        token: pg_sys::JsonbIteratorToken::Type,
        value: *mut pg_sys::JsonbValue,
    ) -> *mut pg_sys::JsonbValue {
        // SAFETY: the state is live; core copies the value's struct.
        unsafe { ffi::unguarded::pushJsonbValue(&raw mut self.state, token, value) }
    }

    /// Starts a field; its value comes next.
    ///
    /// # Safety
    /// `name` lives until [`ObjectBuilder::finish`].
    pub unsafe fn key(&mut self, name: &CStr) {
        // SAFETY: the caller's promise.
        unsafe { self.key_of_bytes(name.to_bytes()) };
    }

    /// As [`ObjectBuilder::key`], of a name that is inside a document.
    ///
    /// # Safety
    /// As [`ObjectBuilder::key`].
    pub(super) unsafe fn key_of_bytes(&mut self, name: &[u8]) {
        let mut key = Value::String(name).to_core();
        // SAFETY: the caller's promise.
        unsafe { self.push(pg_sys::JsonbIteratorToken::WJB_KEY, &raw mut key) };
    }

    /// The field's value.
    ///
    /// # Safety
    /// What it points to lives until [`ObjectBuilder::finish`].
    pub unsafe fn value(&mut self, value: Value<'_>) {
        let mut value = value.to_core();
        // SAFETY: the caller's promise.
        unsafe { self.push(pg_sys::JsonbIteratorToken::WJB_VALUE, &raw mut value) };
    }

    /// Adds a whole jsonb document as the value of the last key.
    ///
    /// # Safety
    /// `document` is a jsonb datum that is not toasted, and lives until
    /// [`ObjectBuilder::finish`].
    pub unsafe fn document(&mut self, document: pg_sys::Datum) {
        // SAFETY: the caller's promise. A scalar document holds its one value
        // as the only member of an array.
        unsafe {
            let document = document.cast_mut_ptr::<pg_sys::Jsonb>();
            let root = Container(&raw mut (*document).root, PhantomData);
            if root.kind() == Kind::Scalar {
                self.value(root.cursor().next());
            } else {
                let length = pgrx::varlena::varsize_any(document.cast());
                self.value(Value::Container(root, length - pg_sys::VARHDRSZ));
            }
        }
    }

    /// The object as a jsonb datum.
    ///
    /// # Safety
    /// Every key has its value.
    pub unsafe fn finish(mut self) -> pg_sys::Datum {
        // SAFETY: closes the object that `new` opened.
        unsafe {
            let value = self.push(pg_sys::JsonbIteratorToken::WJB_END_OBJECT, ptr::null_mut());
            pg_sys::Datum::from(ffi::unguarded::JsonbValueToJsonb(value))
        }
    }
}

/// An object of these fields, as a jsonb datum in the current context.
pub fn object_of(fields: &[(&[u8], Value<'_>)]) -> pg_sys::Datum {
    // SAFETY: names and values outlive the builder, each key has its value, and inside the guard
    // nothing is owned that has to be dropped.
    unsafe {
        ffi::guard(|| {
            let mut object = ObjectBuilder::new();
            for (name, value) in fields {
                object.key_of_bytes(name);
                object.value(*value);
            }
            object.finish()
        })
    }
}

/// Runs `work` with an object of these fields, whose memory goes when it has ended.
pub fn with_object<R>(fields: &[(&[u8], Value<'_>)], work: impl FnOnce(Container<'_>) -> R) -> R {
    let memory = Memory::in_current(c"pg_idempotent object");
    let document = memory.scope(|| object_of(fields));
    // SAFETY: a jsonb that was just made; it lives as long as `memory`, which outlives `work`,
    // and `work` can keep nothing that borrows from it.
    work(unsafe { Container::of_datum(document) })
}

/// Builds one JSON array of documents, as the server lays it out. Core's own builder
/// takes every document apart, and holds a hundred times its size.
#[derive(Default)]
pub struct ArrayBuilder {
    entries: Vec<u32>,
    data: Vec<u8>,
}

impl ArrayBuilder {
    /// Adds a whole document; false if it is more than an array holds.
    ///
    /// # Safety
    /// `document` is a jsonb datum that is an object or array, and not toasted.
    pub unsafe fn document(&mut self, document: pg_sys::Datum) -> bool {
        // SAFETY: the caller's promise.
        let document = unsafe {
            let document = document.cast_mut_ptr::<pg_sys::varlena>();
            let length = pgrx::varlena::varsize_any_exhdr(document);
            slice::from_raw_parts(pgrx::varlena::vardata_any(document).cast::<u8>(), length)
        };
        // Containers are aligned; what that takes counts as part of them.
        let begin = self.data.len();
        let aligned = begin.next_multiple_of(size_of::<u32>());
        let end = aligned + document.len();
        let entries = self.entries.len() + 1;
        if size_of::<u32>() * (1 + entries) + end > ARRAY_HOLDS {
            return false;
        }
        self.data.resize(aligned, 0);
        self.data.extend_from_slice(document);
        // Some entries say where they end, so that the others are found by short steps.
        let place = if self
            .entries
            .len()
            .is_multiple_of(pg_sys::JB_OFFSET_STRIDE as usize)
        {
            end as u32 | pg_sys::JENTRY_HAS_OFF
        } else {
            (end - begin) as u32
        };
        self.entries.push(place | pg_sys::JENTRY_ISCONTAINER);
        true
    }

    /// The array as a jsonb datum, in the current context.
    pub fn finish(self) -> pg_sys::Datum {
        let entries = size_of_val(self.entries.as_slice());
        let length = pg_sys::VARHDRSZ + size_of::<u32>() + entries + self.data.len();
        // SAFETY: as many bytes as are written: the size, the header, entries, data.
        unsafe {
            let array = pg_sys::palloc(length).cast::<u8>();
            pgrx::set_varsize_4b(array.cast(), length as i32);
            let header = array.add(pg_sys::VARHDRSZ).cast::<u32>();
            *header = self.entries.len() as u32 | pg_sys::JB_FARRAY;
            let first = header.add(1);
            first.copy_from_nonoverlapping(self.entries.as_ptr(), self.entries.len());
            let data = first.add(self.entries.len()).cast::<u8>();
            data.copy_from_nonoverlapping(self.data.as_ptr(), self.data.len());
            pg_sys::Datum::from(array)
        }
    }
}

/// So many bytes are in an array, its header included.
pub const ARRAY_HOLDS: usize = pg_sys::JENTRY_OFFLENMASK as usize;
