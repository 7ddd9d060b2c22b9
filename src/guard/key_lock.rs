//! The lock on a key that is about to go in.
//!
//! A heavyweight lock of the server, under a tag of our own: deadlocks are
//! detected, waits end with `lock_timeout` and cancellation, and `pg_locks`
//! shows them (`locktype` advisory, `objsubid` 29), but not which key it is: see
//! [`secret`].
//!
//! Keys that are equal have one hash, also where they are written in several ways (1.0 and
//! 1.00). What is hashed of a value is the value itself, if equal ones have one image; else
//! its type's extended hash, under a seed that is secret, too, and the table's own. Two keys
//! whose hashes a type lets meet under every seed share a lock, which is slower and as safe:
//! they are keys of one table, and who may insert one may insert the other.
use crate::pg::hash::siphash::SipHash;
use crate::pg::transaction::locks::LockSubject;
use crate::pg::value::comparison::HashInput;
use crate::secret;
use crate::target::{KeyColumn, Target, UniqueIndex};
use pgrx::pg_sys;

/// How the keys of one arbiter are hashed, for their locks.
pub struct KeyHasher {
    table: u64,
    /// By key column.
    pub(super) parts: Vec<HashInput>,
}

/// The secret's share in the hashes of a table's keys, as long as a statement runs.
#[derive(Clone, Copy)]
pub struct KeyHashSeeds {
    pub(super) start: SipHash,
    /// That of the types' own hashes.
    pub(super) types: pg_sys::Datum,
}

impl KeyHashSeeds {
    /// Those of a guard that locks no key.
    pub fn without_secret() -> Self {
        Self {
            start: SipHash::new([0, 0]),
            types: pg_sys::Datum::from(0u64),
        }
    }
}

/// What of a key column's value is hashed. Where it is nothing, keys that differ in the column alone
/// share a lock.
fn hash_input(target: &Target, key: &KeyColumn) -> HashInput {
    let column = target.column(key.column);
    // Where names or padded characters are equal, what follows their end may differ.
    let padded = [pg_sys::BPCHAROID, pg_sys::NAMEOID].contains(&column.base_type());
    if !padded && key.operators.has_equal_image() {
        HashInput::of_image(key.storage)
    } else {
        HashInput::of_type(column.typid, key.operators.equality_function)
    }
}

impl KeyHasher {
    /// For the keys of a target, whichever partition they are in.
    pub fn new(target: &Target, arbiter: &UniqueIndex) -> Self {
        Self {
            table: u64::from(target.oid.to_u32()),
            parts: arbiter
                .keys
                .iter()
                .map(|key| hash_input(target, key))
                .collect(),
        }
    }

    /// What hashes begin with.
    pub fn seeds(&self) -> KeyHashSeeds {
        let (start, types) = secret::hash_and_seed(LockSubject::RowKey, self.table);
        KeyHashSeeds {
            start: start.word(self.table),
            types: pg_sys::Datum::from(types),
        }
    }
}
