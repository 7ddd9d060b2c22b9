//! Values: text, jsonb and what core makes of them.
mod array_literal;
mod byte_chars;
pub mod cast;
pub mod hstore;
pub mod json_text;
pub mod jsonb;
pub mod reading;
pub mod text;
