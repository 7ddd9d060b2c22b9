//! A row of the table, by its columns.
//!
//! The table has neither triggers nor constraints other than NOT NULL, and plain indexes
//! only (see [`state`](crate::state)).
use super::table::{COLUMNS, RequestColumn, RequestTable};
use crate::pg::heap::{HeapRow, NotReplaced, Tid};
use crate::pg::value::sql_value::SqlValue;
use crate::target::Scan;
use pgrx::pg_sys;

/// A row, and which of its values is which.
pub struct RequestRow {
    row: HeapRow,
    numbers: [pg_sys::AttrNumber; COLUMNS],
}

/// A new value for a column.
pub type Change<'v> = (RequestColumn, SqlValue<'v>);

impl RequestRow {
    /// The row that a scan of the table has found.
    pub fn of_scan(table: &RequestTable, scan: &Scan) -> Self {
        let row = scan.copy_row().expect("the scan has found a row");
        Self::of(table, row)
    }

    /// The row that the transaction may see at a place where one of the table's has been.
    pub fn at(table: &RequestTable, tid: Tid) -> Option<Self> {
        table.heap.row_at(tid).map(|row| Self::of(table, row))
    }

    fn of(table: &RequestTable, row: HeapRow) -> Self {
        Self {
            row,
            numbers: *table.numbers(),
        }
    }

    /// The row itself.
    pub fn heap_row(&self) -> &HeapRow {
        &self.row
    }

    /// Where it is in the table.
    pub fn tid(&self) -> Tid {
        self.row.tid()
    }

    /// The value of a column.
    pub fn get(&self, column: RequestColumn) -> SqlValue<'_> {
        self.row.value(self.numbers[column as usize])
    }

    /// Replaces it, see [`HeapTable::update`](crate::pg::heap::HeapTable::update).
    pub fn replace(
        &self,
        table: &RequestTable,
        changes: &[Change<'_>],
    ) -> Result<Option<Tid>, NotReplaced> {
        table.heap.update(&self.row, &numbered(table, changes))
    }
}

/// Inserts a row of these values, and says where it is.
pub fn insert(table: &RequestTable, values: &[Change<'_>; COLUMNS]) -> Tid {
    table.heap.insert(&numbered(table, values))
}

fn numbered<'v>(
    table: &RequestTable,
    changes: &[Change<'v>],
) -> Vec<(pg_sys::AttrNumber, SqlValue<'v>)> {
    let number = |(column, value): &Change<'v>| (table.numbers()[*column as usize], *value);
    changes.iter().map(number).collect()
}
