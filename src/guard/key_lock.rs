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
use crate::pg::ffi;
use crate::pg::hash::siphash::SipHash;
use crate::pg::transaction::locks::LockSubject;
use crate::secret;
use crate::target::{KeyColumn, Target, UniqueIndex};
use pgrx::pg_sys;
use std::ffi::CStr;

/// How the keys of one arbiter are hashed, for their locks.
pub struct KeyHasher {
    table: u64,
    /// By key column.
    parts: Vec<KeyHashInput>,
}

/// The secret's share in the hashes of a table's keys, as long as a statement runs.
#[derive(Clone, Copy)]
pub struct KeyHashSeeds {
    start: SipHash,
    types: pg_sys::Datum,
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

/// What of a key column's value is hashed.
#[derive(Clone, Copy)]
enum KeyHashInput {
    /// A value that is passed as such: the bits that count.
    Bits(u64),
    /// So many bytes.
    Fixed(usize),
    /// A varlena.
    Bytes,
    /// A C string.
    Text,
    /// The type's extended hash, which goes with the arbiter's equality.
    Hash(*mut pg_sys::FmgrInfo),
    /// Nothing: keys that differ in the column alone share a lock.
    Nothing,
}

impl KeyHashInput {
    fn of(target: &Target, key: &KeyColumn) -> Self {
        let column = &target.columns[key.column];
        // Where names or padded characters are equal, what follows their end may differ.
        let padded = [pg_sys::BPCHAROID, pg_sys::NAMEOID].contains(&column.base_type());
        if !padded && key.operators.has_equal_image() {
            return match key.storage {
                (true, length) => Self::Bits(u64::MAX >> (64 - 8 * i32::from(length))),
                (false, -1) => Self::Bytes,
                (false, -2) => Self::Text,
                (false, length) => Self::Fixed(length as usize),
            };
        }
        let wanted = pg_sys::TYPECACHE_EQ_OPR | pg_sys::TYPECACHE_HASH_EXTENDED_PROC_FINFO;
        // SAFETY: entries of the type cache are never freed.
        unsafe {
            let entry = pg_sys::lookup_type_cache(column.typid, wanted as i32);
            let same_equality =
                pg_sys::get_opcode((*entry).eq_opr) == key.operators.equality_function;
            let function = &raw mut (*entry).hash_extended_proc_finfo;
            if same_equality && (*function).fn_oid != pg_sys::InvalidOid {
                Self::Hash(function)
            } else {
                Self::Nothing
            }
        }
    }

    /// # Safety
    /// A non-null value of the column. Runs inside `ffi::guard`.
    #[inline]
    unsafe fn put(
        self,
        hash: SipHash,
        value: pg_sys::Datum,
        collation: pg_sys::Oid,
        seed: pg_sys::Datum,
    ) -> SipHash {
        // SAFETY: the caller's promise; each arm has the storage that it treats.
        unsafe {
            match self {
                Self::Bits(mask) => hash.word(value.value() as u64 & mask),
                Self::Fixed(length) => {
                    let data = value.cast_mut_ptr::<u8>();
                    hash.fixed(std::slice::from_raw_parts(data, length))
                }
                Self::Bytes => {
                    let value = ffi::unguarded::pg_detoast_datum_packed(value.cast_mut_ptr());
                    let length = pgrx::varlena::varsize_any_exhdr(value);
                    let data = pgrx::varlena::vardata_any(value).cast::<u8>();
                    hash.bytes(std::slice::from_raw_parts(data, length))
                }
                Self::Text => hash.bytes(CStr::from_ptr(value.cast_mut_ptr()).to_bytes()),
                Self::Hash(function) => {
                    let value = ffi::unguarded::FunctionCall2Coll(function, collation, value, seed);
                    hash.word(value.value() as u64)
                }
                Self::Nothing => hash,
            }
        }
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
                .map(|key| KeyHashInput::of(target, key))
                .collect(),
        }
    }

    /// What hashes begin with.
    pub fn seeds(&self) -> KeyHashSeeds {
        KeyHashSeeds {
            start: secret::hash(LockSubject::RowKey).word(self.table),
            types: pg_sys::Datum::from(secret::seed(self.table)),
        }
    }

    /// The hash of a key.
    ///
    /// # Safety
    /// `key` gives values of the arbiter's columns. Runs inside `ffi::guard`.
    #[inline]
    pub unsafe fn hash_unguarded(
        &self,
        seeds: &KeyHashSeeds,
        arbiter: &UniqueIndex,
        key: impl Fn(usize) -> Option<pg_sys::Datum>,
    ) -> u64 {
        let mut hash = seeds.start;
        let mut nulls = 0u64;
        for (i, (key_column, part)) in arbiter.keys.iter().zip(&self.parts).enumerate() {
            match key(key_column.column) {
                None => nulls |= 1 << i,
                // SAFETY: the caller's promise.
                Some(value) => unsafe {
                    hash = part.put(hash, value, key_column.operators.collation, seeds.types);
                },
            }
        }
        if nulls != 0 {
            hash = hash.word(nulls);
        }
        hash.finish()
    }
}
