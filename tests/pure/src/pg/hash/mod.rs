//! Hash functions.
#[path = "../../../../../src/pg/hash/siphash.rs"]
pub mod siphash;

#[cfg(test)]
mod test_siphash;
