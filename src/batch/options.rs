//! What a call asks for beside target and source: a retry has to ask for the same.
use crate::pg::value::document::{Field, JsonbDatum, object};
use crate::text::{array_literal, to_server};
use std::ffi::{CStr, CString};

/// Options that are not what they are without being named. A later version may have others.
#[derive(Clone, Default)]
pub struct BatchOptions(Vec<(&'static CStr, CString)>);

impl BatchOptions {
    /// With a list of names, if one was given.
    pub fn with_names(mut self, name: &'static CStr, names: Option<&[String]>) -> Self {
        let literal = names.map(|names| to_server(&array_literal(names)));
        self.0.extend(literal.map(|literal| (name, literal)));
        self
    }

    /// With a text, if it is not the one that stands for none.
    pub fn with_text(mut self, name: &'static CStr, value: &str, default: &str) -> Self {
        if value != default {
            self.0.push((name, to_server(value)));
        }
        self
    }

    /// An object of them, in the current context.
    pub(super) fn document(&self) -> JsonbDatum {
        let fields = self.0.iter();
        let fields: Vec<_> = fields
            .map(|(name, value)| (*name, Field::String(value)))
            .collect();
        object(&fields)
    }
}
