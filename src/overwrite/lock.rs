//! The locks by which overwrites of slices that overlap take turns.
//!
//! They are held until the transaction ends. All tags are hashes under the database's secret.
//!
//! # Families
//! Slices of one table that name the same columns are a family. Slices of two families may
//! overlap, whatever they say of their columns, and so may those of a table and one of its
//! partitions. So each family has a number, and for each bit of that a lock is taken in one of two
//! modes, by what the bit is. Both modes go with themselves and not with each other: a family goes
//! with itself, and two families meet where their numbers differ. The whole table is a family of
//! one slice, which names no column.
//!
//! # Inside a family
//! A lock on the family's *form* is taken exclusively by a slice with two ranges or more, and
//! shared by all others: such a slice works alone. What is left are slices of values alone, and
//! slices of values with one range. Of these, two overlap in one of three ways.
//!
//! 1. *Values, values.* They overlap if they are equal. Each holds an exclusive lock on the hash
//!    of its values.
//! 2. *Two ranges of one column*, or *a range and a value in it*. They overlap only if they
//!    have the same values in all other columns. For a column and such values there is a tree, see
//!    [`super::cover`], whose nodes are locked: the tag of a node begins with the column and the
//!    hash of the other values. A range holds the nodes of its cover exclusively, and their
//!    ancestors shared. Values hold, for each column that could have a range, the path from
//!    the root to their leaf shared. If two ranges overlap, a node of the one's cover is a node of
//!    the other's, or an ancestor of one; if a range holds a value, a node of its cover is on the
//!    value's path. Either way one holds this node exclusively, and the other holds it, too.
//!    Where nothing overlaps, the two have shared nodes in common, or none.
//! 3. *Ranges of two columns* (this shop in a range of days; this day in a range of shops).
//!    Their nodes are of different trees. As families do, these meet in the bits of the
//!    number of the column that has the range.
//!
//! NULL is in no range: a value that is NULL has no path.
//!
//! Hashes of values are the same for equal ones, however these are written. Where a type of an
//! extension lets nobody say that, its column is in no hash, and more slices take turns.
//!
//! The tree has the integers of the type's width as its leaves, where the type is an integer, oid
//! or date, and microseconds where it is a timestamp: the order of the type is that of the integers. For any other type there is
//! only the root, so that a range takes turns with all slices beside it that are of its tree.
//!
//! # Why single calls do not deadlock
//! All take what they need in one order: bits of the family, form, bits of the column, nodes by
//! column, level and position, hash of the values. Nothing is taken twice in two modes: no node
//! of a cover is an ancestor of another one. A transaction of several calls can deadlock.
//!
//! # How many locks
//! 24 bits and the form. Then, for values: 1, and for each column the path, which is 17 for a type
//! of 32 bits, 33 for one of 64 (neighbours have most of theirs in common), 16 to 32 for a timestamp
//! (16 for the start of a day in UTC), 1 for others.
//! For a range: a bit where two columns are named, two where four are; the cover and its ancestors,
//! at most 6 and 2 a level: a month of days, be it of dates or of timestamps, has some 10 and 16, any
//! range of timestamps fewer than 250.
use super::cover::{Node, Tree};
use super::slice::{RangeColumn, Slice, may_have_range};
use crate::digest::encoding::part_without_canonical_form;
use crate::pg::catalog::relation::partition_root;
use crate::pg::hash::siphash::SipHash;
use crate::pg::transaction::locks::{LockSubject, acquire_until_commit};
use crate::remember::RowFingerprint;
use crate::secret;
use crate::target::Column;
use pgrx::pg_sys;

impl Slice<'_> {
    /// Waits for its turn: until the transaction ends, no other one overwrites this slice, or
    /// one that might overlap it.
    ///
    /// # Errors
    /// 55P03 after `lock_timeout`.
    pub fn lock(&self) {
        let named = self.named();
        let of_family = |subject| self.family_hash(subject, &named);
        let one = of_family(LockSubject::Slice);
        let root = partition_root(self.target.oid);
        let whole = secret::hash(LockSubject::Slices).word(u64::from(root.to_u32()));
        lock_bits(LockSubject::Slices, whole, one.finish(), FAMILY_BITS);

        let ranges = of_family(LockSubject::SliceRange);
        let form = match self.ranges.len() {
            0 | 1 => pg_sys::ShareLock,
            _ => pg_sys::ExclusiveLock,
        };
        acquire_until_commit(LockSubject::SliceRange, ranges.finish(), form);
        match self.ranges.as_slice() {
            [] => {
                let could_be_range = |c: &&usize| may_have_range(&self.target.columns[**c]);
                for c in named.iter().filter(could_be_range) {
                    self.lock_path(*c, self.tree(ranges, *c));
                }
                let slice = one.bytes(&self.values_but(None)).finish();
                acquire_until_commit(LockSubject::Slice, slice, pg_sys::ExclusiveLock);
            }
            [range] => {
                let number = named.iter().position(|c| *c == range.column);
                let number = number.expect("a slice names the columns of its ranges") as u64;
                let bits = u64::BITS - (named.len() as u64 - 1).leading_zeros();
                lock_bits(LockSubject::SliceRange, ranges, number, bits.into());
                self.lock_cover(*range, self.tree(ranges, range.column));
            }
            _ => (),
        }
    }

    /// Begins the hash of what is of this family. A slice of a partition is not the same as one of
    /// its parent.
    fn family_hash(&self, subject: LockSubject, named: &[usize]) -> SipHash {
        let root = partition_root(self.target.oid);
        let family = secret::hash(subject)
            .word(u64::from(root.to_u32()))
            .word(u64::from(self.target.oid.to_u32()));
        let names = named
            .iter()
            .map(|c| self.target.columns[*c].c_name.to_bytes());
        names.fold(family.word(named.len() as u64), SipHash::bytes)
    }

    /// The hash of its values, without those of one column. Columns in which equal values may have
    /// other hashes are left out, so that slices which differ in these alone take turns, too.
    fn values_but(&self, column: Option<usize>) -> [u8; 32] {
        let is_hashed = |c: &usize| {
            let typid = self.target.columns[*c].typid;
            Some(*c) != column && part_without_canonical_form(typid).is_none()
        };
        let others: Vec<usize> = self.columns.iter().copied().filter(is_hashed).collect();
        let values = RowFingerprint::new(self.target, &others);
        values.hash(self.target, |c| self.values.value(c))
    }

    /// Begins the hash of a node of the tree of a column.
    fn tree(&self, ranges: SipHash, column: usize) -> SipHash {
        let name = self.target.columns[column].c_name.to_bytes();
        ranges.bytes(name).bytes(&self.values_but(Some(column)))
    }

    fn lock_path(&self, column: usize, tree: SipHash) {
        if let Some(value) = self.values.get(column) {
            let leaves = Leaves::of(&self.target.columns[column]);
            for node in leaves.tree().path(leaves.at(value)) {
                lock_node(tree, node, pg_sys::ShareLock);
            }
        }
    }

    fn lock_cover(&self, range: RangeColumn, tree: SipHash) {
        let leaves = Leaves::of(&self.target.columns[range.column]);
        let from = self.values.get(range.column).map(|value| leaves.at(value));
        let to = self.ends.get(range.column);
        let to = to.filter(|_| !matches!(leaves, Leaves::None));
        let to = to.map_or(leaves.tree().size(), |value| u128::from(leaves.at(value)));
        for (node, in_cover) in leaves.tree().cover(from.unwrap_or(0), to) {
            let mode = if in_cover {
                pg_sys::ExclusiveLock
            } else {
                pg_sys::ShareLock
            };
            lock_node(tree, node, mode);
        }
    }
}

/// Locks each bit of a number, in one of two modes that do not go with each other.
fn lock_bits(subject: LockSubject, hash: SipHash, number: u64, bits: u64) {
    for bit in 0..bits {
        let mode = if number >> bit & 1 == 0 {
            pg_sys::ShareLock
        } else {
            pg_sys::RowExclusiveLock
        };
        acquire_until_commit(subject, hash.word(bit).finish(), mode);
    }
}

fn lock_node(tree: SipHash, node: Node, mode: u32) {
    let hash = tree.word(u64::from(node.level)).word(node.position);
    acquire_until_commit(LockSubject::SliceRange, hash.finish(), mode);
}

/// The tree of a type, and the leaves of its values.
#[derive(Clone, Copy)]
enum Leaves {
    /// The root is the only node.
    None,
    /// Integers of so many bits, from the lowest negative one on if they are signed.
    Integers { bits: u32, signed: bool },
    /// Microseconds.
    Moments,
}

impl Leaves {
    fn of(column: &Column) -> Self {
        let (bits, signed) = match column.base_type() {
            pg_sys::INT2OID => (16, true),
            pg_sys::INT4OID | pg_sys::DATEOID => (32, true),
            pg_sys::OIDOID => (32, false),
            pg_sys::INT8OID => (64, true),
            pg_sys::TIMESTAMPOID | pg_sys::TIMESTAMPTZOID => return Self::Moments,
            _ => return Self::None,
        };
        Self::Integers { bits, signed }
    }

    fn tree(self) -> Tree {
        match self {
            Self::None => Tree::of_bits(0),
            Self::Integers { bits, .. } => Tree::of_bits(bits),
            Self::Moments => Tree::OF_MICROSECONDS,
        }
    }

    /// The leaf of a value. What a datum has above the value's bits is not read.
    fn at(self, value: pg_sys::Datum) -> u64 {
        match self {
            Self::None => 0,
            Self::Integers { bits, signed } => {
                let value = (value.value() as u64) << (u64::BITS - bits);
                let lowest = u64::from(signed) << (u64::BITS - 1);
                (value ^ lowest) >> (u64::BITS - bits)
            }
            Self::Moments => {
                // -infinity comes before the first day.
                let moment = value.value() as i64;
                if moment < FIRST_DAY {
                    return 0;
                }
                (moment as u64)
                    .wrapping_sub(FIRST_DAY as u64)
                    .wrapping_add(DAY as u64)
            }
        }
    }
}

const DAY: i64 = 86_400_000_000;

/// No timestamp is earlier, but for -infinity: the start of the Julian period, in microseconds
/// before 2000 (`MIN_TIMESTAMP`).
const FIRST_DAY: i64 = -2_451_545 * DAY;

/// Two families have one number with a chance of 1 in 2^24; then they are told apart by
/// nothing.
const FAMILY_BITS: u64 = 24;
