//! Transactions, snapshots, locks and settings.
pub mod hash_lock;
pub mod local_settings;
pub mod locks;
pub mod relation_lock;
pub mod snapshot;
pub mod subtransaction;
pub mod transactions;
pub mod user;
