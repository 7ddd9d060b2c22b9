//! Transactions, snapshots, locks and settings.
pub mod ends;
#[forbid(unsafe_code)]
pub mod hash_lock;
#[forbid(unsafe_code)]
pub mod local_settings;
pub mod locks;
#[forbid(unsafe_code)]
pub mod relation_lock;
pub mod snapshot;
pub mod transactions;
pub mod two_phase;
#[forbid(unsafe_code)]
pub mod user;
#[forbid(unsafe_code)]
pub mod waits;
