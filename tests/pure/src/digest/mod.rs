//! Of the room `digest`.
#[path = "../../../../src/digest/bounds.rs"]
pub mod bounds;
#[path = "../../../../src/digest/decimal.rs"]
pub mod decimal;
#[path = "../../../../src/digest/sketch_plan.rs"]
pub mod sketch_plan;

#[cfg(test)]
mod test_bounds;
#[cfg(test)]
mod test_decimal;
#[cfg(test)]
mod test_lthash;
#[cfg(test)]
mod test_sketch_plan;
