//! Functions of the server that pgrx 0.18.1 does not bind, and unguarded ones
//! for inner loops.
//!
//! pgrx guards every call into the server with a `sigsetjmp`, some 20 ns. Where
//! a row costs a dozen calls that is a fifth of its time, so the inner loops
//! call the [`unguarded`] functions inside one [`guard`].
pub mod inline;
pub mod plain;
pub mod unguarded;

pub use inline::{attribute, check_for_interrupts_unguarded, slot_getsomeattrs_unguarded};
pub use plain::{
    lock_partitions, partition_ancestors, partition_parent, partition_root, partitions,
};
pub use unguarded::{PartitionKeyData, functions, guard};
