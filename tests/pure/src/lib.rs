//! Unit tests of the modules of pg_idempotent that need no server.
//!
//! The extension's library has the server's symbols in it, and links with nothing but a server. The modules
//! here name none of them, so this crate compiles their files a second time, as they are, without pgrx and
//! without unsafe code. Its folders are those of `src/`.
#![forbid(unsafe_code)]

pub mod digest;
pub mod lint;
pub mod overwrite;
pub mod pg;
pub mod stats;
pub mod target;
pub mod text;
pub mod version;

#[cfg(test)]
mod random;
