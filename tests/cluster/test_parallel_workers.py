"""A function that calls ours may be declared PARALLEL SAFE, wrongly. What a worker raises then reaches the client as it
was raised, also when its message finds the leader inside a function of ours."""

import pytest

from support.errors import failure

WRAPPER = """
    CREATE FUNCTION verified(payload jsonb) RETURNS text LANGUAGE plpgsql PARALLEL SAFE AS $$
    BEGIN
        RETURN (SELECT outcome FROM idempotent_insert('orders', payload));
    END $$
"""
# Every worker and the leader are busy with duplicates for a while. One row at the end of a block is a conflict, or no payload.
MANY = """
    CREATE TABLE orders (id int PRIMARY KEY, amount int);
    INSERT INTO orders SELECT n, n FROM generate_series(1, 20000) AS n;
    CREATE TABLE sent WITH (parallel_workers = 3) AS
        SELECT n, jsonb_build_object('id', n, 'amount', n) AS payload FROM generate_series(1, 20000) AS n;
    ANALYZE sent;
    SET parallel_setup_cost = 0;
    SET parallel_tuple_cost = 0;
    SET min_parallel_table_scan_size = 0;
    SET max_parallel_workers_per_gather = 3;
"""


@pytest.mark.parametrize("leader", ["on", "off"])
@pytest.mark.parametrize(
    ("bad", "sqlstate", "detail"),
    [
        ('{"id": 9999, "amount": 0}', "23I01", "Key (id)=(9999) is stored with amount=9999; the payload has amount=0."),
        ('{"id": "x"}', "22P02", None),
        ('[]', "22023", "It is a JSON array."),
    ],
    ids=["conflict", "native", "input"],
)
def test_an_error_in_a_worker_arrives_as_it_was_raised(backtrace_cluster, leader, bad, sqlstate, detail):
    db = backtrace_cluster.create_database()
    with db.connect() as conn:
        # What the leader shows of a worker's error takes a library that was loaded when the workers started.
        conn.execute("LOAD 'pg_idempotent'")
        conn.execute(MANY)
        conn.execute(WRAPPER)
        conn.execute("UPDATE sent SET payload = %s WHERE n = 9999", [bad])
        conn.execute("SELECT set_config('parallel_leader_participation', %s, false)", [leader])
        for _ in range(5):
            seen = failure(lambda: conn.execute("SELECT count(verified(payload)) FROM sent")).diag
            assert (seen.sqlstate, seen.message_detail) == (sqlstate, detail)
