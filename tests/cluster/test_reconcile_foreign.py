"""idempotent_reconcile over foreign tables: what it says, and how much goes over the wire."""

import contextlib
import tempfile
from pathlib import Path

import pytest

from support.project import size
from support.queries import value
from support.wire import counted_wire

ROWS = size("PGI_ROWS", 200_000)

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


def deviate(here, there, key, count):
    """Makes so many rows deviate."""
    value_of = KEYS[key]
    numbers = f"generate_series(17, {ROWS}, {ROWS // count})"
    there.execute(
        f"UPDATE ledger SET amount = amount + 1 WHERE id IN (SELECT {value_of} FROM {numbers} AS i WHERE i % 3 = 0);"
        f"DELETE FROM ledger WHERE id IN (SELECT {value_of} FROM {numbers} AS i WHERE i % 3 = 1)"
    )
    here.execute(f"DELETE FROM orders WHERE id IN (SELECT {value_of} FROM {numbers} AS i WHERE i % 3 = 2)")


JOINED = """
SELECT CASE WHEN o.id IS NULL THEN 'missing' WHEN l.id IS NULL THEN 'unexpected' ELSE 'different' END AS status, coalesce(o.id, l.id)::text AS id
FROM orders AS o FULL JOIN ledger AS l ON o.id = l.id WHERE o IS DISTINCT FROM l ORDER BY coalesce(o.id, l.id)
"""


def reconciled(conn):
    return conn.execute("SELECT status, coalesce(stored, expected) ->> 'id' AS id FROM idempotent_reconcile('orders', 'ledger')").fetchall()


@pytest.mark.parametrize("key", KEYS)
def test_few_deviations_cost_few_bytes(db, key):
    with two_servers(db, key) as (here, there, wire):
        wire.reset()
        assert reconciled(here) == []
        equal = wire.bytes
        deviate(here, there, key, 10)
        here.execute("CREATE TABLE copy AS TABLE ledger")
        expected = here.execute(JOINED.replace("ledger", "copy")).fetchall()
        assert len(expected) >= 10
        wire.reset()
        found = reconciled(here)
        assert sorted(row["status"] for row in found) == sorted(row["status"] for row in expected)
        if key in ("int", "bigint", "text", "uuid"):
            assert found == expected
        print(key, equal, wire.bytes)
        assert equal < 100_000
        assert wire.bytes < 200_000
