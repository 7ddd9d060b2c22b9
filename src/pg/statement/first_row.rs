//! The first row that a statement returned, by the types that it has.
use super::spi::Connection;
use crate::pg::call::arguments::texts_of_datum;
use crate::pg::value::text;
use pgrx::pg_sys;
use std::ffi::c_int;

impl Connection {
    /// Column `column` (from 1) of the first row that the last statement returned, if it is of
    /// this type; None if it is NULL, or there is no row.
    ///
    /// # Panics
    /// If the column is of another type, or there is no such column.
    fn first_of(&self, column: c_int, typid: pg_sys::Oid) -> Option<pg_sys::Datum> {
        // SAFETY: inside a connection the table is null, or that of the last statement, with as
        // many rows and columns as it says. The column is looked for before it is read.
        unsafe {
            let table = pg_sys::SPI_tuptable.as_ref()?;
            if table.numvals == 0 {
                return None;
            }
            assert!(column > 0 && column <= (*table.tupdesc).natts);
            assert_eq!(pg_sys::SPI_gettypeid(table.tupdesc, column), typid);
            let mut null = false;
            let row = *table.vals;
            let value = pg_sys::SPI_getbinval(row, table.tupdesc, column, &raw mut null);
            (!null).then_some(value)
        }
    }

    /// A text; None if it is NULL, or there is no row.
    ///
    /// # Panics
    /// If the column is no text.
    pub fn first_text(&self, column: c_int) -> Option<String> {
        // SAFETY: a text, which the connection keeps while it is copied.
        self.first_of(column, pg_sys::TEXTOID)
            .map(|value| unsafe { text::from_datum(value) })
    }

    /// The members of a text[]; None if it is NULL, or there is no row.
    ///
    /// # Panics
    /// If the column is no text[].
    pub fn first_texts(&self, column: c_int) -> Option<Vec<Option<String>>> {
        // SAFETY: a text[], which the connection keeps while it is copied.
        self.first_of(column, pg_sys::TEXTARRAYOID)
            .map(|value| unsafe { texts_of_datum(value) })
    }

    /// An oid; None if it is NULL, or there is no row.
    ///
    /// # Panics
    /// If the column is no oid.
    pub fn first_oid(&self, column: c_int) -> Option<pg_sys::Oid> {
        self.first_of(column, pg_sys::OIDOID)
            .map(|value| pg_sys::Oid::from(value.value() as u32))
    }
}
