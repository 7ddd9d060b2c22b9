//! What `pg_trigger` says of a guard, without its table being opened.
use crate::pg::catalog::relation;
use crate::pg::statement::spi::Connection;
use crate::pg::value::sql_value::SqlValue;
use crate::pg::value::text;
use crate::target::is_guard_function;
use pgrx::pg_sys;

/// Whether there is no such table any more.
pub fn is_dropped(table: pg_sys::Oid) -> bool {
    relation::kind(table) == 0
}

/// The arguments of a guard's trigger; None if the table has no such trigger, or it is no
/// guard.
pub fn arguments(table: pg_sys::Oid, trigger: pg_sys::Oid) -> Option<Vec<String>> {
    let connection = Connection::open();
    let found = connection.query(
        "SELECT tgfoid, tgargs FROM pg_catalog.pg_trigger
          WHERE tgrelid OPERATOR(pg_catalog.=) $1 AND oid OPERATOR(pg_catalog.=) $2",
        &[SqlValue::oid(table), SqlValue::oid(trigger)],
    );
    if found == 0 {
        return None;
    }
    let function = pg_sys::Oid::from(connection.first(1)?.value() as u32);
    if !is_guard_function(function) {
        return None;
    }
    let arguments = connection.first_bytes(2)?;
    // Each ends with a NUL.
    let each = arguments.split_inclusive(|byte| *byte == 0);
    Some(
        each.map(|argument| text::from_server_bytes(&argument[..argument.len() - 1]))
            .collect(),
    )
}
