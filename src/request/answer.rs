//! What `idempotent_request_begin` gives back.
use crate::enum_text;
use crate::pg::call::result::{RowType, SqlResult};
use crate::pg::value::sql_value::SqlValue;
use pgrx::pg_sys;
use serde::Serialize;

/// What the caller is told of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BeginStatus {
    /// It is a new one.
    Started,
    /// An attempt before did not finish it.
    Resumed,
    /// It has its answer.
    Finished,
}

/// `status, attempt, recovery_point, response`
pub fn attempt_row(
    status: BeginStatus,
    attempt: i64,
    recovery_point: Option<pg_sys::Datum>,
    response: Option<pg_sys::Datum>,
) -> SqlResult {
    SqlResult::row(
        RowType::Attempt,
        // SAFETY: columns of a record of a request, of these types, or NULL, in the memory of
        // the call.
        &unsafe {
            [
                SqlValue::text(enum_text::name(status)),
                SqlValue::bigint(attempt),
                SqlValue::of_datum(pg_sys::TEXTOID, recovery_point),
                SqlValue::of_datum(pg_sys::JSONBOID, response),
            ]
        },
    )
}
