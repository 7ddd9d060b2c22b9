//! A JSON object as the text of an hstore, which is shown as an object by `to_jsonb` and
//! cannot be read from one: its input function has a notation of its own.
use crate::pg::catalog::name::extension_name;
use crate::pg::catalog::types;
use crate::pg::ffi;
use crate::pg::value::jsonb::{Container, Kind, Value};
use pgrx::pg_sys;
use std::ffi::{CStr, c_char};

/// Whether a type is the hstore of the extension of that name.
pub fn is_hstore(typid: pg_sys::Oid) -> bool {
    types::extension(typid)
        .and_then(extension_name)
        .is_some_and(|name| name.as_c_str() == c"hstore")
}

/// The text that hstore's input function reads, in the current context; null for what is no
/// object, or holds objects or arrays, which an hstore cannot.
///
/// # Safety
/// Runs inside `ffi::guard`.
pub unsafe fn text_of(object: Container<'_>) -> *mut c_char {
    if object.kind() != Kind::Object {
        return std::ptr::null_mut();
    }
    // SAFETY: two passes over one document; the second writes what the first has counted.
    unsafe {
        let mut length = 1;
        for (name, value) in object.names().zip(object.values()) {
            let Some(text) = scalar(value) else {
                return std::ptr::null_mut();
            };
            // Quoted and escaped, with `=>` and a comma.
            length += 2 * (name.len() + text.len()) + b"\"\"=>\"\",".len();
        }
        let mut out = Text(ffi::unguarded::palloc(length).cast());
        let start = out.0;
        for (i, (name, value)) in object.names().zip(object.values()).enumerate() {
            if i > 0 {
                out.byte(b',');
            }
            out.quoted(name);
            out.byte(b'=');
            out.byte(b'>');
            match (value, scalar(value)) {
                (Value::Null, _) => b"NULL".iter().for_each(|c| out.byte(*c)),
                (_, text) => out.quoted(text.unwrap_or_default()),
            }
        }
        out.byte(0);
        start.cast()
    }
}

/// The text of a JSON scalar; None for an object or array. What NULL is written as is no
/// longer than its quotes and this.
///
/// # Safety
/// Runs inside `ffi::guard`.
unsafe fn scalar<'d>(value: Value<'d>) -> Option<&'d [u8]> {
    match value {
        Value::Container(..) => None,
        Value::Null => Some(b"NULL"),
        Value::String(text) => Some(text),
        // SAFETY: a C string in the current context.
        value => unsafe { Some(CStr::from_ptr(value.to_input_text()).to_bytes()) },
    }
}

/// Where a text is written.
struct Text(*mut u8);

impl Text {
    /// # Safety
    /// There is room.
    unsafe fn byte(&mut self, byte: u8) {
        // SAFETY: the caller's promise.
        unsafe {
            self.0.write(byte);
            self.0 = self.0.add(1);
        }
    }

    /// # Safety
    /// There is room for twice as many bytes, and two.
    unsafe fn quoted(&mut self, text: &[u8]) {
        // SAFETY: the caller's promise.
        unsafe {
            self.byte(b'"');
            for byte in text {
                if matches!(byte, b'"' | b'\\') {
                    self.byte(b'\\');
                }
                self.byte(*byte);
            }
            self.byte(b'"');
        }
    }
}
