//! Values: text, jsonb and what core makes of them.
pub mod by_reference;
pub mod comparison;
pub mod document;
#[forbid(unsafe_code)]
pub mod hstore;
#[forbid(unsafe_code)]
mod iso_time;
#[forbid(unsafe_code)]
pub mod json_text;
pub mod jsonb;
pub mod reading;
pub mod sql_value;
pub mod value_type;
// Where the rooms above look for it.
pub(crate) use crate::text;
