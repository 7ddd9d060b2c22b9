//! Remembering in a bytea: the SHA-256 of the kept columns.
//!
//! Values that are equal must have one digest, also where they are written in several
//! ways (1.0 and 1.00, two time zones, upper and lower case in citext), and others must
//! not, however they are nested. So what is digested is the canonical form of
//! `idempotent_digest` ([`crate::digest::encoding`]), made to go with the equality of the
//! columns (`compare`):
//! - json as the jsonb that it is, or its text if jsonb refuses it;
//! - a type without an equality, by which values are compared as they are stored, as its
//!   output function shows it, xml by its bytes;
//! - citext in lower case, text under a collation that makes different texts equal by its
//!   sort key ([`crate::digest::sort_key`]), and a type of an extension that has no better by
//!   its own hash.
//!
//! NULLs are left out, and columns go by their names in the order of these, so
//! that a column that is added later, or a restore in which columns change their
//! places, changes no digest.
//!
//! What is kept is a byte that names the version of all that, and the SHA-256. Digests of
//! the first version were the SHA-256 alone, of hashes of the values; nothing can be
//! verified by them any more. Those with sort keys have a version of their own: PostgreSQL 15
//! gives none, and has hashes in their place. So after an upgrade from there the one is not
//! taken for the other.
use crate::digest::row_encoder::ColumnEncoder;
use crate::digest::sort_key;
use crate::error::{Report, SqlState};
use crate::pg::value::comparison::Equality;
use crate::pg::value::sql_value::SqlValue;
use crate::target::Target;

/// The first byte of a digest,
const VERSION: u8 = 2;

/// and of one that contains sort keys.
const WITH_SORT_KEYS: u8 = 3;

/// How long one is.
const BYTES: usize = 33;

/// How the kept columns are digested.
pub struct RowFingerprint {
    columns: ColumnEncoder,
    /// Its first byte.
    version: u8,
}

impl RowFingerprint {
    /// For the kept columns of a target.
    pub fn new(target: &Target, kept: &[usize]) -> Self {
        let sorted = |c: &usize| {
            let column = &target.columns[*c];
            matches!(column.values.equality, Equality::Function(_))
                && sort_key::is_in(column.typid, column.collation)
        };
        Self {
            columns: ColumnEncoder::new(target, kept),
            version: if kept.iter().any(sorted) {
                WITH_SORT_KEYS
            } else {
                VERSION
            },
        }
    }

    /// The SHA-256 of a row, the same for equal rows.
    ///
    /// # Panics
    /// If a value is of another type than its column had when this was made.
    pub fn hash<'v>(&self, target: &Target, row: impl Fn(usize) -> SqlValue<'v>) -> [u8; 32] {
        self.hash_where(target, |_| true, row)
    }

    /// Likewise, with NULL in the columns that are not among these.
    pub fn hash_of<'v>(
        &self,
        target: &Target,
        columns: &[usize],
        row: impl Fn(usize) -> SqlValue<'v>,
    ) -> [u8; 32] {
        self.hash_where(target, |c| columns.contains(&c), row)
    }

    /// Likewise, with NULL in the columns that are not wanted.
    pub fn hash_where<'v>(
        &self,
        target: &Target,
        is_wanted: impl Fn(usize) -> bool,
        row: impl Fn(usize) -> SqlValue<'v>,
    ) -> [u8; 32] {
        let wanted = |c| is_wanted(c).then(|| row(c));
        self.columns.hash(target, wanted)
    }

    /// The digest that a SHA-256 is, with its version first.
    pub fn of_hash(&self, hash: &[u8; 32]) -> [u8; BYTES] {
        let mut bytes = [self.version; BYTES];
        let (_, rest) = bytes.split_at_mut(1);
        rest.copy_from_slice(hash);
        bytes
    }

    /// Whether two digests are the same.
    ///
    /// # Errors
    /// 55000 if they are not, and one of them is of another version: then nobody knows.
    pub fn same(&self, target: &Target, column: usize, a: SqlValue<'_>, b: SqlValue<'_>) -> bool {
        let same = a.has_same_content(b);
        let both_current = self.is_current(a) && self.is_current(b);
        if !same && !both_current {
            let column = &target.columns[column];
            Report::new(
                SqlState::ObjectNotInPrerequisiteState,
                format!(
                    "column \"{}\" remembers something that cannot be verified",
                    column.name
                ),
            )
            .detail("It holds no digest, or one of another version of the extension.")
            .hint("Set the column to NULL in such rows; then the stored columns are compared.")
            .table(&target.schema, &target.name)
            .column(column.name.clone())
            .raise()
        }
        same
    }

    /// Whether it is a digest of this version.
    pub fn is_current(&self, digest: SqlValue<'_>) -> bool {
        let digest = digest.to_bytes().unwrap_or_default();
        digest.len() == BYTES && digest.first() == Some(&self.version)
    }
}
