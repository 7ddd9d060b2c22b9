//! Columns of a row as a JSON object.
use super::{Column, Target};
use crate::pg::ffi;
use crate::pg::value::document::JsonbDatum;
use crate::pg::value::jsonb::ObjectBuilder;
use crate::pg::value::sql_value::SqlValue;
use pgrx::pg_sys;

/// In which form values are put down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonForm {
    /// As core's `to_jsonb` shows them.
    Shown,
    /// In a form that can be read as a payload.
    Readable,
    /// Likewise, but a json that jsonb refuses as its text: no payload can have it.
    Recorded,
    /// In a form from which every value is the very same.
    Lossless,
}

impl JsonForm {
    /// # Safety
    /// As [`ValueType::put_into`](crate::pg::value::value_type::ValueType::put_into).
    unsafe fn put(self, column: &Column, object: &mut ObjectBuilder, value: Option<pg_sys::Datum>) {
        // SAFETY: the caller's promise.
        unsafe {
            match (self, value) {
                (Self::Shown, _) => column.values.put_into(object, value),
                (Self::Recorded, Some(json)) if column.values.refused_json(json).is_some() => {
                    column.values.put_into(object, value);
                }
                (Self::Readable | Self::Recorded, _) => column.values.put_readable(object, value),
                (Self::Lossless, _) => column.values.put_lossless(object, value),
            }
        }
    }
}

impl Target {
    /// Columns (by position) of a row, with the values that `value` gives for them, in the current
    /// context.
    ///
    /// # Errors
    /// What the types' output functions raise; 22P02 and the like for what JSON cannot hold.
    ///
    /// # Panics
    /// If a value is of another type than its column.
    pub fn object<'v>(
        &self,
        columns: impl IntoIterator<Item = usize>,
        form: JsonForm,
        value: impl Fn(usize) -> SqlValue<'v>,
    ) -> JsonbDatum {
        let mut columns = columns.into_iter();
        // SAFETY: the names live with the target, the values longer than this. What is the caller's
        // has returned before a function of the server is called without a guard of its own; the
        // rest owns nothing.
        unsafe {
            JsonbDatum::new(ffi::guard(|| {
                let mut object = ObjectBuilder::new();
                for c in &mut columns {
                    let (column, value) = (&self.columns[c], value(c));
                    assert_eq!(value.typid(), column.typid);
                    object.key(&column.c_name);
                    form.put(column, &mut object, value.to_datum());
                }
                object.finish()
            }))
        }
    }
}
