//! How overwrites of a table take turns whose rows are not in it.
//!
//! # Distributed tables
//! The locks are the same as for a local table, and the coordinator has them. Citus commits on all nodes before the
//! coordinator lets go of the locks. So who gets the lock next reads on each node what the one before has left, with
//! these exceptions:
//! - *Another node.* Its locks are others. So only the coordinator overwrites.
//! - *REPEATABLE READ, SERIALIZABLE.* The snapshot of another node may be older than the lock, and nothing there
//!   shows what is committed now. So only READ COMMITTED will do.
//! - *A node that is lost* between PREPARE TRANSACTION and COMMIT PREPARED. The coordinator has committed then, and
//!   the other node has not. A SELECT does not wait for a prepared transaction: it reads the slice as it was. So the
//!   call first waits until no other node has such a transaction. What the coordinator has committed is in
//!   `pg_dist_transaction` until it is known to have committed everywhere.
//!
//! # Foreign tables
//! postgres_fdw commits on the other server before the lock goes. But it reads under one snapshot of that server for the
//! whole transaction. So that this snapshot is not older than the lock, the transaction must not have read from the server
//! before: then it would have locked one of the server's foreign tables here. Calls on other servers do not take turns
//! with this one.
use crate::error::{Report, SqlState};
use crate::own_function::own_function;
use crate::pg::backend;
use crate::pg::catalog::relation::kind;
use crate::pg::statement::spi::Connection;
use crate::pg::transaction::snapshot::{FreshSnapshot, uses_transaction_snapshot};
use crate::pg::value::sql_value::SqlValue;
use crate::target::Target;
use crate::text::array_literal;
use pgrx::pg_sys;

/// Microseconds between two looks: at first, and at most.
const FIRST_PAUSE: i64 = 5_000;
const LONGEST_PAUSE: i64 = 500_000;

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
}

/// Waits, with the lock of the slice in hand, until all nodes have committed what the coordinator has.
///
/// # Errors
/// 55000 if a node does not answer.
pub fn wait_for_commits(target: &Target) {
    if !target.is_in_shards() {
        return;
    }
    let mut pause = FIRST_PAUSE;
    let mut left = prepared(target, None);
    // Those that come later are of no concern.
    while !left.is_empty() {
        backend::sleep(pause);
        pause = (2 * pause).min(LONGEST_PAUSE);
        left = prepared(target, Some(&left));
    }
}

/// The transactions, or of these some, that this node has committed, and a node with shards of the target has
/// prepared and not committed.
fn prepared(target: &Target, some: Option<&[String]>) -> Vec<String> {
    let _snapshot = FreshSnapshot::push();
    let connection = Connection::open();
    let table = SqlValue::regclass(target.oid);
    let on_its_nodes =
        format!("SELECT FROM pg_catalog.pg_dist_transaction AS t {ON_ITS_NODES} LIMIT 1");
    if connection.query(&on_its_nodes, &[table]) == 0 {
        return Vec::new();
    }
    let some = some.map(array_literal);
    let parameters = [table, SqlValue::optional_text(some.as_deref())];
    connection.query(&format!("{PREPARED} {ON_ITS_NODES}"), &parameters);
    if let Some(silent) = connection.first_text(2) {
        drop(connection);
        refuse_silence(target, &silent)
    }
    let names = connection.first_texts(1).unwrap_or_default();
    names.into_iter().flatten().collect()
}

/// Gives the names of these transactions, and the name of a node that may have one and does not answer.
const PREPARED: &str = "\
    WITH answer AS MATERIALIZED ( \
        SELECT n.groupid, w.success, pg_catalog.format('%s:%s', w.nodename, w.nodeport) AS node, \
            CASE WHEN w.success THEN w.result ELSE '{}' END::pg_catalog.text[] AS gids \
        FROM pg_catalog.run_command_on_workers( \
            'SELECT coalesce(pg_catalog.array_agg(gid), ''{}'') FROM pg_catalog.pg_prepared_xacts') AS w \
        JOIN pg_catalog.pg_dist_node AS n ON n.nodename OPERATOR(pg_catalog.=) w.nodename \
            AND n.nodeport OPERATOR(pg_catalog.=) w.nodeport \
        UNION ALL \
        SELECT g.groupid, true, NULL, ARRAY(SELECT gid FROM pg_catalog.pg_prepared_xacts) \
        FROM pg_catalog.pg_dist_local_group AS g) \
    SELECT pg_catalog.array_agg(t.gid) FILTER (WHERE t.gid OPERATOR(pg_catalog.=) ANY (a.gids) \
            AND ($2 IS NULL OR t.gid OPERATOR(pg_catalog.=) ANY ($2::pg_catalog.text[]))), \
        pg_catalog.min(a.node) FILTER (WHERE NOT a.success) \
    FROM pg_catalog.pg_dist_transaction AS t JOIN answer AS a ON a.groupid OPERATOR(pg_catalog.=) t.groupid";

/// Of transactions, those on nodes with shards of the target.
const ON_ITS_NODES: &str = "\
    WHERE t.groupid OPERATOR(pg_catalog.=) ANY (ARRAY( \
        SELECT p.groupid FROM pg_catalog.pg_dist_placement AS p \
        JOIN pg_catalog.pg_dist_shard AS s ON s.shardid OPERATOR(pg_catalog.=) p.shardid \
        WHERE s.logicalrelid OPERATOR(pg_catalog.=) $1))";

fn refuse_silence(target: &Target, node: &str) -> ! {
    let what = format!(
        "cannot overwrite rows of distributed table \"{}\" now",
        target.name
    );
    Report::new(SqlState::ObjectNotInPrerequisiteState, what)
        .detail(format!(
            "Node {node} does not answer. It may have to commit an earlier overwrite."
        ))
        .hint("Try again when the node is back.")
        .table(&target.schema, &target.name)
        .raise()
}
