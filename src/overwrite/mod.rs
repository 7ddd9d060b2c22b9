//! `idempotent_overwrite`: one slice of a table is replaced by the rows of a source; and
//! `idempotent_overwrite_each`: every slice that a source holds, see [`each`].
//!
//! A slice is the rows that have given values in given columns, or values of a range; or all rows
//! of the table. What it holds and what arrives are compared as multisets of rows (see [`rows`]); if they are equal, nothing is
//! written. Else the slice is deleted and the source's rows are inserted, in the caller's
//! transaction.
//!
//! # Why no interleaving goes wrong
//! - *Two overwrites of one slice.* Each holds a lock on the slice until its transaction
//!   ends, and reads under a snapshot that was taken with the lock in hand: the second
//!   finds what the first has left, and replaces all of it.
//! - *Overwrites of other slices* do not wait if the slices name the same columns and are seen to
//!   have no row in common. Those that may overlap take turns, see [`lock`].
//! - *REPEATABLE READ, SERIALIZABLE.* The snapshot may be older than the lock. What it
//!   cannot see would stay beside the new rows; so the slice is read once more as it is
//!   now, and 40001 if it is another.
//! - *Rows on other nodes of Citus, or on another server.* What those show must not be older than the lock, see [`turns`].
//! - *Plain writers* do not know the lock. A row that one inserts into the slice meanwhile
//!   stays, as after any DELETE; it came after the overwrite.
#[forbid(unsafe_code)]
mod commits;
#[forbid(unsafe_code)]
mod cover;
#[forbid(unsafe_code)]
mod each;
#[forbid(unsafe_code)]
mod lock;
#[forbid(unsafe_code)]
mod notation;
#[forbid(unsafe_code)]
mod replace;
mod rows;
#[forbid(unsafe_code)]
mod send;
#[forbid(unsafe_code)]
mod slice;
#[forbid(unsafe_code)]
mod truncate;
#[forbid(unsafe_code)]
mod turns;
#[forbid(unsafe_code)]
mod write;

use crate::error::with_error_capture;
use crate::payload::generated::GeneratedColumns;
use crate::payload::source::Source;
use crate::pg::call::arguments::Arguments;
use crate::pg::call::entry::SqlCall;
use crate::pg::call::result::{RowType, SqlResult};
use crate::pg::transaction::snapshot::FreshSnapshot;
use crate::pg::value::sql_value::SqlValue;
use crate::stats::{Form, FormScope};
use crate::target::check_overwrite_privileges;
use commits::wait_for_commits;
use each::overwrite_each;
use pgrx::prelude::*;
use replace::{OverwriteCounts, StoredSlice, open_target};
use rows::{Hashing, RowSetHash, collect};
use slice::Slice;

/// `idempotent_overwrite(target, source, slice)`: replaces the slice of the target
/// whose columns have the values in `slice`, a JSON object, or lie in its ranges, by the rows of a
/// table or view. Without a column it is the whole table.
///
/// Gives `deleted, inserted bigint, unchanged boolean`.
///
/// # Errors
/// 22023 for a slice that is no object of columns and ranges, 22004, 42703, 23514 for a row of the source
/// outside of the slice, 428C9 (for a generated column with another value than the server
/// computes, too), 42501, 42809, 40001, 0A000 for a table with rules, 27000 for
/// a trigger that keeps rows; and what SELECT, DELETE and INSERT raise, unchanged.
#[pg_extern(sql = false)]
fn idempotent_overwrite(call: SqlCall<'_>) -> SqlResult {
    with_error_capture(|| {
        let _form = FormScope::of(Form::Overwrite);
        let done = overwrite(&call.arguments());
        SqlResult::row(
            RowType::Overwritten,
            &[
                SqlValue::bigint(done.deleted),
                SqlValue::bigint(done.inserted),
                SqlValue::boolean(done.unchanged),
            ],
        )
    })
}

/// `idempotent_overwrite_each(target, source, by)`: replaces each slice of the target that the
/// source holds, a slice being the rows with the same values in the columns `by`.
///
/// Gives a row for each, in their order: `slice jsonb, deleted, inserted bigint, unchanged boolean`.
///
/// # Errors
/// As [`idempotent_overwrite`], without what is said of a slice there: 22004, 22023 and 42701 for
/// `by`; 0A000 for a value that no slice of JSON names.
#[pg_extern(sql = false)]
fn idempotent_overwrite_each(call: SqlCall<'_>) -> SqlResult {
    with_error_capture(|| {
        let _form = FormScope::of(Form::OverwriteEach);
        let mut set = call.result_set();
        overwrite_each(&call.arguments(), &mut set);
        SqlResult::null()
    })
}

fn overwrite(arguments: &Arguments) -> OverwriteCounts {
    let (target, relation) = open_target(arguments);
    // Rows that a view of the target itself gave may go before they are put back.
    let source = Source::open(&target, arguments.oid(1, "source")).detached();
    let slice = Slice::read(&target, &source, arguments.jsonb(2, "slice"));
    let shapes = [source.shape()];
    check_overwrite_privileges(&target, shapes[0].named.iter().copied());
    let mut generated = GeneratedColumns::of(&target, &relation, &shapes);

    slice.lock();
    wait_for_commits(&slice);
    write::lock_tables(&slice, &relation);
    let snapshot = FreshSnapshot::push();
    let mut surrogates = source.surrogates(&relation);
    surrogates.retain(|c| !slice.columns.contains(c));
    let hashing = Hashing::of(&source, generated.as_ref(), &surrogates);
    let stored = StoredSlice::read(&slice, &relation, &source, &hashing);
    if stored.hash.count > 0
        && RowSetHash::of_source(&hashing, &source, &slice, &mut generated) == stored.hash
    {
        return stored.leave();
    }
    // Read once more, since a source may give other rows every time: what goes in is what
    // was seen to be of the slice.
    let mut rows = collect(&source, &slice, &mut generated);
    stored.replace(&source, &mut rows, snapshot)
}
