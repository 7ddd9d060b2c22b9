//! A value with its type: what goes into a statement as a parameter, and into the row of a
//! result.
use crate::pg::hash::sha256::to_bytea;
use crate::pg::value::document::JsonbDatum;
use crate::pg::value::interval::Interval;
use crate::pg::value::text;
use crate::pg::value::text_array::text_array;
use pgrx::pg_sys;

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
    Texts(&'v [String]),
    /// Of a type that is laid out as bytea.
    Bytes([u8; 5]),
    Bytea(&'v [u8]),
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

    /// A tid.
    pub fn tid(value: &'v pg_sys::ItemPointerData) -> Self {
        let place = pg_sys::Datum::from(std::ptr::from_ref(value));
        Self::new(pg_sys::TIDOID, Content::Datum(place))
    }

    /// A bytea.
    pub const fn bytea(value: &'v [u8]) -> Self {
        Self::new(pg_sys::BYTEAOID, Content::Bytea(value))
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
    pub fn interval(value: Interval) -> Self {
        Self::new(pg_sys::INTERVALOID, Content::Datum(value.datum()))
    }

    /// A datum of the server's.
    ///
    /// # Safety
    /// It is a value of this type, and what it points to outlives `'v`.
    pub const unsafe fn of_datum(typid: pg_sys::Oid, value: Option<pg_sys::Datum>) -> Self {
        match value {
            Some(datum) => Self::new(typid, Content::Datum(datum)),
            None => Self::null(typid),
        }
    }

    /// These bytes as a value of a type that is laid out as bytea.
    ///
    /// # Safety
    /// The type is laid out so, and takes these bytes.
    pub const unsafe fn of_bytes(typid: pg_sys::Oid, bytes: [u8; 5]) -> Self {
        Self::new(typid, Content::Bytes(bytes))
    }

    /// Its type.
    pub const fn typid(&self) -> pg_sys::Oid {
        self.typid
    }

    /// Its datum; one that is made here is in the current context.
    ///
    /// # Errors
    /// 22P05 for a text that the server's encoding has no character for.
    pub fn to_datum(self) -> Option<pg_sys::Datum> {
        match self.content {
            Content::Null => None,
            Content::Datum(datum) => Some(datum),
            Content::Text(value) => Some(text::to_text(value)),
            Content::Name(value) => Some(crate::pg::value::name::to_name(value)),
            Content::Texts(values) => Some(text_array(values)),
            Content::Bytes(bytes) => Some(to_bytea(&bytes)),
            Content::Bytea(bytes) => Some(to_bytea(bytes)),
        }
    }
}
