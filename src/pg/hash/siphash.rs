//! SipHash-2-4 of words and bytes: a keyed hash of 64 bits, from which nobody without the key
//! learns anything of what was hashed, and for which nobody finds two inputs that meet.
//!
//! Bytes are preceded by how many they are, so that no two sequences of them are one.
use siphasher::sip::SipHasher24;
use std::hash::Hasher;

/// The hash of what came so far.
#[derive(Clone, Copy)]
pub struct SipHash(SipHasher24);

impl SipHash {
    /// Of nothing, under a key.
    pub fn new([first, second]: [u64; 2]) -> Self {
        Self(SipHasher24::new_with_keys(first, second))
    }

    /// And a word.
    #[inline]
    pub fn word(mut self, word: u64) -> Self {
        self.0.write_u64(word);
        self
    }

    /// And some bytes.
    #[inline]
    pub fn bytes(self, bytes: &[u8]) -> Self {
        self.word(bytes.len() as u64).fixed(bytes)
    }

    /// And bytes whose number is known from elsewhere.
    #[inline]
    pub fn fixed(mut self, bytes: &[u8]) -> Self {
        self.0.write(bytes);
        self
    }

    /// The hash of all of it.
    #[inline]
    pub fn finish(self) -> u64 {
        self.0.finish()
    }
}
