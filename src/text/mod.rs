//! Text between the server's encoding and Rust's UTF-8.
//!
//! Text of ours says which key, name, version or command is meant, and SQL is made of it:
//! two texts of the server's must never become one. So both directions together change
//! nothing, whatever the bytes are:
//! - In a UTF-8 database both are a copy.
//! - In another encoding text is converted, if converting it back gives the same bytes.
//! - Bytes that are no text in their encoding (all beyond ASCII may be that under
//!   SQL_ASCII) become characters of their own, one each: U+10FF80 to U+10FFFF, which
//!   Unicode leaves to private use. Where text holds such a character already, its own
//!   bytes are treated like that.
//!
//! Converting back gives byte for byte what was there, in an error's text, too.
#[forbid(unsafe_code)]
mod array_literal;
#[forbid(unsafe_code)]
mod byte_chars;

pub use self::array_literal::array_literal;
use pgrx::pg_sys;
use std::borrow::Cow;
use std::ffi::{CStr, CString, c_char, c_int};

/// Whether the server's encoding is UTF-8.
pub fn server_is_utf8() -> bool {
    // SAFETY: reads a backend-local variable.
    unsafe { pg_sys::GetDatabaseEncoding() == UTF8 }
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

const UTF8: c_int = pg_sys::pg_enc::PG_UTF8 as c_int;

/// The bytes in another encoding; None if the server knows no way, or not for all of them.
fn converted(bytes: &[u8], from: c_int, to: c_int) -> Option<Vec<u8>> {
    // It is bytes that a character of any encoding grows by, see `pg_wchar.h`.
    const MAX_GROWTH: usize = 4;
    let length = c_int::try_from(bytes.len()).ok()?;
    let room = bytes.len().checked_mul(MAX_GROWTH)? + 1;
    let mut result = vec![0u8; room];
    // SAFETY: a conversion that does not raise; as much room as it may take, and it ends
    // with a NUL what it writes.
    unsafe {
        let conversion = pg_sys::FindDefaultConversionProc(from, to);
        if conversion == pg_sys::InvalidOid {
            return None;
        }
        let read = pg_sys::pg_do_encoding_conversion_buf(
            conversion,
            from,
            to,
            bytes.as_ptr().cast_mut(),
            length,
            result.as_mut_ptr(),
            c_int::try_from(room).ok()?,
            true,
        );
        if read != length {
            return None;
        }
    }
    let end = result.iter().position(|byte| *byte == 0)?;
    result.truncate(end);
    Some(result)
}

/// A text in the server's encoding as UTF-8, if converting it back gives the same.
fn translated(bytes: &[u8]) -> Option<String> {
    // SAFETY: reads a backend-local variable.
    let server = unsafe { pg_sys::GetDatabaseEncoding() };
    let text = String::from_utf8(converted(bytes, server, UTF8)?).ok()?;
    let exact = !text
        .chars()
        .any(|character| byte_chars::byte_of(character).is_some())
        && converted(text.as_bytes(), UTF8, server)? == bytes;
    exact.then_some(text)
}

/// Bytes in the server's encoding as UTF-8.
pub fn from_server_bytes(bytes: &[u8]) -> String {
    // ASCII is the same in every encoding of a server.
    if bytes.is_ascii() {
        return String::from_utf8_lossy(bytes).into_owned();
    }
    if !server_needs_conversion() {
        return byte_chars::from_utf8_or_bytes(bytes);
    }
    translated(bytes).unwrap_or_else(|| byte_chars::from_bytes(bytes))
}

/// A NUL-terminated string of the server as UTF-8.
///
/// # Safety
/// `text` is a valid C string in the server's encoding.
pub unsafe fn from_server(text: *const c_char) -> String {
    // SAFETY: the caller's promise.
    from_server_bytes(unsafe { CStr::from_ptr(text) }.to_bytes())
}

/// A text datum as UTF-8.
///
/// # Safety
/// `datum` is a non-null text.
pub unsafe fn from_datum(datum: pg_sys::Datum) -> String {
    // SAFETY: the caller's promise; what was fetched for it is freed.
    unsafe {
        let text = datum.cast_mut_ptr::<pg_sys::varlena>();
        let whole = pg_sys::pg_detoast_datum_packed(text);
        let result = from_server_bytes(bytes_of(pg_sys::Datum::from(whole)));
        if !std::ptr::eq(whole, text) {
            pg_sys::pfree(whole.cast());
        }
        result
    }
}

/// UTF-8 as a C string in the server's encoding.
///
/// # Errors
/// 22P05 for what the encoding has no character for; never for a text of the server's.
pub fn to_server(text: &str) -> CString {
    let text = match text.contains('\0') {
        true => Cow::Owned(text.replace('\0', "")),
        false => Cow::Borrowed(text),
    };
    if !byte_chars::may_hold_bytes(text.as_bytes()) {
        return in_servers_encoding(&text);
    }
    let bytes = byte_chars::to_bytes(&text, |piece, bytes| {
        bytes.extend_from_slice(in_servers_encoding(piece).to_bytes());
    });
    CString::new(bytes).expect("NUL was removed")
}

/// Text without characters that stand for bytes, or NUL.
fn in_servers_encoding(text: &str) -> CString {
    let text = CString::new(text).expect("NUL was removed");
    if !server_needs_conversion() || text.to_bytes().is_ascii() {
        return text;
    }
    // SAFETY: a valid C string goes in; out comes the same pointer or a
    // palloc'd C string.
    unsafe {
        let length = text.count_bytes() as c_int;
        let converted = pg_sys::pg_any_to_server(text.as_ptr(), length, UTF8);
        if std::ptr::eq(converted.cast_const(), text.as_ptr()) {
            return text;
        }
        let result = CStr::from_ptr(converted).to_owned();
        pg_sys::pfree(converted.cast());
        result
    }
}

/// A text of the caller's as an error shows it: cut where it is longer than any name.
pub fn abbreviated(text: &str) -> Cow<'_, str> {
    const MAX_BYTES: usize = pg_sys::NAMEDATALEN as usize;
    if text.len() <= MAX_BYTES {
        return Cow::Borrowed(text);
    }
    let cut = text.floor_char_boundary(MAX_BYTES);
    Cow::Owned(format!("{}{}", &text[..cut], ellipsis()))
}

/// A text in the server's encoding in UTF-8. Text without encoding stays as it is.
///
/// # Errors
/// 22021 and 22P05, in core's words, for what is no text there, or none in UTF-8.
pub fn to_utf8(text: &[u8]) -> Cow<'_, [u8]> {
    if !server_needs_conversion() || text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let length = c_int::try_from(text.len()).expect("a text of the server's has a length");
    // SAFETY: as many bytes as core is told; the result is the same pointer or a palloc'd C string,
    // which is copied and freed once.
    unsafe {
        let converted = pg_sys::pg_server_to_any(text.as_ptr().cast(), length, UTF8);
        if std::ptr::eq(converted, text.as_ptr().cast()) {
            return Cow::Borrowed(text);
        }
        let copy = CStr::from_ptr(converted).to_bytes().to_vec();
        pg_sys::pfree(converted.cast());
        Cow::Owned(copy)
    }
}

/// As many bytes of a text in the server's encoding as are no more than `most`, cut before a
/// character.
pub fn cut(text: &[u8], most: usize) -> &[u8] {
    let size = |length| c_int::try_from(length).unwrap_or(c_int::MAX);
    // SAFETY: core reads no more bytes than it is told, and gives a number that is no higher.
    let length =
        unsafe { pg_sys::pg_mbcliplen(text.as_ptr().cast(), size(text.len()), size(most)) };
    text.get(..length as usize).unwrap_or(text)
}

/// What stands for what was cut off.
pub fn ellipsis() -> &'static str {
    if server_is_utf8() { "…" } else { "..." }
}

/// A Name of the catalogs, which ends with a NUL.
pub fn from_name(name: &pg_sys::NameData) -> String {
    let bytes = name.data.map(|byte| byte as u8);
    let text = bytes.split(|byte| *byte == 0).next();
    from_server_bytes(text.unwrap_or_default())
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
    quote_literal(&array_literal(texts))
}

/// The names in a list of SQL identifiers, by core's own rules; None if it is
/// none.
pub fn split_identifiers(list: &str) -> Option<Vec<String>> {
    split_list(list, pg_sys::SplitIdentifierString)
}

/// The texts in such a list, as they are: of any length, and in their own case.
pub fn split_quoted(list: &str) -> Option<Vec<String>> {
    split_list(list, pg_sys::SplitGUCList)
}

/// The members of a list, by a function of core's that splits one.
fn split_list(
    list: &str,
    split: unsafe fn(*mut c_char, c_char, *mut *mut pg_sys::List) -> bool,
) -> Option<Vec<String>> {
    let mut list = to_server(list).into_bytes_with_nul();
    let mut names = std::ptr::null_mut();
    // SAFETY: a C string that core may write to, and outlives the names, which
    // point into it.
    unsafe {
        let separator = b',' as c_char;
        if !split(list.as_mut_ptr().cast(), separator, &raw mut names) {
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
    // ASCII is the same in every encoding of a server.
    if text.is_ascii() && !text.contains('\0') {
        let length = c_int::try_from(text.len()).expect("a text is shorter than a gigabyte");
        // SAFETY: as many bytes as are counted, which core copies.
        return unsafe { pg_sys::cstring_to_text_with_len(text.as_ptr().cast(), length).into() };
    }
    let text = to_server(text);
    // SAFETY: a C string, which core copies.
    unsafe { pg_sys::Datum::from(pg_sys::cstring_to_text(text.as_ptr())) }
}
