//! Whether two tables store the same rows in the same bytes, as a table and its copy do.
//!
//! That takes one look at each, which costs little more than to count the rows: no value is read. Where the
//! bytes differ, nothing is known, since equal values may be stored in different bytes.
use crate::payload::source::Source;
use crate::pg::backend;
use crate::pg::relation::OpenRelation;
use crate::pg::relation::privileges::{has_on_table, row_security_restricts};
use crate::target::Placement;
use pgrx::pg_sys;

/// Whether both sides have the same rows for certain. False says nothing.
///
/// The hashes are keyed with a number that is drawn for the call, so two sums agree by chance with a
/// probability of 2^-64, whoever chose the rows.
pub fn have_same_rows(stored: &Source<'_>, source: &Source<'_>) -> bool {
    let sides = [stored, source].map(Source::relation);
    let [one, other] = sides;
    // The source is read with the rows of tables that inherit from it.
    if !one.stores_rows_as(other)
        || other.may_have_children()
        || !sides.iter().all(|side| is_open(side))
    {
        return false;
    }
    let seed = backend::unforeseeable_number();
    let sum = one.stored_sum(seed);
    sum.is_some() && sum == other.stored_sum(seed)
}

/// Whether the caller may read all of a table, as a SELECT of theirs would: the executor asks the same.
fn is_open(table: &OpenRelation) -> bool {
    let (oid, caller) = (table.oid(), backend::current_user());
    has_on_table(caller, oid, pg_sys::ACL_SELECT)
        && !row_security_restricts(oid, caller)
        // Other servers have the rows.
        && Placement::of(oid) == Placement::Table
        // On a standby, the server has no rows of others, and says so in words of its own.
        && (table.is_permanent() || !backend::is_standby())
}
