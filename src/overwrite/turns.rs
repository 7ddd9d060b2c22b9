//! How overwrites of a table take turns whose rows are not in it.
//!
//! # Distributed tables
//! The locks are the same as for a local table, and the coordinator has them. Citus commits on all nodes before the
//! coordinator lets go of the locks. So who gets the lock next reads on each node what the one before has left, with
//! these exceptions:
//! - *Another node.* Its locks are others. So only the coordinator overwrites.
//! - *REPEATABLE READ, SERIALIZABLE.* The snapshot of another node may be older than the lock, and nothing there
//!   shows what is committed now. So only READ COMMITTED will do.
//! - *A node or a connection that is lost* while the transaction commits. Then the coordinator lets go of the locks, and
//!   another node may still commit. If it commits what the coordinator has rolled back, the call that comes next cannot
//!   know of it: so this must not happen. Citus uses PREPARE TRANSACTION where a transaction has written on several
//!   nodes. For one node alone it sends COMMIT before the coordinator commits; so the call
//!   [has it prepare there, too](commit_in_two_phases). Then what is lost is lost
//!   - before the coordinator has committed. The other node has prepared the transaction, or is about to, or rolls it back;
//!     Citus rolls back what is prepared without a commit on the coordinator. Nothing of it is ever seen.
//!   - after that. The other node has prepared the transaction. A SELECT does not wait for it: it reads the slice as it
//!     was. So the call [first waits](super::commits) until no other node has such a transaction. What the coordinator has
//!     committed is in `pg_dist_transaction` until it is known to have committed everywhere; and a node shows its commit
//!     before `pg_prepared_xacts` shows the transaction no more.
//!
//! # Foreign tables
//! postgres_fdw commits on the other server before the lock goes. But it reads under one snapshot of that server for the
//! whole transaction. So that this snapshot is not older than the lock, the transaction must not have read from the server
//! before: then it would have locked one of the server's foreign tables here. Calls on other servers do not take turns
//! with this one.
//!
//! There is no second phase. If the connection is lost while the other server commits, the lock goes before that has ended,
//! and nothing here shows whether it has. At SERIALIZABLE, which postgres_fdw hands on, the other server lets only one of
//! the two calls commit: each has read the slice without the rows of the other.
use crate::error::{Report, SqlState};
use crate::own_function::own_function;
use crate::pg::catalog::relation::kind;
use crate::pg::statement::spi::Connection;
use crate::pg::transaction::snapshot::uses_transaction_snapshot;
use crate::pg::transaction::two_phase::commit_in_two_phases;
use crate::pg::value::sql_value::SqlValue;
use crate::target::Target;
use pgrx::pg_sys;

/// Refuses a foreign table, which is not locked yet, if the transaction has used its server.
///
/// # Errors
/// 25001
pub fn check_snapshot_to_come(table: pg_sys::Oid) {
    if kind(table) != pg_sys::RELKIND_FOREIGN_TABLE {
        return;
    }
    let connection = Connection::open();
    if connection.query(USED, &[SqlValue::oid(table)]) == 0 {
        return;
    }
    let names = [1, 2, 3].map(|column| connection.first_text(column).unwrap_or_default());
    drop(connection);
    let [schema, name, server] = names;
    Report::new(
        SqlState::ActiveSqlTransaction,
        format!("cannot overwrite foreign table \"{name}\" in a transaction that has used its server"),
    )
    .detail(format!(
        "The snapshot that the transaction has of server \"{server}\" may be older than the last overwrite."
    ))
    .hint(format!(
        "Call the function first in the transaction. Call {} for several slices.",
        own_function("idempotent_overwrite_each")
    ))
    .table(&schema, &name)
    .raise()
}

/// Gives the names of the table and of its server, if this transaction has locked a foreign table of that server.
const USED: &str = "\
    SELECT n.nspname::pg_catalog.text, c.relname::pg_catalog.text, s.srvname::pg_catalog.text \
    FROM pg_catalog.pg_foreign_table AS f \
    JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) f.ftrelid \
    JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace \
    JOIN pg_catalog.pg_foreign_server AS s ON s.oid OPERATOR(pg_catalog.=) f.ftserver \
    WHERE f.ftrelid OPERATOR(pg_catalog.=) $1 AND EXISTS ( \
        SELECT FROM pg_catalog.pg_locks AS l \
        JOIN pg_catalog.pg_foreign_table AS other ON other.ftrelid OPERATOR(pg_catalog.=) l.relation \
        WHERE other.ftserver OPERATOR(pg_catalog.=) f.ftserver AND l.locktype OPERATOR(pg_catalog.=) 'relation' \
            AND l.pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid())";

/// Refuses a distributed table where overwrites of it could not take turns.
///
/// # Errors
/// 0A000
pub fn check_turns(target: &Target) {
    if !target.is_in_shards() {
        return;
    }
    let refuse = |place: &str, why: &str, instead: &str| {
        let what = format!(
            "cannot overwrite rows of distributed table \"{}\" {place}",
            target.name
        );
        Report::new(SqlState::FeatureNotSupported, what)
            .detail(why)
            .hint(instead)
            .table(&target.schema, &target.name)
            .raise()
    };
    if uses_transaction_snapshot() {
        refuse(
            "under the snapshot of a transaction",
            "On another node, this snapshot may be older than the last overwrite.",
            "Use a transaction with the isolation level READ COMMITTED.",
        )
    }
    let connection = Connection::open();
    let coordinator =
        "SELECT FROM pg_catalog.pg_dist_local_group WHERE groupid OPERATOR(pg_catalog.=) 0";
    if connection.query(coordinator, &[]) == 0 {
        refuse(
            "on a worker",
            "Calls on two nodes do not take turns.",
            "Call the function on the coordinator.",
        )
    }
    drop(connection);
    if !commit_in_two_phases() {
        refuse(
            "with this version of Citus",
            "It commits without PREPARE TRANSACTION what is written on one node only.",
            "Update Citus.",
        )
    }
}
