"""idempotent_reconcile and idempotent_repair over foreign tables: what they say, and how much goes over the wire."""

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


MIRRORED = {"missing": "unexpected", "unexpected": "missing", "different": "different"}
REPAIR = "SELECT status, key, outcome FROM idempotent_repair('ledger', 'orders', dry_run => false)"


def mirrored(found):
    """What is said of `ledger` as the target, by what is said of it as the source."""
    return [{"status": MIRRORED[row["status"]], "key": row["key"]} for row in found]


@pytest.mark.parametrize("key", ["int", "text", "uuid", "numeric(20,3)"])
def test_a_foreign_target_is_compared_and_repaired_with_few_bytes(db, key):
    rows = ROWS // 4
    reconciled = "SELECT status, key FROM idempotent_reconcile('ledger', 'orders')"
    with two_servers(db, key, rows) as (here, there, wire):
        wire.reset()
        assert rows_of(here, reconciled) == []
        assert wire.bytes < 80_000
        deviate(here, there, key, rows, 10)
        found = mirrored(expected(here))
        assert len(found) in (10, 11) and len({row["status"] for row in found}) == 3
        wire.reset()
        assert rows_of(here, reconciled) == found
        assert wire.bytes < 120_000
        wire.reset()
        repaired = rows_of(here, REPAIR)
        assert wire.bytes < 150_000
        assert sorted(row["outcome"] for row in repaired) == sorted(
            {"missing": "inserted", "different": "updated", "unexpected": "deleted"}[row["status"]] for row in found
        )
        assert rows_of(here, reconciled) == []
        assert expected(here) == []


def test_two_foreign_tables_are_compared_where_they_are(db):
    rows = ROWS // 4
    with two_servers(db, rows=rows) as (here, there, wire):
        there.execute("CREATE TABLE orders (LIKE ledger INCLUDING ALL); INSERT INTO orders TABLE ledger; ANALYZE orders")
        columns = COLUMNS.format(key="int", primary="NOT NULL")
        here.execute(f"CREATE FOREIGN TABLE far_orders ({columns}) SERVER far OPTIONS (table_name 'orders')")
        deviate(here, there, "int", rows, 10)
        there.execute("UPDATE orders SET customer = 'other' WHERE id IN (5, 50000)")
        here.execute("CREATE TABLE copy AS TABLE far_orders; DROP TABLE orders; CREATE TABLE orders AS TABLE ledger")
        found = rows_of(here, JOINED)
        wire.reset()
        assert rows_of(here, "SELECT status, key FROM idempotent_reconcile('ledger', 'far_orders', key => '{id}')") == found
        assert wire.bytes < 400_000
        # Also where ANALYZE has told how large the target is.
        here.execute("ANALYZE ledger")
        wire.reset()
        assert rows_of(here, "SELECT status, key FROM idempotent_reconcile('ledger', 'far_orders', key => '{id}')") == found
        assert wire.bytes < 400_000


@pytest.mark.parametrize("level", ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"])
@pytest.mark.parametrize(
    "change, states",
    [
        ("UPDATE ledger SET amount = 7 WHERE id = 17", {"40001"}),
        ("DELETE FROM ledger WHERE id = 17", {"40001"}),
        ("UPDATE ledger SET customer = 'new' WHERE id = 3", {"40001"}),
        ("INSERT INTO ledger SELECT 5000, customer, amount, at, document FROM ledger WHERE id = 1", {"23505"}),
    ],
)
def test_a_row_of_a_foreign_target_that_is_changed_meanwhile_is_not_overwritten(db, level, change, states):
    """The other server has read its rows, and then another session writes one."""
    with two_servers(db, rows=1000) as (here, there, _wire):
        here.execute(
            "UPDATE orders SET amount = -1 WHERE id = 17; DELETE FROM orders WHERE id = 3; INSERT INTO orders SELECT 5000, customer FROM orders WHERE id = 1"
        )
        with pytest.raises(psycopg.errors.Error) as raised, here.transaction():
            here.execute(f"SET TRANSACTION ISOLATION LEVEL {level}")
            rows_of(here, "SELECT FROM ledger WHERE id = 1")
            there.execute(change)
            rows_of(here, REPAIR)
        assert raised.value.sqlstate in states
        before = there.execute("SELECT * FROM ledger ORDER BY id").fetchall()
        assert len(before) == {"D": 999, "U": 1000, "I": 1001}[change[0]]
        assert {row["outcome"] for row in rows_of(here, REPAIR)} <= {"inserted", "updated", "deleted"}
        assert rows_of(here, "SELECT FROM idempotent_reconcile('ledger', 'orders')") == []


def test_random_foreign_targets_are_compared_and_repaired(db):
    """Without a unique index there: some keys are stored twice."""
    r = random.Random(SEED)
    with two_servers(db, rows=0) as (here, there, _wire):
        there.execute("ALTER TABLE ledger DROP CONSTRAINT ledger_pkey")
        for _ in range(ROUNDS):
            shape = f"{r.choice(['i', 'i * 1000', 'hashint4(i)'])}, repeat('customer', {r.choice([30, 40])}), i, to_timestamp(i), '{{}}'"
            here.execute("TRUNCATE orders")
            there.execute("TRUNCATE ledger")
            for conn, table in ((here, "orders"), (there, "ledger")):
                share, changed = r.choice([(0, 0), (0.001, 0.001), (0.1, 0.01), (0.9, 0.5)])
                conn.execute(f"SELECT setseed({r.random()})")
                conn.execute(
                    f"INSERT INTO {table} SELECT {shape} FROM generate_series(1, 2000) AS i WHERE random() >= {share} ORDER BY random();"
                    f"UPDATE {table} SET amount = -1 WHERE random() < {changed}"
                )
            found = rows_of(here, "SELECT status, key FROM idempotent_reconcile('ledger', 'orders')")
            assert found == mirrored(expected(here))
            # Another row under some keys: it is what is unexpected, or what is compared.
            twice = there.execute(
                "INSERT INTO ledger SELECT id, customer, amount + 5, at, document FROM ledger WHERE random() < 0.002 RETURNING id"
            ).fetchall()
            assert len(rows_of(here, REPAIR.replace(", dry", ', "limit" => 5, dry'))) <= 5
            rows_of(here, REPAIR)
            assert rows_of(here, "SELECT FROM idempotent_reconcile('ledger', 'orders')") == [], twice
            assert expected(here) == []


def test_keys_under_a_loose_collation_are_one_key_whatever_their_spelling(db):
    """All rows are read, and it is the foreign table's collation that counts."""
    with two_servers(db, rows=0) as (here, there, _wire):
        if not value(here, "SELECT count(*) FROM pg_collation WHERE collprovider = 'i'"):
            pytest.skip("the server has no ICU")
        here.execute(
            """CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
               CREATE TABLE codes (code text PRIMARY KEY, v text);
               INSERT INTO codes SELECT 'code ' || i, repeat('x', 60) FROM generate_series(1, 12000) AS i;
               CREATE FOREIGN TABLE far_codes (code text COLLATE loose, v text) SERVER far OPTIONS (table_name 'codes')"""
        )
        there.execute("CREATE TABLE codes AS SELECT upper('code ' || i) AS code, repeat('x', 60) AS v FROM generate_series(1, 12000) AS i")
        assert rows_of(here, "SELECT FROM idempotent_reconcile('far_codes', 'codes')") == []
        there.execute("UPDATE codes SET v = 'other' WHERE code = 'CODE 7'; DELETE FROM codes WHERE code = 'CODE 8'")
        assert [tuple(row.values()) for row in rows_of(here, REPAIR.replace("ledger", "far_codes").replace("orders", "codes"))] == [
            ("different", {"code": "CODE 7"}, "updated"),
            ("missing", {"code": "code 8"}, "inserted"),
        ]
        # An update leaves the key as it is spelt there.
        assert rows_of(there, "SELECT code, length(v) AS n FROM codes WHERE lower(code) IN ('code 7', 'code 8') ORDER BY lower(code)") == [
            {"code": "CODE 7", "n": 60},
            {"code": "code 8", "n": 60},
        ]


# How a value of each type is made from a small number; of some, no two are equal.
KEY_TYPES = {
    "int": "{n}",
    "bigint": "{n} * 3000000000",
    "text": "'key ' || {n}",
    "uuid": "md5({n}::text)::uuid",
    "date": "date '2024-01-01' + {n}",
    "timestamptz": "to_timestamp({n} * 61.5)",
    "numeric": "{n} / 8.0",
    "bytea": "decode(lpad(to_hex({n}), 8, '0'), 'hex')",
    "interval": "{n} * interval '1 hour'",
}
DATA_TYPES = {
    **KEY_TYPES,
    "float8": "{n}::float8 / 3",
    "boolean": "{n} % 2 = 0",
    "jsonb": "jsonb_build_object('n', {n}, 'x', {n} / 4.0)",
    "int[]": "ARRAY[{n}, NULL, 1]",
    "numeric(12,1)": "{n} / 4.0",
    "char(12)": "'c' || {n}",
    "numrange": "numrange({n}, {n} + 1)",
}


def random_table(r):
    """The columns of a key and of data, with SQL for the values of row `i`; the data is changed where `c` is true."""
    key = {f"k{n}": r.choice(list(KEY_TYPES)) for n in range(r.choice([1, 1, 2]))}
    data = {f"d{n}": r.choice(list(DATA_TYPES)) for n in range(r.randint(0, 4))}
    values = [KEY_TYPES[typ].format(n="i" if name == "k0" else "(i % 7)") for name, typ in key.items()]
    for typ in data.values():
        value = DATA_TYPES[typ].format(n="(i % 50 + CASE WHEN c THEN 1 ELSE 0 END)")
        values.append(f"CASE WHEN i % {r.randint(2, 9)} = 0 AND NOT c THEN NULL ELSE {value} END")
    return key, {**data, "filler": "text"}, ", ".join([*values, f"repeat('x', {r.choice([1, 700])})"])


def test_random_columns_of_foreign_targets_are_compared_and_repaired(db):
    """Keys and values of many types, small tables and such as are compared by sketches, sources with and without an index."""
    r = random.Random(SEED)
    with two_servers(db, rows=0) as (here, there, _wire):
        here.execute("SET client_min_messages = warning")
        for number in range(ROUNDS):
            key, data, values = random_table(r)
            columns = ", ".join(f"{name} {typ}" for name, typ in {**key, **data}.items())
            names = ", ".join([*key, *data])
            here.execute(f"DROP TABLE IF EXISTS own CASCADE; CREATE TABLE own ({columns})")
            here.execute(f"DROP FOREIGN TABLE IF EXISTS other CASCADE; CREATE FOREIGN TABLE other ({columns}) SERVER far")
            there.execute(f"DROP TABLE IF EXISTS other; CREATE TABLE other ({columns}, made_there int DEFAULT 7)")
            for conn, table in ((here, "own"), (there, "other")):
                conn.execute(f"SELECT setseed({r.random()})")
                conn.execute(
                    f"INSERT INTO {table} ({names}) SELECT {values}"
                    f" FROM (SELECT i, random() < {r.choice([0, 0.005, 0.1])} AS c FROM generate_series(1, 1200) AS i) AS rows WHERE random() >= {r.choice([0, 0.005, 0.1])}"
                )
            argument = f", key => '{{{','.join(key)}}}'"
            if r.random() < 0.5:
                here.execute(f"ALTER TABLE own ADD PRIMARY KEY ({', '.join(key)})")
                argument = r.choice([argument, ""])
            if r.random() < 0.5:
                there.execute(f"ALTER TABLE other ADD PRIMARY KEY ({', '.join(key)})")
            joined = " AND ".join(f"s.{name} = e.{name}" for name in key)
            oracle = f"""SELECT CASE WHEN e.k0 IS NULL THEN 'unexpected' WHEN s.k0 IS NULL THEN 'missing' ELSE 'different' END AS status, count(*) AS n
                         FROM stored AS s FULL JOIN own AS e ON {joined} WHERE s IS DISTINCT FROM e GROUP BY 1 ORDER BY 1"""
            here.execute("CREATE TEMP TABLE stored AS TABLE other")
            found = rows_of(here, oracle)
            case = f"PGI_SEED={SEED}, table {number}: {columns}{argument}"
            assert rows_of(here, f"SELECT status, count(*) AS n FROM idempotent_reconcile('other', 'own'{argument}) GROUP BY 1 ORDER BY 1") == found, case
            written = rows_of(here, f"SELECT DISTINCT status, outcome FROM idempotent_repair('other', 'own'{argument}, dry_run => false) ORDER BY 1")
            outcomes = {"missing": "inserted", "different": "updated", "unexpected": "deleted"}
            assert written == [{"status": row["status"], "outcome": outcomes[row["status"]]} for row in found], case
            assert rows_of(here, "(TABLE other EXCEPT TABLE own) UNION ALL (TABLE own EXCEPT TABLE other)") == [], case
            # What the foreign table does not have, the other server fills.
            assert value(there, "SELECT count(*) FROM other WHERE made_there IS DISTINCT FROM 7") == 0
            here.execute("DROP TABLE stored")
