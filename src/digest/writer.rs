//! The canonical bytes of a row, and their SHA-256.
//!
//! Every value begins with a [tag] and says itself where it ends, so that no two
//! different rows have the same bytes. Nothing depends on the machine, the server's
//! release, the database's encoding or a setting.
use super::sink::Sink;
use super::tag;
use crate::pg::hash::sha256::AT_ONCE;
use crate::pg::interrupt;
use crate::pg::value::text;
use pg_idempotent_lthash::Hash;
use sha2::{Digest, Sha256};
use std::borrow::Cow;

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
    pub fn finish(&self) -> Hash {
        let rest = self.buffer.get(..self.used).unwrap_or_default();
        let hasher = if self.begun {
            self.hasher.clone()
        } else {
            Sha256::new()
        };
        hasher.chain_update(rest).finalize().into()
    }

    /// Has `take` look at what was written: the bytes, or their SHA-256 where they are many.
    pub fn with_written<R>(&self, take: impl FnOnce(&[u8]) -> R) -> R {
        match self.begun {
            true => take(&self.finish()),
            false => take(self.buffer.get(..self.used).unwrap_or_default()),
        }
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

    /// A number of things: seven bits a byte, the lowest first.
    #[inline]
    pub fn length(&mut self, mut length: usize) {
        while length >= 0x80 {
            self.raw(&[length as u8 | 0x80]);
            length >>= 7;
        }
        self.raw(&[length as u8]);
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

impl Sink for Writer {
    #[inline]
    fn tag(&mut self, tag: u8) {
        self.first([tag], 1);
    }

    /// In as many bytes as it takes.
    #[inline]
    fn integer(&mut self, value: i64) {
        let magnitude = if value < 0 { !value } else { value };
        let bits = (u64::BITS - magnitude.leading_zeros()) as usize;
        let count = if value == 0 { 0 } else { bits / 8 + 1 };
        // `count` is at most 8. Its bytes come first.
        let bytes = value.rotate_right(8 * count as u32).to_be_bytes();
        let [a, b, c, d, e, f, g, h] = bytes;
        let tag = tag::INTEGER + count as u8;
        self.first([tag, a, b, c, d, e, f, g, h], 1 + count);
    }

    #[inline]
    fn fixed<const N: usize>(&mut self, tag: u8, bytes: [u8; N]) {
        self.tag(tag);
        self.raw(&bytes);
    }

    /// With their number.
    #[inline]
    fn bytes(&mut self, tag: u8, bytes: &[u8]) {
        match bytes.len() {
            short @ 0..0x80 => self.first([tag, short as u8], 2),
            length => {
                self.tag(tag);
                self.length(length);
            }
        }
        self.raw(bytes);
    }

    #[inline]
    fn digits(&mut self, tag: u8, weight: i16, digits: &[[u8; 2]]) {
        self.tag(tag);
        self.length(digits.len());
        if !digits.is_empty() {
            self.raw(&weight.to_be_bytes());
        }
        for digit in digits {
            self.raw(&u16::from_ne_bytes(*digit).to_be_bytes());
        }
    }
}

impl Default for Writer {
    fn default() -> Self {
        Self::new()
    }
}
