//! Statements: SPI, and what runs in the executor.
#[forbid(unsafe_code)]
mod clock_text;
pub mod evaluator;
pub mod executor;
pub mod expression;
pub mod insertion;
#[forbid(unsafe_code)]
pub mod json_rows;
#[forbid(unsafe_code)]
pub mod row;
pub mod scoped_state;
pub mod spi;
pub mod stages;
