//! Of the room `digest`.
#[path = "../../../../src/digest/decimal.rs"]
pub mod decimal;

#[cfg(test)]
mod test_decimal;
#[cfg(test)]
mod test_lthash;
