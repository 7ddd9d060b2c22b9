//! Texts of values.
#[path = "../../../../../src/pg/value/iso_time.rs"]
pub mod iso_time;
#[path = "../../../../../src/pg/value/json_text.rs"]
pub mod json_text;

#[cfg(test)]
mod test_iso_time;
#[cfg(test)]
mod test_json_text;
