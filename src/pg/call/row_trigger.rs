//! The call of a trigger that looks at a row before it goes in, and may change it.
use super::entry::SqlCall;
use super::result::SqlResult;
use crate::pg::ffi;
use crate::pg::value::by_reference::{bytes_of_datum, to_bytea, to_name_datum};
use pgrx::pg_sys;
use std::ffi::{CStr, CString, c_int};

/// A row that is about to go in, as BEFORE INSERT FOR EACH ROW hands it over.
pub struct ArrivingRow<'c> {
    data: &'c pg_sys::TriggerData,
    values: Vec<pg_sys::Datum>,
    nulls: Vec<bool>,
    changed: bool,
}

impl<'fcx> SqlCall<'fcx> {
    /// The row that the running trigger is called for; None if it is called otherwise than BEFORE
    /// INSERT FOR EACH ROW.
    pub fn new_row(&self) -> Option<ArrivingRow<'fcx>> {
        const KIND: u32 = pg_sys::TRIGGER_EVENT_OPMASK
            | pg_sys::TRIGGER_EVENT_ROW
            | pg_sys::TRIGGER_EVENT_TIMINGMASK;
        const BEFORE_INSERT_ROW: u32 =
            pg_sys::TRIGGER_EVENT_INSERT | pg_sys::TRIGGER_EVENT_ROW | pg_sys::TRIGGER_EVENT_BEFORE;
        // SAFETY: the running call's; a node says what it is, and the server keeps that of a
        // trigger as long as the trigger runs.
        let data = unsafe {
            let context = (*self.raw()).context.as_ref()?;
            if context.type_ != pg_sys::NodeTag::T_TriggerData {
                return None;
            }
            &*std::ptr::from_ref(context).cast::<pg_sys::TriggerData>()
        };
        (data.tg_event & KIND == BEFORE_INSERT_ROW).then_some(ArrivingRow {
            data,
            values: Vec::new(),
            nulls: Vec::new(),
            changed: false,
        })
    }
}

impl ArrivingRow<'_> {
    /// The owner of the table.
    pub fn table_owner(&self) -> pg_sys::Oid {
        // SAFETY: the trigger's table is open while it runs.
        unsafe { (*(*self.data.tg_relation).rd_rel).relowner }
    }

    fn desc(&self) -> pg_sys::TupleDesc {
        // SAFETY: likewise.
        unsafe { (*self.data.tg_relation).rd_att }
    }

    /// A column.
    ///
    /// # Panics
    /// If there is no such column.
    fn attribute(&self, i: usize) -> &pg_sys::FormData_pg_attribute {
        // SAFETY: the table has so many columns, as was checked.
        unsafe {
            assert!(i < (*self.desc()).natts as usize);
            ffi::attribute(self.desc(), i as c_int)
        }
    }

    /// The types of its columns in order; None for those that were dropped.
    pub fn types(&self) -> Vec<Option<pg_sys::Oid>> {
        // SAFETY: an open table has as many columns as its descriptor says.
        unsafe {
            let columns = (0..(*self.desc()).natts).map(|i| ffi::attribute(self.desc(), i));
            let types = columns.map(|column| (!column.attisdropped).then_some(column.atttypid));
            types.collect()
        }
    }

    /// A value, as it arrived; None if it is NULL.
    fn value(&mut self, i: usize) -> Option<pg_sys::Datum> {
        if self.values.is_empty() {
            // SAFETY: the trigger's row, of its table; as many places as that has columns.
            unsafe {
                let count = (*self.desc()).natts as usize;
                (self.values, self.nulls) = (vec![pg_sys::Datum::null(); count], vec![true; count]);
                let (values, nulls) = (self.values.as_mut_ptr(), self.nulls.as_mut_ptr());
                pg_sys::heap_deform_tuple(self.data.tg_trigtuple, self.desc(), values, nulls);
            }
        }
        (!self.nulls[i]).then(|| self.values[i])
    }

    fn set(&mut self, i: usize, value: pg_sys::Datum) {
        (self.values[i], self.changed) = (value, true);
    }

    /// Replaces the value of a column (from 0) of a type of variable length, by its content. NULL
    /// stays, and so does a value for which there is no other.
    ///
    /// # Panics
    /// If the type has another length.
    pub fn replace_content(
        &mut self,
        i: usize,
        replacement: impl FnOnce(&[u8]) -> Option<Vec<u8>>,
    ) {
        assert_eq!(self.attribute(i).attlen, -1);
        let Some(value) = self.value(i) else { return };
        // SAFETY: a varlena, as its column says, and not NULL.
        let content = unsafe { bytes_of_datum(value) };
        if let Some(other) = replacement(&content) {
            self.set(i, to_bytea(&other));
        }
    }

    /// Replaces the value of a column (from 0) of type name, likewise. What is too long is cut.
    ///
    /// # Panics
    /// If the type is another one.
    pub fn replace_name(&mut self, i: usize, replacement: impl FnOnce(&CStr) -> Option<CString>) {
        assert_eq!(self.attribute(i).atttypid, pg_sys::NAMEOID);
        let Some(value) = self.value(i) else { return };
        // SAFETY: a name is a C string, and not NULL.
        let name = unsafe { CStr::from_ptr(value.cast_mut_ptr()).to_owned() };
        if let Some(other) = replacement(&name) {
            self.set(i, to_name_datum(&other));
        }
    }

    /// What the trigger returns: the row, with what was replaced.
    pub fn into_result(mut self) -> SqlResult {
        let row = self.data.tg_trigtuple;
        // SAFETY: the trigger's row, or a new one of the same table, of its values and of what they
        // were replaced by, in the memory that a trigger's result is expected in.
        unsafe {
            let row = if self.changed {
                let (values, nulls) = (self.values.as_mut_ptr(), self.nulls.as_mut_ptr());
                pg_sys::heap_form_tuple(self.desc(), values, nulls)
            } else {
                row
            };
            SqlResult::datum(pg_sys::Datum::from(row))
        }
    }
}
