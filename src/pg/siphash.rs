//! SipHash-2-4: a keyed hash of 64 bits, from which nobody without the key learns anything
//! of what was hashed, and for which nobody finds two inputs that meet.
//!
//! Aumasson and Bernstein, «SipHash: a fast short-input PRF» (2012). Input comes in words
//! of 64 bits, as the algorithm takes it; bytes are preceded by how many they are, so that
//! no two sequences of them are one.

/// The hash of what came so far.
#[derive(Clone, Copy)]
pub struct SipHash {
    state: [u64; 4],
    words: u64,
}

impl SipHash {
    /// Of nothing, under a key.
    pub fn new(key: [u64; 2]) -> Self {
        Self {
            state: [
                key[0] ^ 0x736f_6d65_7073_6575,
                key[1] ^ 0x646f_7261_6e64_6f6d,
                key[0] ^ 0x6c79_6765_6e65_7261,
                key[1] ^ 0x7465_6462_7974_6573,
            ],
            words: 0,
        }
    }

    /// And a word.
    #[inline]
    pub fn word(mut self, word: u64) -> Self {
        self.absorb(word);
        self.words = self.words.wrapping_add(1);
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
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self = self.word(u64::from_le_bytes(*word));
        }
        if !rest.is_empty() {
            let last = rest.iter().rev();
            self = self.word(last.fold(0, |word, byte| word << 8 | u64::from(*byte)));
        }
        self
    }

    /// The hash of all of it.
    #[inline]
    pub fn finish(mut self) -> u64 {
        // The last block holds the number of bytes, modulo 256, and no byte.
        self.absorb(self.words << 59);
        self.state[2] ^= 0xff;
        for _ in 0..4 {
            self.round();
        }
        self.state.iter().fold(0, |hash, part| hash ^ part)
    }

    #[inline]
    fn absorb(&mut self, word: u64) {
        self.state[3] ^= word;
        self.round();
        self.round();
        self.state[0] ^= word;
    }

    #[inline]
    fn round(&mut self) {
        let [mut v0, mut v1, mut v2, mut v3] = self.state;
        v0 = v0.wrapping_add(v1);
        v1 = v1.rotate_left(13) ^ v0;
        v0 = v0.rotate_left(32);
        v2 = v2.wrapping_add(v3);
        v3 = v3.rotate_left(16) ^ v2;
        v0 = v0.wrapping_add(v3);
        v3 = v3.rotate_left(21) ^ v0;
        v2 = v2.wrapping_add(v1);
        v1 = v1.rotate_left(17) ^ v2;
        v2 = v2.rotate_left(32);
        self.state = [v0, v1, v2, v3];
    }
}
