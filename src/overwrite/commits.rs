//! What this node has committed, and another node has prepared and not committed yet: a call waits for it.
//!
//! Citus records the name of each such transaction in `pg_dist_transaction`, and removes it there about a minute after all
//! nodes have committed. So names that are there say that a node may have to be asked, and which one. A slice of one
//! shard concerns the shard's node alone, which a statement on the shard asks: the session has a connection to
//! that node, or will need one. Other nodes are asked by a connection of its own each.
use super::slice::Slice;
use crate::error::{Report, SqlState};
use crate::pg::backend;
use crate::pg::statement::spi::Connection;
use crate::pg::transaction::snapshot::FreshSnapshot;
use crate::pg::value::sql_value::SqlValue;
use crate::target::Target;
use crate::text::array_literal;
use pgrx::pg_sys;

/// Microseconds between two looks: at first, and at most.
const FIRST_PAUSE: i64 = 5_000;
const LONGEST_PAUSE: i64 = 500_000;

/// Waits, with the lock of the slice in hand, until all nodes have committed what the coordinator has.
///
/// # Errors
/// 55000 if a node does not answer.
pub fn wait_for_commits(slice: &Slice<'_>) {
    if !slice.target.is_in_shards() {
        return;
    }
    let mut pause = FIRST_PAUSE;
    let mut left = prepared(slice, None);
    // Those that come later are of no concern.
    while !left.is_empty() {
        backend::sleep(pause);
        pause = (2 * pause).min(LONGEST_PAUSE);
        left = prepared(slice, Some(&left));
    }
}

/// The transactions, or of these some, that this node has committed, and a node with shards of the target has
/// prepared and not committed.
fn prepared(slice: &Slice<'_>, some: Option<&[String]>) -> Vec<String> {
    let _snapshot = FreshSnapshot::push();
    let connection = Connection::open();
    let table = SqlValue::regclass(slice.target.oid);
    let is_any = format!("SELECT FROM ({COMMITTED}) AS t LIMIT 1");
    if connection.query(&is_any, &[table]) == 0 {
        return Vec::new();
    }
    if !(is_of_one_shard(slice, &connection) && is_asked_beside(slice, &connection)) {
        connection.query(ASK, &[table]);
        if let Some(silent) = connection.first_text(2) {
            drop(connection);
            refuse_silence(slice.target, &silent)
        }
    }
    let mut prepared = names(&connection);
    if let Some(some) = some {
        prepared.retain(|name| some.contains(name));
    }
    if prepared.is_empty() {
        return prepared;
    }
    let prepared = array_literal(&prepared);
    let of_these = format!(
        "SELECT pg_catalog.array_agg(t.gid) FROM ({COMMITTED}) AS t \
         WHERE t.gid OPERATOR(pg_catalog.=) ANY ($2::pg_catalog.text[])"
    );
    connection.query(&of_these, &[table, SqlValue::text(&prepared)]);
    names(&connection)
}

/// The transactions that this node has committed, and of which it does not know yet whether the nodes with shards of the
/// table $1 have.
const COMMITTED: &str = "\
    SELECT t.groupid, t.gid FROM pg_catalog.pg_dist_transaction AS t \
    WHERE t.groupid OPERATOR(pg_catalog.=) ANY (ARRAY( \
        SELECT p.groupid FROM pg_catalog.pg_dist_placement AS p \
        JOIN pg_catalog.pg_dist_shard AS s ON s.shardid OPERATOR(pg_catalog.=) p.shardid \
        WHERE s.logicalrelid OPERATOR(pg_catalog.=) $1))";

/// Gives the names of what is prepared on nodes that may have to commit such a transaction, and the name of one of these nodes
/// that does not answer.
const ASK: &str = "\
    WITH node AS MATERIALIZED ( \
        SELECT n.groupid, n.nodename, n.nodeport FROM pg_catalog.pg_dist_node AS n \
        WHERE n.noderole OPERATOR(pg_catalog.=) 'primary' \
            AND EXISTS (SELECT FROM pg_catalog.pg_dist_transaction AS t \
                        WHERE t.groupid OPERATOR(pg_catalog.=) n.groupid) \
            AND EXISTS (SELECT FROM pg_catalog.pg_dist_placement AS p \
                        JOIN pg_catalog.pg_dist_shard AS s ON s.shardid OPERATOR(pg_catalog.=) p.shardid \
                        WHERE s.logicalrelid OPERATOR(pg_catalog.=) $1 \
                            AND p.groupid OPERATOR(pg_catalog.=) n.groupid)), \
    question AS MATERIALIZED ( \
        SELECT pg_catalog.array_agg(n.nodename) AS nodes, pg_catalog.array_agg(n.nodeport) AS ports, \
            pg_catalog.array_agg( \
                'SELECT coalesce(pg_catalog.array_agg(gid), ''{}'') FROM pg_catalog.pg_prepared_xacts'::pg_catalog.text \
            ) AS commands \
        FROM node AS n \
        JOIN pg_catalog.pg_dist_local_group AS g ON g.groupid OPERATOR(pg_catalog.<>) n.groupid), \
    answer AS MATERIALIZED ( \
        SELECT w.success, pg_catalog.format('%s:%s', w.node_name, w.node_port) AS node, \
            CASE WHEN w.success THEN w.result ELSE '{}' END::pg_catalog.text[] AS gids \
        FROM question AS q \
        CROSS JOIN LATERAL pg_catalog.master_run_on_worker(q.nodes, q.ports, q.commands, true) AS w \
        UNION ALL \
        SELECT true, NULL, ARRAY(SELECT gid FROM pg_catalog.pg_prepared_xacts)) \
    SELECT (SELECT pg_catalog.array_agg(g.gid) FROM answer AS a CROSS JOIN LATERAL pg_catalog.unnest(a.gids) AS g (gid)), \
        (SELECT pg_catalog.min(a.node) FROM answer AS a WHERE NOT a.success)";

/// Whether all rows of the slice are in one shard, of which there is one copy.
fn is_of_one_shard(slice: &Slice<'_>, connection: &Connection) -> bool {
    let target = slice.target;
    let distribution = target.distribution_column();
    let is_it = |c: &&usize| {
        distribution.as_ref() == Some(&target.columns[**c].name) && slice.values.get(**c).is_some()
    };
    slice.columns.iter().any(|c| is_it(&c))
        && connection.query(COPIES, &[SqlValue::regclass(target.oid)]) == 0
}

/// Gives a row if a shard has several copies.
const COPIES: &str = "\
    SELECT FROM pg_catalog.pg_dist_partition WHERE logicalrelid OPERATOR(pg_catalog.=) $1 \
        AND (partmethod OPERATOR(pg_catalog.<>) 'h' OR repmodel OPERATOR(pg_catalog.<>) 's') \
    UNION ALL \
    SELECT FROM pg_catalog.pg_dist_shard AS s \
    JOIN pg_catalog.pg_dist_placement AS p ON p.shardid OPERATOR(pg_catalog.=) s.shardid \
    WHERE s.logicalrelid OPERATOR(pg_catalog.=) $1 \
    GROUP BY s.shardid HAVING pg_catalog.count(*) OPERATOR(pg_catalog.>) 1";

/// Gives the names of what is prepared on the node of the shard. The function gives what `pg_prepared_xacts` shows; Citus
/// would look at the view here.
///
/// False if this session itself has answered: then the shard is here, or Citus did not send the statement there as a whole.
fn is_asked_beside(slice: &Slice<'_>, connection: &Connection) -> bool {
    let (condition, parameters) = slice.condition();
    let sql = format!(
        "SELECT (SELECT pg_catalog.array_agg(gid) FROM pg_catalog.pg_prepared_xact()), \
            pg_catalog.pg_backend_pid(), EXISTS (SELECT FROM {} WHERE {condition} LIMIT 0)",
        slice.target.qualified(),
    );
    connection.query(&sql, &parameters);
    let answered = connection.first_of(2, pg_sys::INT4OID);
    answered.is_some_and(|pid| pid.value() as i32 != backend::process_id())
}

/// The texts of the array in the first column.
fn names(connection: &Connection) -> Vec<String> {
    let names = connection.first_texts(1).unwrap_or_default();
    names.into_iter().flatten().collect()
}

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
