//! Of the room `lint`.
#[path = "../../../../src/lint/body.rs"]
pub mod body;
#[path = "../../../../src/lint/time_part.rs"]
pub mod time_part;
#[path = "../../../../src/lint/tokens.rs"]
pub mod tokens;
#[path = "../../../../src/lint/words.rs"]
pub mod words;

#[cfg(test)]
mod test_body;
#[cfg(test)]
mod test_time_part;
#[cfg(test)]
mod test_tokens;
#[cfg(test)]
mod test_words;
