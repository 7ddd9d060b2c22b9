//! The rows of a call, in the arbiter's order.
use super::context::WriteContext;
use crate::payload::row::RowLayout;
use crate::pg::rows::{RowDesc, Slot, SortColumn, TupleSort, TupleStore, TypeOrder};
use crate::target::{Target, UniqueIndex};

/// Collects working rows, to be read in the arbiter's order.
pub struct InputSorter {
    rows: RowSource,
}

/// Working rows in the arbiter's order; payloads with one key in the order of
/// their ordinals.
pub struct SortedRows {
    from: RowSource,
    /// A row that was read too early.
    pushed_back: Option<Slot>,
    /// How many rows of the batch were read,
    read: u64,
    /// and how many it has, to the end of a key.
    most: u64,
}

enum RowSource {
    /// At most one.
    One(Option<Slot>),
    /// Sorted when read.
    Sorted(TupleSort),
    /// Already in order.
    Stored(TupleStore),
}

impl InputSorter {
    /// Empty; `single` promises at most one row, which needs no sort.
    pub fn new(context: &WriteContext<'_>, single: bool) -> Self {
        if single {
            return Self {
                rows: RowSource::One(None),
            };
        }
        Self::of_rows(context.target, context.arbiter, context.target.row_desc())
    }

    /// Empty, for working rows that may have more columns behind their own.
    pub fn of_rows(target: &Target, arbiter: &UniqueIndex, desc: &RowDesc) -> Self {
        let mut order = arbiter.sort_columns();
        order.push(SortColumn {
            column: RowLayout::of(target).ordinal_column(),
            order: TypeOrder::of_bigint(),
        });
        Self {
            rows: RowSource::Sorted(TupleSort::new(desc, &order)),
        }
    }

    /// Adds a copy of the row.
    pub fn put(&mut self, row: &Slot) {
        match &mut self.rows {
            RowSource::Sorted(sort) => sort.put(row),
            RowSource::One(one) => {
                debug_assert!(one.is_none());
                *one = Some(row.to_stored());
            }
            RowSource::Stored(_) => unreachable!("rows are not collected in a store"),
        }
    }

    /// Where many rows are added.
    pub fn sort(&mut self) -> &mut TupleSort {
        match &mut self.rows {
            RowSource::Sorted(sort) => sort,
            _ => unreachable!("only the input of a single call is not sorted"),
        }
    }

    /// All rows are in.
    pub fn into_rows(mut self) -> SortedRows {
        if let RowSource::Sorted(sort) = &mut self.rows {
            sort.sort();
        }
        SortedRows {
            from: self.rows,
            pushed_back: None,
            read: 0,
            most: u64::MAX,
        }
    }

    /// All rows are in; they go into the store, in order.
    pub fn into_store(mut self, store: &mut TupleStore) {
        let sort = self.sort();
        sort.sort();
        sort.drain(store);
    }
}

impl SortedRows {
    /// Rows that are in order.
    pub fn from_store(store: TupleStore) -> Self {
        Self {
            from: RowSource::Stored(store),
            pushed_back: None,
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

    /// How many rows of the batch were read; and whether there are more.
    pub fn end_batch(&self) -> (u64, bool) {
        (self.read, self.pushed_back.is_some())
    }

    /// Gives a row back, which is the next one to be read.
    pub fn push_back(&mut self, row: Slot) {
        self.read -= 1;
        self.pushed_back = Some(row);
    }

    /// Shows the rows that are read next, as long as `take` takes them, and says how many it has taken. They
    /// are still to be read.
    pub fn peek(&mut self, mut take: impl FnMut(&Slot) -> bool) -> u64 {
        let mut taken = 0;
        if let Some(row) = &self.pushed_back {
            if !take(row) {
                return 0;
            }
            taken = 1;
        }
        if let RowSource::Sorted(sort) = &mut self.from {
            let mut store = TupleStore::new(sort.desc());
            sort.drain(&mut store);
            self.from = RowSource::Stored(store);
        }
        match &mut self.from {
            RowSource::One(Some(row)) => {
                row.deform();
                taken + u64::from(take(row))
            }
            RowSource::Stored(store) => taken + store.peek(take),
            _ => taken,
        }
    }

    /// The row of a call with one payload.
    pub fn single(&self) -> Option<&Slot> {
        let RowSource::One(row) = &self.from else {
            return None;
        };
        row.as_ref().inspect(|row| row.deform())
    }

    /// The next row, in the slot that was given back, if one was; None at the
    /// end.
    pub fn next(&mut self, target: &Target, free: Option<Slot>) -> Option<Slot> {
        let single = match &mut self.from {
            RowSource::One(one) => one,
            _ => &mut self.pushed_back,
        };
        if let Some(row) = single.take() {
            row.deform();
            self.read += 1;
            return Some(row);
        }
        let desc = || match &self.from {
            RowSource::One(_) => target.row_desc(),
            RowSource::Sorted(sort) => sort.desc(),
            RowSource::Stored(store) => store.desc(),
        };
        let mut slot = free.unwrap_or_else(|| Slot::for_stored(desc()));
        let some = match &mut self.from {
            RowSource::One(_) => false,
            RowSource::Sorted(sort) => sort.next(&mut slot),
            RowSource::Stored(store) => store.next(&mut slot),
        };
        self.read += u64::from(some);
        some.then_some(slot)
    }
}
