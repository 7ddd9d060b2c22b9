//! The state of the aggregate: how many rows, and the sum of their hashes.
//!
//! A sum depends on no order, counts a row as often as it comes, can be put together
//! from parts, and a row can be taken out again.
use std::fmt::Write;

/// The SHA-256 of one row.
pub type Hash = [u8; 32];

/// How many bytes [`Sum::to_bytes`] gives.
const BYTES: usize = 40;

/// So many rows, and the sum of their hashes modulo 2^256. Plain data: it lives in
/// memory of the server, and nobody drops it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    rows: u64,
    /// Lowest first.
    words: [u64; 4],
}

/// A hash as a number, big-endian.
fn words_of(hash: &[u8]) -> [u64; 4] {
    let mut words = [0; 4];
    for (word, bytes) in words.iter_mut().zip(hash.rchunks_exact(8)) {
        *word = bytes
            .iter()
            .fold(0, |word, byte| word << 8 | u64::from(*byte));
    }
    words
}

impl Sum {
    /// Adds a row.
    pub fn add(&mut self, hash: &Hash) {
        self.add_words(1, words_of(hash), 0);
    }

    /// Takes a row out that was added before: adds what is left of 2^256 without it.
    pub fn remove(&mut self, hash: &Hash) {
        self.add_words(u64::MAX, words_of(hash).map(|word| !word), 1);
    }

    /// Adds all rows of another.
    pub fn merge(&mut self, other: &Self) {
        self.add_words(other.rows, other.words, 0);
    }

    fn add_words(&mut self, rows: u64, words: [u64; 4], mut carry: u128) {
        self.rows = self.rows.wrapping_add(rows);
        for (word, other) in self.words.iter_mut().zip(words) {
            carry += u128::from(*word) + u128::from(other);
            *word = carry as u64;
            carry >>= 64;
        }
    }

    /// For another process.
    pub fn to_bytes(self) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        let words = std::iter::once(self.rows).chain(self.words.into_iter().rev());
        for (chunk, word) in bytes.chunks_exact_mut(8).zip(words) {
            chunk.copy_from_slice(&word.to_be_bytes());
        }
        bytes
    }

    /// What [`Sum::to_bytes`] gave; None if it is that of something else.
    pub fn of_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; BYTES] = bytes.try_into().ok()?;
        let (rows, words) = bytes.split_at(8);
        Some(Self {
            rows: rows
                .iter()
                .fold(0, |rows, byte| rows << 8 | u64::from(*byte)),
            words: words_of(words),
        })
    }

    /// The digest: the number of rows, a colon, and the sum in hexadecimal.
    pub fn to_text(self) -> String {
        let mut text = format!("{}:", self.rows);
        for word in self.words.iter().rev() {
            let _ = write!(text, "{word:016x}");
        }
        text
    }
}
