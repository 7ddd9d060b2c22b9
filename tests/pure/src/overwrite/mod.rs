//! Of the room `overwrite`.
#[path = "../../../../src/overwrite/cover.rs"]
pub mod cover;

#[cfg(test)]
mod test_cover;
