//! The rows of a call, in the arbiter's order.
use super::round::Job;
use crate::payload::row::Layout;
use crate::pg::rows::{Slot, Sort, SortColumn, Store};
use crate::target::Target;
use pgrx::pg_sys;

/// «Less than» of bigint (`pg_operator.dat`).
const INT8_LESS_THAN: u32 = 412;

/// Collects working rows, to be read in the arbiter's order.
pub struct Input {
    rows: From,
}

/// Working rows in the arbiter's order; payloads with one key in the order of
/// their ordinals.
pub struct Rows {
    from: From,
    /// A row that was read too early.
    unread: Option<Slot>,
}

enum From {
    /// At most one.
    One(Option<Slot>),
    /// Sorted when read.
    Sorted(Sort),
    /// Already in order.
    Stored(Store),
}

impl Input {
    /// Empty; `single` promises at most one row, which needs no sort.
    pub fn new(job: &Job<'_>, single: bool) -> Self {
        if single {
            return Self {
                rows: From::One(None),
            };
        }
        let mut order = job.arbiter.sort_columns();
        order.push(SortColumn {
            column: Layout::of(job.target).ordinal_column(),
            operator: pg_sys::Oid::from(INT8_LESS_THAN),
            collation: pg_sys::InvalidOid,
        });
        Self {
            rows: From::Sorted(Sort::new(job.target.row_desc(), &order)),
        }
    }

    /// Adds a copy of the row.
    pub fn put(&mut self, row: &Slot) {
        match &mut self.rows {
            From::Sorted(sort) => sort.put(row),
            From::One(one) => {
                debug_assert!(one.is_none());
                *one = Some(row.to_stored());
            }
            From::Stored(_) => unreachable!("rows are not collected in a store"),
        }
    }

    /// Where many rows are added.
    pub fn sort(&mut self) -> &mut Sort {
        match &mut self.rows {
            From::Sorted(sort) => sort,
            _ => unreachable!("only the input of a single call is not sorted"),
        }
    }

    /// All rows are in.
    pub fn into_rows(mut self) -> Rows {
        if let From::Sorted(sort) = &mut self.rows {
            sort.sort();
        }
        Rows {
            from: self.rows,
            unread: None,
        }
    }
}

impl Rows {
    /// Rows that are in order.
    pub fn stored(store: Store) -> Self {
        Self {
            from: From::Stored(store),
            unread: None,
        }
    }

    /// Puts a row back that was read too early.
    pub fn unread(&mut self, row: Slot) {
        self.unread = Some(row);
    }

    /// The next row, in the slot that was given back, if one was; None at the
    /// end.
    pub fn next(&mut self, target: &Target, free: Option<Slot>) -> Option<Slot> {
        let single = match &mut self.from {
            From::One(one) => one,
            _ => &mut self.unread,
        };
        if let Some(row) = single.take() {
            row.deform();
            return Some(row);
        }
        let mut slot = free.unwrap_or_else(|| Slot::for_stored(target.row_desc()));
        let some = match &mut self.from {
            From::One(_) => false,
            From::Sorted(sort) => sort.next(&mut slot),
            From::Stored(store) => store.next(&mut slot),
        };
        some.then_some(slot)
    }
}
