//! A value with its type: what goes into a statement as a parameter, and into the row of a
//! result.
use crate::pg::ffi::plain::{get_array_type, getBaseType, storage_of_type};
use crate::pg::memory::Memory;
use crate::pg::value::by_reference::{Interval, to_name, to_name_datum};
use crate::pg::value::by_reference::{
    bytes_of_datum, same_image, text_array, texts_of_datum, to_bytea,
};
use crate::pg::value::document::{self, JsonbDatum};
use crate::pg::value::jsonb::Container;
use crate::pg::value::text;
use pgrx::pg_sys;
use serde::de::{Error, Visitor};
use std::ffi::{CStr, CString};

/// A value of a type of the server, or NULL. What is made of a Rust value has the layout of
/// its type by construction; the server's datums come in by [`SqlValue::of_datum`] only.
#[derive(Clone, Copy)]
pub struct SqlValue<'v> {
    typid: pg_sys::Oid,
    content: Content<'v>,
}

#[derive(Clone, Copy)]
enum Content<'v> {
    Null,
    /// By value, or what `of_datum` was told of.
    Datum(pg_sys::Datum),
    Text(&'v str),
    Name(&'v str),
    /// In the server's encoding.
    ServerName(&'v CStr),
    Texts(&'v [String]),
    /// Of a type that is laid out as bytea.
    Bytes([u8; 5]),
    Bytea(&'v [u8]),
    Interval(Interval),
}

impl Content<'_> {
    /// The datum of a Rust value, in the current context.
    #[inline(never)]
    fn make(self) -> pg_sys::Datum {
        match self {
            Self::Null => pg_sys::Datum::null(),
            Self::Datum(datum) => datum,
            Self::Text(value) => text::to_text(value),
            Self::Name(value) => to_name(value),
            Self::ServerName(value) => to_name_datum(value),
            Self::Texts(values) => text_array(values),
            Self::Interval(interval) => interval.datum(),
            Self::Bytes(bytes) => to_bytea(&bytes),
            Self::Bytea(bytes) => to_bytea(bytes),
        }
    }
}

impl<'v> SqlValue<'v> {
    const fn new(typid: pg_sys::Oid, content: Content<'v>) -> Self {
        Self { typid, content }
    }

    /// NULL of this type.
    pub const fn null(typid: pg_sys::Oid) -> Self {
        Self::new(typid, Content::Null)
    }

    /// A text.
    pub const fn text(value: &'v str) -> Self {
        Self::new(pg_sys::TEXTOID, Content::Text(value))
    }

    /// A text, or NULL.
    pub fn optional_text(value: Option<&'v str>) -> Self {
        value.map_or(Self::null(pg_sys::TEXTOID), Self::text)
    }

    /// A name.
    pub const fn name(value: &'v str) -> Self {
        Self::new(pg_sys::NAMEOID, Content::Name(value))
    }

    /// A name in the server's encoding. What is too long is cut.
    pub const fn server_name(value: &'v CStr) -> Self {
        Self::new(pg_sys::NAMEOID, Content::ServerName(value))
    }

    /// A text[].
    pub const fn texts(value: &'v [String]) -> Self {
        Self::new(pg_sys::TEXTARRAYOID, Content::Texts(value))
    }

    /// A bigint.
    pub fn bigint(value: i64) -> Self {
        Self::new(pg_sys::INT8OID, Content::Datum(value.into()))
    }

    /// An integer.
    pub fn int(value: i32) -> Self {
        Self::new(pg_sys::INT4OID, Content::Datum(value.into()))
    }

    /// A boolean.
    pub fn boolean(value: bool) -> Self {
        Self::new(pg_sys::BOOLOID, Content::Datum(value.into()))
    }

    /// An oid.
    pub fn oid(value: pg_sys::Oid) -> Self {
        Self::new(pg_sys::OIDOID, Content::Datum(value.into()))
    }

    /// A regclass.
    pub fn regclass(value: pg_sys::Oid) -> Self {
        Self::new(pg_sys::REGCLASSOID, Content::Datum(value.into()))
    }

    /// A timestamptz, in the server's microseconds.
    pub fn timestamptz(value: pg_sys::TimestampTz) -> Self {
        Self::new(pg_sys::TIMESTAMPTZOID, Content::Datum(value.into()))
    }

    /// An xid.
    pub fn xid(value: pg_sys::TransactionId) -> Self {
        Self::new(pg_sys::XIDOID, Content::Datum(value.into_inner().into()))
    }

    /// The place of a row version in its table.
    pub fn tid(value: &'v pg_sys::ItemPointerData) -> Self {
        let place = pg_sys::Datum::from(std::ptr::from_ref(value));
        Self::new(pg_sys::TIDOID, Content::Datum(place))
    }

    /// A bytea.
    pub const fn bytea(value: &'v [u8]) -> Self {
        Self::new(pg_sys::BYTEAOID, Content::Bytea(value))
    }

    /// A bytea of these bytes, made in the current context.
    pub fn made_bytea(bytes: &[u8]) -> Self {
        Self::new(pg_sys::BYTEAOID, Content::Datum(to_bytea(bytes)))
    }

    /// A jsonb.
    pub fn jsonb(value: JsonbDatum) -> Self {
        Self::new(pg_sys::JSONBOID, Content::Datum(value.datum()))
    }

    /// A jsonb, or NULL.
    pub fn optional_jsonb(value: Option<JsonbDatum>) -> Self {
        value.map_or(Self::null(pg_sys::JSONBOID), Self::jsonb)
    }

    /// An interval.
    pub const fn interval(value: Interval) -> Self {
        Self::new(pg_sys::INTERVALOID, Content::Interval(value))
    }

    /// A datum of the server's.
    ///
    /// # Safety
    /// It is a value of this type, and what it points to outlives `'v`.
    #[inline]
    pub const unsafe fn of_datum(typid: pg_sys::Oid, value: Option<pg_sys::Datum>) -> Self {
        match value {
            Some(datum) => Self::new(typid, Content::Datum(datum)),
            None => Self::null(typid),
        }
    }

    /// These bytes as a value of a type of ours.
    pub const fn of_bytes(typed: BytesType, bytes: [u8; 5]) -> Self {
        Self::new(typed.0, Content::Bytes(bytes))
    }

    /// A value of a type of ours, by its content.
    pub const fn of_content(typed: BytesType, content: &'v [u8]) -> Self {
        Self::new(typed.0, Content::Bytea(content))
    }

    /// Whether it is NULL.
    #[inline]
    pub const fn is_null(&self) -> bool {
        matches!(self.content, Content::Null)
    }

    /// Its type.
    #[inline]
    pub const fn typid(&self) -> pg_sys::Oid {
        self.typid
    }

    /// Its datum; one that is made here is in the current context.
    ///
    /// # Errors
    /// 22P05 for a text that the server's encoding has no character for.
    #[inline]
    pub fn to_datum(self) -> Option<pg_sys::Datum> {
        match self.content {
            Content::Null => None,
            Content::Datum(datum) => Some(datum),
            made => Some(made.make()),
        }
    }

    /// About how many bytes it has, once it is read whole.
    pub fn size(self) -> usize {
        let Some(datum) = self.to_datum() else {
            return 0;
        };
        match storage_of_type(self.typid).length {
            // SAFETY: a varlena, as its type says.
            -1 => unsafe { pg_sys::toast_raw_datum_size(datum) },
            length => usize::try_from(length).unwrap_or(size_of::<pg_sys::Datum>()),
        }
    }

    /// The document that it is, detoasted into the current context; None for NULL and values of
    /// other types.
    pub fn to_container(self) -> Option<Container<'v>> {
        if self.typid != pg_sys::JSONBOID {
            return None;
        }
        // SAFETY: a jsonb, by construction or the promise of `of_datum`.
        self.to_datum()
            .map(|datum| unsafe { Container::of_datum(datum) })
    }

    /// The text that it is, detoasted into the current context if need be, and its bytes in the
    /// server's encoding; None for NULL and values of other types.
    pub fn to_whole_text(self) -> Option<(Self, &'v [u8])> {
        if self.typid != pg_sys::TEXTOID {
            return None;
        }
        // SAFETY: a text, by construction or the promise of `of_datum`.
        self.to_datum().map(|datum| unsafe {
            let whole = pg_sys::pg_detoast_datum_packed(datum.cast_mut_ptr());
            let whole = pg_sys::Datum::from(whole);
            let value = Self::of_datum(self.typid, Some(whole));
            (value, text::bytes_of(whole))
        })
    }

    /// The interval that it is.
    ///
    /// # Panics
    /// If it is of another type.
    pub fn to_interval(self) -> Option<Interval> {
        assert_eq!(self.typid, pg_sys::INTERVALOID, "a value is no interval");
        match self.content {
            Content::Interval(interval) => Some(interval),
            // SAFETY: a datum of this type, by the promise of `of_datum`.
            _ => self.to_datum().map(|datum| unsafe { Interval::new(datum) }),
        }
    }
}

impl SqlValue<'_> {
    /// The text that it is; None for NULL and values of other types.
    pub fn to_text(self) -> Option<String> {
        if self.typid != pg_sys::TEXTOID {
            return None;
        }
        // SAFETY: a value of this type, by construction or the promise of `of_datum`.
        self.to_datum()
            .map(|datum| unsafe { text::from_datum(datum) })
    }

    /// The members of the text[] that it is; None for NULL and values of other types.
    pub fn to_texts(self) -> Option<Vec<Option<String>>> {
        if self.typid != pg_sys::TEXTARRAYOID {
            return None;
        }
        // SAFETY: as in `to_text`.
        self.to_datum()
            .map(|datum| unsafe { texts_of_datum(datum) })
    }

    /// The bytes that it is; None for NULL and values of other types than bytea.
    pub fn to_bytes(self) -> Option<Vec<u8>> {
        if self.typid != pg_sys::BYTEAOID {
            return None;
        }
        // SAFETY: as in `to_text`.
        self.to_datum()
            .map(|datum| unsafe { bytes_of_datum(datum) })
    }

    /// The content of a value of variable length, whatever its type; None for NULL and values of
    /// other types.
    ///
    /// # Errors
    /// XX000, in core's words, for a type that is gone.
    pub fn to_content(self) -> Option<Vec<u8>> {
        if self.is_null() || storage_of_type(self.typid).length != -1 {
            return None;
        }
        // SAFETY: a varlena, by its type.
        self.to_datum()
            .map(|datum| unsafe { bytes_of_datum(datum) })
    }

    /// The C string that it is, or the name; None for NULL and values of other types.
    pub fn to_c_string(self) -> Option<CString> {
        if ![pg_sys::CSTRINGOID, pg_sys::NAMEOID].contains(&self.typid) {
            return None;
        }
        // SAFETY: a C string, by its type, which a name is, too.
        self.to_datum()
            .map(|datum| unsafe { CStr::from_ptr(datum.cast_mut_ptr()).to_owned() })
    }

    /// Whether two values, both bytea or both jsonb, have the same content, however they are
    /// stored.
    pub fn has_same_content(self, other: Self) -> bool {
        let laid_out_alike = [pg_sys::BYTEAOID, pg_sys::JSONBOID].contains(&self.typid);
        match (self.to_datum(), other.to_datum()) {
            // SAFETY: varlenas, by their types.
            (Some(a), Some(b)) if laid_out_alike && self.typid == other.typid => unsafe {
                same_image(a, b)
            },
            _ => false,
        }
    }

    /// Gives the document that it is to a visitor, see [`document::hand_over`]; None for NULL and
    /// values of other types.
    pub fn visit_jsonb<'de, V: Visitor<'de>, E: Error>(
        self,
        visitor: V,
    ) -> Option<Result<V::Value, E>> {
        if self.typid != pg_sys::JSONBOID {
            return None;
        }
        // SAFETY: as in `to_text`.
        self.to_datum()
            .map(|datum| unsafe { document::hand_over(datum, visitor) })
    }
}

/// A type of ours that is laid out as bytea, as all of them are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct BytesType(pg_sys::Oid);

impl BytesType {
    /// The type with this oid, if `output`, a function of this library, is what shows it: then it
    /// was made for our library, which has no types of another layout.
    pub fn of(typid: pg_sys::Oid, output: pg_sys::PGFunction) -> Option<Self> {
        // SAFETY: look-ups by number, of a type that is seen to exist, and of its functions.
        unsafe {
            if pg_sys::get_typtype(typid) as u8 != pg_sys::TYPTYPE_BASE
                || pg_sys::get_typlen(typid) != -1
            {
                return None;
            }
            let (mut function, mut is_varlena) = (pg_sys::InvalidOid, false);
            pg_sys::getTypeOutputInfo(typid, &raw mut function, &raw mut is_varlena);
            let mut info = pg_sys::FmgrInfo::default();
            pg_sys::fmgr_info(function, &raw mut info);
            let address = |function: pg_sys::PGFunction| function.map(|function| function as usize);
            // No function of the server's own.
            let ours = function.to_u32() >= pg_sys::FirstNormalObjectId
                && address(info.fn_addr) == address(output);
            ours.then_some(Self(typid))
        }
    }

    /// Its oid.
    pub const fn oid(self) -> pg_sys::Oid {
        self.0
    }
}

/// An array that grows.
pub struct ArrayBuilder {
    state: *mut pg_sys::ArrayBuildState,
    /// The types of its members, and of itself.
    element: pg_sys::Oid,
    array: pg_sys::Oid,
    /// What the state and the array are in.
    memory: Memory,
}

impl ArrayBuilder {
    /// An empty array of values of a type, or of the one that a domain is over; None if there is no
    /// array of such values.
    pub fn new(typid: pg_sys::Oid) -> Option<Self> {
        let element = getBaseType(typid);
        let array = get_array_type(element);
        if array == pg_sys::InvalidOid {
            return None;
        }
        let memory = Memory::in_current(c"pg_idempotent array");
        // SAFETY: a type that exists, since it has an array; the memory lives as long as the state.
        let state = unsafe { pg_sys::initArrayResult(element, memory.context(), false) };
        Some(Self {
            state,
            element,
            array,
            memory,
        })
    }

    /// The type of the array.
    pub fn typid(&self) -> pg_sys::Oid {
        self.array
    }

    /// Adds a copy of a value.
    ///
    /// # Panics
    /// If it is of another type.
    pub fn push(&mut self, value: SqlValue<'_>) {
        assert_eq!(getBaseType(value.typid()), self.element);
        let datum = value.to_datum();
        let is_null = datum.is_none();
        let datum = datum.unwrap_or_else(pg_sys::Datum::null);
        // SAFETY: the state is ours; the value is one of its members' type, as was checked.
        unsafe {
            let memory = self.memory.context();
            let state = self.state;
            self.state = pg_sys::accumArrayResult(state, datum, is_null, self.element, memory);
        }
    }

    /// The array, as it is now.
    pub fn value(&self) -> SqlValue<'_> {
        // SAFETY: the state is ours. The array is in the memory that lives as long as it is borrowed.
        unsafe {
            let array = pg_sys::makeArrayResult(self.state, self.memory.context());
            SqlValue::of_datum(self.array, Some(array))
        }
    }
}
