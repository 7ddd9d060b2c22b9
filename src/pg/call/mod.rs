//! A function's call: its arguments, and its results.
pub mod aggregate;
pub mod arguments;
pub mod entry;
pub mod result;
pub mod type_io;
