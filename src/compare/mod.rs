//! Equality and order of two column values, and what differs.
//!
//! This is the one judgement of the extension: all code that reports a duplicate or a
//! conflict asks here.
mod differences;
mod values;

pub use differences::{Arriving, Differences, show_value};
pub use values::{Order, differing};
