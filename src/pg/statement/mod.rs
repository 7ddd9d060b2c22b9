//! Statements: SPI, and what runs in the executor.
pub mod executor;
pub mod expression;
pub mod query_as;
pub mod row;
pub mod scoped_state;
pub mod spi;
