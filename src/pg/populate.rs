//! A JSON object into typed values, by core's `jsonb_populate_record`.
use super::memory::Memory;
use pgrx::pg_sys;
use std::ffi::{CStr, c_int};
use std::ptr;

/// One field of a record.
pub struct Field<'n> {
    /// Its name, in the server's encoding.
    pub name: &'n CStr,
    /// Its type.
    pub typid: pg_sys::Oid,
    /// The type modifier, or -1.
    pub typmod: i32,
    /// Its collation, or `InvalidOid`.
    pub collation: pg_sys::Oid,
}

/// A record that is filled from JSON, again and again.
pub struct Populate {
    desc: pg_sys::TupleDesc,
    /// An all-NULL record, whose type tells core what to fill.
    base: pg_sys::Datum,
    function: *mut pg_sys::FmgrInfo,
    values: Vec<pg_sys::Datum>,
    nulls: Vec<bool>,
    /// Where descriptor, record and function live.
    _memory: Memory,
}

impl Populate {
    /// For a record of these fields.
    pub fn new(fields: &[Field<'_>]) -> Self {
        let memory = Memory::in_current(c"pg_idempotent record");
        let count = fields.len();
        // SAFETY: attribute numbers within the template; the blessed descriptor,
        // the base record and the function live in `memory`.
        let (desc, base, function, values, nulls) = memory.scope(|| unsafe {
            let desc = pg_sys::CreateTemplateTupleDesc(count as c_int);
            for (i, field) in fields.iter().enumerate() {
                let number = (i + 1) as pg_sys::AttrNumber;
                let name = field.name.as_ptr();
                pg_sys::TupleDescInitEntry(desc, number, name, field.typid, field.typmod, 0);
                pg_sys::TupleDescInitEntryCollation(desc, number, field.collation);
            }
            let desc = pg_sys::BlessTupleDesc(desc);
            let mut values = vec![pg_sys::Datum::null(); count];
            let mut nulls = vec![true; count];
            let base = pg_sys::heap_form_tuple(desc, values.as_mut_ptr(), nulls.as_mut_ptr());
            let base = pg_sys::HeapTupleHeaderGetDatum((*base).t_data);
            (desc, base, populate_function(&memory), values, nulls)
        });
        Self {
            desc,
            base,
            function,
            values,
            nulls,
            _memory: memory,
        }
    }

    /// Fills it from a JSON object, in the current context; [`Populate::get`] gives
    /// the values.
    ///
    /// # Errors
    /// What the types' input functions raise.
    pub fn fill(&mut self, object: pg_sys::Datum) {
        // SAFETY: core's function with the arguments it is declared with; the
        // record it returns has our descriptor.
        unsafe {
            let record =
                pg_sys::FunctionCall2Coll(self.function, pg_sys::InvalidOid, self.base, object);
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
    }

    /// The value of a field, from 0.
    pub fn get(&self, field: usize) -> Option<pg_sys::Datum> {
        (!self.nulls[field]).then_some(self.values[field])
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
        let function = super::function_in(memory.context(), oid);
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
