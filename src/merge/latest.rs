//! Which of two rows under one key is the later.
//!
//! By the columns of `latest_by`, the first that differs; then a row that deletes is the
//! later; then by the compared columns, in the table's order. NULL is earlier than every
//! value. Within the source the columns that are not compared come last, so that it is always
//! the same row that is kept.
use crate::compare::{Differences, Order, differing};
use crate::error::{Report, SqlState};
use crate::payload::row::{Mark, RowLayout};
use crate::payload::shape::Shape;
use crate::pg::rows::Slot;
use crate::pg::value::sql_value::SqlValue;
use crate::target::{StoredRow, Target, UniqueIndex, VisibleColumns};
use std::cmp::Ordering;

/// How rows of one target are judged.
pub struct LatestOrder<'t> {
    target: &'t Target,
    arbiter: &'t UniqueIndex,
    /// Where a row that differs in none of them is the stored row: `latest_by` and the
    /// compared columns.
    judged: Vec<usize>,
    /// The columns of `latest_by`; empty if the payload always wins.
    by: Vec<OrderedColumn>,
    /// The other compared columns, which decide where those are equal.
    compared: Vec<OrderedColumn>,
    /// The columns that decide only within the source.
    rest: Vec<OrderedColumn>,
}

/// A column and how it is ordered.
type OrderedColumn = (usize, Order);

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
    /// For payloads of a shape whose compared columns are resolved.
    ///
    /// # Errors
    /// 42703 for a name that is no column, or none of the source's; 22023 for a key
    /// column.
    pub fn new(
        target: &'t Target,
        arbiter: &'t UniqueIndex,
        shape: &Shape,
        latest_by: Option<&[String]>,
    ) -> Self {
        let latest_by: Vec<usize> = latest_by
            .unwrap_or_default()
            .iter()
            .map(|name| column_of_source(target, arbiter, shape, name))
            .collect();
        let compared = shape.compared.iter().copied();
        let compared: Vec<usize> = compared.filter(|c| !latest_by.contains(c)).collect();
        let mut judged = [latest_by.as_slice(), compared.as_slice()].concat();
        judged.sort_unstable();
        let rest = (0..target.columns.len())
            .filter(|c| shape.named.contains(c) && !judged.contains(c) && !arbiter.has_column(*c));
        let ordered = |c: usize| (c, Order::of(&target.columns[c]));
        Self {
            target,
            arbiter,
            rest: rest.map(ordered).collect(),
            by: latest_by.into_iter().map(ordered).collect(),
            compared: compared.into_iter().map(ordered).collect(),
            judged,
        }
    }

    /// The columns that `latest_by` names, by position.
    pub fn by(&self) -> Vec<usize> {
        self.by.iter().map(|(c, _)| *c).collect()
    }

    /// Whether a row of the source deletes what is stored under its key.
    pub fn deletes(&self, row: &Slot) -> bool {
        RowLayout::of(self.target).mark(row) == Mark::Delete
    }

    /// Compares a payload with the row stored under its key.
    pub fn judge(&self, payload: &Slot, stored: &StoredRow<'_>) -> MergeVerdict {
        let order =
            |by: &[OrderedColumn]| self.order(by, |c| payload.value(c), |c| stored.value(c));
        if self.deletes(payload) {
            return match order(&self.by) {
                Ordering::Less => MergeVerdict::Earlier,
                _ => MergeVerdict::Later,
            };
        }
        let columns = &self.target.columns;
        if differing(columns, &self.judged, stored, |c| payload.value(c)).is_empty() {
            return MergeVerdict::Equal;
        }
        if self.by.is_empty() {
            return MergeVerdict::Later;
        }
        match order(&self.by).then_with(|| order(&self.compared)) {
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
        let order = |by: &[OrderedColumn]| self.order(by, |c| a.value(c), |c| b.value(c));
        order(&self.by)
            .then_with(|| self.deletes(a).cmp(&self.deletes(b)))
            .then_with(|| order(&self.compared))
            .then_with(|| order(&self.rest))
            .is_gt()
    }

    fn order<'v>(
        &self,
        by: &[OrderedColumn],
        a: impl Fn(usize) -> SqlValue<'v>,
        b: impl Fn(usize) -> SqlValue<'v>,
    ) -> Ordering {
        by.iter()
            .map(|(c, order)| order.compare(&self.target.columns[*c], a(*c), b(*c)))
            .find(|ordering| ordering.is_ne())
            .unwrap_or(Ordering::Equal)
    }

    fn check_equal(&self, a: &Slot, b: &Slot) {
        let deletes = [a, b].map(|row| self.deletes(row));
        if deletes == [true, true] {
            return;
        }
        let numbers = self.target.attnums_in_order();
        let first = StoredRow::returned(a, &numbers);
        let columns = differing(&self.target.columns, &self.judged, &first, |c| b.value(c));
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
                "rows of the source for table \"{}\" have the same key and differ",
                self.target.name
            ),
        )
        .detail(if one_deletes {
            differences.one_deletes()
        } else {
            differences.within_source()
        })
        .hint("Name the columns that identify the latest row with the argument latest_by.")
        .table(&self.target.schema, &self.target.name)
        .constraint(self.arbiter.name.clone())
        .raise()
    }
}

fn column_of_source(target: &Target, arbiter: &UniqueIndex, shape: &Shape, name: &str) -> usize {
    let column = target.column_by_name(name);
    let refuse = |state: SqlState, what: String| -> ! {
        Report::new(state, what)
            .table(&target.schema, &target.name)
            .column(name)
            .raise()
    };
    if arbiter.has_column(column) {
        let what = format!("column \"{name}\" is part of the key and cannot be in \"latest_by\"");
        refuse(SqlState::InvalidParameterValue, what)
    }
    if !shape.named.contains(&column) {
        let what = format!("column \"{name}\" of \"latest_by\" is not in the source");
        refuse(SqlState::UndefinedColumn, what)
    }
    column
}
