//! Columns that say when a row was loaded: their names, and their types.
use pgrx::pg_sys;

/// Words of columns that say when a row was loaded, not when something happened.
pub const LOADED: [&str; 5] = ["loaded", "ingested", "imported", "inserted", "processed"];

/// Whether the type is a point in time, or a part of one.
pub fn is_time(base: pg_sys::Oid) -> bool {
    [
        pg_sys::TIMESTAMPTZOID,
        pg_sys::TIMESTAMPOID,
        pg_sys::DATEOID,
        pg_sys::TIMEOID,
        pg_sys::TIMETZOID,
    ]
    .contains(&base)
}
