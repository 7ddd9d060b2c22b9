//! The sort key of a text: what a collation that makes different texts equal has in its place.
//!
//! Equal texts have one sort key and others have another, so it is as good as a canonical form.
//! The server hashes it, too, for a hash join over such a column. It depends on the version of
//! the library that knows the collation, as the equality itself does.
//!
//! PostgreSQL 15 makes sort keys inside of its hash functions only, and gives nobody the key.
use pgrx::pg_sys;
use std::collections::HashSet;

#[cfg(not(feature = "pg15"))]
pub use since_16::SortKey;

#[cfg(feature = "pg15")]
pub use in_15::SortKey;

/// Whether the digest of a type under a collation contains sort keys, in whatever depth.
///
/// # Safety
/// An existing type, and a collation or `InvalidOid`.
pub unsafe fn is_in(typid: pg_sys::Oid, collation: pg_sys::Oid) -> bool {
    // SAFETY: the caller's promise.
    unsafe { is_within(typid, collation, &mut HashSet::new()) }
}

/// The same. A type that was `seen` under the collation is not asked again, in however many places it is.
///
/// # Safety
/// As [`is_in`].
unsafe fn is_within(
    typid: pg_sys::Oid,
    collation: pg_sys::Oid,
    seen: &mut HashSet<(pg_sys::Oid, pg_sys::Oid)>,
) -> bool {
    if !seen.insert((typid, collation)) {
        return false;
    }
    // SAFETY: the caller's promise; look-ups for existing types. Attributes are read while
    // their descriptor is pinned.
    unsafe {
        pg_sys::check_stack_depth();
        let base = pg_sys::getBaseType(typid);
        if SortKey::of(base, collation).is_some() {
            return true;
        }
        let member_of = |range| {
            let entry = pg_sys::lookup_type_cache(range, pg_sys::TYPECACHE_RANGE_INFO as i32);
            ((*(*entry).rngelemtype).type_id, (*entry).rng_collation)
        };
        let members = match pg_sys::get_typtype(base) as u8 {
            pg_sys::TYPTYPE_RANGE => vec![member_of(base)],
            pg_sys::TYPTYPE_MULTIRANGE => vec![member_of(pg_sys::get_multirange_range(base))],
            pg_sys::TYPTYPE_COMPOSITE => attributes(base),
            _ => match pg_sys::get_element_type(base) {
                pg_sys::InvalidOid => Vec::new(),
                element => vec![(element, collation)],
            },
        };
        members
            .into_iter()
            .any(|(typid, collation)| is_within(typid, collation, seen))
    }
}

/// Types and collations of the attributes of a row type.
///
/// # Safety
/// An existing composite type.
unsafe fn attributes(typid: pg_sys::Oid) -> Vec<(pg_sys::Oid, pg_sys::Oid)> {
    // SAFETY: the caller's promise; the descriptor is a copy.
    unsafe {
        let desc = pg_sys::lookup_rowtype_tupdesc_copy(typid, -1);
        (0..(*desc).natts)
            .map(|i| crate::pg::ffi::attribute(desc, i))
            .filter(|attribute| !attribute.attisdropped)
            .map(|attribute| (attribute.atttypid, attribute.attcollation))
            .collect()
    }
}

#[cfg(not(feature = "pg15"))]
mod since_16 {
    use crate::digest::document::content_of;
    use crate::digest::writer::{Writer, tag};
    use crate::pg::ffi::{self, unguarded::Locale};
    use pgrx::pg_sys;
    use std::{ptr, slice};

    /// How a text is written by its sort key.
    pub struct SortKey {
        /// Of the server's, which keeps it as long as the session.
        locale: Locale,
        /// Trailing blanks are none.
        blanks: bool,
    }

    impl SortKey {
        /// That of a text type under a collation; None if the characters themselves count.
        ///
        /// # Safety
        /// An existing type, and a collation or `InvalidOid`.
        pub unsafe fn of(typid: pg_sys::Oid, collation: pg_sys::Oid) -> Option<Self> {
            let text = [pg_sys::TEXTOID, pg_sys::VARCHAROID, pg_sys::BPCHAROID];
            if !text.contains(&typid) || collation == pg_sys::InvalidOid {
                return None;
            }
            // SAFETY: the caller's promise; the guard holds nothing.
            unsafe {
                (!pg_sys::get_collation_isdeterministic(collation)).then(|| Self {
                    locale: ffi::guard(|| ffi::unguarded::pg_newlocale_from_collation(collation)),
                    blanks: typid == pg_sys::BPCHAROID,
                })
            }
        }

        /// Writes it.
        ///
        /// # Safety
        /// A non-null text. Runs inside `ffi::guard`.
        pub unsafe fn write(&self, value: pg_sys::Datum, writer: &mut Writer) {
            // SAFETY: the caller's promise. The server writes no more than it is told, and
            // gives the length of the whole key, without the NUL that it puts behind it.
            unsafe {
                let text = ffi::unguarded::pg_detoast_datum_packed(value.cast_mut_ptr());
                let text = content_of(pg_sys::Datum::from(text));
                let length = match text.iter().rposition(|byte| *byte != b' ') {
                    last if self.blanks => last.map_or(0, |last| last + 1),
                    _ => text.len(),
                };
                let text = text.as_ptr().cast();
                let key = |to, room| {
                    ffi::unguarded::pg_strnxfrm(to, room, text, length as isize, self.locale)
                };
                let room = key(ptr::null_mut(), 0) + 1;
                let buffer = ffi::unguarded::palloc(room);
                let length = key(buffer.cast(), room).min(room - 1);
                writer.bytes(tag::SORT_KEY, slice::from_raw_parts(buffer.cast(), length));
            }
        }
    }
}

#[cfg(feature = "pg15")]
mod in_15 {
    use crate::digest::writer::Writer;
    use pgrx::pg_sys;

    /// There is none.
    pub enum SortKey {}

    impl SortKey {
        /// None.
        ///
        /// # Safety
        /// None is asked for.
        pub unsafe fn of(_typid: pg_sys::Oid, _collation: pg_sys::Oid) -> Option<Self> {
            None
        }

        /// Is never called.
        ///
        /// # Safety
        /// None is asked for.
        pub unsafe fn write(&self, _value: pg_sys::Datum, _writer: &mut Writer) {
            match *self {}
        }
    }
}
