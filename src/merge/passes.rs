//! Payloads that do not all name the same columns.
//!
//! The latest under a key does not replace the others: it leaves columns out, and of these the
//! latest payload counts that names them. So they are merged one after the other, the earliest
//! first, in as many passes as a key needs, as if they had been sent in that order. Payloads of the
//! same time are one that has the columns of all. It is superseded if later ones name all its
//! columns, or one of them deletes; and of its own payloads those whose columns later ones of them
//! name. So a key has at most as many times left as the table has columns, and each of them as many
//! payloads.
use super::latest::LatestOrder;
use super::round::{MergeCounts, StoredColumns, check_is_outside};
use crate::error::RowOrigin;
use crate::payload::row::{Mark, RowLayout, same_key};
use crate::payload::shape::Shape;
use crate::pg::memory::Scratch;
use crate::pg::rows::{RowBuilder, Slot, TupleStore};
use crate::target::{Target, UniqueIndex};
use crate::write::SortedRows;
use std::collections::HashMap;

/// Sorts payloads into passes.
pub struct Passes<'a, 't> {
    target: &'a Target,
    arbiter: &'a UniqueIndex,
    latest: &'a mut LatestOrder<'t>,
    /// Those of the payloads; the shapes of several that are one are added.
    shapes: &'a mut Vec<Shape>,
    /// The latter, by the columns that they name, in order.
    joined: HashMap<Vec<usize>, usize>,
    /// The payloads under one key that are not superseded so far, the latest first.
    rows: Vec<Slot>,
    passes: Vec<TupleStore>,
    stored: StoredColumns,
    builder: RowBuilder,
    superseded: i64,
}

impl<'a, 't> Passes<'a, 't> {
    /// None yet.
    pub fn new(
        target: &'a Target,
        arbiter: &'a UniqueIndex,
        latest: &'a mut LatestOrder<'t>,
        shapes: &'a mut Vec<Shape>,
    ) -> Self {
        Self {
            target,
            arbiter,
            latest,
            shapes,
            joined: HashMap::new(),
            rows: Vec::new(),
            passes: Vec::new(),
            stored: StoredColumns::of(target),
            builder: RowBuilder::new(target.row_desc()),
            superseded: 0,
        }
    }

    /// Sorts payloads, which come in key order, into passes, each with a key at most once and in
    /// key order. Counts those that are superseded.
    ///
    /// # Errors
    /// 21000 if two differ, and nothing says which is the latest.
    pub fn of(mut self, mut rows: SortedRows, counts: &mut MergeCounts) -> Vec<SortedRows> {
        let scratch = Scratch::in_current(c"pg_idempotent passes");
        let mut free = Vec::new();
        while let Some(row) = rows.next(self.target, free.pop()) {
            pgrx::check_for_interrupts!();
            match RowLayout::of(self.target).mark(&row) {
                Mark::Outside => {
                    // It has no key: it goes into the first pass as it is.
                    self.put(0, &row);
                    free.push(row);
                    continue;
                }
                Mark::DeleteOutside => {
                    let origin = RowOrigin::Payloads;
                    check_is_outside(self.target, self.arbiter, self.shapes, &row, origin);
                    counts.unchanged += 1;
                    free.push(row);
                    continue;
                }
                _ => {}
            }
            let first = self.rows.first();
            if first.is_some_and(|first| !same_key(self.arbiter, first, &row)) {
                self.give();
                free.append(&mut self.rows);
            }
            self.add(row, &scratch);
        }
        self.give();
        counts.superseded += self.superseded;
        let passes = self.passes.into_iter();
        passes.map(SortedRows::from_store).collect()
    }

    /// Adds one more payload, and drops those that are superseded now.
    fn add(&mut self, row: Slot, scratch: &Scratch) {
        let later = scratch.scope(|| {
            let others = self.rows.iter();
            others
                .filter(|other| !self.latest.supersedes(&row, other))
                .count()
        });
        scratch.reset();
        self.rows.insert(later, row);
        if self.rows.len() > 1 {
            scratch.scope(|| self.drop_superseded());
            scratch.reset();
        }
    }

    /// Payloads of the same time stay or go together, but for those that others of them supersede:
    /// it is as one that they are compared with what is stored.
    fn drop_superseded(&mut self) {
        let mut key = vec![false; self.target.columns.len()];
        self.arbiter.columns().for_each(|c| key[c] = true);
        let mut covered = key.clone();
        let mut kept = Vec::with_capacity(self.rows.len());
        while let Some(latest) = self.rows.get(kept.len()) {
            let rest = &self.rows[kept.len()..];
            let same_time = |row: &&Slot| self.latest.have_same_time(row, latest);
            let same_time = &rest[..rest.iter().take_while(same_time).count()];
            let counts = kept.is_empty() || same_time.iter().any(|row| self.adds(row, &covered));
            let mut within = key.clone();
            for row in same_time {
                kept.push(counts && (kept.is_empty() || self.adds(row, &within)));
                self.cover(row, &mut within);
                self.cover(row, &mut covered);
            }
        }
        let before = self.rows.len();
        let mut kept = kept.into_iter();
        self.rows.retain(|_| kept.next() == Some(true));
        self.superseded += (before - self.rows.len()) as i64;
    }

    /// Whether a payload says anything of columns that are not covered.
    fn adds(&self, row: &Slot, covered: &[bool]) -> bool {
        match self.latest.deletes(row) {
            true => covered.contains(&false),
            false => self.named(row).iter().any(|c| !covered[*c]),
        }
    }

    /// The columns of which a payload decides are covered.
    fn cover(&self, row: &Slot, covered: &mut [bool]) {
        match self.latest.deletes(row) {
            true => covered.fill(true),
            false => self.named(row).iter().for_each(|c| covered[*c] = true),
        }
    }

    /// The columns that a payload names.
    fn named(&self, row: &Slot) -> &[usize] {
        &self.shapes[RowLayout::of(self.target).shape(row)].named
    }

    /// Puts the payloads of a key into the passes, the earliest first.
    fn give(&mut self) {
        let mut end = self.rows.len();
        // As elsewhere, a delete that a later payload supersedes has no effect.
        if end > 1 && self.latest.deletes(&self.rows[end - 1]) {
            self.superseded += 1;
            end -= 1;
        }
        let mut pass = 0;
        while end > 0 {
            let last = &self.rows[end - 1];
            let same_time = |row: &&Slot| self.latest.have_same_time(row, last);
            let begin = end - self.rows[..end].iter().rev().take_while(same_time).count();
            if end - begin == 1 {
                let store = Self::pass(&mut self.passes, self.target, pass);
                self.stored.hand_on(last, &mut |row| store.put(row));
            } else {
                self.give_joined(begin, end, pass);
            }
            pass += 1;
            end = begin;
        }
    }

    /// Puts a payload into a pass.
    fn put(&mut self, pass: usize, row: &Slot) {
        let store = Self::pass(&mut self.passes, self.target, pass);
        self.stored.hand_on(row, &mut |row| store.put(row));
    }

    /// The rows of a pass, which begins behind the others if it is new.
    fn pass<'p>(
        passes: &'p mut Vec<TupleStore>,
        target: &Target,
        pass: usize,
    ) -> &'p mut TupleStore {
        if pass == passes.len() {
            passes.push(TupleStore::new(target.row_desc()));
        }
        &mut passes[pass]
    }

    /// Puts payloads of the same time into a pass, as one.
    fn give_joined(&mut self, begin: usize, end: usize, pass: usize) {
        let layout = RowLayout::of(self.target);
        let shapes = self.rows[begin..end].iter().map(|row| layout.shape(row));
        let shapes: Vec<usize> = shapes.collect();
        let shape = self.joined_shape(&shapes);
        let rows = &self.rows[begin..end];
        let mut joined = self.builder.start();
        // Of a column that several name, the latest counts.
        for (row, shape) in rows.iter().zip(&shapes).rev() {
            let named = self.shapes[*shape].named.iter().copied();
            let columns = named.chain(self.arbiter.keys.iter().map(|key| key.column));
            columns.for_each(|c| joined.set(c, row.value(c)));
        }
        layout.set(&mut joined, layout.ordinal(&rows[0]), shape, Mark::Pending);
        Self::pass(&mut self.passes, self.target, pass).put(joined.finish());
        self.superseded += (end - begin) as i64 - 1;
    }

    /// The shape that names the columns of all of these.
    fn joined_shape(&mut self, shapes: &[usize]) -> usize {
        let all = |columns: fn(&Shape) -> &Vec<usize>| {
            let columns = shapes.iter().flat_map(|i| columns(&self.shapes[*i]));
            let mut all: Vec<usize> = columns.copied().collect();
            all.sort_unstable();
            all.dedup();
            all
        };
        let (named, compared) = (all(|shape| &shape.named), all(|shape| &shape.compared));
        if let Some(known) = self.joined.get(&named) {
            return *known;
        }
        let shape = Shape {
            first: self.shapes[shapes[0]].first,
            named: named.clone(),
            compared,
        };
        self.latest.add_shape(&shape);
        self.shapes.push(shape);
        self.joined.insert(named, self.shapes.len() - 1);
        self.shapes.len() - 1
    }
}
