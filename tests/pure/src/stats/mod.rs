//! Of the room `stats`.
#[path = "../../../../src/stats/table.rs"]
pub mod table;

#[cfg(test)]
mod test_table;
