//! Statements: SPI, and what runs in the executor.
pub mod analysis;
mod clock_text;
pub mod evaluator;
pub mod executor;
pub mod expression;
pub mod json_rows;
pub mod query_as;
#[forbid(unsafe_code)]
pub mod row;
pub mod scoped_state;
pub mod spi;
