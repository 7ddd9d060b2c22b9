//! Walks the rows of both sides, in the key's order, and tells where they deviate.
use crate::compare::{Arriving, Differences, differing};
use crate::enum_text;
use crate::payload::row::same_key;
use crate::payload::shape::Shape;
use crate::pg::call::result::ResultSet;
use crate::pg::memory::Memory;
use crate::pg::rows::{Slot, TupleSort};
use crate::pg::value::document::JsonbDatum;
use crate::pg::value::sql_value::SqlValue;
use crate::pg::value::value_type::JsonForm;
use crate::target::{StoredRow, Target, UniqueIndex, VisibleColumns};
use pgrx::pg_sys;
use serde::Serialize;
use std::cmp::Ordering;

/// How a row deviates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Deviation {
    /// It is in the source only.
    Missing,
    /// It is in the target only.
    Unexpected,
    /// It is in both, with other values.
    Different,
}

/// One walk.
pub struct SortedMerge<'a, 'c> {
    target: &'a Target,
    arbiter: &'a UniqueIndex,
    shape: &'a Shape,
    /// Where the columns are in rows of the sorts.
    numbers: Vec<pg_sys::AttrNumber>,
    set: &'a mut ResultSet<'c>,
    /// Reset for every row.
    scratch: Memory,
}

impl<'a, 'c> SortedMerge<'a, 'c> {
    /// For rows of this shape; deviations go to `set`.
    pub fn new(
        target: &'a Target,
        arbiter: &'a UniqueIndex,
        shape: &'a Shape,
        set: &'a mut ResultSet<'c>,
    ) -> Self {
        Self {
            target,
            arbiter,
            shape,
            numbers: target.attnums_in_order(),
            set,
            scratch: Memory::in_current(c"pg_idempotent deviation"),
        }
    }

    /// Walks both sides to their ends.
    ///
    /// A stored row may meet several rows of the source: each is judged. Of several that
    /// meet none, the first is told, and those that differ from it.
    pub fn run(mut self, mut stored: TupleSort, mut expected: TupleSort) {
        let mut left = MergeSide::new(self.target);
        let mut right = MergeSide::new(self.target);
        left.next(&mut stored);
        right.next(&mut expected);
        let mut met = false;
        let mut missing: Option<Slot> = None;
        while left.some || right.some {
            pgrx::check_for_interrupts!();
            self.scratch.reset();
            match self.order(&left, &right) {
                Ordering::Less => {
                    if !met {
                        self.report_deviation(Deviation::Unexpected, Some(&left.slot), None, None);
                    }
                    met = false;
                    left.next(&mut stored);
                }
                Ordering::Greater => {
                    let first = missing
                        .as_ref()
                        .filter(|first| self.same_key(first, &right.slot));
                    if first.is_none_or(|first| !self.differing(first, &right.slot).is_empty()) {
                        self.report_deviation(Deviation::Missing, None, Some(&right.slot), None);
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
                        let status = Deviation::Different;
                        self.report_deviation(status, stored, expected, Some(&columns));
                    }
                    right.next(&mut expected);
                }
            }
        }
    }

    /// Which side has the lower key. A side at its end is above all; and of keys that
    /// are not equal because something in them is NULL, the stored one comes first.
    fn order(&self, left: &MergeSide, right: &MergeSide) -> Ordering {
        match (left.some, right.some) {
            (true, false) => return Ordering::Less,
            (false, _) => return Ordering::Greater,
            _ => {}
        }
        let keys = &self.arbiter.keys;
        let orders = keys
            .iter()
            .map(|key| key.compare(left.slot.value(key.column), right.slot.value(key.column)));
        let order = self
            .scratch
            .scope(|| orders.into_iter().find(|order| order.is_ne()))
            .unwrap_or(Ordering::Equal);
        if order == Ordering::Equal && self.has_null_key(&left.slot) {
            return Ordering::Less;
        }
        order
    }

    /// Whether something in the key is NULL, with which no other key is equal.
    fn has_null_key(&self, row: &Slot) -> bool {
        let mut keys = self.arbiter.keys.iter();
        !self.arbiter.nulls_equal && keys.any(|key| row.get(key.column).is_none())
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

    /// Adds a row to the result.
    fn report_deviation(
        &mut self,
        status: Deviation,
        stored: Option<&Slot>,
        expected: Option<&Slot>,
        columns: Option<&[usize]>,
    ) {
        let (target, arbiter, named) = (self.target, self.arbiter, &self.shape.named);
        let (numbers, set) = (&self.numbers, &mut self.set);
        let key: Vec<usize> = arbiter.keys.iter().map(|key| key.column).collect();
        self.scratch.scope(|| {
            let differences = match (stored, expected, columns) {
                (Some(stored), Some(expected), Some(columns)) => {
                    let everything = VisibleColumns::everything();
                    let differences = Differences {
                        target,
                        arbiter,
                        stored: &StoredRow::returned(stored, numbers),
                        payload: |c| expected.value(c),
                        columns,
                        against_original: false,
                        readable: &everything,
                        sent: &everything,
                    };
                    Some(differences.to_jsonb(Arriving::Expected))
                }
                _ => None,
            };
            let object = |row: Option<&Slot>, columns| row.map(|row| object(target, row, columns));
            set.row(&[
                SqlValue::text(enum_text::name(status)),
                SqlValue::optional_jsonb(object(stored.or(expected), &key)),
                SqlValue::optional_jsonb(object(stored, named)),
                SqlValue::optional_jsonb(object(expected, named)),
                SqlValue::optional_jsonb(differences),
            ]);
        });
    }
}

/// Columns of a row as a JSON object, in the current context.
fn object(target: &Target, row: &Slot, columns: &[usize]) -> JsonbDatum {
    target.object(columns.iter().copied(), JsonForm::Shown, |c| row.value(c))
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
