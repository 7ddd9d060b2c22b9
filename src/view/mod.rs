//! `idempotent_view`: a view whose INSERT inserts or verifies, and returns the stored row.
//!
//! The guard skips a duplicate, as a BEFORE trigger can: it counts as no row, and RETURNING has
//! nothing of it. A client that wants its row back, and its row count, inserts into a view. Its
//! INSTEAD OF INSERT trigger is told to give back the row that was stored, whoever stored it:
//! so a duplicate counts as a row, and RETURNING shows the table's.
//!
//! SELECT, UPDATE and DELETE go to the table, as through every view that the server can update.
//! The view is one with `security_invoker`: all that is done through it is done with the rights
//! of the caller, on the table, as without it.
//!
//! # What a row names
//! An INSERT through a view fills what it leaves out with the view's own defaults, which are
//! NULL if there are none; the trigger sees no difference between NULL and nothing. So NULL
//! counts as left out where the table has a default of its own to put there, unless the column
//! may be NULL and its default is immutable: there the view has the same default, and a NULL is
//! one. Else a row names all its columns. The sequence of an identity is asked for new rows only.
//!
//! # Concurrency
//! A row is written as one call of `idempotent_insert` writes it: the protocol is that of
//! [`write`](crate::write), with one payload. Rows of one INSERT go in in their order, as
//! through a guard.
mod create;
mod trigger;

use crate::error::with_error_capture;
use crate::pg::call::entry::SqlCall;
use crate::pg::call::result::SqlResult;
use pgrx::prelude::*;

/// `idempotent_view(target regclass, name text, key text[], compare text[], ignore text[],
/// on_conflict text) → regclass`: makes the view, or replaces its options.
///
/// # Errors
/// 42809 for what is no table; 42P10 without a usable key; 42703, 22023, 22004, 42701 for options
/// that do not fit; 42602 for a name that is none; and what CREATE VIEW and CREATE TRIGGER raise,
/// 42501 and 42P07 among it.
#[pg_extern(sql = false)]
fn idempotent_view(call: SqlCall<'_>) -> SqlResult {
    with_error_capture(|| SqlResult::oid(create::create(call)))
}

/// The trigger function of such a view.
///
/// # Errors
/// 39P01 if it is not called as INSTEAD OF INSERT FOR EACH ROW; 55000 if the view is not one of
/// plain columns of one table; else as `idempotent_insert`.
#[pg_extern(sql = false)]
fn idempotent_view_trigger(call: SqlCall<'_>) -> SqlResult {
    with_error_capture(|| trigger::insert(call))
}
