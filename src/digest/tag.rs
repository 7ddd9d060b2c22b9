//! What kind of value follows among canonical bytes. These numbers never change: digests are kept.

/// NULL, and JSON null inside a document.
pub const NULL: u8 = 0;
/// A boolean.
pub const FALSE: u8 = 1;
/// Likewise.
pub const TRUE: u8 = 2;
/// A float.
pub const FLOAT: u8 = 3;
/// A number of days.
pub const DATE: u8 = 4;
/// A time of day, in microseconds.
pub const TIME: u8 = 5;
/// Likewise, with a zone.
pub const TIMETZ: u8 = 6;
/// Microseconds of local time.
pub const TIMESTAMP: u8 = 7;
/// Microseconds, at an instant.
pub const TIMESTAMPTZ: u8 = 8;
/// A span of time, in microseconds.
pub const INTERVAL: u8 = 9;
/// An amount of money.
pub const MONEY: u8 = 10;
/// Bytes.
pub const BYTES: u8 = 11;
/// A string of bits.
pub const BITS: u8 = 12;
/// An internet address.
pub const ADDRESS: u8 = 13;
/// A UUID.
pub const UUID: u8 = 14;
/// A hardware address.
pub const MAC: u8 = 15;
/// An integer of no bytes, that is 0; with 1 to 8 bytes the tag is as much higher.
pub const INTEGER: u8 = 16;
/// Characters.
pub const TEXT: u8 = 32;
/// A jsonb document.
pub const DOCUMENT: u8 = 33;
/// An object inside a document.
pub const OBJECT: u8 = 34;
/// An array inside a document.
pub const MEMBERS: u8 = 35;
/// An array.
pub const ARRAY: u8 = 36;
/// A composite.
pub const COMPOSITE: u8 = 37;
/// A range.
pub const RANGE: u8 = 38;
/// A multirange.
pub const MULTIRANGE: u8 = 39;
/// A geometric value.
pub const GEOMETRY: u8 = 40;
/// A value of which nothing but the hash is known. In no digest of rows.
pub const HASHED: u8 = 41;
// 42 is a text by its sort key: `encoding`.

/// A numeric that is no number, or infinite.
pub const NOT_A_NUMBER: u8 = 48;
/// Likewise.
pub const INFINITE: u8 = 49;
/// Likewise.
pub const MINUS_INFINITE: u8 = 50;
/// A numeric.
pub const NUMERIC: u8 = 51;
/// Likewise, below zero.
pub const MINUS_NUMERIC: u8 = 52;
