//! Statistics: what became of rows, requests and runs, over all sessions, since the server has started.
//!
//! A form counts in memory of its session ([`pending`]). When the transaction ends, the counts are added to
//! those that all sessions share ([`shared`], [`table`]), which `idempotent.stats` shows ([`report`]). On
//! PostgreSQL 18, `EXPLAIN (ANALYZE, IDEMPOTENT)` shows what one statement has counted (`explain`).
#[cfg(feature = "pg18")]
#[forbid(unsafe_code)]
mod explain;
#[forbid(unsafe_code)]
mod form;
#[forbid(unsafe_code)]
mod pending;
#[forbid(unsafe_code)]
mod report;
#[allow(unsafe_code, reason = "what is in shared memory")]
mod shared;
#[forbid(unsafe_code)]
mod table;

pub use form::{Form, Requests, Rows, Runs};
pub use pending::{FormScope, Recorder};

use crate::pg::transaction::ends::{EndWatcher, watch_ends};

/// Makes ready to count, when the library is loaded.
pub fn prepare() {
    shared::reserve();
    watch_ends(EndWatcher {
        transaction: pending::transaction_ended,
        subtransaction: pending::subtransaction_ended,
    });
    #[cfg(feature = "pg18")]
    explain::register();
}
