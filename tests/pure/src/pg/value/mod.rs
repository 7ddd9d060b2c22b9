//! Texts of values.
#[path = "../../../../../src/pg/value/array_literal.rs"]
pub mod array_literal;
#[path = "../../../../../src/pg/value/byte_chars.rs"]
pub mod byte_chars;
#[path = "../../../../../src/pg/value/json_text.rs"]
pub mod json_text;

#[cfg(test)]
mod test_array_literal;
#[cfg(test)]
mod test_byte_chars;
#[cfg(test)]
mod test_json_text;
