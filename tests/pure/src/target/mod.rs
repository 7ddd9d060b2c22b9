//! Of the room `target`.
#[path = "../../../../src/target/closest.rs"]
pub mod closest;

#[cfg(test)]
mod test_closest;
