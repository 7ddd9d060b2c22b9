//! Arrays and composites inside a JSON payload.
//!
//! Core fills them member by member in `jsonb_populate_record`, which takes a
//! whole record. So the nested columns that a payload names are put into a
//! record type of their own, and core fills that.
use crate::pg::ffi;
use crate::pg::jsonb::{ObjectBuilder, Value};
use crate::pg::populate::{Field, Populate};
use crate::target::Target;
use pgrx::pg_sys;

/// Fills the nested columns of one shape.
pub struct NestedColumns {
    /// The columns, by position in the target.
    columns: Vec<usize>,
    record: Populate,
}

impl NestedColumns {
    /// For the nested ones among `named`; None if there are none.
    pub fn of_shape(target: &Target, named: &[usize]) -> Option<Self> {
        let columns: Vec<usize> = named
            .iter()
            .copied()
            .filter(|c| target.columns[*c].nested)
            .collect();
        if columns.is_empty() {
            return None;
        }
        let fields: Vec<Field<'_>> = columns
            .iter()
            .map(|c| &target.columns[*c])
            .map(|column| Field {
                name: &column.c_name,
                typid: column.typid,
                typmod: column.typmod,
                collation: column.collation,
            })
            .collect();
        let record = Populate::new(&fields);
        Some(Self { columns, record })
    }

    /// The nested column, if there is but one.
    pub fn only_column(&self) -> Option<usize> {
        match self.columns.as_slice() {
            [column] => Some(*column),
            _ => None,
        }
    }

    /// Puts the nested ones of a payload's fields (position and value) through
    /// core, then calls `set` with each such column and its value.
    pub fn read<'d>(
        &mut self,
        target: &Target,
        fields: impl Iterator<Item = (usize, Value<'d>)>,
        mut set: impl FnMut(usize, Option<pg_sys::Datum>),
    ) {
        // SAFETY: the guard holds nothing; the names live as long as the target.
        let object = unsafe {
            ffi::guard(|| {
                let mut object = ObjectBuilder::new();
                for (c, value) in fields {
                    let column = target.columns.get_unchecked(c);
                    if column.nested {
                        object.key(&column.c_name);
                        object.value(value);
                    }
                }
                object.finish()
            })
        };
        self.record.fill(object);
        for (i, column) in self.columns.iter().enumerate() {
            set(*column, self.record.get(i));
        }
    }
}
