//! pg_idempotent: the server itself inserts or verifies.
//!
//! A payload that arrives again is a duplicate and changes nothing; one that
//! differs from the row stored under its key is a conflict, named column by
//! column. This file is the map; the rooms hold the logic. The rooms are layers,
//! the lowest first: a room names only rooms that this table lists before it.
//!
//! | room | subject |
//! | --- | --- |
//! | `text` | text between the server's encoding and UTF-8, names and literals |
//! | `error` | our SQLSTATEs and report texts; native errors passed through whole |
//! | `pg` | the server behind small interfaces; knows none of our words |
//! | `settings` | configuration parameters |
//! | `enum_text` | the closed sets of values, and their texts |
//! | `own_function` | how a HINT names a function of the extension |
//! | `stats` | what became of rows, requests and runs, counted over all sessions |
//! | `target` | what is known of a table: columns, key, arbiter, partitions, rights |
//! | `version` | whether the objects in the database are those that the library works with |
//! | `compare` | equality of two column values, and what differs |
//! | `digest` | the aggregate `idempotent_digest`: a checksum of a set of rows |
//! | `payload` | JSON or source row to typed columns |
//! | `remember` | the original payload, kept in a column of the row |
//! | `outcome` | inserted, duplicate, conflict or rejected, and what becomes of the last two |
//! | `user_context` | work with the rights of another role |
//! | `state` | the extension's own tables, and whether they are as it made them |
//! | `kept` | roles and tables in the rows of state, which dumps carry by name |
//! | `id_sequence` | numbers of the rows of state |
//! | `secret` | what the tags of locks are keyed with |
//! | `batch` | a batch under a token, which is answered from its record once it has committed |
//! | `quarantine` | the stored conflicts and how they end; the stored rejections |
//! | `guard` | the trigger: plain INSERT and COPY become insert-or-verify |
//! | `options` | which key decides and what is compared, as a call asks for it |
//! | `write` | the rounds of the set path: look, insert, verify |
//! | `insert` | `idempotent_insert`, `_many`, `_each`, `_from` |
//! | `view` | `idempotent_view`: an INSERT that inserts or verifies, and returns the stored row |
//! | `load` | `idempotent_load`: a source in batches, each of which is committed |
//! | `merge` | upsert in which the latest row wins |
//! | `overwrite` | one slice of a table, or each slice of a source, replaced atomically |
//! | `reconcile` | what a table holds against what it should hold |
//! | `request` | an operation runs once, and its retries get the first answer |
//! | `run` | a job that was done for its input is not done again |
//! | `lint` | what of a table makes retries unsafe |
//!
//! Data flows one way: arguments, target, payload, look or statement, outcome,
//! report.
use pgrx::prelude::*;

#[forbid(unsafe_code)]
mod batch;
#[forbid(unsafe_code)]
mod compare;
mod digest;
#[forbid(unsafe_code)]
mod enum_text;
mod error;
mod guard;
#[forbid(unsafe_code)]
mod id_sequence;
#[forbid(unsafe_code)]
mod insert;
#[forbid(unsafe_code)]
mod kept;
#[forbid(unsafe_code)]
mod lint;
#[forbid(unsafe_code)]
mod load;
#[forbid(unsafe_code)]
mod merge;
#[forbid(unsafe_code)]
mod options;
#[forbid(unsafe_code)]
mod outcome;
mod overwrite;
#[forbid(unsafe_code)]
mod own_function;
mod payload;
mod pg;
#[forbid(unsafe_code)]
mod quarantine;
#[forbid(unsafe_code)]
mod reconcile;
#[forbid(unsafe_code)]
mod remember;
#[forbid(unsafe_code)]
mod request;
#[forbid(unsafe_code)]
mod run;
#[forbid(unsafe_code)]
mod secret;
#[forbid(unsafe_code)]
mod settings;
#[forbid(unsafe_code)]
mod state;
mod stats;
mod target;
mod text;
#[forbid(unsafe_code)]
mod user_context;
#[forbid(unsafe_code)]
mod version;
#[forbid(unsafe_code)]
mod view;
#[forbid(unsafe_code)]
mod write;

#[cfg(any(test, feature = "pg_test"))]
mod unit_tests;

/// The safe vocabulary, for `tests/soundness`, which shows what code without `unsafe` can and
/// cannot do with it. No build of the extension has it.
#[cfg(feature = "soundness")]
#[allow(missing_docs)]
pub mod soundness {
    pub use crate::error::{PayloadPosition, RowOrigin};
    pub use crate::pg::call::arguments::Arguments;
    pub use crate::pg::call::entry::SqlCall;
    pub use crate::pg::call::result::{ResultSet, RowType, SqlResult};
    pub use crate::pg::call::trigger::{FiredTrigger, TriggerRow};
    pub use crate::pg::catalog::syscache;
    pub use crate::pg::heap::{HeapRow, HeapTable, Tid};
    pub use crate::pg::memory::Memory;
    pub use crate::pg::rows::{
        NewRow, RowBuilder, RowColumn, RowDesc, Slot, SortColumn, TupleSort, TupleStore, TypeOrder,
    };
    pub use crate::pg::statement::spi::Connection;
    pub use crate::pg::value::jsonb::Container;
    pub use crate::pg::value::reading::read_members;
    pub use crate::pg::value::sql_value::SqlValue;
}

::pgrx::pg_module_magic!(name, version);
extension_sql_file!("../sql/state.sql", name = "state", bootstrap);
extension_sql_file!("../sql/version.sql", name = "version", requires = ["state"]);
extension_sql_file!("../sql/kept.sql", name = "kept", requires = ["state"]);
extension_sql_file!("../sql/insert.sql", name = "insert", requires = ["state"]);
extension_sql_file!(
    "../sql/quarantine.sql",
    name = "quarantine",
    requires = ["kept", "insert"]
);
extension_sql_file!(
    "../sql/guard.sql",
    name = "guard",
    requires = ["state", "quarantine"]
);
extension_sql_file!("../sql/batches.sql", name = "batches", requires = ["kept"]);
extension_sql_file!("../sql/view.sql", name = "view", requires = ["guard"]);
extension_sql_file!("../sql/merge.sql", name = "merge", requires = ["state"]);
extension_sql_file!(
    "../sql/overwrite.sql",
    name = "overwrite",
    requires = ["state"]
);
extension_sql_file!(
    "../sql/requests.sql",
    name = "requests",
    requires = ["kept"]
);
extension_sql_file!("../sql/load.sql", name = "load", requires = ["kept"]);
extension_sql_file!("../sql/runs.sql", name = "runs", requires = ["kept"]);
extension_sql_file!(
    "../sql/reconcile.sql",
    name = "reconcile",
    requires = ["state"]
);
extension_sql_file!("../sql/digest.sql", name = "digest", requires = ["state"]);
extension_sql_file!("../sql/lint.sql", name = "lint", requires = ["state"]);
extension_sql_file!("../sql/stats.sql", name = "stats", requires = ["state"]);
extension_sql_file!("../sql/rights.sql", name = "rights", finalize);

/// Runs once in every backend that loads the library.
#[pg_guard]
pub extern "C-unwind" fn _PG_init() {
    settings::define();
    stats::prepare();
    target::register_invalidation_callbacks();
    version::register();
    error::install_executor_hook();
}

/// What `cargo pgrx test` needs at the root of the crate.
#[cfg(test)]
pub mod pg_test {
    /// Nothing to set up.
    pub fn setup(_options: Vec<&str>) {}

    /// No settings of our own.
    #[must_use]
    pub fn postgresql_conf_options() -> Vec<&'static str> {
        vec![]
    }
}
