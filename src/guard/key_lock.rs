//! The lock on a key that is about to go in.
//!
//! A heavyweight lock of the server, under a tag of our own: deadlocks are
//! detected, waits end with `lock_timeout` and cancellation, and `pg_locks`
//! shows them (`locktype` advisory, `objsubid` 29).
use crate::pg::ffi;
use crate::target::{KeyColumn, Target, UniqueIndex};
use pgrx::pg_sys;

/// Hashes the keys of one arbiter, for their locks.
pub struct KeyTag {
    table: u64,
    /// By key column: the type's extended hash, which goes with the arbiter's
    /// equality. Without one the column adds nothing: keys that differ in it
    /// alone share a lock, which is slower and as safe.
    hashes: Vec<Option<*mut pg_sys::FmgrInfo>>,
}

impl KeyTag {
    /// For the keys of a target, whichever partition they are in.
    pub fn new(target: &Target, arbiter: &UniqueIndex) -> Self {
        let hash_of = |key: &KeyColumn| {
            let wanted = pg_sys::TYPECACHE_EQ_OPR | pg_sys::TYPECACHE_HASH_EXTENDED_PROC_FINFO;
            // SAFETY: entries of the type cache are never freed.
            unsafe {
                let typid = target.columns[key.column].typid;
                let entry = pg_sys::lookup_type_cache(typid, wanted as i32);
                let same_equality = pg_sys::get_opcode((*entry).eq_opr) == key.equality_function;
                let function = &raw mut (*entry).hash_extended_proc_finfo;
                (same_equality && (*function).fn_oid != pg_sys::InvalidOid).then_some(function)
            }
        };
        Self {
            table: u64::from(target.oid.to_u32()),
            hashes: arbiter.keys.iter().map(hash_of).collect(),
        }
    }

    /// The hash of a key.
    ///
    /// # Safety
    /// `key` gives values of the arbiter's columns. Runs inside `ffi::guard`.
    pub unsafe fn hash_unguarded(
        &self,
        arbiter: &UniqueIndex,
        key: impl Fn(usize) -> Option<pg_sys::Datum>,
    ) -> u64 {
        let mut hash = self.table;
        for (part, function) in arbiter.keys.iter().zip(&self.hashes) {
            let value = match (key(part.column), function) {
                (Some(value), Some(function)) => {
                    let seed = pg_sys::Datum::from(0i64);
                    // SAFETY: the extended hash of the value's type.
                    unsafe {
                        ffi::unguarded::FunctionCall2Coll(*function, part.collation, value, seed)
                    }
                    .value() as u64
                }
                _ => 0,
            };
            // As core's hash_combine64.
            hash ^= value
                .wrapping_add(0x49a0_f4dd_15e5_a8e3)
                .wrapping_add(hash << 54)
                .wrapping_add(hash >> 7);
        }
        hash
    }
}
