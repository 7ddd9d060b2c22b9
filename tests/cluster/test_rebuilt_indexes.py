"""Indexes of partitions are rebuilt concurrently beside calls: at every moment, one of them is the table's."""

import time

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
