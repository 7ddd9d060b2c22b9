//! What `idempotent_request_begin` gives back.
use crate::pg::call::result::{RowType, SqlResult};
use crate::pg::value::text;
use pgrx::pg_sys;

/// `status, attempt, recovery_point, response`
pub fn attempt_row(
    status: &str,
    attempt: i64,
    recovery_point: Option<pg_sys::Datum>,
    response: Option<pg_sys::Datum>,
) -> SqlResult {
    SqlResult::row(
        RowType::Attempt,
        &[
            Some(text::to_text(status)),
            Some(pg_sys::Datum::from(attempt)),
            recovery_point,
            response,
        ],
    )
}
