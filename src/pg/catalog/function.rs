//! Functions by oid.
use crate::pg::catalog::syscache;
use pgrx::pg_sys;
use std::ffi::CString;

/// The language of compiled functions (`pg_language.dat`).
const C_LANGUAGE: pg_sys::Oid = pg_sys::Oid::from_u32(13);

/// The language of functions of the server itself (`pg_language.dat`).
const INTERNAL_LANGUAGE: pg_sys::Oid = pg_sys::Oid::from_u32(12);

/// What a function is made of.
pub struct FunctionSource {
    pub language: pg_sys::Oid,
    /// Its source, or the symbol of a compiled one (`pg_proc.prosrc`).
    pub source: CString,
}

impl FunctionSource {
    /// That of a function; None if there is no such function.
    pub fn find(function: pg_sys::Oid) -> Option<Self> {
        syscache::find(function, |row| {
            let form: &pg_sys::FormData_pg_proc = row.form();
            Self {
                language: form.prolang,
                source: row.source().unwrap_or_default(),
            }
        })
    }

    /// Whether it is a symbol of an extension's library.
    pub fn is_c(&self) -> bool {
        self.language == C_LANGUAGE
    }

    /// Whether it is compiled: part of the server, or of an extension's library.
    pub fn is_compiled(&self) -> bool {
        self.is_c() || self.language == INTERNAL_LANGUAGE
    }
}
