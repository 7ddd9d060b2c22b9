//! Of the room `version`.
#[path = "../../../../src/version/order.rs"]
pub mod order;

#[cfg(test)]
mod test_order;
