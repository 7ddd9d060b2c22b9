//! Which of two rows under one key is the later.
//!
//! By the columns of `latest_by`, the first that differs; then a row that deletes is the
//! later; then by the compared columns, in the table's order. NULL is earlier than every
//! value. Within the source the columns that are not compared come last, so that it is always
//! the same row that is kept. Of two payloads that name different columns, the one that leaves
//! a column out is the earlier.
use crate::compare::{Differences, differing};
use crate::error::{Report, RowOrigin, SqlState};
use crate::payload::latest_by::{Decider, not_in_source};
use crate::payload::row::RowLayout;
use crate::payload::shape::Shape;
use crate::pg::memory::Memory;
use crate::pg::rows::Slot;
use crate::pg::value::sql_value::SqlValue;
use crate::pg::value::value_type::{ValueOrder, ValueType};
use crate::target::{StoredRow, Target, UniqueIndex, VisibleColumns};
use pgrx::pg_sys;
use std::cmp::Ordering;

/// How rows of one target are judged.
pub struct LatestOrder<'t> {
    target: &'t Target,
    arbiter: &'t UniqueIndex,
    /// The columns of `latest_by`; empty if the payload always wins.
    by: Vec<OrderedColumn>,
    /// How many of them come before the first one that only the source has.
    kept: usize,
    /// Of those that only the source has, the values; they are behind the working row's own.
    unstored: Vec<ValueType>,
    /// The columns that decide where those are equal, by shape.
    shapes: Vec<ShapeColumns>,
    /// How the columns are ordered that some shape names.
    orders: Vec<Option<ValueOrder>>,
    /// What is merged, for error texts.
    origin: RowOrigin,
    /// What `unstored` has.
    _memory: Memory,
}

/// The columns that decide between rows of a shape, where those of `latest_by` do not.
struct ShapeColumns {
    /// Where a row that differs in none of them is the stored row: `latest_by` and the
    /// compared columns.
    judged: Vec<usize>,
    /// The compared columns, but for those of `latest_by`, in the table's order.
    compared: Vec<OrderedColumn>,
    /// The columns that decide only within the source, likewise.
    rest: Vec<OrderedColumn>,
}

/// A column of a working row and how it is ordered.
type OrderedColumn = (usize, ValueOrder);

/// What a payload is to the stored row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MergeVerdict {
    /// It is to replace it, or to delete it.
    Later,
    /// It is to be passed over.
    Earlier,
    /// There is nothing to do.
    Equal,
}

impl<'t> LatestOrder<'t> {
    /// For rows of shapes whose compared columns are resolved. `unstored` has the columns behind a
    /// working row's own; `origin` is what is merged.
    ///
    /// # Errors
    /// 42703 for a column that the source does not have; 22023 for a key column.
    pub fn new(
        target: &'t Target,
        arbiter: &'t UniqueIndex,
        shapes: &[Shape],
        deciders: &[Decider],
        unstored: &[pg_sys::FormData_pg_attribute],
        origin: RowOrigin,
    ) -> Self {
        let memory = Memory::in_current(c"pg_idempotent latest_by");
        let value_type = |attribute| ValueType::of(attribute, &memory);
        let unstored: Vec<ValueType> = unstored.iter().map(value_type).collect();
        let latest_by: Vec<usize> = deciders.iter().filter_map(Decider::column).collect();
        for column in &latest_by {
            check_in_source(target, arbiter, &shapes[0], *column);
        }
        let named = |c: usize| shapes.iter().any(|shape| shape.named.contains(&c));
        let orders: Vec<Option<ValueOrder>> = (0..target.columns.len())
            .map(|c| named(c).then(|| target.columns[c].values.order()))
            .collect();
        let first_unstored = RowLayout::of(target).first_unstored();
        let mut others = (first_unstored..).zip(unstored.iter().map(ValueType::order));
        let by = deciders
            .iter()
            .filter_map(|decider| match decider.column() {
                Some(column) => orders[column].map(|order| (column, order)),
                None => others.next(),
            });
        let mut this = Self {
            target,
            arbiter,
            by: by.collect(),
            kept: deciders.iter().take_while(|d| d.column().is_some()).count(),
            shapes: Vec::with_capacity(shapes.len()),
            orders,
            unstored,
            origin,
            _memory: memory,
        };
        shapes.iter().for_each(|shape| this.add_shape(shape));
        this
    }

    /// Adds one more shape, of columns that others name.
    pub fn add_shape(&mut self, shape: &Shape) {
        let columns = ShapeColumns::of(shape, self.arbiter, &self.by(), &self.orders);
        self.shapes.push(columns);
    }

    /// Whether two rows are equal in what `latest_by` names.
    pub fn have_same_time(&self, a: &Slot, b: &Slot) -> bool {
        self.order(&self.by, |c| a.value(c), |c| b.value(c)).is_eq()
    }

    /// The columns of `latest_by` that the target keeps, by position.
    pub fn by(&self) -> Vec<usize> {
        let columns = self.by.iter().map(|(c, _)| *c);
        columns.filter(|c| *c < self.target.columns.len()).collect()
    }

    /// Whether a row of the source deletes what is stored under its key.
    pub fn deletes(&self, row: &Slot) -> bool {
        RowLayout::of(self.target).deletes(row)
    }

    /// Compares a payload with the row stored under its key.
    pub fn judge(&self, payload: &Slot, stored: &StoredRow<'_>) -> MergeVerdict {
        let order =
            |by: &[OrderedColumn]| self.order(by, |c| payload.value(c), |c| stored.value(c));
        let by = || match order(&self.by[..self.kept]) {
            // What is not stored has to decide: the payload came after the stored row.
            Ordering::Equal if self.kept < self.by.len() => Ordering::Greater,
            order => order,
        };
        if self.deletes(payload) {
            return match by() {
                Ordering::Less => MergeVerdict::Earlier,
                _ => MergeVerdict::Later,
            };
        }
        let columns = &self.target.columns;
        let shape = self.shape(payload);
        if differing(columns, &shape.judged, stored, |c| payload.value(c)).is_empty() {
            return MergeVerdict::Equal;
        }
        if self.by.is_empty() {
            return MergeVerdict::Later;
        }
        match by().then_with(|| order(&shape.compared)) {
            Ordering::Greater => MergeVerdict::Later,
            Ordering::Less => MergeVerdict::Earlier,
            // Equal to the order, though not to the equality: neither is later.
            Ordering::Equal => MergeVerdict::Equal,
        }
    }

    /// Whether the first of two rows of the source with one key is the later.
    ///
    /// # Errors
    /// 21000 if they differ in what is compared and nothing says which is the latest.
    pub fn supersedes(&self, a: &Slot, b: &Slot) -> bool {
        if self.by.is_empty() {
            self.check_equal(a, b);
        }
        self.order(&self.by, |c| a.value(c), |c| b.value(c))
            .then_with(|| self.deletes(a).cmp(&self.deletes(b)))
            .then_with(|| self.order_named(a, b, |shape| &shape.compared))
            .then_with(|| self.order_named(a, b, |shape| &shape.rest))
            .is_gt()
    }

    /// By columns of the shapes of two rows. What is left out is earlier than NULL.
    fn order_named(
        &self,
        a: &Slot,
        b: &Slot,
        columns: impl Fn(&ShapeColumns) -> &Vec<OrderedColumn>,
    ) -> Ordering {
        let mut left = columns(self.shape(a)).iter().peekable();
        let mut right = columns(self.shape(b)).iter().peekable();
        loop {
            let of = |next: Option<&&OrderedColumn>| next.map_or(usize::MAX, |(c, _)| *c);
            let (c, d) = (of(left.peek()), of(right.peek()));
            if c != d {
                // The first of them is left out by the other row.
                return d.cmp(&c);
            }
            let (Some(column), Some(_)) = (left.next(), right.next()) else {
                return Ordering::Equal;
            };
            let one = std::slice::from_ref(column);
            let ordering = self.order(one, |c| a.value(c), |c| b.value(c));
            if ordering.is_ne() {
                return ordering;
            }
        }
    }

    fn shape(&self, row: &Slot) -> &ShapeColumns {
        &self.shapes[RowLayout::of(self.target).shape(row)]
    }

    fn order<'v>(
        &self,
        by: &[OrderedColumn],
        a: impl Fn(usize) -> SqlValue<'v>,
        b: impl Fn(usize) -> SqlValue<'v>,
    ) -> Ordering {
        by.iter()
            .map(|(c, order)| self.values(*c).compare(*order, a(*c), b(*c)))
            .find(|ordering| ordering.is_ne())
            .unwrap_or(Ordering::Equal)
    }

    /// The type of a column of a working row.
    fn values(&self, column: usize) -> &ValueType {
        match self.target.columns.get(column) {
            Some(column) => &column.values,
            None => &self.unstored[column - RowLayout::of(self.target).first_unstored()],
        }
    }

    fn check_equal(&self, a: &Slot, b: &Slot) {
        let deletes = [a, b].map(|row| self.deletes(row));
        if deletes == [true, true] {
            return;
        }
        let numbers = self.target.attnums_in_order();
        let first = StoredRow::returned(a, &numbers);
        let other = &self.shape(b).judged;
        let mut judged = self.shape(a).judged.clone();
        judged.retain(|c| other.contains(c));
        let columns = differing(&self.target.columns, &judged, &first, |c| b.value(c));
        let one_deletes = deletes[0] != deletes[1];
        if columns.is_empty() && !one_deletes {
            return;
        }
        let everything = VisibleColumns::everything();
        let differences = Differences {
            target: self.target,
            arbiter: self.arbiter,
            stored: &first,
            payload: |c| b.value(c),
            columns: &columns,
            against_original: false,
            readable: &everything,
            sent: &everything,
        };
        Report::new(
            SqlState::CardinalityViolation,
            format!(
                "{} for table \"{}\" have the same key and differ",
                self.origin.several(),
                self.target.name
            ),
        )
        .detail(if one_deletes {
            differences.one_deletes(self.origin)
        } else {
            differences.within_call(self.origin)
        })
        .hint("Name the columns that identify the latest row with the argument latest_by.")
        .table(&self.target.schema, &self.target.name)
        .constraint(self.arbiter.name.clone())
        .raise()
    }
}

impl ShapeColumns {
    /// Of a shape; `orders` are those of the columns that some shape names.
    fn of(
        shape: &Shape,
        arbiter: &UniqueIndex,
        latest_by: &[usize],
        orders: &[Option<ValueOrder>],
    ) -> Self {
        let compared = shape.compared.iter().copied();
        let compared: Vec<usize> = compared.filter(|c| !latest_by.contains(c)).collect();
        let mut judged = [latest_by, compared.as_slice()].concat();
        judged.sort_unstable();
        let mut rest = shape.named.clone();
        rest.retain(|c| !judged.contains(c) && !arbiter.has_column(*c));
        rest.sort_unstable();
        let ordered = |c: usize| orders[c].map(|order| (c, order));
        Self {
            judged,
            compared: compared.into_iter().filter_map(ordered).collect(),
            rest: rest.into_iter().filter_map(ordered).collect(),
        }
    }
}

/// # Errors
/// As [`LatestOrder::new`].
fn check_in_source(target: &Target, arbiter: &UniqueIndex, shape: &Shape, column: usize) {
    if arbiter.has_column(column) {
        target
            .cannot_be_in(column, "is part of the key", "latest_by")
            .raise()
    }
    if !shape.named.contains(&column) {
        not_in_source(target, &target.columns[column].name).raise()
    }
}
