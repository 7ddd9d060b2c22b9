//! Values: text, jsonb and what core makes of them.
pub mod cast;
#[cfg(not(feature = "pg15"))]
pub mod collation;
pub mod comparison;
pub mod document;
pub mod hstore;
pub mod interval;
pub mod json_text;
pub mod jsonb;
pub mod name;
pub mod reading;
pub mod sql_value;
pub mod text_array;
pub mod value_type;
pub mod varlena;
// Where the rooms above look for it.
pub(crate) use crate::text;
