//! Where a target's columns are: in rows of its own, of partitions, and in working rows.
use super::{Column, Target};
use crate::pg::catalog::relation;
use pgrx::pg_sys;
use std::ffi::{CString, c_int};

impl Target {
    /// Where its columns are in this table, itself or a partition: attribute
    /// numbers by position.
    pub fn attnums_in(&self, table: pg_sys::Oid) -> Vec<pg_sys::AttrNumber> {
        let number = |column: &Column| {
            if table == self.oid {
                column.attnum
            } else {
                // Partitions have all columns of their parent, by name.
                relation::column_number(table, &column.c_name)
            }
        };
        self.columns.iter().map(number).collect()
    }

    /// Where its columns are in a row that has them all in their order.
    pub fn attnums_in_order(&self) -> Vec<pg_sys::AttrNumber> {
        (1..=self.columns.len() as pg_sys::AttrNumber).collect()
    }

    /// The descriptor of a working row: every column of [`Target::columns`] in
    /// order, then `ordinal bigint`, `shape int` and `mark bigint` (see
    /// `payload::row`).
    pub fn row_desc(&self) -> pg_sys::TupleDesc {
        self.row_desc
    }

    /// The descriptor of a row of all columns with others of these types behind them,
    /// named as those of a working row, in the current memory.
    pub fn row_desc_with(&self, others: &[pg_sys::Oid]) -> pg_sys::TupleDesc {
        row_desc(&self.columns, others)
    }
}

/// What a working row has behind the target's own columns: ordinal, shape, mark.
pub(super) const ROW_EXTRAS: [pg_sys::Oid; 3] = [pg_sys::INT8OID, pg_sys::INT4OID, pg_sys::INT8OID];

/// Columns are named by position, `a0`, `a1`, …, so that SQL over working rows
/// needs no quoting and meets no name of the user's.
pub(super) fn row_desc(columns: &[Column], extras: &[pg_sys::Oid]) -> pg_sys::TupleDesc {
    let count = columns.len();
    // SAFETY: attribute numbers run from 1 to the number the template was made
    // for, and types exist while their columns do; the descriptor is not reference-counted.
    unsafe {
        let desc = pg_sys::CreateTemplateTupleDesc((count + extras.len()) as c_int);
        let entry = |i: usize, typid: pg_sys::Oid, typmod: i32| {
            let name = CString::new(format!("a{i}")).expect("no NUL");
            let number = (i + 1) as pg_sys::AttrNumber;
            pg_sys::TupleDescInitEntry(desc, number, name.as_ptr(), typid, typmod, 0);
        };
        for (i, column) in columns.iter().enumerate() {
            entry(i, column.typid, column.typmod);
            pg_sys::TupleDescInitEntryCollation(
                desc,
                (i + 1) as pg_sys::AttrNumber,
                column.collation,
            );
        }
        for (i, typid) in extras.iter().enumerate() {
            entry(count + i, *typid, -1);
        }
        desc
    }
}
