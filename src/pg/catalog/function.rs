//! Functions by oid.
use crate::pg::catalog::name::schema_of_function;
use crate::pg::catalog::syscache;
use crate::pg::ffi::plain;
use crate::pg::value::text;
use pgrx::pg_sys;
use std::ffi::{CStr, CString};

/// How a statement of the session calls the compiled function with this name and symbol: with its
/// schema, if the `search_path` does not find it. None if there is no such function.
pub fn callable_name(name: &str, symbol: &CStr) -> Option<String> {
    let named = syscache::functions_named(&text::to_server(name)).into_iter();
    let mut compiled = named.filter(|function| {
        FunctionSource::find(*function)
            .is_some_and(|body| body.is_c() && body.source.as_c_str() == symbol)
    });
    let mut last = None;
    let visible = compiled.any(|function| {
        last = Some(function);
        plain::FunctionIsVisible(function)
    });
    let name = text::quote_identifier(name);
    if visible {
        return Some(name);
    }
    let schema = text::quote_identifier(&schema_of_function(last?)?);
    Some(format!("{schema}.{name}"))
}

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
