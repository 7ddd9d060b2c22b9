//! SHA-256.
use sha2::{Digest, Sha256};

/// The SHA-256 of some bytes. Not by core, whose way to OpenSSL takes longer than the
/// hash of a row.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in bytes.chunks(AT_ONCE) {
        pgrx::check_for_interrupts!();
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// So many bytes are hashed between two looks for an interrupt.
pub const AT_ONCE: usize = 1024 * 1024;
