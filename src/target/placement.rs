//! Where the rows of a table are: in the table, or in shards of Citus.
//!
//! Citus keeps the rows of a table that it knows in shards, which are tables of their own, here or on other
//! servers. The table itself is empty, and only statements that Citus plans find the rows. If this changes, Citus
//! announces it as a change of the table.
use super::Target;
use crate::error::{Report, SqlState};
use crate::pg::catalog::name::relation_oid;
use crate::pg::statement::spi::Connection;
use crate::pg::value::sql_value::SqlValue;
use crate::settings;
use pgrx::pg_sys;
use std::ffi::CStr;

/// A name has so many bytes at most.
const NAME_LENGTH: usize = pg_sys::NAMEDATALEN as usize - 1;

/// Where the rows of a table are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// In the table.
    Table,
    /// In one shard beside it: a local table that Citus knows, for the sake of foreign keys.
    LocalShard,
    /// In the shards of a distributed, schema-sharded or reference table.
    Shards,
}

impl Placement {
    /// That of an open table.
    pub fn of(table: pg_sys::Oid) -> Self {
        if !has_catalog(c"pg_dist_partition") {
            return Self::Table;
        }
        // Everyone may read it.
        let connection = Connection::open();
        let found = connection.query(
            "SELECT partmethod OPERATOR(pg_catalog.=) 'n' AND repmodel OPERATOR(pg_catalog.<>) 't' \
                    AND colocationid OPERATOR(pg_catalog.=) 0 \
             FROM pg_catalog.pg_dist_partition WHERE logicalrelid OPERATOR(pg_catalog.=) $1",
            &[SqlValue::regclass(table)],
        );
        let is_local = || connection.first_of(1, pg_sys::BOOLOID);
        match found {
            0 => Self::Table,
            _ if is_local().is_some_and(|local| local.value() != 0) => Self::LocalShard,
            _ => Self::Shards,
        }
    }
}

impl Target {
    /// Whether its rows are in shards of Citus.
    pub fn is_in_shards(&self) -> bool {
        self.placement != Placement::Table
    }

    /// Whether its rows are found and written by SQL alone: they are in shards of Citus, or a test wants it so.
    pub fn is_distributed(&self) -> bool {
        self.is_in_shards() || settings::use_distributed_form()
    }

    /// Refuses a table whose rows are in shards or on another server, for a function that works on the rows of
    /// the table itself. The message says after "cannot" `what` the function does; `instead` is the HINT.
    ///
    /// # Errors
    /// 0A000
    pub fn refuse_rows_elsewhere(&self, what: &str, instead: &str) {
        let (kind, why) = match (self.foreign, self.is_in_shards()) {
            (true, _) => ("foreign", "The rows of the table are on another server."),
            (_, true) => (
                "distributed",
                "Citus keeps the rows of the table in shards.",
            ),
            _ => return,
        };
        Report::new(
            SqlState::FeatureNotSupported,
            format!("cannot {what} {kind} table \"{}\"", self.name),
        )
        .detail(why)
        .hint(instead)
        .table(&self.schema, &self.name)
        .raise()
    }

    /// Refuses a guard on a table whose shards take no triggers.
    ///
    /// # Errors
    /// 0A000
    pub fn refuse_triggers_on_shards(&self) {
        if self.placement != Placement::Shards {
            return;
        }
        let connection = Connection::open();
        connection.query(
            "SELECT pg_catalog.current_setting('citus.enable_unsafe_triggers', true)",
            &[],
        );
        if connection.first_text(1).as_deref() != Some("on") {
            self.refuse_rows_elsewhere(
                "guard",
                "Allow triggers on its shards: SET citus.enable_unsafe_triggers = on; a guard needs \
                 the shard's own rows only.",
            );
        }
    }

    /// The column by which Citus distributes its rows; None if it does not.
    pub fn distribution_column(&self) -> Option<String> {
        if self.placement != Placement::Shards {
            return None;
        }
        let connection = Connection::open();
        let found = connection.query(
            "SELECT pg_catalog.column_to_column_name(logicalrelid, partkey) FROM pg_catalog.pg_dist_partition \
             WHERE logicalrelid OPERATOR(pg_catalog.=) $1 AND partkey IS NOT NULL",
            &[SqlValue::regclass(self.oid)],
        );
        if found == 0 {
            return None;
        }
        connection.first_text(1)
    }

    /// The table of which this one is a shard: its schema, its name, and what the shard's name has after it.
    /// None for a table that is no shard.
    pub fn sharded_table(&self) -> Option<(String, String, String)> {
        let (_, number) = self.name.rsplit_once('_')?;
        let shard: i64 = number.parse().ok()?;
        if !has_catalog(c"pg_dist_shard") {
            return None;
        }
        let connection = Connection::open();
        let found = connection.query(
            "SELECT s.nspname::pg_catalog.text, c.relname::pg_catalog.text \
             FROM pg_catalog.pg_dist_shard AS d \
             JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) d.logicalrelid::pg_catalog.oid \
             JOIN pg_catalog.pg_namespace AS s ON s.oid OPERATOR(pg_catalog.=) c.relnamespace \
             JOIN pg_catalog.pg_class AS own ON own.oid OPERATOR(pg_catalog.=) $2 \
             WHERE d.shardid OPERATOR(pg_catalog.=) $1 AND own.relowner OPERATOR(pg_catalog.=) c.relowner \
               AND own.relnamespace OPERATOR(pg_catalog.=) c.relnamespace",
            &[SqlValue::bigint(shard), SqlValue::oid(self.oid)],
        );
        let (schema, name) = match found {
            1 => (connection.first_text(1)?, connection.first_text(2)?),
            _ => return None,
        };
        let suffix = format!("_{number}");
        // Citus cuts a name that is too long, and puts a hash behind it.
        let own = self.name.strip_suffix(&suffix)?;
        let is_cut = || -> Option<bool> {
            let begin = own.get(..NAME_LENGTH / 2)?;
            Some(self.name.len() >= NAME_LENGTH && name.starts_with(begin))
        };
        (own == name || is_cut() == Some(true)).then_some((schema, name, suffix))
    }
}

/// Whether the system catalogs contain this table, which Citus creates there.
fn has_catalog(name: &CStr) -> bool {
    relation_oid(pg_sys::PG_CATALOG_NAMESPACE.into(), name).is_some()
}
