//! From what arrives to typed columns.
//!
//! JSON payloads ([`json`]) and source rows ([`source`]) become *working rows*
//! ([`row`]): every column of the target, typed and with its type modifier, as
//! INSERT would store it. Payloads that name the same columns share a
//! [`shape::Shape`].
#[forbid(unsafe_code)]
mod coercion;
pub mod generated;
pub mod json;
pub mod key_defaults;
pub mod nested;
pub mod row;
pub mod shape;
pub mod source;
