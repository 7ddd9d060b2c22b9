//! SHA-256.
use pgrx::pg_sys;
use sha2::{Digest, Sha256};

/// The SHA-256 of some bytes. Not by core, whose way to OpenSSL takes longer than the
/// hash of a row.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// A bytea, in the current context.
pub fn to_bytea(bytes: &[u8]) -> pg_sys::Datum {
    // SAFETY: as many bytes as are copied; a bytea is laid out as a text.
    unsafe {
        let bytea = pg_sys::cstring_to_text_with_len(bytes.as_ptr().cast(), bytes.len() as i32);
        pg_sys::Datum::from(bytea)
    }
}
