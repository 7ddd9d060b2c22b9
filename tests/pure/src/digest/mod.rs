//! Of the room `digest`.
#[path = "../../../../src/digest/bounds.rs"]
pub mod bounds;
#[path = "../../../../src/digest/decimal.rs"]
pub mod decimal;
#[path = "../../../../src/digest/row_hash.rs"]
pub mod row_hash;
#[path = "../../../../src/digest/sink.rs"]
pub mod sink;
#[path = "../../../../src/digest/sketch_plan.rs"]
pub mod sketch_plan;
#[path = "../../../../src/digest/tag.rs"]
pub mod tag;

#[cfg(test)]
mod test_bounds;
#[cfg(test)]
mod test_decimal;
#[cfg(test)]
mod test_lthash;
#[cfg(test)]
mod test_row_hash;
#[cfg(test)]
mod test_sketch_plan;
