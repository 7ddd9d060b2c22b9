//! What the catalogs say of an oid or a name.
//!
//! An oid may be any number: what is gone, or never was, has no name, and its properties are
//! those of nothing, or an error of core's, as each function says. Names are given and taken in
//! Rust's UTF-8, unless they are C strings.
mod by_number;
pub mod index;
pub mod name;
pub mod operator;
pub mod partition;
pub mod privilege;
pub mod relation;
pub mod row_type;
pub mod types;
pub mod view;

pub use by_number::{is_temporary, next_number, relation_beside, relation_exists};
