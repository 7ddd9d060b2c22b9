//! A keyed hash of a row, for sketches: 64 bits, of the canonical form of its values, without
//! writing it down.
//!
//! Words are mixed in by a product of 128 bits whose halves are folded, as wyhash and its relatives do it. The
//! key is drawn for each comparison, so that nobody who chose the rows knew it.
use super::sink::Sink;
use super::tag;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// What a hash of the columns so far ends with,
const SO_FAR: u64 = 0x9E37_79B9_7F4A_7C15;

/// one of all of them, and
const END: u64 = 0xD1B5_4A32_D192_ED03;

/// a value of which the canonical bytes are hashed. No tag is as great.
const WRITTEN: u64 = 1 << 8;

/// A row on its way.
pub struct RowHash {
    state: u64,
    factor: u64,
}

impl RowHash {
    /// Of no column, under this key.
    pub fn new([first, second]: [u64; 2]) -> Self {
        Self {
            state: folded(first ^ SO_FAR, second ^ END),
            // What is odd loses nothing.
            factor: (second ^ SO_FAR) | 1,
        }
    }

    /// A value by its canonical bytes.
    pub fn written(&mut self, bytes: &[u8]) {
        self.mix(WRITTEN, xxh3_64_with_seed(bytes, self.state));
    }

    /// A hash of what came so far.
    #[inline]
    pub fn so_far(&self) -> u64 {
        folded(self.state ^ SO_FAR, self.factor)
    }

    /// The hash of all that came, another one.
    #[inline]
    pub fn finish(&self) -> u64 {
        folded(self.state ^ END, self.factor)
    }

    #[inline]
    fn mix(&mut self, kind: u64, word: u64) {
        let state = self.state.wrapping_add(kind.wrapping_mul(END));
        self.state = folded(state ^ word, self.factor);
    }
}

impl Sink for RowHash {
    #[inline]
    fn tag(&mut self, tag: u8) {
        self.mix(u64::from(tag), 0);
    }

    #[inline]
    fn integer(&mut self, value: i64) {
        self.mix(u64::from(tag::INTEGER), value as u64);
    }

    #[inline]
    fn fixed<const N: usize>(&mut self, tag: u8, bytes: [u8; N]) {
        const { assert!(N <= 8) };
        self.mix(u64::from(tag), word(&bytes));
    }

    #[inline]
    fn bytes(&mut self, tag: u8, bytes: &[u8]) {
        match bytes.as_chunks() {
            // A UUID.
            (&[first, second], []) => {
                self.mix(u64::from(tag), u64::from_be_bytes(first));
                self.mix(0, u64::from_be_bytes(second));
            }
            _ => self.mix(u64::from(tag), xxh3_64_with_seed(bytes, self.state)),
        }
    }

    #[inline]
    fn digits(&mut self, tag: u8, weight: i16, digits: &[[u8; 2]]) {
        let count = (digits.len() as u64) << 16;
        self.mix(u64::from(tag), count | u64::from(weight as u16));
        for four in digits.chunks(4) {
            let digit = |word, digit: &[u8; 2]| word << 16 | u64::from(u16::from_ne_bytes(*digit));
            self.mix(0, four.iter().fold(0, digit));
        }
    }
}

/// At most eight bytes as a number.
#[inline]
fn word(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0, |word, byte| word << 8 | u64::from(*byte))
}

/// Both halves of a product, folded.
#[inline]
fn folded(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}
