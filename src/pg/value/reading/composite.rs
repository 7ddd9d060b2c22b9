//! Composites, from JSON objects.
use super::{MemberReaders, Reader, ResultDetail};
use crate::error::{SqlState, refuse_unguarded};
use crate::pg::ffi;
use crate::pg::memory::Memory;
use crate::pg::value::jsonb::{Kind, Value};
use pgrx::pg_sys;
use std::ffi::{CStr, CString};
use std::rc::Rc;

/// Reads composites of a type.
pub struct Composite {
    desc: pg_sys::TupleDesc,
    /// In jsonb's order of names.
    fields: Vec<Field>,
}

struct Field {
    name: CString,
    /// From 0.
    place: usize,
    reader: Rc<Reader>,
}

/// jsonb's order of names.
fn order(name: &[u8]) -> (usize, &[u8]) {
    (name.len(), name)
}

impl Composite {
    /// For a composite type, with its descriptor in `memory`.
    pub fn of(typid: pg_sys::Oid, memory: &Memory, members: &mut MemberReaders) -> Self {
        // SAFETY: an existing composite type; the copy lives as long as `memory`.
        let (desc, count) = memory.scope(|| unsafe {
            let desc = pg_sys::lookup_rowtype_tupdesc_copy(typid, -1);
            (desc, (*desc).natts)
        });
        let mut fields: Vec<Field> = (0..count)
            // SAFETY: within the descriptor.
            .map(|i| (i, unsafe { ffi::attribute(desc, i) }))
            .filter(|(_, attribute)| !attribute.attisdropped)
            .map(|(i, attribute)| {
                // SAFETY: a name ends with NUL.
                let name = unsafe { CStr::from_ptr(attribute.attname.data.as_ptr()) };
                let wanted = ResultDetail {
                    name,
                    typid: attribute.atttypid,
                    typmod: attribute.atttypmod,
                    dimensions: attribute.attndims.into(),
                };
                Field {
                    name: name.to_owned(),
                    place: i as usize,
                    reader: members.of(wanted, memory),
                }
            })
            .collect();
        fields.sort_unstable_by(|a, b| order(a.name.to_bytes()).cmp(&order(b.name.to_bytes())));
        Self { desc, fields }
    }

    /// The value, of a JSON value that is neither null nor a string. Fields that the object
    /// lacks are NULL; it may have others.
    ///
    /// # Errors
    /// 22023 for what is no object; as [`Reader::read`].
    ///
    /// # Safety
    /// As [`Reader::read`].
    pub unsafe fn read(&self, value: Value<'_>) -> pg_sys::Datum {
        // SAFETY: the caller's promise; as many values as the descriptor has columns.
        unsafe {
            let object = match value {
                Value::Container(object, _) if object.kind() == Kind::Object => object,
                Value::Container(..) => refuse(c"cannot call populate_composite on an array"),
                _ => refuse(c"cannot call populate_composite on a scalar"),
            };
            let count = (*self.desc).natts as usize;
            let values: *mut pg_sys::Datum =
                ffi::unguarded::palloc0(count * size_of::<pg_sys::Datum>()).cast();
            let nulls: *mut bool = ffi::unguarded::palloc0(count).cast();
            nulls.write_bytes(1, count);
            let mut given = object.names().zip(object.values()).peekable();
            for field in &self.fields {
                let name = order(field.name.to_bytes());
                while given.next_if(|(given, _)| order(given) < name).is_some() {}
                let found = given.next_if(|(given, _)| order(given) == name);
                // A domain may refuse NULL.
                let value = found.map_or(Value::Null, |(_, value)| value);
                if let Some(value) = field.reader.read(value) {
                    values.add(field.place).write(value);
                    nulls.add(field.place).write(false);
                }
            }
            let tuple = ffi::unguarded::heap_form_tuple(self.desc, values, nulls);
            ffi::unguarded::HeapTupleHeaderGetDatum((*tuple).t_data)
        }
    }
}

/// 22023, in core's words.
///
/// # Safety
/// Runs inside `ffi::guard`, out of which it jumps.
unsafe fn refuse(message: &CStr) -> ! {
    // SAFETY: by the caller's promise there is a guard around, which the ERROR jumps to; the
    // texts live until it is raised, and are copied.
    unsafe { refuse_unguarded(SqlState::InvalidParameterValue, message, None, None) }
}
