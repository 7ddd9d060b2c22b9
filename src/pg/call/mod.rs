//! A function's call: its arguments, and its results.
pub mod arguments;
pub mod arguments_abi;
pub mod result;
