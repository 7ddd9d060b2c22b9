//! SHA-256, by core.
use pgrx::pg_sys;

/// The SHA-256 of some bytes.
pub fn sha256(bytes: &[u8]) -> Vec<u8> {
    let function = pg_sys::Oid::from(pg_sys::F_SHA256);
    // SAFETY: core's sha256(bytea), which gives a bytea.
    unsafe {
        let digest = pg_sys::OidFunctionCall1Coll(function, pg_sys::InvalidOid, to_bytea(bytes));
        let digest = digest.cast_mut_ptr::<pg_sys::varlena>();
        std::slice::from_raw_parts(
            pgrx::varlena::vardata_any(digest).cast::<u8>(),
            pgrx::varlena::varsize_any_exhdr(digest),
        )
        .to_vec()
    }
}

/// A bytea, in the current context.
pub fn to_bytea(bytes: &[u8]) -> pg_sys::Datum {
    // SAFETY: as many bytes as are copied; a bytea is laid out as a text.
    unsafe {
        let bytea = pg_sys::cstring_to_text_with_len(bytes.as_ptr().cast(), bytes.len() as i32);
        pg_sys::Datum::from(bytea)
    }
}
