//! The state of the aggregate: a set hash that stands up to chosen rows.
//!
//! This is LtHash (Bellare and Micciancio 1997; Lewi, Kim, Maykov and Weis 2019): a row is
//! expanded to a long vector of integers, and the vectors are added, lane by lane. A sum
//! depends on no order, counts a row as often as it comes, can be put together from parts,
//! and a row can be taken out again. Two multisets with one sum are a short solution of a
//! system of random linear equations, as in the lattice problem SIS.
//!
//! - *The vector.* The SHA-256 of the row is the key of ChaCha12, whose first 2048 bytes
//!   are 256 lanes of 64 bits. The first lane is 1 instead: it counts the rows.
//! - *As many bits as the paper has.* LtHash16 has 1024 lanes of 16 bits, 16384 bits as
//!   well, for which it gives at least 200 bits of security; Wagner's generalized
//!   birthday attack depends on that number alone, and takes 2^255 here. Two rows with one
//!   SHA-256 are the easier attack, with 2^128.
//! - *Wider lanes*, since rows may repeat. In lanes of 16 bits, 65536 copies of any row
//!   are nothing. Here it takes 2^64 of them. Repeated rows help an attacker by less than
//!   that, since lattice reduction may then look for longer vectors: with tables of N
//!   rows, for a solution whose coefficients are up to about N/1000. By the usual
//!   estimate (BKZ, 2^(0.292 b) for blocks of b) that takes more than 2^128 for tables of
//!   up to 2^30 rows, and rows that do not repeat do not help at all. This estimate is ours,
//!   not the paper's, which has lanes of 16 and 32 bits.
//! - *Twelve rounds* of ChaCha, of which the best attacks known reach seven, in an easier
//!   setting. Twenty would take half as long again for a row.
use chacha20::ChaCha12;
use chacha20::cipher::{KeyIvInit, StreamCipher};
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// The SHA-256 of one row.
pub type Hash = [u8; 32];

/// How many lanes there are.
const LANES: usize = 256;

/// How many bytes [`LtHash::to_bytes`] gives.
pub const BYTES: usize = LANES * size_of::<u64>();

/// What a digest begins with. Another way to make them has another.
const VERSION: &str = "v2";

/// The sum of the rows' vectors. Plain data, as long as a power of two: it lives in memory
/// of the server, and nobody drops it.
#[derive(Clone, PartialEq, Eq)]
pub struct LtHash {
    /// The first one counts the rows.
    lanes: [u64; LANES],
}

/// The vector of a row.
fn expand(hash: &Hash) -> [u64; LANES] {
    let mut bytes = [0; BYTES];
    ChaCha12::new(hash.into(), &[0; 12].into()).apply_keystream(&mut bytes);
    let mut lanes = lanes_of(&bytes);
    lanes[0] = 1;
    lanes
}

fn lanes_of(bytes: &[u8; BYTES]) -> [u64; LANES] {
    let mut lanes = [0; LANES];
    let (chunks, _) = bytes.as_chunks();
    for (lane, chunk) in lanes.iter_mut().zip(chunks) {
        *lane = u64::from_le_bytes(*chunk);
    }
    lanes
}

impl LtHash {
    /// Of no rows.
    pub const NONE: Self = Self { lanes: [0; LANES] };

    /// Adds a row.
    pub fn add(&mut self, hash: &Hash) {
        self.merge(&Self {
            lanes: expand(hash),
        });
    }

    /// Takes a row out that was added before.
    pub fn remove(&mut self, hash: &Hash) {
        for (lane, other) in self.lanes.iter_mut().zip(expand(hash)) {
            *lane = lane.wrapping_sub(other);
        }
    }

    /// Adds all rows of another.
    pub fn merge(&mut self, other: &Self) {
        for (lane, other) in self.lanes.iter_mut().zip(&other.lanes) {
            *lane = lane.wrapping_add(*other);
        }
    }

    /// For another process.
    pub fn to_bytes(&self) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        let (chunks, _) = bytes.as_chunks_mut();
        for (chunk, lane) in chunks.iter_mut().zip(self.lanes) {
            *chunk = lane.to_le_bytes();
        }
        bytes
    }

    /// What [`LtHash::to_bytes`] gave; None if it is that of something else.
    pub fn of_bytes(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            lanes: lanes_of(bytes.try_into().ok()?),
        })
    }

    /// The digest: its version, the number of rows, and the SHA-256 of all lanes in
    /// hexadecimal, with colons between them.
    pub fn to_text(&self) -> String {
        let [rows, ..] = self.lanes;
        let mut text = format!("{VERSION}:{rows}:");
        for byte in Sha256::digest(self.to_bytes()) {
            let _ = write!(text, "{byte:02x}");
        }
        text
    }
}
