//! From what arrives to typed columns.
//!
//! JSON payloads ([`json`]) and source rows ([`source`]) become *working rows*
//! ([`row`]): every column of the target, typed and with its type modifier, as
//! INSERT would store it. Payloads that name the same columns share a
//! [`shape::Shape`].
#[forbid(unsafe_code)]
mod coercion;
pub mod fill;
#[forbid(unsafe_code)]
pub mod generated;
#[forbid(unsafe_code)]
pub mod json;
#[forbid(unsafe_code)]
pub mod key_defaults;
#[forbid(unsafe_code)]
pub mod key_values;
#[forbid(unsafe_code)]
pub mod latest_by;
#[forbid(unsafe_code)]
pub mod merge_fields;
#[forbid(unsafe_code)]
pub mod nested;
#[forbid(unsafe_code)]
pub mod refused;
#[forbid(unsafe_code)]
pub mod row;
#[forbid(unsafe_code)]
pub mod shape;
#[forbid(unsafe_code)]
pub mod source;
#[forbid(unsafe_code)]
pub mod updated_key;
