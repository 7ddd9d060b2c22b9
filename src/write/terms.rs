//! The terms on which rows are inserted, by a statement or without one.
use crate::target::Target;

/// What is known of the keys of rows that are to go in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// They were not looked up, or not all of them.
    Unknown,
    /// None was stored when they were looked up just now,
    New,
    /// and none had an entry in the arbiter, which a transaction in progress would have made.
    Absent,
}

/// What is to be said of the rows that went in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Returning {
    /// How many.
    Count,
    /// What decides on their keys, rows of `UniqueIndex::key_desc`, in order.
    Keys,
    /// All their columns, as in a working row, in order.
    Rows,
}

/// The columns that an INSERT of these sets: generated ones it computes.
pub fn inserted_columns<'n>(
    target: &'n Target,
    named: &'n [usize],
) -> impl Iterator<Item = usize> + 'n {
    let named = named.iter().copied();
    named.filter(|c| target.columns[*c].generated == 0)
}
