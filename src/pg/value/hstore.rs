//! A JSON object as the text of an hstore, which is shown as an object by `to_jsonb` and
//! cannot be read from one: its input function has a notation of its own.
use crate::pg::catalog::name::extension_name;
use crate::pg::catalog::types;
use pgrx::pg_sys;

/// Whether a type is the hstore of the extension of that name.
pub fn is_hstore(typid: pg_sys::Oid) -> bool {
    types::extension(typid)
        .and_then(extension_name)
        .is_some_and(|name| name.as_c_str() == c"hstore")
}

/// Writes the text that hstore's input function reads, byte by byte: the names of the fields, each
/// with its value, or without one for NULL. Allocates nothing.
pub fn write_text<'d>(
    fields: impl Iterator<Item = (&'d [u8], Option<&'d [u8]>)>,
    mut put: impl FnMut(u8),
) {
    for (i, (name, value)) in fields.enumerate() {
        if i > 0 {
            put(b',');
        }
        write_quoted(name, &mut put);
        b"=>".iter().for_each(|byte| put(*byte));
        match value {
            Some(value) => write_quoted(value, &mut put),
            None => b"NULL".iter().for_each(|byte| put(*byte)),
        }
    }
}

fn write_quoted(text: &[u8], put: &mut impl FnMut(u8)) {
    put(b'"');
    for byte in text {
        if matches!(byte, b'"' | b'\\') {
            put(b'\\');
        }
        put(*byte);
    }
    put(b'"');
}
