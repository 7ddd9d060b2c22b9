//! Text between the server's encoding and Rust's UTF-8.
//!
//! In a UTF-8 database both directions are a copy.
use pgrx::pg_sys;
use std::ffi::{CStr, CString, c_char, c_int};

/// Whether the server's encoding is UTF-8.
pub fn server_is_utf8() -> bool {
    // SAFETY: reads a backend-local variable.
    unsafe { pg_sys::GetDatabaseEncoding() == pg_sys::pg_enc::PG_UTF8 as c_int }
}

/// Whether the server keeps bytes of unknown encoding, which are taken as UTF-8
/// as far as they are.
fn any_bytes() -> bool {
    // SAFETY: reads a backend-local variable.
    unsafe { pg_sys::GetDatabaseEncoding() == pg_sys::pg_enc::PG_SQL_ASCII as c_int }
}

/// Whether the server's text is in an encoding, and that is not UTF-8.
pub fn server_needs_conversion() -> bool {
    !server_is_utf8() && !any_bytes()
}

/// A NUL-terminated string of the server as UTF-8.
///
/// # Safety
/// `text` is a valid C string in the server's encoding.
pub unsafe fn from_server(text: *const c_char) -> String {
    // SAFETY: the caller's promise; the result is either `text` itself or a
    // palloc'd C string.
    unsafe {
        if any_bytes() {
            return CStr::from_ptr(text).to_string_lossy().into_owned();
        }
        let length = CStr::from_ptr(text).count_bytes() as c_int;
        let converted = pg_sys::pg_server_to_any(text, length, pg_sys::pg_enc::PG_UTF8 as c_int);
        let result = CStr::from_ptr(converted).to_string_lossy().into_owned();
        if !std::ptr::eq(converted.cast_const(), text) {
            pg_sys::pfree(converted.cast());
        }
        result
    }
}

/// A text datum as UTF-8.
///
/// # Safety
/// `datum` is a non-null text.
pub unsafe fn from_datum(datum: pg_sys::Datum) -> String {
    // SAFETY: the caller's promise.
    unsafe { from_server(pg_sys::text_to_cstring(datum.cast_mut_ptr())) }
}

/// Bytes in the server's encoding as UTF-8.
pub fn from_server_bytes(bytes: &[u8]) -> String {
    let text = CString::new(bytes).expect("text of the server holds no NUL");
    // SAFETY: a valid C string.
    unsafe { from_server(text.as_ptr()) }
}

/// UTF-8 as a C string in the server's encoding.
pub fn to_server(text: &str) -> CString {
    let text = CString::new(text.replace('\0', "")).expect("NUL was removed");
    if any_bytes() {
        return text;
    }
    // SAFETY: a valid C string goes in; out comes the same pointer or a
    // palloc'd C string.
    unsafe {
        let length = text.count_bytes() as c_int;
        let converted =
            pg_sys::pg_any_to_server(text.as_ptr(), length, pg_sys::pg_enc::PG_UTF8 as c_int);
        if std::ptr::eq(converted.cast_const(), text.as_ptr()) {
            return text;
        }
        let result = CStr::from_ptr(converted).to_owned();
        pg_sys::pfree(converted.cast());
        result
    }
}

/// A Name of the catalogs.
///
/// # Safety
/// The name is NUL-terminated, as those in catalogs are.
pub unsafe fn from_name(name: &pg_sys::NameData) -> String {
    // SAFETY: the caller's promise.
    unsafe { from_server(name.data.as_ptr()) }
}

/// An identifier, quoted where SQL needs it, by core's own rules.
pub fn quote_identifier(name: &str) -> String {
    let name = to_server(name);
    // SAFETY: returns its argument or a palloc'd C string.
    unsafe { from_server(pg_sys::quote_identifier(name.as_ptr())) }
}

/// A string literal, by core's own rules.
pub fn quote_literal(text: &str) -> String {
    let text = to_server(text);
    // SAFETY: a valid C string goes in, a palloc'd one comes out.
    unsafe { from_server(pg_sys::quote_literal_cstr(text.as_ptr())) }
}

/// The literal of an array of texts: `'{a,"b c"}'`.
pub fn quote_array(texts: &[String]) -> String {
    let member = |text: &String| {
        let plain = !text.is_empty()
            && !text.eq_ignore_ascii_case("null")
            && text.chars().all(|c| c.is_alphanumeric() || c == '_');
        if plain {
            text.clone()
        } else {
            format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
        }
    };
    let members: Vec<String> = texts.iter().map(member).collect();
    quote_literal(&format!("{{{}}}", members.join(",")))
}

/// The names in a list of SQL identifiers, by core's own rules; None if it is
/// none.
pub fn split_identifiers(list: &str) -> Option<Vec<String>> {
    let mut list = to_server(list).into_bytes_with_nul();
    let mut names = std::ptr::null_mut();
    // SAFETY: a C string that core may write to, and outlives the names, which
    // point into it.
    unsafe {
        let separator = b',' as c_char;
        if !pg_sys::SplitIdentifierString(list.as_mut_ptr().cast(), separator, &raw mut names) {
            return None;
        }
        if names.is_null() {
            return Some(Vec::new());
        }
        let name = |i| from_server((*(*names).elements.add(i)).ptr_value.cast());
        let split = (0..(*names).length as usize).map(name).collect();
        pg_sys::list_free(names);
        Some(split)
    }
}

/// The bytes of a text, in the server's encoding.
///
/// # Safety
/// A text, neither compressed nor outside of its row, that outlives `'t`.
pub unsafe fn bytes_of<'t>(text: pg_sys::Datum) -> &'t [u8] {
    // SAFETY: the caller's promise.
    unsafe {
        let text = text.cast_mut_ptr::<pg_sys::varlena>();
        let length = pgrx::varlena::varsize_any_exhdr(text);
        std::slice::from_raw_parts(pgrx::varlena::vardata_any(text).cast(), length)
    }
}

/// A text datum, in the current context.
pub fn to_text(text: &str) -> pg_sys::Datum {
    let text = to_server(text);
    // SAFETY: a C string, which core copies.
    unsafe { pg_sys::Datum::from(pg_sys::cstring_to_text(text.as_ptr())) }
}

/// A name datum, in the current context.
pub fn to_name(name: &str) -> pg_sys::Datum {
    let name = to_server(name);
    // SAFETY: core's input function for names, which copies.
    unsafe {
        pg_sys::DirectFunctionCall1Coll(
            Some(super::ffi::functions::namein),
            pg_sys::InvalidOid,
            pg_sys::Datum::from(name.as_ptr()),
        )
    }
}
