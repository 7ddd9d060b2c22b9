//! Sends rows to where the rows of the target are.
use super::context::WriteContext;
use super::distributed;
use super::statement::{self, Returning};
use crate::pg::rows::TupleStore;

/// Inserts the plain rows in their order, those of each shape with the columns
/// that it names. Gives the number of those that went in, and what they return.
///
/// `new` says that none of their keys was stored when they were looked up just now.
pub fn insert(
    context: &WriteContext<'_>,
    rows: &mut TupleStore,
    returning: Returning,
    new: bool,
) -> (u64, Option<TupleStore>) {
    let mut returned = new_returned_store(context, returning);
    let count = insert_into(context, rows, returning, returned.as_mut(), new);
    (count, returned)
}

/// A store for what the statement returns, if it returns anything.
pub fn new_returned_store(context: &WriteContext<'_>, returning: Returning) -> Option<TupleStore> {
    match returning {
        Returning::Count => None,
        Returning::Keys => Some(TupleStore::new(&context.arbiter.key_desc)),
        Returning::Rows => Some(TupleStore::new(context.target.columns_desc())),
    }
}

/// As [`insert`], with the store that [`new_returned_store`] has made.
pub fn insert_into(
    context: &WriteContext<'_>,
    rows: &mut TupleStore,
    returning: Returning,
    returned: Option<&mut TupleStore>,
    new: bool,
) -> u64 {
    match (context.distributed, returned) {
        (true, Some(returned)) => distributed::insert(context, rows, returning, returned),
        (_, returned) => statement::insert(context, rows, returning, returned.as_deref(), new),
    }
}
