//! What the catalogs say of an oid or a name.
//!
//! An oid may be any number: what is gone, or never was, has no name, and its properties are
//! those of nothing, or an error of core's, as each function says. Names are given and taken in
//! Rust's UTF-8, unless they are C strings.
#[forbid(unsafe_code)]
pub mod function;
#[forbid(unsafe_code)]
pub mod index;
#[forbid(unsafe_code)]
pub mod name;
#[forbid(unsafe_code)]
pub mod operator;
#[forbid(unsafe_code)]
pub mod privilege;
#[forbid(unsafe_code)]
pub mod relation;
#[forbid(unsafe_code)]
pub mod row_type;
pub mod syscache;
#[forbid(unsafe_code)]
pub mod types;

pub use relation::{is_temporary, next_number, relation_beside, relation_exists};
