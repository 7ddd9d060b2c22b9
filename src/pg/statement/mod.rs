//! Statements: SPI, and what runs in the executor.
pub mod analysis;
pub mod executor;
pub mod expression;
pub mod json_rows;
pub mod query_as;
pub mod row;
pub mod spi;
