//! Functions by oid.
use pgrx::pg_sys;
use std::ffi::{CStr, CString};

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
        // SAFETY: a syscache look-up; the text is copied out of the tuple before
        // that is released.
        unsafe {
            let id = pg_sys::SysCacheIdentifier::PROCOID as i32;
            let tuple = pg_sys::SearchSysCache1(id, pg_sys::Datum::from(function));
            if tuple.is_null() {
                return None;
            }
            let form = pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_proc>();
            let language = (*form).prolang;
            let mut null = false;
            let number = pg_sys::Anum_pg_proc_prosrc as i16;
            let source = pg_sys::SysCacheGetAttr(id, tuple, number, &raw mut null);
            let source = if null {
                CString::default()
            } else {
                let source = pg_sys::text_to_cstring(source.cast_mut_ptr());
                let copy = CStr::from_ptr(source).to_owned();
                pg_sys::pfree(source.cast());
                copy
            };
            pg_sys::ReleaseSysCache(tuple);
            Some(Self { language, source })
        }
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
