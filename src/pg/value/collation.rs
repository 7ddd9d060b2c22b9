//! Collations that make different texts equal, and the sort keys that stand for their texts.
//!
//! PostgreSQL 15 makes sort keys inside of its hash functions only, and gives nobody the key.
use crate::pg::catalog::types;
use crate::pg::ffi::{self, unguarded::Locale};
use pgrx::pg_sys;
use std::{ptr, slice};

/// A collation that is not deterministic.
pub struct LooseCollation {
    /// Of the server's, which keeps it as long as the session.
    locale: Locale,
}

impl LooseCollation {
    /// A collation; None if it is deterministic, or `InvalidOid`.
    ///
    /// # Errors
    /// XX000, in core's words, if the collation is gone.
    pub fn find(collation: pg_sys::Oid) -> Option<Self> {
        if collation == pg_sys::InvalidOid || types::is_deterministic(collation) {
            return None;
        }
        // SAFETY: a look-up by number, with core's error for a collation that is gone; the guard
        // holds nothing but the number.
        let locale =
            unsafe { ffi::guard(|| ffi::unguarded::pg_newlocale_from_collation(collation)) };
        Some(Self { locale })
    }

    /// The sort key of a text in the server's encoding, in the current memory. Equal texts have
    /// one, and others have another.
    ///
    /// # Safety
    /// Runs inside `ffi::guard`; the current memory outlives `'k`.
    pub unsafe fn sort_key_unguarded<'k>(&self, text: &[u8]) -> &'k [u8] {
        let (begin, length) = (text.as_ptr().cast(), text.len() as isize);
        // SAFETY: a locale of the server's, and a text with its length. The server writes no more
        // than it is told, and gives the length of the whole key, without the NUL that it puts
        // behind it.
        unsafe {
            let key = |to, room| ffi::unguarded::pg_strnxfrm(to, room, begin, length, self.locale);
            let room = key(ptr::null_mut(), 0) + 1;
            let buffer = ffi::unguarded::palloc(room);
            let length = key(buffer.cast(), room).min(room - 1);
            slice::from_raw_parts(buffer.cast(), length)
        }
    }
}
