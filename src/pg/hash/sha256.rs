//! SHA-256.
use pgrx::pg_sys;
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

/// A bytea, in the current context.
pub fn to_bytea(bytes: &[u8]) -> pg_sys::Datum {
    // SAFETY: as many bytes as are copied; a bytea is laid out as a text.
    unsafe {
        let bytea = pg_sys::cstring_to_text_with_len(bytes.as_ptr().cast(), bytes.len() as i32);
        pg_sys::Datum::from(bytea)
    }
}
