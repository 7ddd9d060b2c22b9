//! Values: text, jsonb and what core makes of them.
pub mod cast;
#[cfg(not(feature = "pg15"))]
pub mod collation;
pub mod hstore;
pub mod json_text;
pub mod jsonb;
pub mod reading;
pub mod sql_value;
pub mod text;
pub mod varlena;
