//! Texts of values.
#[path = "../../../../../src/pg/value/json_text.rs"]
pub mod json_text;

#[cfg(test)]
mod test_json_text;
