//! Arrays and composites inside a JSON payload.
//!
//! Core fills them member by member in `jsonb_populate_record`, which takes a
//! whole record. So the nested columns that a payload names are put into a
//! record type of their own, and core fills that.
use crate::pg::ffi;
use crate::pg::jsonb::{ObjectBuilder, Value};
use crate::pg::memory::Memory;
use crate::target::Target;
use pgrx::pg_sys;
use std::ffi::c_int;
use std::ptr;

/// Fills the nested columns of one shape.
pub struct NestedColumns {
    /// The columns, by position in the target.
    columns: Vec<usize>,
    desc: pg_sys::TupleDesc,
    /// An all-NULL record, whose type tells core what to fill.
    base: pg_sys::Datum,
    populate: *mut pg_sys::FmgrInfo,
    values: Vec<pg_sys::Datum>,
    nulls: Vec<bool>,
    /// Where descriptor, record and function live.
    _memory: Memory,
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
        let memory = Memory::in_current(c"pg_idempotent nested columns");
        let parts = memory.scope(|| {
            let count = columns.len();
            // SAFETY: attribute numbers within the template; the blessed
            // descriptor, the base record and the function live in `memory`.
            unsafe {
                let desc = pg_sys::CreateTemplateTupleDesc(count as c_int);
                for (i, c) in columns.iter().enumerate() {
                    let column = &target.columns[*c];
                    let number = (i + 1) as pg_sys::AttrNumber;
                    pg_sys::TupleDescInitEntry(
                        desc,
                        number,
                        column.c_name.as_ptr(),
                        column.typid,
                        column.typmod,
                        0,
                    );
                    pg_sys::TupleDescInitEntryCollation(desc, number, column.collation);
                }
                let desc = pg_sys::BlessTupleDesc(desc);
                let mut values = vec![pg_sys::Datum::null(); count];
                let mut nulls = vec![true; count];
                let base = pg_sys::heap_form_tuple(desc, values.as_mut_ptr(), nulls.as_mut_ptr());
                let base = pg_sys::HeapTupleHeaderGetDatum((*base).t_data);
                let populate = populate_function(&memory);
                (desc, base, populate, values, nulls)
            }
        });
        let (desc, base, populate, values, nulls) = parts;
        Some(Self {
            columns,
            desc,
            base,
            populate,
            values,
            nulls,
            _memory: memory,
        })
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
        // SAFETY: core's function with the arguments it is declared with; the
        // record it returns has our descriptor.
        unsafe {
            let record =
                pg_sys::FunctionCall2Coll(self.populate, pg_sys::InvalidOid, self.base, object);
            let header = pg_sys::pg_detoast_datum(record.cast_mut_ptr())
                .cast::<pg_sys::HeapTupleHeaderData>();
            let mut tuple = pg_sys::HeapTupleData {
                t_len: pgrx::varlena::varsize_any(header.cast()) as u32,
                t_data: header,
                ..Default::default()
            };
            pg_sys::heap_deform_tuple(
                &raw mut tuple,
                self.desc,
                self.values.as_mut_ptr(),
                self.nulls.as_mut_ptr(),
            );
        }
        for (i, column) in self.columns.iter().enumerate() {
            set(*column, (!self.nulls[i]).then_some(self.values[i]));
        }
    }
}

/// `jsonb_populate_record(record, jsonb)`, set up for repeated calls.
///
/// # Safety
/// `memory` outlives the result's use.
unsafe fn populate_function(memory: &Memory) -> *mut pg_sys::FmgrInfo {
    // SAFETY: an existing function. It learns from the call's expression that
    // its first argument is a record, and from the record which.
    unsafe {
        let oid = pg_sys::Oid::from(pg_sys::F_JSONB_POPULATE_RECORD);
        let function = crate::target::function_in(memory.context(), oid);
        let mut arguments = ptr::null_mut();
        for typid in [pg_sys::RECORDOID, pg_sys::JSONBOID] {
            let argument = pg_sys::makeNullConst(typid, -1, pg_sys::InvalidOid);
            arguments = pg_sys::lappend(arguments, argument.cast());
        }
        (*function).fn_expr = pg_sys::makeFuncExpr(
            oid,
            pg_sys::RECORDOID,
            arguments,
            pg_sys::InvalidOid,
            pg_sys::InvalidOid,
            pg_sys::CoercionForm::COERCE_EXPLICIT_CALL,
        )
        .cast();
        function
    }
}
