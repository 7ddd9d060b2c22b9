//! The input and output functions of types of our own: their arguments and their results.
//!
//! What is read as a pointer is compared with the declaration of the running function first.
use super::declaration::Declaration;
use super::entry::SqlCall;
use super::result::SqlResult;
use crate::pg::value::by_reference::{bytes_of_datum, to_bytea};
use pgrx::pg_sys;
use std::ffi::{CStr, CString, c_int};

impl SqlCall<'_> {
    /// What the function is declared with: the type of an argument, and that of the result; None
    /// without such an argument.
    fn declared(&self, i: usize) -> Option<(pg_sys::Oid, pg_sys::Oid)> {
        let declaration = Declaration::of(self.function());
        let typid = declaration.arguments.get(i).copied()?;
        Some((typid, declaration.result))
    }

    /// The type that an argument is declared with; None without such an argument.
    pub fn argument_type(&self, i: usize) -> Option<pg_sys::Oid> {
        self.declared(i).map(|(typid, _)| typid)
    }

    /// The first argument.
    ///
    /// # Panics
    /// If it is NULL: the functions here are strict.
    fn argument(&self) -> pg_sys::Datum {
        self.arguments().datum(0).expect("an argument")
    }

    /// The argument of a type's input function.
    ///
    /// # Panics
    /// If the first argument is not declared as a cstring, or is NULL.
    pub fn input_text(&self) -> CString {
        assert_eq!(
            self.declared(0).map(|(typid, _)| typid),
            Some(pg_sys::CSTRINGOID)
        );
        let text = self.argument();
        // SAFETY: a cstring, as the declaration says, and not NULL.
        unsafe { CStr::from_ptr(text.cast_mut_ptr()).to_owned() }
    }

    /// The rest of the message that is the argument of a type's receive function, as text in the
    /// server's encoding.
    ///
    /// # Errors
    /// What the encoding does not have.
    ///
    /// # Panics
    /// If the running function receives no type, or the argument is NULL.
    pub fn received_text(&self) -> CString {
        let (typid, result) = self.declared(0).expect("a declared argument");
        assert_eq!(typid, pg_sys::INTERNALOID);
        let (mut receive, mut parameter) = (pg_sys::InvalidOid, pg_sys::InvalidOid);
        // SAFETY: a look-up by number, or core's error for a type that cannot be received.
        unsafe { pg_sys::getTypeBinaryInputInfo(result, &raw mut receive, &raw mut parameter) };
        assert_eq!(receive, self.function());
        let buffer = self.argument();
        // SAFETY: only the server can make an `internal`, and what it calls the receive function
        // of a type with is a message. Core checks the length, and gives a C string of palloc's.
        unsafe {
            let buffer = buffer.cast_mut_ptr::<pg_sys::StringInfoData>();
            let (length, mut read) = ((*buffer).len - (*buffer).cursor, 0);
            CStr::from_ptr(pg_sys::pq_getmsgtext(buffer, length, &raw mut read)).to_owned()
        }
    }

    /// The content of the first argument, of a type of variable length.
    ///
    /// # Panics
    /// If the type has another length, or the argument is NULL.
    pub fn content(&self) -> Vec<u8> {
        let (typid, _) = self.declared(0).expect("a declared argument");
        // SAFETY: a look-up by number.
        assert_eq!(unsafe { pg_sys::get_typlen(typid) }, -1);
        let value = self.argument();
        // SAFETY: a varlena, as the declaration says, and not NULL.
        unsafe { bytes_of_datum(value) }
    }
}

impl SqlResult {
    /// Of a function that gives a type of variable length: its content.
    pub fn content(bytes: &[u8]) -> Self {
        // SAFETY: a value of variable length, which every such type is laid out as.
        unsafe { Self::datum(to_bytea(bytes)) }
    }

    /// Of an output function: text in the server's encoding.
    pub fn output_text(text: &CStr) -> Self {
        // SAFETY: core copies a C string into the caller's memory; a cstring is what an output
        // function returns.
        unsafe { Self::datum(pg_sys::Datum::from(pg_sys::pstrdup(text.as_ptr()))) }
    }

    /// Of a send function: text in the server's encoding.
    pub fn sent_text(text: &CStr) -> Self {
        let mut buffer = pg_sys::StringInfoData::default();
        // SAFETY: core's way to make a message of a text with its length, in the caller's memory;
        // a bytea is what a send function returns.
        unsafe {
            pg_sys::pq_begintypsend(&raw mut buffer);
            pg_sys::pq_sendtext(&raw mut buffer, text.as_ptr(), text.count_bytes() as c_int);
            Self::datum(pg_sys::Datum::from(pg_sys::pq_endtypsend(&raw mut buffer)))
        }
    }
}
