//! Sends rows to where the rows of the target are.
use super::context::WriteContext;
use super::direct;
use super::distributed;
use super::statement;
use super::terms::{Keys, Returning};
use crate::error::{Report, SqlState, map_internal_error};
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
    returned: Option<&mut TupleStore>,
    keys: Keys,
) -> u64 {
    let send = || send(context, rows, returning, returned, keys);
    map_internal_error(ARBITER_IS_MISSING, send, || {
        partition_index_is_rebuilt(context)
    })
}

fn send(
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
    direct.unwrap_or_else(|| insert_by_statement(context, rows, returning, returned))
}

/// What the server's ON CONFLICT raises, as XX000, if a partition has no index below the arbiter of its table: so it
/// is for a moment while REINDEX CONCURRENTLY puts a new index in the place of the old one.
const ARBITER_IS_MISSING: &str = "invalid arbiter index list";

/// 40001
fn partition_index_is_rebuilt(context: &WriteContext<'_>) -> Report {
    let target = context.target;
    let message = "could not serialize access due to a concurrent REINDEX";
    Report::new(SqlState::SerializationFailure, message)
        .detail("The index of a partition was being replaced when the payloads were inserted.")
        .hint("Repeat the transaction.")
        .table(&target.schema, &target.name)
}

/// How often a statement is sent again that has met an index which is being built or taken away.
const MOST_TRIES: usize = 10;

/// Inserts by the statement.
///
/// The server's ON CONFLICT knows valid indexes only. One that is made like the arbiter, and that REINDEX
/// CONCURRENTLY, CREATE INDEX CONCURRENTLY or DROP INDEX CONCURRENTLY builds or takes away, raises 23505
/// for a row that another session inserts at the same time. Beside such an index the statement is a
/// subtransaction, and is sent again: by then the other row is there, or it is not. What still fails is a
/// violation of another unique index.
fn insert_by_statement(
    context: &WriteContext<'_>,
    rows: &mut TupleStore,
    returning: Returning,
    returned: Option<&mut TupleStore>,
) -> u64 {
    let arbiter = context.arbiter;
    let mut indexes = context.target.indexes.iter();
    if indexes.any(|index| index.oid != arbiter.oid && index.is_twin(arbiter)) {
        for _ in 0..MOST_TRIES {
            pgrx::check_for_interrupts!();
            // Of the call, and not of the subtransaction, with which its files would go.
            let mut part = new_returned_store(context, returning);
            let insert = || statement::insert(context, rows, returning, part.as_ref());
            if let Some(count) = statement::unless_key_is_taken(insert) {
                if let (Some(all), Some(part)) = (returned, &mut part) {
                    part.each(|row| all.put(row));
                }
                return count;
            }
            rows.rewind();
        }
    }
    statement::insert(context, rows, returning, returned.as_deref())
}
