"""What a call reads without a statement of its own is seen by whoever hooks into the server's check of permissions, as
pgaudit does. Where pgaudit is not installed, there is nobody to see it."""

import os
import struct

import psycopg
import pytest

from support.cluster import running
from support.server import pg_config

AUDITED = {
    "shared_preload_libraries": "pgaudit",
    "pgaudit.role": "auditor",
    "pgaudit.log_client": "on",
    "pgaudit.log_level": "notice",
    "pgaudit.log_parameter": "on",
}

TABLES = """
    CREATE ROLE client;
    CREATE TABLE orders (id int PRIMARY KEY, amount int, note text);
    CREATE TABLE unaudited (id int PRIMARY KEY, amount int);
    CREATE TABLE source AS SELECT 1 AS id, 10 AS amount;
    INSERT INTO orders VALUES (1, 10, 'note');
    INSERT INTO unaudited VALUES (1, 10);
    GRANT SELECT, INSERT, UPDATE ON orders, unaudited TO client;
    GRANT SELECT ON source TO client;
"""


@pytest.fixture(scope="module")
def audited():
    if not os.path.exists(pg_config("sharedir") + "/extension/pgaudit.control"):
        pytest.skip("pgaudit is not installed")
    with running(settings=AUDITED) as cluster:
        with cluster.connect() as conn:
            conn.execute("CREATE ROLE auditor")
            conn.execute("CREATE EXTENSION pgaudit")
        yield cluster


@pytest.fixture
def client(audited):
    db = audited.create_database()
    with db.connect() as conn:
        conn.execute("DROP ROLE IF EXISTS client")
        conn.execute(TABLES)
    with db.connect() as conn:
        conn.execute("SET ROLE client")
        yield conn
        conn.execute("RESET ROLE")
        conn.execute("DROP OWNED BY client, auditor")


def grant(client, rights):
    client.execute("RESET ROLE")
    client.execute(f"GRANT {rights} TO auditor")
    client.execute("SET ROLE client")


def seen(conn, sql):
    """The tables that pgaudit tells of, for the statement alone (not for those that it runs)."""
    notices = []
    handler = lambda diagnostic: notices.append(diagnostic.message_primary)
    conn.add_notice_handler(handler)
    try:
        conn.execute(sql)
    except psycopg.Error:
        pass
    finally:
        conn.remove_notice_handler(handler)
    fields = [notice.split(": ", 1)[1].split(",") for notice in notices if notice.startswith("AUDIT: OBJECT")]
    return {field[6] for field in fields if field[2] == "1"}


PAYLOAD = """'{"id": 1, "amount": 10}'"""

READS = {
    "insert": f"SELECT * FROM idempotent_insert('orders', {PAYLOAD})",
    "conflict": """SELECT * FROM idempotent_insert('orders', '{"id": 1, "amount": 11}')""",
    "many": f"SELECT * FROM idempotent_insert_many('orders', jsonb_build_array({PAYLOAD}::jsonb))",
    "each": f"SELECT * FROM idempotent_insert_each('orders', jsonb_build_array({PAYLOAD}::jsonb))",
    "from": "SELECT * FROM idempotent_insert_from('orders', 'source')",
    "merge": "SELECT * FROM idempotent_merge('orders', 'source')",
    "load": "CALL idempotent_load('orders', 'source')",
}


@pytest.mark.parametrize("call", READS)
def test_a_stored_row_that_is_verified_is_seen(client, call):
    assert seen(client, READS[call]) == set()
    grant(client, "SELECT ON orders")
    assert seen(client, READS[call]) == {"public.orders"}
    assert seen(client, READS[call].replace("'orders'", "'unaudited'")) == set()


@pytest.mark.parametrize("call", READS)
def test_a_column_that_may_be_shown_is_seen(client, call):
    grant(client, "SELECT (note) ON orders")
    assert seen(client, READS[call]) == {"public.orders"}


def test_a_column_that_may_not_be_shown_is_not(client):
    client.execute("RESET ROLE")
    client.execute("REVOKE SELECT ON orders FROM client; GRANT SELECT (id, amount) ON orders TO client")
    grant(client, "SELECT (note) ON orders")
    assert seen(client, READS["insert"]) == set()


def test_resolving_is_seen(client):
    client.execute("""SELECT * FROM idempotent_insert('orders', '{"id": 1, "amount": 11}', on_conflict => 'quarantine')""")
    grant(client, "SELECT ON orders")
    assert seen(client, "SELECT idempotent_resolve(id, 'keep_stored') FROM idempotent.conflicts") == {"public.orders"}


def test_what_a_guards_error_shows_is_seen(client):
    client.execute("RESET ROLE")
    client.execute("SELECT idempotent_guard('orders')")
    grant(client, "SELECT (amount) ON orders")
    assert seen(client, "INSERT INTO orders VALUES (1, 10, 'note')") == set()
    assert seen(client, "INSERT INTO orders VALUES (1, 11, 'note')") == {"public.orders"}


def test_what_was_handed_over_lasts_as_long_as_it_is_used(client):
    """With pgaudit.log_rows it is logged when the statement ends, long after the call."""
    grant(client, "SELECT ON orders")
    client.execute("RESET ROLE")
    client.execute("SET pgaudit.log_rows = on")
    client.execute(f"""
        CREATE FUNCTION nested(int) RETURNS text LANGUAGE plpgsql AS $$
        DECLARE found text;
        BEGIN
            EXECUTE $_$SELECT string_agg(outcome, ',') FROM idempotent_insert('unaudited', {PAYLOAD})$_$ INTO found;
            RETURN found || (SELECT outcome FROM idempotent_insert('orders', {PAYLOAD}));
        END$$
    """)
    client.execute("SET ROLE client")
    for _ in range(3):
        client.execute("SELECT nested(n) FROM generate_series(1, 1000) AS n").fetchall()
        found = seen(client, f"SELECT (SELECT outcome FROM idempotent_insert('orders', {PAYLOAD})), n FROM generate_series(1, 1000) AS n")
        assert found == {"public.orders"}


def test_a_loop_of_calls_keeps_flat_memory(client):
    used = """SELECT sum(total_bytes) AS bytes FROM pg_backend_memory_contexts WHERE name = 'pg_idempotent permissions'"""
    with client.transaction():
        client.execute(f"SELECT (SELECT outcome FROM idempotent_insert('orders', {PAYLOAD})), n FROM generate_series(1, 10) AS n")
        before = client.execute("RESET ROLE").execute(used).fetchone()["bytes"]
        client.execute("SET ROLE client")
        client.execute(f"SELECT idempotent_insert('orders', {PAYLOAD}) FROM generate_series(1, 20000) AS n")
        after = client.execute("RESET ROLE").execute(used).fetchone()["bytes"]
    assert 0 < before == after


def fast_path(conn, function, *arguments):
    """Calls a function by the protocol's message for that, with arguments in binary form, and gives the answer's types."""
    oid = conn.execute("SELECT %s::regprocedure::oid AS oid", [function]).fetchone()["oid"]
    body = struct.pack("!IhhH", oid, 1, 1, len(arguments))
    body += b"".join(struct.pack("!i", len(argument)) + argument for argument in arguments) + struct.pack("!h", 1)
    os.write(conn.fileno(), b"F" + struct.pack("!i", len(body) + 4) + body)
    os.set_blocking(conn.fileno(), True)
    answer = b""
    while not answer.endswith(b"Z\x00\x00\x00\x05I"):
        read = os.read(conn.fileno(), 8192)
        assert read, "the server has closed the connection"
        answer += read
    return answer


def test_a_function_that_is_called_outside_of_any_statement(client):
    """There pgaudit has no statement that it could log, and relies on one."""
    client.execute("""SELECT * FROM idempotent_insert('orders', '{"id": 1, "amount": 11}', on_conflict => 'quarantine')""")
    grant(client, "SELECT ON orders")
    conflict = client.execute("SELECT max(id) AS id FROM idempotent.conflicts").fetchone()["id"]
    arguments = struct.pack("!q", conflict), b"keep_stored"
    answer = fast_path(client, "idempotent_resolve(bigint, text)", *arguments)
    assert answer.startswith(b"V") and b"\x00\x00\x00\x01\x01Z" in answer
    assert client.execute("SELECT resolution FROM idempotent.conflicts").fetchone()["resolution"] == "keep_stored"
