"""idempotent_reconcile: agrees with what plain SQL says, under one snapshot, in little memory."""

import json
import random
import time

import psycopg
import pytest

from support.functions import insert_from
from support.memory import MEGABYTE, memory
from support.project import SEED, size
from support.queries import value
from support.sessions import in_background
from support.waiting import waits_for_a_lock

ROUNDS = size("PGI_ROUNDS", 20)
ROWS = size("PGI_ROWS", 100_000)


def reconcile(conn, target="t", source="s"):
    return conn.execute(f"SELECT * FROM idempotent_reconcile('{target}', '{source}')").fetchall()


# What it should say, by a join. Keys of the source are unique here.
JOINED = """
SELECT CASE WHEN t.a IS NULL THEN 'missing' WHEN s.a IS NULL THEN 'unexpected' ELSE 'different' END AS status,
       jsonb_build_object('a', coalesce(t.a, s.a), 'b', coalesce(t.b, s.b)) AS key,
       CASE WHEN t.a IS NOT NULL THEN to_jsonb(t) END AS stored,
       CASE WHEN s.a IS NOT NULL THEN to_jsonb(s) END AS expected,
       (SELECT jsonb_object_agg(o.key, jsonb_build_object('stored', o.value, 'expected', n.value))
        FROM jsonb_each(to_jsonb(t)) AS o JOIN jsonb_each(to_jsonb(s)) AS n USING (key) WHERE o.value <> n.value) AS differences
FROM t FULL JOIN s ON t.a = s.a AND t.b = s.b
WHERE t IS DISTINCT FROM s
ORDER BY coalesce(t.a, s.a), coalesce(t.b, s.b) COLLATE "C"
"""


def test_it_says_what_a_join_says(conn):
    r = random.Random(SEED)
    columns = "a int, b text COLLATE \"C\", v int, w numeric, x jsonb"
    conn.execute(f"CREATE TABLE t ({columns}, PRIMARY KEY (a, b)); CREATE TABLE s ({columns}, UNIQUE (a, b))")
    for _ in range(ROUNDS):
        conn.execute("TRUNCATE t, s")
        for table in ("t", "s"):
            rows = [
                (r.randrange(-5, 30), r.choice("aAbBcé "), r.choice([None, 1, 2]), r.choice([None, 1, 2]), json.dumps(r.choice([None, 1, {"k": 1}])))
                for _ in range(r.choice([0, 1, 5, 100]))
            ]
            conn.cursor().executemany(f"INSERT INTO {table} VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING", rows)
        assert reconcile(conn) == conn.execute(JOINED).fetchall()
        # A load of the source removes what is missing and nothing else.
        with conn.transaction(force_rollback=True):
            before = reconcile(conn)
            counts = conn.execute("SELECT * FROM idempotent_insert_from('t', 's', on_conflict => 'report')").fetchone()
            after = reconcile(conn)
            assert after == [row for row in before if row["status"] != "missing"]
            assert counts["inserted"] == len(before) - len(after)
            assert counts["conflicts"] == sum(row["status"] == "different" for row in after)


@pytest.mark.parametrize("isolation", ["read committed", "repeatable read"])
@pytest.mark.parametrize("halts", ["target", "source"])
def test_both_sides_are_read_under_one_snapshot(db, isolation, halts):
    """What is committed while one side is being read is not in the other, whichever comes first."""
    with db.connect() as one, db.connect() as other, db.connect() as watch:
        one.execute(
            """CREATE TABLE t (id int PRIMARY KEY, v int); CREATE TABLE s (id int, v int);
               INSERT INTO t SELECT i, i FROM generate_series(1, 5) AS i; INSERT INTO s TABLE t;
               CREATE FUNCTION halt() RETURNS boolean LANGUAGE plpgsql AS $$
                   BEGIN PERFORM pg_advisory_xact_lock(1); RETURN true; END $$;
               DO $$ BEGIN CREATE ROLE pgi_reader; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
               GRANT SELECT ON t, s TO pgi_reader"""
        )
        table = "t" if halts == "target" else "s"
        one.execute(f"CREATE POLICY halts ON {table} USING (halt()); ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        other.execute("BEGIN; SELECT pg_advisory_xact_lock(1)")
        found = []

        def run():
            one.execute(f"SET default_transaction_isolation = '{isolation}'; SET ROLE pgi_reader")
            found.extend(reconcile(one))

        join = in_background(run)
        assert waits_for_a_lock(db, one)
        watch.execute("UPDATE s SET v = v + 1; INSERT INTO s VALUES (6, 6); DELETE FROM t WHERE id = 1")
        other.execute("COMMIT")
        assert join() is None
        assert found == []
        assert len(reconcile(one)) == 6


def test_it_sees_the_transactions_own_rows(conn):
    conn.execute("CREATE TABLE t (id int PRIMARY KEY, v int); CREATE TABLE s (LIKE t)")
    conn.execute("BEGIN; INSERT INTO t VALUES (1, 1); SAVEPOINT a; INSERT INTO s VALUES (1, 2)")
    assert [row["status"] for row in reconcile(conn)] == ["different"]
    conn.execute("ROLLBACK TO a")
    assert [row["status"] for row in reconcile(conn)] == ["unexpected"]
    conn.execute("ROLLBACK")
    # Also inside of functions, between their statements.
    conn.execute(
        """CREATE FUNCTION seen() RETURNS text[] LANGUAGE plpgsql AS $$
           DECLARE first text; second text;
           BEGIN
               INSERT INTO t VALUES (2, 2);
               SELECT string_agg(status, ' ') INTO first FROM idempotent_reconcile('t', 's');
               INSERT INTO s TABLE t;
               SELECT string_agg(status, ' ') INTO second FROM idempotent_reconcile('t', 's');
               RETURN ARRAY[first, second];
           END $$"""
    )
    assert value(conn, "SELECT seen()") == ["unexpected", None]


def big(conn, rows=ROWS):
    conn.execute(
        f"""CREATE TABLE t (id int PRIMARY KEY, v numeric, note text);
            INSERT INTO t SELECT i, i, repeat('x', i % 100) FROM generate_series(1, {rows}) AS i;
            CREATE TABLE s AS SELECT id, v + (id % 1000 = 0)::int AS v, note FROM t WHERE id % 1000 <> 1 ORDER BY md5(id::text);
            INSERT INTO s SELECT -i, 0 FROM generate_series(1, 10) AS i; ANALYZE"""
    )


def test_many_rows(conn):
    big(conn)
    counts = "SELECT status, count(*) AS n FROM idempotent_reconcile('t', 's') GROUP BY status ORDER BY status"
    expected = [("different", ROWS // 1000), ("missing", 10), ("unexpected", (ROWS + 999) // 1000)]
    for setting in ("64kB", "100MB"):
        conn.execute(f"SET work_mem = '{setting}'")
        assert [tuple(row.values()) for row in conn.execute(counts).fetchall()] == expected
    # Everything deviates: the result spills, too.
    conn.execute("SET work_mem = '1MB'; CREATE TABLE nothing (LIKE t)")
    assert len(reconcile(conn, "t", "nothing")) == ROWS


def test_memory_is_bounded_by_work_mem(conn):
    big(conn)
    conn.execute("SET work_mem = '1MB'; CREATE TABLE other AS SELECT id, v + 1 AS v, note || repeat('y', 500) AS note FROM t")
    count = "SELECT count(*) FROM idempotent_reconcile('t', '{}')"
    value(conn, count.format("s"))
    before = memory(conn)
    assert value(conn, count.format("other")) == ROWS
    value(conn, count.format("s"))
    after = memory(conn)
    assert after[0] - before[0] < MEGABYTE
    assert after[1] - before[1] < 16 * MEGABYTE


def test_it_can_be_cancelled(db):
    with db.connect() as conn, db.connect() as other:
        big(conn, 1000)
        conn.execute("CREATE VIEW endless AS SELECT (i % 1000)::int AS id, 0 AS v FROM generate_series(1, 1000000000::bigint) AS i")
        join = in_background(lambda: reconcile(conn, "t", "endless"))
        time.sleep(0.5)
        other.execute("SELECT pg_cancel_backend(%s)", [conn.info.backend_pid])
        assert isinstance(join(), psycopg.errors.QueryCanceled)
        assert value(conn, "SELECT count(*) FROM idempotent_reconcile('t', 's')") == 12


def test_it_writes_nothing(conn):
    big(conn, 1000)
    reconcile(conn)
    lsn = value(conn, "SELECT pg_current_wal_insert_lsn()::text")
    with conn.transaction():
        conn.execute("SET TRANSACTION READ ONLY")
        reconcile(conn)
        assert value(conn, "SELECT pg_current_xact_id_if_assigned()") is None
    assert value(conn, "SELECT pg_current_wal_insert_lsn()::text") == lsn


@pytest.mark.parametrize("change", ["ALTER TABLE s ADD COLUMN z int", "ALTER TABLE t ALTER v TYPE bigint", "DROP TABLE s"])
def test_definitions_that_change_between_calls(conn, change):
    conn.execute("CREATE TABLE t (id int PRIMARY KEY, v int, z int); CREATE TABLE s (id int, v int); INSERT INTO s VALUES (1, 2)")
    assert reconcile(conn)[0]["expected"] == {"id": 1, "v": 2}
    insert_from(conn, "t", "s")
    conn.execute(change)
    if change.startswith("DROP"):
        with pytest.raises(psycopg.errors.UndefinedTable):
            reconcile(conn)
        return
    assert reconcile(conn) == []
    conn.execute("UPDATE t SET z = 1")
    assert len(reconcile(conn)) == ("ADD" in change)
