//! One slice, which is locked, replaced by rows that are known to be of it.
use super::rows::{Hashing, RowSetHash};
use super::slice::Slice;
use super::{truncate, turns, write};
use crate::error::Report;
use crate::payload::source::Source;
use crate::pg::call::arguments::Arguments;
use crate::pg::rows::TupleStore;
use crate::pg::transaction::snapshot::{FreshSnapshot, LatestSnapshot, uses_transaction_snapshot};
use crate::stats::{FormScope, Rows};
use crate::target::{OpenRelation, Target};
use crate::write::transmission;
use std::rc::Rc;

/// What was done.
pub struct OverwriteCounts {
    pub deleted: i64,
    pub inserted: i64,
    pub unchanged: bool,
}

impl OverwriteCounts {
    /// Slice and source were equal.
    const UNCHANGED: Self = Self {
        deleted: 0,
        inserted: 0,
        unchanged: true,
    };
}

/// Opens the table whose rows are replaced.
///
/// # Errors
/// 0A000 for one with rules; 0A000 and 25001 where overwrites could not take turns; and as
/// `Target::open_wherever_to_write`.
pub fn open_target(arguments: &Arguments) -> (Rc<Target>, OpenRelation) {
    let table = arguments.oid(0, "target");
    turns::check_snapshot_to_come(table);
    let (target, relation) = Target::open_wherever_to_write(table);
    target.refuse_rules();
    write::refuse_delete_rules(&target, &relation);
    turns::check_turns(&target);
    (target, relation)
}

/// What a slice, which is locked, holds under the active snapshot.
pub struct StoredSlice<'s> {
    slice: &'s Slice<'s>,
    relation: &'s OpenRelation,
    hashing: &'s Hashing,
    rows: Source<'s>,
    pub hash: RowSetHash,
}

impl<'s> StoredSlice<'s> {
    /// # Errors
    /// 40001 if it is not what is committed.
    pub fn read(
        slice: &'s Slice<'s>,
        relation: &'s OpenRelation,
        source: &Source<'s>,
        hashing: &'s Hashing,
    ) -> Self {
        let (condition, parameters) = slice.condition();
        let rows = source.stored(relation, format!("WHERE {condition}"), parameters);
        let _settings = transmission(slice.target);
        let hash = RowSetHash::of(hashing, &rows);
        // Another server keeps to the snapshot that it has.
        if uses_transaction_snapshot() && !slice.target.foreign {
            let _latest = LatestSnapshot::push();
            if RowSetHash::of(hashing, &rows) != hash {
                let target = slice.target;
                Report::could_not_serialize(&target.schema, &target.name).raise()
            }
        }
        Self {
            slice,
            relation,
            hashing,
            rows,
            hash,
        }
    }

    /// Replaces it by rows of the source; the snapshot is the one that it was read under.
    pub fn replace(
        &self,
        source: &Source<'_>,
        rows: &mut TupleStore,
        snapshot: FreshSnapshot,
    ) -> OverwriteCounts {
        let Self {
            slice,
            relation,
            hashing,
            hash,
            ..
        } = self;
        let _settings = transmission(slice.target);
        let deleted = if hash.count == 0 {
            0
        } else if truncate::truncate_partitions(slice, relation, hashing, &self.rows, *hash) {
            hash.count as i64
        } else {
            write::delete(slice, relation, hashing, &self.rows, *hash)
        };
        drop(snapshot);
        let inserted = write::insert(slice.target, source, rows);
        let counts = FormScope::recorder(slice.target.oid);
        counts.add(Rows::Deleted, deleted);
        counts.add(Rows::Inserted, inserted);
        OverwriteCounts {
            deleted,
            unchanged: hash.count == 0 && rows.len() == 0,
            inserted,
        }
    }

    /// Leaves it as it is, since the source is equal.
    pub fn leave(&self) -> OverwriteCounts {
        let counts = FormScope::recorder(self.slice.target.oid);
        counts.add(Rows::Duplicates, self.hash.count as i64);
        OverwriteCounts::UNCHANGED
    }
}
