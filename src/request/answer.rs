//! What `idempotent_execute` and `idempotent_request_begin` give back.
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

/// `response, replayed`
pub fn answer_row(response: SqlValue<'_>, replayed: bool) -> SqlResult {
    SqlResult::row(RowType::Answer, &[response, SqlValue::boolean(replayed)])
}

/// `status, attempt, recovery_point, response`
pub fn attempt_row(
    status: BeginStatus,
    attempt: i64,
    recovery_point: Option<SqlValue<'_>>,
    response: Option<SqlValue<'_>>,
) -> SqlResult {
    SqlResult::row(
        RowType::Attempt,
        &[
            SqlValue::text(enum_text::name(status)),
            SqlValue::bigint(attempt),
            recovery_point.unwrap_or(SqlValue::null(pg_sys::TEXTOID)),
            response.unwrap_or(SqlValue::null(pg_sys::JSONBOID)),
        ],
    )
}
