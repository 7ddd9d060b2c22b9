//! The statements that write: plain DELETE and INSERT, with the caller's rights.
use super::slice::Slice;
use crate::payload::source::Source;
use crate::pg::rows::{NamedStore, Store};
use crate::pg::spi::{Connection, Plan};
use crate::target::Target;
use std::ffi::CStr;

/// The name under which INSERT sees the rows.
const ROWS: &CStr = c"pg_idempotent_rows";

/// Deletes the slice's rows; gives how many.
pub fn delete(slice: &Slice<'_>) -> i64 {
    let (condition, parameters) = slice.condition();
    let sql = format!("DELETE FROM {} WHERE {condition}", slice.target.qualified());
    Connection::open().execute(&sql, &parameters) as i64
}

/// Inserts the rows; gives how many went in.
pub fn insert(target: &Target, source: &Source<'_>, rows: &Store) -> i64 {
    if rows.len() == 0 {
        return 0;
    }
    let columns = target.column_list(source.columns().iter().copied());
    let values = source
        .columns()
        .iter()
        .map(|c| format!("a{c}"))
        .collect::<Vec<_>>()
        .join(", ");
    let sql = format!(
        "INSERT INTO {} ({columns}) SELECT {values} FROM {}",
        target.qualified(),
        ROWS.to_str().expect("ASCII"),
    );
    let connection = Connection::open();
    let _named = NamedStore::register(ROWS, rows, target.row_desc());
    let plan = Plan::prepare(&connection, &sql);
    let count = connection.insert(&plan, None);
    if !plan.concerns(target.oid) {
        target.renamed_meanwhile().raise()
    }
    count as i64
}
