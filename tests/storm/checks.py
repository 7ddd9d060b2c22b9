"""The invariants that are looked at in the database."""

import psycopg

from storm.ledger import Violation
from storm.runs import must_agree
from storm.tables import ALL, STORED_IN, TRUE_PAYLOAD, TRUE_ROW
from storm.versions import must_be_one_version

# Errors of these states are in the server's log in no case.
NEVER_LOGGED = ("23505", "XX000", "XX001", "XX002", "25P02")


def at_any_time(conn, storm):
    """What holds while clients are at work: each look is one statement, with one snapshot."""
    for table in STORED_IN:
        true_and_single(conn, table)
    must_be_one_version(conn, storm)
    must_agree(conn)
    requests_ran_once(conn)
    merges_are_true(conn)
    quarantine_is_true(conn)


def at_rest(conn, storm):
    """What holds while nobody is at work."""
    at_any_time(conn, storm)
    for table in STORED_IN:
        nothing_lost(conn, storm, table)
    merges_kept(conn, storm)
    answers_kept(conn, storm)
    no_lock_left(conn)


def rows_of(table, columns="*"):
    return " UNION ALL ".join(f"SELECT {columns} FROM {name}" for name in STORED_IN[table])


def true_and_single(conn, table):
    true = TRUE_ROW.get(table, TRUE_PAYLOAD)
    columns = "k, a, b, xmin::text" + (", arrived" if table in TRUE_ROW else "")
    # One snapshot; no index, which might not have what the table has.
    conn.execute("SET enable_indexscan = off; SET enable_bitmapscan = off; SET enable_indexonlyscan = off")
    wrong = conn.execute(f"SELECT * FROM ({rows_of(table, columns)}) AS t WHERE NOT ({true}) LIMIT 3").fetchall()
    if wrong:
        raise Violation("contents are what was acknowledged", f"{table} has {wrong}", table, wrong[0]["k"])
    twice = conn.execute(f"SELECT k, count(*) FROM ({rows_of(table, 'k')}) AS t GROUP BY k HAVING count(*) > 1 LIMIT 3").fetchall()
    if twice:
        raise Violation("one row a key", f"{table} has {twice}", table, twice[0]["k"])
    conn.execute("RESET enable_indexscan; RESET enable_bitmapscan; RESET enable_indexonlyscan")


def nothing_lost(conn, storm, table):
    sent, acknowledged = storm.ledger.keys[table].copy()
    stored = set(conn.execute(f"SELECT coalesce(array_agg(k), '{{}}') AS keys FROM ({rows_of(table, 'k')}) AS t").fetchone()["keys"])
    for key in sorted(acknowledged - stored)[:1]:
        raise Violation("nothing acknowledged is lost", f"{table} lacks {key}, and {len(acknowledged - stored) - 1} others", table, key)
    for key in sorted(stored - sent)[:1]:
        raise Violation("nothing is stored that was not sent", f"{table} has {key}", table, key)


def requests_ran_once(conn):
    twice = conn.execute("SELECT request, count(*), array_agg(id) FROM effects GROUP BY 1 HAVING count(*) > 1 LIMIT 3").fetchall()
    if twice:
        raise Violation("a request runs once", str(twice), "request", twice[0]["request"])
    wrong = conn.execute(
        """SELECT key, status, response, w.* FROM (SELECT * FROM idempotent.requests WHERE key LIKE 'work %') AS r
           FULL JOIN (SELECT request, count(*), max(attempt) AS attempt FROM work GROUP BY 1) AS w ON w.request = r.key
           WHERE coalesce(w.count, 0) <> (r.status IS NOT DISTINCT FROM 'finished')::int
              OR w.attempt <> (response->>'attempt')::bigint LIMIT 3"""
    ).fetchall()
    if wrong:
        key = wrong[0]["key"] or wrong[0]["request"]
        raise Violation("a request's work is that of the attempt that finished it", str(wrong), "work", int(key.split()[1]))


def answers_kept(conn, storm):
    """What requests were told is what is stored."""
    told = storm.ledger.told("request")
    stored = {row["request"]: str([{"id": row["id"]}]) for row in conn.execute("SELECT request, id FROM effects").fetchall()}
    for number, answer in told.items():
        if stored.get(number) != answer:
            raise Violation("nothing acknowledged is lost", f"request {number}: told {answer}, stored {stored.get(number)}", "request", number)


def merges_are_true(conn):
    wrong = conn.execute("SELECT k, version, v, xmin::text FROM merged WHERE v IS DISTINCT FROM truth_b(k + version) LIMIT 3").fetchall()
    if wrong:
        raise Violation("contents are what was acknowledged", f"merged has {wrong}", "merged", wrong[0]["k"])


def merges_kept(conn, storm):
    """What is stored is as late as the latest version that was acknowledged."""
    stored = {row["k"]: row["version"] for row in conn.execute("SELECT k, version FROM merged").fetchall()}
    for key, version in storm.latest_merge().items():
        if stored.get(key, 0) < version:
            raise Violation("nothing acknowledged is lost", f"merged has {key} of {stored.get(key)}, not {version}", "merged", key)


def quarantine_is_true(conn):
    """What is in quarantine was altered when it was sent."""
    sql = "SELECT id, target::text, payload FROM idempotent.conflicts WHERE (payload->>'a')::numeric = truth_a((payload->>'k')::bigint) LIMIT 3"
    wrong = conn.execute(sql).fetchall()
    if wrong:
        raise Violation("no conflict that was not sent", str(wrong), wrong[0]["target"], wrong[0]["payload"]["k"])


def no_lock_left(conn):
    """Sessions that are idle hold no lock: none of ours, and no other."""
    held = conn.execute(
        """SELECT a.application_name, l.locktype, l.objsubid, l.relation::regclass::text, l.mode, l.granted, a.query
           FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid) WHERE pid <> pg_backend_pid() AND a.backend_type = 'client backend'
           UNION ALL SELECT 'nobody', locktype, objsubid, relation::regclass::text, mode, granted, NULL FROM pg_locks WHERE pid IS NULL LIMIT 5"""
    ).fetchall()
    if held:
        raise Violation("no lock is left", str(held))


def log_is_clean(storm):
    """No panic, no crash that was not caused, nothing leaked; and no error that the contract rules out."""
    lines = storm.cluster.forbidden_log_lines() + storm.bad_log_lines()
    if lines:
        raise Violation("the log is clean", "\n  ".join(lines[:8]))


def structure(conn):
    """What amcheck finds: each index has all that its table has, and the tables are sound. False where there is none."""
    try:
        conn.execute("CREATE EXTENSION IF NOT EXISTS amcheck")
    except psycopg.Error:
        return False
    indexes = conn.execute(
        """SELECT c.oid::regclass::text AS name FROM pg_class AS c JOIN pg_am AS a ON a.oid = c.relam JOIN pg_index AS i ON i.indexrelid = c.oid
           WHERE c.relkind = 'i' AND a.amname = 'btree' AND c.oid >= 16384 AND i.indisvalid"""
    ).fetchall()
    for row in indexes:
        try:
            conn.execute("SELECT bt_index_check(%s::regclass, true)", [row["name"]])
        except psycopg.Error as error:
            raise Violation("indexes have what their tables have", f"{row['name']}: {error}") from error
    tables = conn.execute("SELECT oid::regclass::text AS name FROM pg_class WHERE relkind = 'r' AND oid >= 16384").fetchall()
    for row in tables:
        wrong = conn.execute("SELECT * FROM verify_heapam(%s::regclass) LIMIT 3", [row["name"]]).fetchall()
        if wrong:
            raise Violation("tables are sound", f"{row['name']}: {wrong}")
    return True


def digests(conn):
    """The contents of every table, each in a text."""
    conn.execute("SET max_parallel_workers_per_gather = 0")
    found = {}
    for table in (*ALL, *STORED_IN["parted"], "idempotent.request_records", "idempotent.pipeline_run_records", "idempotent.batch_records", "idempotent.conflict_records"):
        found[table] = conn.execute(f"SELECT idempotent_digest(t) AS digest FROM {table} AS t").fetchone()["digest"]
    return found
