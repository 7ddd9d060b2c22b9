"""Indexes of partitions are rebuilt concurrently beside calls: at every moment, one of them is the table's."""

import time

import pytest
from support.errors import failure
from support.queries import value
from support.sessions import Sessions

# What the functions and the guard look up, without a client between the calls.
CALLS = {
    "one": "PERFORM outcome FROM idempotent_insert('parted', jsonb_build_object('id', i % 10, 'v', 1));",
    "each": "PERFORM outcome FROM idempotent_insert_each('parted', jsonb_build_array(jsonb_build_object('id', i % 10, 'v', 1)));",
    "guard": "INSERT INTO parted VALUES (i % 10, 1);",
}
LOOP = """DO $loop$
DECLARE
    until timestamptz := clock_timestamp() + '{seconds} s';
    i int := 0;
BEGIN
    WHILE clock_timestamp() < until LOOP
        i := i + 1;
        {call}
        COMMIT;
    END LOOP;
END $loop$"""
SECONDS = 8


def test_a_call_finds_an_index_that_takes_the_place_of_another(db):
    with db.connect() as conn:
        conn.execute("CREATE TABLE parted (id int PRIMARY KEY, v int) PARTITION BY RANGE (id)")
        conn.execute("CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (10)")
        conn.execute("SELECT idempotent_guard('parted')")
    calls = list(CALLS.values())

    def work(number, conn):
        if number < len(calls):
            conn.execute(LOOP.format(seconds=SECONDS, call=calls[number]))
            return 0
        rebuilt, end = 0, time.monotonic() + SECONDS
        while time.monotonic() < end:
            conn.execute("REINDEX INDEX CONCURRENTLY parted_1_pkey")
            rebuilt += 1
        return rebuilt

    *_, rebuilt = Sessions(len(calls) + 1, db.connect, work).join()
    assert rebuilt > 5
    with db.connect() as conn:
        assert conn.execute("SELECT count(*) AS rows, count(DISTINCT id) AS keys FROM parted").fetchone() == {"rows": 10, "keys": 10}


# Once the keys were looked up, and before a partition is inserted into: REINDEX CONCURRENTLY leaves a partition's index without the
# table's above it for a moment, which is too short to be met in a test.
ORPHAN = """
    CREATE FUNCTION orphan() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        DELETE FROM pg_inherits WHERE inhrelid = 'parted_1_pkey'::regclass;
        RETURN NULL;
    END $$;
    CREATE TRIGGER orphan BEFORE INSERT ON parted EXECUTE FUNCTION orphan();
"""
BATCHES = {
    "many": "SELECT * FROM idempotent_insert_many('parted', '[{\"id\": 1}, {\"id\": 2}]')",
    "each": "SELECT * FROM idempotent_insert_each('parted', '[{\"id\": 1}, {\"id\": 2}]')",
    "report": "SELECT * FROM idempotent_insert_many('parted', '[{\"id\": 1}, {\"id\": 2}]', on_error => 'report')",
    "from": "SELECT * FROM idempotent_insert_from('parted', 'source')",
    "merge": "SELECT * FROM idempotent_merge('parted', 'source')",
    "load": "CALL idempotent_load('parted', 'source')",
}


@pytest.mark.parametrize("form", ["direct_insertion = off", "use_distributed_form = on"])
@pytest.mark.parametrize("call", BATCHES.values(), ids=BATCHES)
def test_a_partition_without_its_index_for_a_moment_is_a_retry(db, call, form):
    with db.connect() as conn:
        conn.execute(f"SET pg_idempotent.{form}")
        conn.execute("CREATE TABLE parted (id int PRIMARY KEY, v int) PARTITION BY RANGE (id)")
        conn.execute("CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (10)")
        conn.execute("CREATE TABLE source AS SELECT id, id AS v FROM generate_series(1, 3) AS id")
        conn.execute(ORPHAN)
        conn.execute("SET allow_system_table_mods = on")
        error = failure(lambda: conn.execute(call))
        assert (error.sqlstate, error.diag.table_name) == ("40001", "parted"), error
        assert error.diag.message_primary == "could not serialize access due to a concurrent REINDEX"
        conn.execute("DROP TRIGGER orphan ON parted")
        conn.execute(call)
        assert value(conn, "SELECT count(*) FROM parted") in (2, 3)
