//! Walks the rows of both sides, in the key's order, and tells where they deviate.
use super::deviation::{Deviation, Status};
use crate::compare::differing;
use crate::payload::row::{null_in_key, order_of_keys, same_key};
use crate::payload::shape::Shape;
use crate::pg::memory::Memory;
use crate::pg::rows::{Slot, TupleSort};
use crate::target::{StoredRow, Target, UniqueIndex};
use pgrx::pg_sys;
use std::cmp::Ordering;

/// One walk.
pub struct SortedMerge<'a> {
    target: &'a Target,
    arbiter: &'a UniqueIndex,
    shape: &'a Shape,
    /// Where the columns are in rows of the sorts.
    numbers: Vec<pg_sys::AttrNumber>,
    /// Takes the deviations.
    take: &'a mut dyn FnMut(&Deviation<'_>),
    /// How many more are wanted.
    wanted: u64,
    /// Reset for every row.
    scratch: Memory,
}

impl<'a> SortedMerge<'a> {
    /// For rows of this shape; so many deviations, the first ones, go to `take`.
    pub fn new(
        target: &'a Target,
        arbiter: &'a UniqueIndex,
        shape: &'a Shape,
        wanted: u64,
        take: &'a mut dyn FnMut(&Deviation<'_>),
    ) -> Self {
        Self {
            target,
            arbiter,
            shape,
            numbers: target.attnums_in_order(),
            take,
            wanted,
            scratch: Memory::in_current(c"pg_idempotent deviation"),
        }
    }

    /// Walks both sides to their ends, or until there are as many deviations as are wanted. Gives how
    /// many more would have been.
    ///
    /// A stored row may meet several rows of the source: each is judged. Of several that
    /// meet none, the first is told, and those that differ from it. Of several stored rows under one key,
    /// as a foreign table may have them, the first meets them, and the others are unexpected.
    pub fn run(mut self, mut stored: TupleSort, mut expected: TupleSort) -> u64 {
        let mut left = MergeSide::new(self.target);
        let mut right = MergeSide::new(self.target);
        left.next(&mut stored);
        right.next(&mut expected);
        let mut met = false;
        let mut missing: Option<Slot> = None;
        while self.wanted > 0 && (left.some || right.some) {
            pgrx::check_for_interrupts!();
            self.scratch.reset();
            match self.order(&left, &right) {
                Ordering::Less => {
                    if !met {
                        self.found(Status::Unexpected, Some(&left.slot), None, &[]);
                    }
                    met = false;
                    left.next(&mut stored);
                }
                Ordering::Greater => {
                    let first = missing
                        .as_ref()
                        .filter(|first| self.same_key(first, &right.slot));
                    if first.is_none_or(|first| !self.differing(first, &right.slot).is_empty()) {
                        self.found(Status::Missing, None, Some(&right.slot), &[]);
                    }
                    if first.is_none() {
                        let first = right.slot.to_stored();
                        first.deform();
                        missing = Some(first);
                    }
                    right.next(&mut expected);
                }
                Ordering::Equal => {
                    met = true;
                    let columns = self.differing(&left.slot, &right.slot);
                    if !columns.is_empty() {
                        let (stored, expected) = (Some(&left.slot), Some(&right.slot));
                        self.found(Status::Different, stored, expected, &columns);
                    }
                    right.next(&mut expected);
                }
            }
        }
        self.wanted
    }

    /// Which side has the lower key. A side at its end is above all; and of keys that
    /// are not equal because something in them is NULL, the stored one comes first.
    fn order(&self, left: &MergeSide, right: &MergeSide) -> Ordering {
        match (left.some, right.some) {
            (true, false) => return Ordering::Less,
            (false, _) => return Ordering::Greater,
            _ => {}
        }
        let order = || order_of_keys(self.arbiter, &left.slot, &right.slot);
        let order = self.scratch.scope(order);
        if order == Ordering::Equal && self.has_null_key(&left.slot) {
            return Ordering::Less;
        }
        order
    }

    /// Whether something in the key is NULL, with which no other key is equal.
    fn has_null_key(&self, row: &Slot) -> bool {
        null_in_key(self.target, self.arbiter, row).is_some()
    }

    fn same_key(&self, a: &Slot, b: &Slot) -> bool {
        let same = || same_key(self.arbiter, a, b);
        self.scratch.scope(same) && !self.has_null_key(b)
    }

    fn differing(&self, stored: &Slot, expected: &Slot) -> Vec<usize> {
        let stored = StoredRow::returned(stored, &self.numbers);
        let columns = &self.target.columns;
        self.scratch.scope(|| {
            differing(columns, &self.shape.compared, &stored, |c| {
                expected.value(c)
            })
        })
    }

    fn found(
        &mut self,
        status: Status,
        stored: Option<&Slot>,
        expected: Option<&Slot>,
        columns: &[usize],
    ) {
        self.wanted -= 1;
        (self.take)(&Deviation {
            status,
            stored,
            expected,
            columns,
        });
    }
}

/// The row at hand of one side.
struct MergeSide {
    slot: Slot,
    some: bool,
}

impl MergeSide {
    fn new(target: &Target) -> Self {
        Self {
            slot: Slot::for_stored(target.row_desc()),
            some: false,
        }
    }

    fn next(&mut self, rows: &mut TupleSort) {
        self.some = rows.next(&mut self.slot);
    }
}
