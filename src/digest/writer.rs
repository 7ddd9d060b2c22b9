//! The canonical bytes of a row, and their SHA-256.
//!
//! Every value begins with a [`tag`] and says itself where it ends, so that no two
//! different rows have the same bytes. Nothing depends on the machine, the server's
//! release, the database's encoding or a setting.
use crate::pg::hash::sha256::AT_ONCE;
use crate::pg::interrupt;
use crate::pg::value::text;
use pg_idempotent_lthash::Hash;
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// What kind of value follows. These numbers never change: digests are kept.
pub mod tag {
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
    /// A text by its sort key. In no digest of rows.
    #[cfg(not(feature = "pg15"))]
    pub const SORT_KEY: u8 = 42;
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
}

/// Bytes that are collected before they are hashed. Almost every row fits.
const BUFFER: usize = 4096;

/// Takes the bytes of one row after the other. It allocates nothing but for text that is to be
/// converted. Interrupts apart, which panic, nothing in it fails.
pub struct Writer {
    hasher: Sha256,
    /// Whether the hasher has some of the row's bytes.
    begun: bool,
    used: usize,
    buffer: [u8; BUFFER],
    /// Whether the server's text is to be converted.
    foreign: bool,
}

impl Writer {
    /// For a row's bytes.
    pub fn new() -> Self {
        Self {
            hasher: Sha256::new(),
            begun: false,
            used: 0,
            buffer: [0; BUFFER],
            foreign: text::server_needs_conversion(),
        }
    }

    /// For what stays in this database, or goes where its encoding goes: text is written as
    /// it is, also where it has no equivalent in UTF-8.
    pub fn in_server_encoding() -> Self {
        Self {
            foreign: false,
            ..Self::new()
        }
    }

    /// Forgets what was written.
    pub fn begin(&mut self) {
        self.used = 0;
        if self.begun {
            self.hasher = Sha256::new();
            self.begun = false;
        }
    }

    /// The hash of what was written.
    pub fn finish(&mut self) -> Hash {
        let rest = self.buffer.get(..self.used).unwrap_or_default();
        let hasher = if self.begun {
            self.hasher.clone()
        } else {
            Sha256::new()
        };
        hasher.chain_update(rest).finalize().into()
    }

    /// A keyed hash of what was written so far: of the bytes, or of their SHA-256 where they are many.
    #[inline]
    pub fn hashed(&mut self, seed: u64) -> u64 {
        if self.begun {
            return xxh3_64_with_seed(&self.finish(), seed);
        }
        let written = self.buffer.get(..self.used).unwrap_or_default();
        xxh3_64_with_seed(written, seed)
    }

    /// Bytes as they are.
    #[inline]
    pub fn raw(&mut self, bytes: &[u8]) {
        if bytes.len() > BUFFER - self.used {
            self.flush();
            if bytes.len() > BUFFER {
                for part in bytes.chunks(AT_ONCE) {
                    interrupt::check();
                    self.hasher.update(part);
                }
                return;
            }
        }
        let end = self.used + bytes.len();
        // There is room: `used` is never more than the buffer has.
        if let Some(free) = self.buffer.get_mut(self.used..end) {
            free.copy_from_slice(bytes);
            self.used = end;
        }
    }

    /// The first `count` of some bytes. Copying all of them takes less than finding out how many there are.
    #[inline]
    fn first<const N: usize>(&mut self, bytes: [u8; N], count: usize) {
        if let Some(free) = self.buffer.get_mut(self.used..self.used + N) {
            free.copy_from_slice(&bytes);
            self.used += count;
        } else {
            self.raw(bytes.get(..count).unwrap_or_default());
        }
    }

    #[cold]
    fn flush(&mut self) {
        self.hasher
            .update(self.buffer.get(..self.used).unwrap_or_default());
        self.begun = true;
        self.used = 0;
    }

    /// A tag.
    #[inline]
    pub fn tag(&mut self, tag: u8) {
        self.first([tag], 1);
    }

    /// A tag, and bytes whose number goes with it.
    #[inline]
    pub fn fixed<const N: usize>(&mut self, tag: u8, bytes: [u8; N]) {
        self.tag(tag);
        self.raw(&bytes);
    }

    /// A number of things: seven bits a byte, the lowest first.
    #[inline]
    pub fn length(&mut self, mut length: usize) {
        while length >= 0x80 {
            self.raw(&[length as u8 | 0x80]);
            length >>= 7;
        }
        self.raw(&[length as u8]);
    }

    /// A tag, and bytes with their number.
    #[inline]
    pub fn bytes(&mut self, tag: u8, bytes: &[u8]) {
        match bytes.len() {
            short @ 0..0x80 => self.first([tag, short as u8], 2),
            length => {
                self.tag(tag);
                self.length(length);
            }
        }
        self.raw(bytes);
    }

    /// An integer, in as many bytes as it takes, whatever its type.
    #[inline]
    pub fn integer(&mut self, value: i64) {
        let magnitude = if value < 0 { !value } else { value };
        let bits = (u64::BITS - magnitude.leading_zeros()) as usize;
        let count = if value == 0 { 0 } else { bits / 8 + 1 };
        // `count` is at most 8. Its bytes come first.
        let bytes = value.rotate_right(8 * count as u32).to_be_bytes();
        let [a, b, c, d, e, f, g, h] = bytes;
        let tag = tag::INTEGER + count as u8;
        self.first([tag, a, b, c, d, e, f, g, h], 1 + count);
    }

    /// A float; zeros are one, and so are those that are no number.
    #[inline]
    pub fn float(&mut self, value: f64) {
        let value = if value == 0.0 {
            0.0
        } else if value.is_nan() {
            f64::NAN
        } else {
            value
        };
        self.fixed(tag::FLOAT, value.to_bits().to_be_bytes());
    }

    /// Whether the server's encoding is another than that of the bytes.
    pub fn is_foreign(&self) -> bool {
        self.foreign
    }

    /// Text in the server's encoding: it is written in UTF-8.
    ///
    /// # Errors
    /// As [`text::to_utf8`].
    #[inline]
    pub fn text(&mut self, text: &[u8]) {
        let text = self.in_utf8(text);
        self.utf8(&text);
    }

    /// Text of the server, in UTF-8 if it is to be converted.
    ///
    /// # Errors
    /// As [`text::to_utf8`].
    #[inline]
    pub fn in_utf8<'t>(&self, text: &'t [u8]) -> Cow<'t, [u8]> {
        if self.foreign {
            text::to_utf8(text)
        } else {
            Cow::Borrowed(text)
        }
    }

    /// Text that has been converted, or needs it not.
    #[inline]
    pub fn utf8(&mut self, text: &[u8]) {
        self.bytes(tag::TEXT, text);
    }
}

impl Default for Writer {
    fn default() -> Self {
        Self::new()
    }
}
