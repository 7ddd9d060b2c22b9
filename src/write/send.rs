//! Sends rows to where the rows of the target are.
use super::context::WriteContext;
use super::direct;
use super::distributed;
use super::statement;
use super::terms::{Keys, Returning};
use crate::pg::rows::TupleStore;

/// Inserts the plain rows in their order, those of each shape with the columns
/// that it names. Gives the number of those that went in, and what they return.
pub fn insert(
    context: &WriteContext<'_>,
    rows: &mut TupleStore,
    returning: Returning,
    keys: Keys,
) -> (u64, Option<TupleStore>) {
    let mut returned = new_returned_store(context, returning);
    let count = insert_into(context, rows, returning, returned.as_mut(), keys);
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
    mut returned: Option<&mut TupleStore>,
    keys: Keys,
) -> u64 {
    if let (true, Some(returned)) = (context.distributed, &mut returned) {
        return distributed::insert(context, rows, returning, returned);
    }
    if keys != Keys::Unknown
        && returning == Returning::Count
        && let Some(count) = statement::insert_plainly(context, rows)
    {
        return count;
    }
    let direct = direct::insert(context, rows, returning, returned.as_deref_mut(), keys);
    direct.unwrap_or_else(|| statement::insert(context, rows, returning, returned.as_deref()))
}
