//! Where a target's columns are: in rows of its own, of partitions, and in working rows.
use super::{Column, Target};
use crate::pg::catalog::relation::column_number;
use crate::pg::rows::{RowColumn, RowDesc};
use pgrx::pg_sys;
use std::ffi::CString;

impl Target {
    /// Where its columns are in this table, itself or a partition: attribute
    /// numbers by position.
    pub fn attnums_in(&self, table: pg_sys::Oid) -> Vec<pg_sys::AttrNumber> {
        let number = |column: &Column| {
            if table == self.oid {
                column.attnum
            } else {
                // Partitions have all columns of their parent, by name.
                column_number(table, &column.c_name)
            }
        };
        self.columns.iter().map(number).collect()
    }

    /// Where its columns are in a row that has them all in their order.
    pub fn attnums_in_order(&self) -> Vec<pg_sys::AttrNumber> {
        (1..=self.columns.len() as pg_sys::AttrNumber).collect()
    }

    /// How many columns a working row begins with: those of the target, then the expressions in the
    /// keys of its unique indexes.
    pub fn working_columns(&self) -> usize {
        self.columns.len() + self.key_expressions.len()
    }

    /// A column, or an expression in the key of an index, by its position in a working row.
    pub fn column(&self, position: usize) -> &Column {
        let expressions = position.checked_sub(self.columns.len());
        match expressions {
            Some(i) => &self.key_expressions[i],
            None => &self.columns[position],
        }
    }

    /// The descriptor of a working row: every column of [`Target::columns`] in
    /// order, then the expressions of keys, then `ordinal bigint`, `shape int` and `mark bigint` (see
    /// `payload::row`).
    pub fn row_desc(&self) -> &RowDesc {
        &self.row_desc
    }

    /// The descriptor of a row of [`Target::columns`] alone.
    pub fn columns_desc(&self) -> &RowDesc {
        &self.columns_desc
    }

    /// The descriptor of a row that begins as a working row, with others of these types behind
    /// that, named as those of a working row.
    pub fn row_desc_with(&self, others: &[pg_sys::Oid]) -> RowDesc {
        row_desc(&self.columns, &self.key_expressions, others)
    }

    /// The descriptor of a working row with columns of another table behind it.
    pub fn row_desc_and(&self, others: &[pg_sys::FormData_pg_attribute]) -> RowDesc {
        if others.is_empty() {
            return self.row_desc.clone();
        }
        working_row(&self.columns, &self.key_expressions, &ROW_EXTRAS, others)
    }
}

/// See [`Target::in_json_order`]: shorter names come first.
pub(super) fn json_order(columns: &[Column]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..columns.len()).collect();
    let name = |c: &usize| columns[*c].c_name.to_bytes();
    order.sort_by(|a, b| {
        let (a, b) = (name(a), name(b));
        a.len().cmp(&b.len()).then(a.cmp(b))
    });
    order
}

/// What a working row has behind the target's own columns: ordinal, shape, mark.
pub(super) const ROW_EXTRAS: [pg_sys::Oid; 3] = [pg_sys::INT8OID, pg_sys::INT4OID, pg_sys::INT8OID];

/// Columns are named by position, `a0`, `a1`, …, so that SQL over working rows
/// needs no quoting and meets no name of the user's.
pub(super) fn row_desc(
    columns: &[Column],
    expressions: &[Column],
    extras: &[pg_sys::Oid],
) -> RowDesc {
    working_row(columns, expressions, extras, &[])
}

fn working_row(
    columns: &[Column],
    expressions: &[Column],
    extras: &[pg_sys::Oid],
    others: &[pg_sys::FormData_pg_attribute],
) -> RowDesc {
    let count = columns.len() + expressions.len();
    let names: Vec<CString> = (0..count + extras.len())
        .map(|i| CString::new(format!("a{i}")).expect("no NUL"))
        .collect();
    let (own, extra) = names.split_at(count);
    let columns = columns.iter().chain(expressions);
    let own = own.iter().zip(columns).map(|(name, column)| RowColumn {
        name,
        typid: column.typid,
        typmod: column.typmod,
        collation: Some(column.collation),
    });
    let extra = extra.iter().zip(extras);
    let extra = extra.map(|(name, typid)| RowColumn::of_type(name, *typid));
    let others = others.iter().map(|other| RowColumn {
        name: c"unstored",
        typid: other.atttypid,
        typmod: other.atttypmod,
        collation: Some(other.attcollation),
    });
    RowDesc::of(&own.chain(extra).chain(others).collect::<Vec<_>>())
}
