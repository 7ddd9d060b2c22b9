"""idempotent_reconcile over foreign tables: what it says, and how much goes over the wire."""

import contextlib
import random
import tempfile
from pathlib import Path

import psycopg
import pytest

from support.project import SEED, size
from support.queries import value
from support.wire import counted_wire

ROWS = size("PGI_ROWS", 200_000)
ROUNDS = size("PGI_ROUNDS", 20)

COLUMNS = "id {key} {primary}, customer text, amount numeric(12,2), at timestamptz, document jsonb"
FILL = """INSERT INTO {table} SELECT {value}, 'customer ' || i % 1000, i / 7.0, to_timestamp(i), jsonb_build_object('i', i, 'x', 1.50)
          FROM generate_series(1, {rows}) AS i"""
KEYS = {
    "int": "i",
    "bigint": "i * 3 - 1000",
    "text": "'order ' || i",
    "uuid": "md5(i::text)::uuid",
    "timestamptz": "to_timestamp(i * 61.5)",
    "date": "date '4713-01-01 BC' + i",
    "numeric(20,3)": "i / 8.0",
}


@contextlib.contextmanager
def two_servers(db, key="int", rows=ROWS, extensions="pg_idempotent"):
    """A connection to a database with `orders` and the foreign table `ledger`, one to that of the `ledger`, and the wire between."""
    far = db.cluster.create_database()
    fill = FILL.format(table="{table}", value=KEYS[key], rows=rows)
    with contextlib.ExitStack() as stack:
        there = stack.enter_context(far.connect())
        here = stack.enter_context(db.connect())
        socket_directory = value(here, "SHOW unix_socket_directories").split(",")[0]
        port = value(here, "SHOW port")
        directory = stack.enter_context(tempfile.TemporaryDirectory(dir="/tmp"))
        Path(directory).chmod(0o755)
        wire = stack.enter_context(counted_wire(directory, port, socket_directory))
        there.execute("CREATE TABLE ledger (" + COLUMNS.format(key=key, primary="PRIMARY KEY") + ")")
        there.execute(fill.format(table="ledger"))
        here.execute("CREATE TABLE orders (" + COLUMNS.format(key=key, primary="PRIMARY KEY") + ")")
        here.execute(fill.format(table="orders"))
        if not value(here, "SELECT count(*) FROM pg_available_extensions WHERE name = 'postgres_fdw'"):
            pytest.skip("the server does not have postgres_fdw")
        here.execute(
            f"""CREATE EXTENSION postgres_fdw;
                CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw
                    OPTIONS (host '{directory}', port '{port}', dbname '{far.name}', async_capable 'true', extensions '{extensions}');
                CREATE USER MAPPING FOR CURRENT_USER SERVER far;
                CREATE FOREIGN TABLE ledger ({COLUMNS.format(key=key, primary="NOT NULL")}) SERVER far"""
        )
        for conn, table in ((there, "ledger"), (here, "orders")):
            conn.execute(f"VACUUM ANALYZE {table}")
        yield here, there, wire


def deviate(here, there, key, rows, count):
    """Makes so many rows deviate."""
    value_of = KEYS[key]
    numbers = f"generate_series(17, {rows}, {rows // count})"
    there.execute(
        f"UPDATE ledger SET amount = amount + 1 WHERE id IN (SELECT {value_of} FROM {numbers} AS i WHERE i % 3 = 0);"
        f"DELETE FROM ledger WHERE id IN (SELECT {value_of} FROM {numbers} AS i WHERE i % 3 = 1)"
    )
    here.execute(f"DELETE FROM orders WHERE id IN (SELECT {value_of} FROM {numbers} AS i WHERE i % 3 = 2)")


# What it should say, by a join; in the order of the key.
JOINED = """
SELECT CASE WHEN o.id IS NULL THEN 'missing' WHEN l.id IS NULL THEN 'unexpected' ELSE 'different' END AS status,
       jsonb_build_object('id', coalesce(o.id, l.id)) AS key
FROM orders AS o FULL JOIN copy AS l ON o.id = l.id WHERE o IS DISTINCT FROM l ORDER BY coalesce(o.id, l.id)
"""
RECONCILED = "SELECT status, key FROM idempotent_reconcile('orders', '{source}')"


def rows_of(conn, sql):
    return conn.execute(sql).fetchall()


def expected(here):
    here.execute("DROP TABLE IF EXISTS copy; CREATE TABLE copy AS TABLE ledger")
    return rows_of(here, JOINED)


@pytest.mark.parametrize("key", KEYS)
def test_few_deviations_cost_few_bytes(db, key):
    rows = ROWS if key == "int" else ROWS // 4
    with two_servers(db, key, rows) as (here, there, wire):
        reconciled = RECONCILED.format(source="ledger")
        wire.reset()
        assert rows_of(here, reconciled) == []
        assert wire.bytes < 80_000
        deviate(here, there, key, rows, 10)
        found = expected(here)
        assert len(found) in (10, 11) and len({row["status"] for row in found}) == 3
        wire.reset()
        assert rows_of(here, reconciled) == found
        assert wire.bytes < 120_000
        wire.reset()
        assert rows_of(here, reconciled.replace(")", ', "limit" => 2)')) == found[:2]
        assert wire.bytes < 120_000
        repaired = rows_of(here, "SELECT status, key, outcome FROM idempotent_repair('orders', 'ledger', dry_run => false)")
        assert sorted(row["outcome"] for row in repaired) == sorted(
            {"missing": "inserted", "different": "updated", "unexpected": "deleted"}[row["status"]] for row in found
        )
        assert rows_of(here, reconciled) == []
        assert rows_of(here, JOINED) == []


def test_rows_come_over_where_the_server_does_not_compute(db):
    rows = ROWS // 10
    with two_servers(db, rows=rows, extensions="plpgsql") as (here, there, wire):
        deviate(here, there, "int", rows, 10)
        found = expected(here)
        notices = []
        here.add_notice_handler(lambda notice: notices.append(notice.message_primary))
        wire.reset()
        assert rows_of(here, RECONCILED.format(source="ledger")) == found
        assert wire.bytes > rows * 20
        assert notices == ['all rows of foreign table "ledger" are fetched, because its server does not compare them']


def test_a_view_of_a_foreign_table_is_compared_there(db):
    rows = ROWS // 4
    with two_servers(db, rows=rows) as (here, there, wire):
        deviate(here, there, "int", rows, 10)
        here.execute("CREATE VIEW later AS SELECT * FROM ledger WHERE id > 100")
        found = expected(here)
        wire.reset()
        assert [row for row in rows_of(here, RECONCILED.format(source="later")) if row["key"]["id"] > 100] == [
            row for row in found if row["key"]["id"] > 100
        ]
        assert wire.bytes < 200_000


def test_a_server_without_the_extension_says_so(db):
    with two_servers(db, rows=ROWS // 10) as (here, there, _wire):
        there.execute("DROP EXTENSION pg_idempotent")
        with pytest.raises(psycopg.errors.Error) as raised:
            rows_of(here, RECONCILED.format(source="ledger"))
        assert raised.value.sqlstate in ("42883", "3F000")


@pytest.mark.parametrize("count", [100, 2000])
def test_many_deviations_are_all_found(db, count):
    rows = ROWS // 10
    with two_servers(db, rows=rows) as (here, there, wire):
        deviate(here, there, "int", rows, count)
        found = expected(here)
        reconciled = RECONCILED.format(source="ledger")
        assert rows_of(here, reconciled) == found
        wire.reset()
        assert rows_of(here, reconciled.replace(")", ', "limit" => 3)')) == found[:3]
        assert wire.bytes < 400_000


def test_rows_that_are_missing_at_the_end_are_all_that_is_fetched(db):
    rows = ROWS // 4
    with two_servers(db, rows=rows) as (here, _there, wire):
        here.execute(f"DELETE FROM orders WHERE id > {rows - 1000}")
        wire.reset()
        found = rows_of(here, RECONCILED.format(source="ledger"))
        assert [row["key"]["id"] for row in found] == list(range(rows - 999, rows + 1))
        assert wire.bytes < 800_000


def test_random_tables_are_compared_as_a_join_does(db):
    """Both sides with random rows, which lie in another order."""
    r = random.Random(SEED)
    with two_servers(db, rows=0) as (here, there, _wire):
        for _ in range(ROUNDS):
            shape = f"{r.choice(['i', 'i * 1000', 'i - 2000', 'hashint4(i)'])}, repeat('customer', {r.choice([30, 40])}), i, to_timestamp(i), '{{}}'"
            here.execute("TRUNCATE orders")
            there.execute("TRUNCATE ledger")
            for conn, table in ((here, "orders"), (there, "ledger")):
                share, changed = r.choice([(0, 0), (0.001, 0.001), (0.1, 0.01), (0.9, 0.5), (0, 0.002)])
                conn.execute(f"SELECT setseed({r.random()})")
                conn.execute(
                    f"INSERT INTO {table} SELECT {shape} FROM generate_series(1, 3000) AS i WHERE random() >= {share} ORDER BY random();"
                    f"UPDATE {table} SET amount = -1 WHERE random() < {changed}"
                )
            assert rows_of(here, RECONCILED.format(source="ledger")) == expected(here)
            rows_of(here, "SELECT FROM idempotent_repair('orders', 'copy', dry_run => false)")
            assert rows_of(here, JOINED) == []
