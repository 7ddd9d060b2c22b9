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
    /// How many rows of the batch were read,
    read: u64,
    /// and how many it has, to the end of a key.
    most: u64,
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
            read: 0,
            most: u64::MAX,
        }
    }

    /// All rows are in; they go into the store, in order.
    pub fn into_store(mut self, target: &Target, store: &mut Store) {
        let sort = self.sort();
        sort.sort();
        sort.drain(store, target.row_desc());
    }
}

impl Rows {
    /// Rows that are in order.
    pub fn stored(store: Store) -> Self {
        Self {
            from: From::Stored(store),
            unread: None,
            read: 0,
            most: u64::MAX,
        }
    }

    /// From here on a batch of so many rows is read.
    pub fn start_batch(&mut self, most: u64) {
        self.read = 0;
        self.most = most;
    }

    /// Whether the row that was read last is one too many for the batch, if it has
    /// another key than the one before.
    pub fn is_beyond_batch(&self) -> bool {
        self.read > self.most
    }

    /// How many rows of the batch were read; and whether there are more, of which the
    /// first one, which was read too early, is kept in the current memory with this
    /// descriptor.
    pub fn end_batch(&mut self, desc: pg_sys::TupleDesc) -> (u64, bool) {
        self.unread = self.unread.take().map(|row| row.to_stored_with(desc));
        (self.read, self.unread.is_some())
    }

    /// Puts a row back that was read too early.
    pub fn unread(&mut self, row: Slot) {
        self.read -= 1;
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
            self.read += 1;
            return Some(row);
        }
        let mut slot = free.unwrap_or_else(|| Slot::for_stored(target.row_desc()));
        let some = match &mut self.from {
            From::One(_) => false,
            From::Sorted(sort) => sort.next(&mut slot),
            From::Stored(store) => store.next(&mut slot),
        };
        self.read += u64::from(some);
        some.then_some(slot)
    }
}
