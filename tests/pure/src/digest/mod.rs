//! Of the room `digest`.
#[path = "../../../../src/digest/decimal.rs"]
pub mod decimal;
#[path = "../../../../src/digest/lthash.rs"]
pub mod lthash;

#[cfg(test)]
mod test_decimal;
#[cfg(test)]
mod test_lthash;
