//! Removing expired requests.
use super::table::RequestTable;
use crate::kept;
use crate::pg::backend;
use crate::pg::catalog::privilege;
use crate::pg::statement::spi::Connection;
use crate::pg::value::sql_value::SqlValue;
use crate::state::StateTable;
use crate::user_context::UserContext;

/// $1 role, or NULL for all; $2 how many; $3 the time. The index on `purge_after` ends
/// the search where requests are live: of these it passes those over whose work took so
/// long that they expire that much after `purge_after`. Rows in use are passed over; one that is
/// taken into use again while this runs is looked at again, and stays.
const PURGE: &str = "
    WITH expired AS MATERIALIZED (
        SELECT request.ctid AS place
          FROM idempotent.request_records AS request
         WHERE request.purge_after OPERATOR(pg_catalog.<=) $3
           AND request.expires_at OPERATOR(pg_catalog.<=) $3
           AND (request.status OPERATOR(pg_catalog.<>) 'started'
                OR request.lease_until OPERATOR(pg_catalog.<=) $3)
           AND ($1 IS NULL OR request.role OPERATOR(idempotent.=) $1)
         ORDER BY request.purge_after USING OPERATOR(pg_catalog.<)
         LIMIT $2
           FOR UPDATE SKIP LOCKED)
    DELETE FROM idempotent.request_records AS request
     USING expired
     WHERE request.ctid OPERATOR(pg_catalog.=) expired.place";

/// Removes expired requests of the caller, or of all roles if the caller is a member of
/// the owner; at most so many.
pub fn purge(most: i32) -> i64 {
    let table = RequestTable::open();
    let only_own = !privilege::has_privileges_of(table.relation().owner());
    let role = only_own.then(backend::current_user);
    let now = backend::clock();
    let _owner = UserContext::owner_of(StateTable::Requests);
    let removed = Connection::open().execute(
        PURGE,
        &[
            kept::optional_role_parameter(role),
            SqlValue::bigint(i64::from(most)),
            SqlValue::timestamptz(now),
        ],
    );
    removed as i64
}
