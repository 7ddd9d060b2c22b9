//! Remembering in a jsonb: the kept columns, by name.
use crate::payload::nested::NestedColumns;
use crate::pg::ffi;
use crate::pg::jsonb::{Container, Kind, ObjectBuilder};
use crate::pg::rows::Slot;
use crate::target::Target;
use pgrx::pg_sys;

/// The kept columns of a row, as an object.
pub fn write(
    target: &Target,
    kept: &[usize],
    row: impl Fn(usize) -> Option<pg_sys::Datum>,
) -> pg_sys::Datum {
    // SAFETY: the names live with the target, the values as long as the row;
    // the guard holds nothing, and positions are those of the columns.
    unsafe {
        ffi::guard(|| {
            let mut object = ObjectBuilder::new();
            for c in kept {
                let column = target.columns.get_unchecked(*c);
                object.key(&column.c_name);
                column.put_readable(&mut object, row(*c));
            }
            object.finish()
        })
    }
}

/// The row that a document tells, with all columns of the target in their order.
/// A column that it does not have (it was added, or is compared, since) is that of
/// the row `otherwise`; a field that is no kept column (any more) is passed over.
pub fn read(
    target: &Target,
    kept: &[usize],
    document: pg_sys::Datum,
    otherwise: impl Fn(usize) -> Option<pg_sys::Datum>,
) -> Slot {
    let mut row = Slot::for_values(target.row_desc());
    row.clear();
    for c in 0..target.columns.len() {
        row.set(c, otherwise(c));
    }
    // SAFETY: the column is a jsonb; the current context is that of the row.
    let document = unsafe { Container::of_datum(document) };
    if document.kind() == Kind::Object {
        let fields: Vec<(usize, _)> = document
            .names()
            .zip(document.values())
            .filter_map(|(name, value)| Some((target.column_by_bytes(name)?, value)))
            .filter(|(c, _)| kept.contains(c))
            .collect();
        // SAFETY: the guard holds nothing: borrowed fields, and plain writes to
        // the slot.
        unsafe {
            ffi::guard(|| {
                for (c, value) in &fields {
                    let column = target.columns.get_unchecked(*c);
                    if !column.nested {
                        row.set(*c, column.read(*value));
                    }
                }
            });
        }
        let named: Vec<usize> = fields.iter().map(|(c, _)| *c).collect();
        if let Some(mut nested) = NestedColumns::of_shape(target, &named) {
            nested.read(target, fields.into_iter(), |c, value| row.set(c, value));
        }
    }
    row.store();
    row
}
