//! Of the room `text`.
#[path = "../../../../src/text/array_literal.rs"]
pub mod array_literal;
#[path = "../../../../src/text/byte_chars.rs"]
pub mod byte_chars;
#[path = "../../../../src/text/identifiers.rs"]
pub mod identifiers;

#[cfg(test)]
mod test_array_literal;
#[cfg(test)]
mod test_byte_chars;
#[cfg(test)]
mod test_identifiers;
