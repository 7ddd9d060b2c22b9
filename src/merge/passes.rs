//! Payloads that do not all name the same columns.
//!
//! The latest under a key does not replace the others: it leaves columns out, and of these the
//! latest payload counts that names them. So they are merged one after the other, the earliest
//! first, in as many passes as a key needs, as if they had been sent in that order. A payload is
//! superseded if later ones name all its columns, or one of them deletes. So a key has at most as
//! many payloads left as the table has columns.
use super::latest::LatestOrder;
use super::round::{MergeCounts, StoredColumns};
use crate::payload::row::{RowLayout, same_key};
use crate::pg::rows::{Slot, TupleStore};
use crate::write::{SortedRows, WriteContext};

/// The payloads under one key that are not superseded so far, the latest first.
struct KeyPayloads<'a> {
    context: &'a WriteContext<'a>,
    latest: &'a LatestOrder<'a>,
    rows: Vec<Slot>,
    superseded: i64,
}

/// Sorts payloads, which come in key order, into passes, each with a key at most once and in key
/// order. Counts those that are superseded.
pub fn into_passes(
    context: &WriteContext<'_>,
    latest: &LatestOrder<'_>,
    mut rows: SortedRows,
    counts: &mut MergeCounts,
) -> Vec<SortedRows> {
    let mut of_key = KeyPayloads {
        context,
        latest,
        rows: Vec::new(),
        superseded: 0,
    };
    let mut passes = Vec::new();
    let mut stored = StoredColumns::of(context.target);
    let mut free = Vec::new();
    while let Some(row) = rows.next(context.target, free.pop()) {
        pgrx::check_for_interrupts!();
        let first = of_key.rows.first();
        if first.is_some_and(|first| !same_key(context.arbiter, first, &row)) {
            free.extend(of_key.give(&mut passes, &mut stored));
        }
        of_key.add(row);
    }
    drop(of_key.give(&mut passes, &mut stored));
    counts.superseded += of_key.superseded;
    passes.into_iter().map(SortedRows::from_store).collect()
}

impl KeyPayloads<'_> {
    /// Adds one more payload, and drops those that are superseded now.
    ///
    /// # Errors
    /// 21000 if it differs from another one, and nothing says which is the latest.
    fn add(&mut self, row: Slot) {
        let scratch = &self.context.scratch;
        let later = scratch.scope(|| {
            let others = self.rows.iter();
            others
                .filter(|other| !self.latest.supersedes(&row, other))
                .count()
        });
        scratch.reset();
        self.rows.insert(later, row);
        if self.rows.len() > 1 {
            self.drop_superseded();
        }
    }

    fn drop_superseded(&mut self) {
        let (context, latest) = (self.context, self.latest);
        let mut covered = vec![false; context.target.columns.len()];
        context.arbiter.columns().for_each(|c| covered[c] = true);
        let before = self.rows.len();
        let mut number = 0;
        self.rows.retain(|row| {
            number += 1;
            if latest.deletes(row) {
                let counts = number == 1 || covered.contains(&false);
                covered.fill(true);
                return counts;
            }
            let named = &context.shapes[RowLayout::of(context.target).shape(row)].named;
            let counts = number == 1 || named.iter().any(|c| !covered[*c]);
            named.iter().for_each(|c| covered[*c] = true);
            counts
        });
        self.superseded += (before - self.rows.len()) as i64;
    }

    /// Puts them into the passes, the earliest first. Gives the slots back.
    fn give(
        &mut self,
        passes: &mut Vec<TupleStore>,
        stored: &mut StoredColumns,
    ) -> impl Iterator<Item = Slot> + '_ {
        // A delete that a later payload follows would leave nothing of the stored row.
        if self.rows.len() > 1 && self.rows.last().is_some_and(|row| self.latest.deletes(row)) {
            self.rows.pop();
            self.superseded += 1;
        }
        for (i, row) in self.rows.iter().rev().enumerate() {
            if i == passes.len() {
                passes.push(TupleStore::new(self.context.target.row_desc()));
            }
            stored.hand_on(row, &mut |row| passes[i].put(row));
        }
        self.rows.drain(..)
    }
}
