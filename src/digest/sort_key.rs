//! The sort key of a text: what a collation that makes different texts equal has in its place.
//!
//! Equal texts have one sort key and others have another, so it is as good as a canonical form.
//! The server hashes it, too, for a hash join over such a column. It depends on the version of
//! the library that knows the collation, as the equality itself does.
//!
//! PostgreSQL 15 makes sort keys inside of its hash functions only, and gives nobody the key.
use crate::pg::backend::check_stack_depth;
use crate::pg::catalog::row_type::attribute_types;
use crate::pg::catalog::types;
use pgrx::pg_sys;
use std::collections::HashSet;

#[cfg(not(feature = "pg15"))]
pub use since_16::SortKey;

#[cfg(feature = "pg15")]
pub use in_15::SortKey;

/// Whether the digest of a type under a collation, or `InvalidOid`, contains sort keys, in whatever
/// depth.
pub fn is_in(typid: pg_sys::Oid, collation: pg_sys::Oid) -> bool {
    is_within(typid, collation, &mut HashSet::new())
}

/// The same. A type that was `seen` under the collation is not asked again, in however many places
/// it is.
fn is_within(
    typid: pg_sys::Oid,
    collation: pg_sys::Oid,
    seen: &mut HashSet<(pg_sys::Oid, pg_sys::Oid)>,
) -> bool {
    check_stack_depth();
    if !seen.insert((typid, collation)) {
        return false;
    }
    let base = types::base(typid);
    if SortKey::of(base, collation).is_some() {
        return true;
    }
    let members = match types::kind(base) {
        pg_sys::TYPTYPE_RANGE => Vec::from_iter(types::range_bounds(base)),
        pg_sys::TYPTYPE_MULTIRANGE => types::range_of_multirange(base)
            .and_then(types::range_bounds)
            .into_iter()
            .collect(),
        pg_sys::TYPTYPE_COMPOSITE => attribute_types(base),
        _ => Vec::from_iter(types::element(base).map(|element| (element, collation))),
    };
    members
        .into_iter()
        .any(|(typid, collation)| is_within(typid, collation, seen))
}

#[cfg(not(feature = "pg15"))]
mod since_16 {
    use crate::pg::value::comparison::LooseCollation;
    use pgrx::pg_sys;

    /// How a text is written by its sort key.
    pub struct SortKey {
        collation: LooseCollation,
        /// Trailing blanks are none.
        blanks: bool,
    }

    impl SortKey {
        /// That of a text type under a collation, or `InvalidOid`; None if the characters
        /// themselves count.
        pub fn of(typid: pg_sys::Oid, collation: pg_sys::Oid) -> Option<Self> {
            let text = [pg_sys::TEXTOID, pg_sys::VARCHAROID, pg_sys::BPCHAROID];
            if !text.contains(&typid) {
                return None;
            }
            Some(Self {
                collation: LooseCollation::find(collation)?,
                blanks: typid == pg_sys::BPCHAROID,
            })
        }

        /// The collation that gives the key.
        pub fn collation(&self) -> &LooseCollation {
            &self.collation
        }

        /// What of a text counts.
        pub fn significant<'t>(&self, text: &'t [u8]) -> &'t [u8] {
            let end = match text.iter().rposition(|byte| *byte != b' ') {
                last if self.blanks => last.map_or(0, |last| last + 1),
                _ => text.len(),
            };
            text.get(..end).unwrap_or_default()
        }
    }
}

#[cfg(feature = "pg15")]
mod in_15 {
    use pgrx::pg_sys;

    /// There is none.
    pub enum SortKey {}

    impl SortKey {
        /// None.
        pub fn of(_typid: pg_sys::Oid, _collation: pg_sys::Oid) -> Option<Self> {
            None
        }
    }
}
