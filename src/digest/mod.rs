//! `idempotent_digest(record)`, and of columns: a checksum of a set of rows that depends on no order.
//!
//! Each row becomes canonical bytes ([`encoding`], [`writer`]), these a SHA-256, this a long
//! vector, and the vectors are added ([`pg_idempotent_lthash`]). So one multiset of rows has one digest, in
//! whatever order and by however many processes it is read; and since a row can be taken out of a
//! sum again, moving window frames cost no more than the rows that come and go.
//!
//! The aggregate is declared under `sql/`; these are its support functions, whose state
//! is of type `internal`, so that only the executor can call them.
mod argument;
#[forbid(unsafe_code)]
pub mod bounds;
#[forbid(unsafe_code)]
mod decimal;
#[forbid(unsafe_code)]
mod document;
pub mod encoding;
#[forbid(unsafe_code)]
mod number;
pub mod row_encoder;
#[forbid(unsafe_code)]
mod row_hash;
#[forbid(unsafe_code)]
mod sink;
mod sketch;
#[forbid(unsafe_code)]
pub mod sketch_plan;
#[forbid(unsafe_code)]
pub mod sort_key;
#[forbid(unsafe_code)]
mod tag;
#[forbid(unsafe_code)]
pub mod writer;

use crate::error::{Report, SqlState, with_error_capture};
use crate::pg::call::entry::SqlCall;
use crate::pg::call::result::SqlResult;
use pg_idempotent_lthash::{Hash, LtHash};
use pgrx::prelude::*;

/// Adds a row to the state. NULL, which is no row, changes nothing.
#[pg_extern(sql = false)]
fn idempotent_digest_add(call: SqlCall<'_>) -> SqlResult {
    with_error_capture(|| changed(call, argument::hash_of_row(call, 1), LtHash::add))
}

/// Takes a row out of the state that leaves a moving window frame.
#[pg_extern(sql = false)]
fn idempotent_digest_remove(call: SqlCall<'_>) -> SqlResult {
    with_error_capture(|| changed(call, argument::hash_of_row(call, 1), LtHash::remove))
}

/// Adds the row to the state that the other arguments are the columns of.
#[pg_extern(sql = false)]
fn idempotent_digest_add_columns(call: SqlCall<'_>) -> SqlResult {
    with_error_capture(|| changed(call, argument::hash_of_columns(call, 1), LtHash::add))
}

/// Takes the row out of the state that the other arguments are the columns of.
#[pg_extern(sql = false)]
fn idempotent_digest_remove_columns(call: SqlCall<'_>) -> SqlResult {
    with_error_capture(|| changed(call, argument::hash_of_columns(call, 1), LtHash::remove))
}

/// Adds the second state to the first.
#[pg_extern(sql = false)]
fn idempotent_digest_combine(call: SqlCall<'_>) -> SqlResult {
    with_error_capture(|| {
        let other = argument::sum(call, 1).cloned();
        let sum = sum_of(call);
        if let Some(other) = other {
            sum.merge(&other);
        }
        SqlResult::state(sum)
    })
}

/// The state as a bytea, for another process. The function is strict.
#[pg_extern(sql = false)]
fn idempotent_digest_serialize(call: SqlCall<'_>) -> SqlResult {
    with_error_capture(|| SqlResult::content(&sum_of(call).to_bytes()))
}

/// The state of another process. The function is strict.
#[pg_extern(sql = false)]
fn idempotent_digest_deserialize(call: SqlCall<'_>) -> SqlResult {
    with_error_capture(|| {
        let sum = LtHash::of_bytes(&call.first_argument().to_content().unwrap_or_default())
            .unwrap_or_else(|| {
                Report::new(SqlState::InvalidParameterValue, "invalid state of a digest").raise()
            });
        SqlResult::new_state(sum)
    })
}

/// The digest. It may be asked for more than once, and rows may be added afterwards. The state is
/// NULL if there was no row.
#[pg_extern(sql = false)]
fn idempotent_digest_text(call: SqlCall<'_>) -> SqlResult {
    with_error_capture(|| {
        let digest =
            argument::sum(call, 0).map_or_else(|| LtHash::NONE.to_text(), |sum| sum.to_text());
        SqlResult::text(&digest)
    })
}

/// The state after a row, if there is one.
fn changed(
    call: SqlCall<'_>,
    row: Option<Hash>,
    change: impl FnOnce(&mut LtHash, &Hash),
) -> SqlResult {
    let sum = sum_of(call);
    if let Some(hash) = row {
        change(sum, &hash);
    }
    SqlResult::state(sum)
}

/// The state that is the first argument, or a new one, in the aggregate's memory.
fn sum_of(call: SqlCall<'_>) -> &mut LtHash {
    argument::sum(call, 0).unwrap_or_else(|| call.new_state(LtHash::NONE))
}
