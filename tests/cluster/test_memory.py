"""A backend's memory stays flat, whatever a session sends through it.

Sizes come from PGI_CALLS (default 200000; the promise is a million). Memory is what the server accounts for in all its
contexts, and what the kernel says is private to the process.
"""

import json
import time

import pytest

from support.functions import insert, insert_each, insert_many
from support.memory import MEGABYTE, grows, resident
from support.project import size
from support.queries import value
from support.sessions import in_background

CALLS = size("PGI_CALLS", 200_000)

pytestmark = [pytest.mark.timeout(300), pytest.mark.once]


@pytest.fixture
def table(conn):
    conn.execute("CREATE TABLE events (id int PRIMARY KEY, v numeric(12,2), note text, doc jsonb)")
    conn.execute("CREATE TABLE conflicting (id int PRIMARY KEY, v int); INSERT INTO conflicting VALUES (1, 1)")
    return conn


LOOP = """
DO $do$
DECLARE n int; r record;
BEGIN
    FOR n IN {first} .. {last} LOOP
        {body}
    END LOOP;
END $do$
"""

BODIES = {
    "new_rows": "SELECT * INTO r FROM idempotent_insert('events', jsonb_build_object('id', n, 'v', 1, 'note', 'x'));",
    "duplicates": "SELECT * INTO r FROM idempotent_insert('events', '{{\"id\": 1, \"v\": 1, \"doc\": {{\"a\": [1]}}}}');",
    "batches_of_one": "SELECT * INTO r FROM idempotent_insert_many('events', '[{{\"id\": 1, \"v\": 1}}]');",
    "reported_conflicts": "SELECT * INTO r FROM idempotent_insert('conflicting', '{{\"id\": 1, \"v\": 2}}', "
    "on_conflict => 'report');",
    "options": "SELECT * INTO r FROM idempotent_insert('events', '{{\"id\": 1, \"v\": 1, \"note\": \"y\"}}', "
    "key => '{{id}}', compare => '{{v}}');",
    "options_ignore": "SELECT * INTO r FROM idempotent_insert('events', '{{\"id\": 1, \"v\": 1, \"note\": \"y\"}}', "
    "ignore => '{{note}}');",
}


@pytest.mark.parametrize("body", BODIES)
def test_many_calls_in_one_statement_keep_the_memory_flat(table, body):
    conn = table
    insert(conn, "events", {"id": 1, "v": 1, "doc": {"a": [1]}})
    share = CALLS // len(BODIES) // 13

    def act(n):
        conn.execute(LOOP.format(first=2 + n * share, last=1 + (n + 1) * share, body=BODIES[body].format()))

    contexts, resident = grows(conn, act)
    assert contexts < MEGABYTE, f"{contexts} bytes in {10 * share} calls"
    assert resident < 8 * MEGABYTE, f"{resident} bytes in {10 * share} calls"


def test_memory_does_not_grow_within_one_statement_of_many_calls(table):
    """Freed at the end of the statement is too late for a DO block of a million calls."""
    conn = table
    body = "PERFORM idempotent_insert('events', jsonb_build_object('id', n % 1000, 'v', n % 1000, 'note', repeat('x', 500)));"
    share = CALLS // 4
    contexts = []
    code = """
    DO $do$
    DECLARE n int; early bigint; late bigint;
    BEGIN
        FOR n IN 1 .. {total} LOOP
            {body}
            IF n = {total} / 10 THEN SELECT sum(total_bytes) INTO early FROM pg_backend_memory_contexts; END IF;
        END LOOP;
        SELECT sum(total_bytes) INTO late FROM pg_backend_memory_contexts;
        PERFORM set_config('my.growth', (late - early)::text, false);
    END $do$
    """
    conn.execute(code.format(total=share, body=body))
    assert int(value(conn, "SELECT current_setting('my.growth')")) < 2 * MEGABYTE


def test_many_separate_statements_keep_the_memory_flat(table):
    conn = table
    share = CALLS // 50

    def act(round):
        with conn.pipeline():
            for n in range(share):
                conn.execute(
                    "SELECT outcome FROM idempotent_insert('events', %s)",
                    [json.dumps({"id": n, "v": 1, "note": "x" * (n % 50)})],
                    prepare=True,
                )

    contexts, resident = grows(conn, act, rounds=5, warm=2)
    assert contexts < MEGABYTE, contexts
    assert resident < 8 * MEGABYTE, resident


def test_failing_calls_keep_the_memory_flat(table):
    conn = table
    share = CALLS // 400
    body = """
        BEGIN PERFORM idempotent_insert('conflicting', '{"id": 1, "v": 2}'); EXCEPTION WHEN SQLSTATE '23I01' THEN NULL; END;
        BEGIN PERFORM idempotent_insert('conflicting', '{"id": 2, "v": "x"}'); EXCEPTION WHEN SQLSTATE '22P02' THEN NULL; END;
        BEGIN PERFORM idempotent_insert_many('conflicting', '[{"id": 2, "nope": 1}]'); EXCEPTION WHEN undefined_column THEN NULL; END;
        BEGIN PERFORM idempotent_insert_many('conflicting', '[{"id": 2}, 7]'); EXCEPTION WHEN OTHERS THEN NULL; END;
        BEGIN PERFORM idempotent_insert('conflicting', '{"id": null}'); EXCEPTION WHEN not_null_violation THEN NULL; END;
    """
    contexts, resident = grows(conn, lambda n: conn.execute(LOOP.format(first=1, last=share, body=body)))
    assert contexts < MEGABYTE, contexts
    assert resident < 8 * MEGABYTE, resident


REFUSED = {
    "when_read": "SELECT n AS id, CASE WHEN n % 2 = 0 THEN 1e12 ELSE n END AS v FROM generate_series(1, {}) AS n",
    "when_inserted": "SELECT n AS id, CASE WHEN n % 2 = 0 THEN -1 ELSE n END AS v FROM generate_series(1, {}) AS n",
    "when_the_statement_ends": "SELECT n AS id, n AS v, CASE WHEN n % 2 = 0 THEN 2 ELSE 1 END AS part FROM generate_series(1, {}) AS n",
}


@pytest.mark.parametrize("how", REFUSED)
def test_memory_does_not_grow_with_the_rows_that_are_refused_in_a_call(conn, how):
    conn.execute(
        """SET work_mem = '64kB';
           CREATE TABLE parts (part int PRIMARY KEY); INSERT INTO parts VALUES (1);
           CREATE TABLE target (id int PRIMARY KEY, v numeric(10,2) CHECK (v > 0), part int REFERENCES parts)"""
    )

    def most(rows):
        """The most that is private to the process while it runs the call."""
        conn.execute(f"TRUNCATE target; DROP VIEW IF EXISTS source; CREATE VIEW source AS {REFUSED[how].format(rows)}")
        sql = "SELECT rejected FROM idempotent_insert_from('target', 'source', on_error => 'report')"
        rejected = []
        join = in_background(lambda: rejected.append(value(conn, sql)))
        found = 0
        while not rejected and time.monotonic() < limit:
            found = max(found, resident(conn.info.backend_pid))
            time.sleep(0.01)
        assert join() is None
        assert rejected == [rows // 2]
        return found

    limit = time.monotonic() + 200
    share = CALLS // 20
    most(share)
    before = most(share)
    assert most(5 * share) - before < 4 * MEGABYTE


def test_large_batches_give_their_memory_back(table):
    conn = table
    rows = json.dumps([{"id": n, "v": n, "note": "x" * 100} for n in range(20_000)])
    insert_many(conn, "events", rows)

    def act(n):
        assert insert_many(conn, "events", rows)["duplicates"] == 20_000
        assert len(insert_each(conn, "events", rows)) == 20_000

    contexts, resident = grows(conn, act, rounds=4, warm=2)
    assert contexts < MEGABYTE, contexts
    assert resident < 30 * MEGABYTE, resident


def test_ever_new_tables_do_not_fill_the_caches(conn):
    """Tables come and go, as partitions and temporary tables do. What is kept of a dropped one would add up."""

    def loop(call):
        code = f"""
        DO $do$
        DECLARE n int;
        BEGIN
            FOR n IN 1 .. 200 LOOP
                CREATE TEMP TABLE fleeting (id int PRIMARY KEY, v int, a int, b int, c int);
                {call}
                DROP TABLE fleeting;
            END LOOP;
        END $do$
        """
        return lambda n: conn.execute(code)

    payload = '{"id": 1, "v": 1, "a": 1, "b": 1, "c": 1}'
    plain, _ = grows(conn, loop("EXECUTE 'INSERT INTO fleeting VALUES (1, 1, 1, 1, 1)';"), rounds=4, warm=2)
    ours, resident = grows(
        conn,
        loop(f"PERFORM idempotent_insert('fleeting', '{payload}'); PERFORM idempotent_insert_many('fleeting', '[{payload}]');"),
        rounds=4,
        warm=2,
    )
    assert ours - plain < 2 * MEGABYTE, (ours, plain)
    assert resident < 20 * MEGABYTE, resident


def test_ever_new_column_sets_and_options_do_not_fill_the_caches(conn):
    """A table of forty columns has more column sets than memory has room for plans."""
    columns = [f"c{n}" for n in range(40)]
    conn.execute(f"CREATE TABLE wide (id int PRIMARY KEY, {', '.join(c + ' int' for c in columns)})")

    def act(round):
        conn.execute(
            """
            DO $do$
            DECLARE n int; payload jsonb; first bigint := %s;
            BEGIN
                FOR n IN first .. first + 499 LOOP
                    SELECT jsonb_object_agg('c' || b, 1) INTO payload
                    FROM generate_series(0, 39) b WHERE (n::bigint * 7919) >> (b %% 20) & 1 = 1;
                    PERFORM idempotent_insert('wide', payload || jsonb_build_object('id', n));
                    PERFORM idempotent_insert('wide', payload || jsonb_build_object('id', n),
                        ignore => ARRAY['c' || n %% 40]);
                END LOOP;
            END $do$
            """
            % (round * 500 + 1)
        )

    contexts, resident = grows(conn, act, rounds=4, warm=4)
    assert contexts < 16 * MEGABYTE, contexts
    assert resident < 40 * MEGABYTE, resident
