"""The library and the objects of a database are of different versions: a function says so, and does nothing; what needs no
declaration goes on, so that nothing stands still until somebody updates or reconnects.
"""

import psycopg
import pytest
from support.dumps import dump
from support.functions import insert
from support.queries import value
from support.versions import EARLIER, UPGRADE, installable, installed_version

NEXT = "9.9.9"
# A later version: a function with another declaration, one that is gone, a table of state with a column more.
STEP = f"""
    CREATE OR REPLACE FUNCTION idempotent.objects_version() RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$SELECT '{NEXT}'$$;
    DROP FUNCTION idempotent_run_fail(bigint, text);
    DROP FUNCTION idempotent_purge(int);
    CREATE FUNCTION idempotent_purge(dry_run boolean, older_than text) RETURNS bigint LANGUAGE c AS 'MODULE_PATHNAME', 'idempotent_purge_wrapper';
    ALTER TABLE idempotent.conflict_records ADD COLUMN more int NOT NULL DEFAULT 0;
"""
TABLES = "batch_records conflict_records load_records pipeline_run_records rejection_records request_records".split()
CALLS = {
    "insert": "SELECT * FROM idempotent_insert('orders', '{\"id\": 7, \"amount\": 7}')",
    "insert_many": "SELECT * FROM idempotent_insert_many('orders', '[{\"id\": 7, \"amount\": 7}]')",
    "insert_each": "SELECT * FROM idempotent_insert_each('orders', '[{\"id\": 7, \"amount\": 7}]')",
    "insert_from": "SELECT * FROM idempotent_insert_from('orders', 'source')",
    "load": "CALL idempotent_load('orders', 'source')",
    "merge": "SELECT * FROM idempotent_merge('orders', 'source')",
    "merge_many": "SELECT * FROM idempotent_merge_many('orders', '[{\"id\": 7, \"amount\": 7}]')",
    "overwrite": "SELECT * FROM idempotent_overwrite('orders', 'source', '{}')",
    "overwrite_each": "SELECT * FROM idempotent_overwrite_each('orders', 'source', by => '{id}')",
    "reconcile": "SELECT * FROM idempotent_reconcile('orders', 'source')",
    "repair": "SELECT * FROM idempotent_repair('orders', 'source', dry_run => false)",
    "digest": "SELECT idempotent_digest(o) FROM orders AS o",
    "digest of columns": "SELECT idempotent_digest(id, amount) FROM orders",
    "execute": "SELECT * FROM idempotent_execute('k', 'SELECT 1')",
    "request_begin": "SELECT * FROM idempotent_request_begin('k', '{}')",
    "request_advance": "SELECT idempotent_request_advance('k', 1, 'p')",
    "request_finish": "SELECT idempotent_request_finish('k', 1, '{}')",
    "request_abandon": "SELECT idempotent_request_abandon('k', 1)",
    "run_begin": "SELECT * FROM idempotent_run_begin('d')",
    "run_heartbeat": "SELECT idempotent_run_heartbeat(1)",
    "run_publish": "SELECT idempotent_run_publish(1)",
    "resolve": "SELECT idempotent_resolve(1, 'keep_stored')",
    "guard": "SELECT * FROM idempotent_guard('source')",
    "unguard": "SELECT idempotent_unguard('orders')",
    "view": "SELECT idempotent_view('orders', 'more')",
    "lint": "SELECT * FROM idempotent_lint('orders')",
    "guards": "SELECT * FROM idempotent.guards",
}
ORDERS = """
    CREATE TABLE orders (id int PRIMARY KEY, amount numeric(10,2));
    INSERT INTO orders VALUES (1, 10);
    CREATE TRIGGER guard BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION idempotent_guard_trigger('key=id');
"""
# Guards and views are written by hand, since an earlier version's functions are refused.
OTHERS = """
    CREATE TABLE source (id int PRIMARY KEY, amount numeric(10,2));
    INSERT INTO source VALUES (8, 8);
    CREATE TABLE events (id int PRIMARY KEY, v int);
    INSERT INTO events VALUES (1, 1);
    CREATE TRIGGER guard BEFORE INSERT ON events
        FOR EACH ROW EXECUTE FUNCTION idempotent_guard_trigger('key=id', 'on_conflict=quarantine');
    CREATE TABLE refs (no serial PRIMARY KEY, ref text UNIQUE NOT NULL);
    INSERT INTO refs VALUES (1, 'a');
    CREATE VIEW by_ref WITH (security_invoker = true) AS SELECT no, ref FROM refs;
    CREATE TRIGGER verify INSTEAD OF INSERT ON by_ref FOR EACH ROW EXECUTE FUNCTION idempotent_view_trigger('key=ref', 'ignore=no');
"""


def state(conn):
    """All that a call could have changed."""
    rows = {table: conn.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall() for table in ("orders", "source", "refs", "events")}
    return rows, {table: value(conn, f"SELECT count(*) FROM idempotent.{table}") for table in TABLES}


def goes_on(conn):
    """Guards and views of before verify what is inserted; rows are read, and dumped."""
    assert conn.execute("INSERT INTO orders VALUES (1, 10)").rowcount == 0
    with pytest.raises(psycopg.IntegrityError) as caught:
        conn.execute("INSERT INTO orders VALUES (1, 11)")
    assert caught.value.sqlstate == "23I01"
    assert conn.execute("INSERT INTO orders VALUES (2, 2), (1, 10)").rowcount == 1
    assert conn.execute("INSERT INTO events VALUES (1, 1)").rowcount == 0
    assert value(conn, "INSERT INTO by_ref (ref) VALUES ('a') RETURNING no") == 1
    conn.execute("SELECT * FROM idempotent.requests")
    conn.execute("SELECT * FROM idempotent.conflicts")
    conn.execute("DELETE FROM orders WHERE id = 2")


def refused(conn, calls=CALLS):
    """Every function, with one error and nothing written. Returns the error's texts."""
    before, texts = state(conn), set()
    for name, call in calls.items():
        with pytest.raises(psycopg.Error) as caught:
            conn.execute(call)
        assert caught.value.sqlstate == "55000", f"{name}: {caught.value}"
        diagnostic = caught.value.diag
        texts.add((diagnostic.message_primary, diagnostic.message_detail, diagnostic.message_hint))
    assert state(conn) == before
    return texts


@pytest.fixture
def older(cluster):
    """A database with an earlier version, as it is between the installation of this one and the update."""
    version = max(EARLIER)
    db = cluster.create_database()
    with installable({EARLIER[version].name: EARLIER[version].read_text(encoding="utf-8")}):
        with db.connect() as conn:
            # It may name C functions that the library does not have any more.
            conn.execute("DROP EXTENSION pg_idempotent; UPDATE pg_language SET lanvalidator = 0 WHERE lanname = 'c'")
            conn.execute(f"CREATE EXTENSION pg_idempotent VERSION '{version}'")
            conn.execute((UPGRADE / f"{version}.state.sql").read_text(encoding="utf-8"))
            conn.execute(OTHERS)
        yield db, version


def test_objects_that_are_older_than_the_library(older):
    db, version = older
    with db.connect() as conn, db.connect() as other:
        goes_on(conn)
        texts = refused(conn)
        assert texts == {(
            'extension "pg_idempotent" is not updated yet in this database',
            f"The objects in this database are of version {version}, the library works with those of version {installed_version()}.",
            "Run ALTER EXTENSION pg_idempotent UPDATE.",
        )}  # fmt: skip
        goes_on(conn)
        assert "idempotent.request_records" in dump(db).read_text()
        other.execute("ALTER EXTENSION pg_idempotent UPDATE")
        # The session that was refused needs nothing else.
        assert insert(conn, "orders", {"id": 1, "amount": 10})["outcome"] == "duplicate"
        assert value(conn, "SELECT replayed FROM idempotent_execute('r-1', 'SELECT 1 AS one', '[]')")
        goes_on(conn)


@pytest.fixture
def in_use(cluster):
    with installable({f"pg_idempotent--{installed_version()}--{NEXT}.sql": STEP}):
        yield cluster.create_database(ORDERS + OTHERS)


def test_objects_that_are_newer_than_the_library_of_a_session(in_use):
    with in_use.connect() as conn, in_use.connect() as other:
        assert insert(conn, "orders", {"id": 1, "amount": 10})["outcome"] == "duplicate"
        conn.execute("SELECT idempotent_execute('first', 'SELECT 1')")
        goes_on(conn)
        other.execute(f"ALTER EXTENSION pg_idempotent UPDATE TO '{NEXT}'")
        texts = refused(conn, CALLS | {"purge": "SELECT idempotent_purge(true, 'x')"})
        assert texts == {(
            'extension "pg_idempotent" was updated after this session loaded its library',
            f"The objects in this database are of version {NEXT}, the library works with those of version {installed_version()}.",
            f"Reconnect. If a new session gets this error, too, install version {NEXT} on this server.",
        )}  # fmt: skip
        goes_on(conn)
        # A guard that needs the table that has changed says the same, and not how to take the change away.
        before = state(conn)
        texts = refused(conn, {"quarantine": "INSERT INTO events VALUES (1, 2)"})
        assert "Reconnect" in texts.pop()[2]
        assert state(conn) == before


def test_a_version_that_changes_the_library_alone_needs_no_update(cluster):
    with installable({f"pg_idempotent--{installed_version()}--{NEXT}.sql": "-- no object changes"}):
        with cluster.create_database(ORDERS + OTHERS).connect() as conn:
            conn.execute(f"ALTER EXTENSION pg_idempotent UPDATE TO '{NEXT}'")
            assert insert(conn, "orders", {"id": 1, "amount": 10})["outcome"] == "duplicate"
            goes_on(conn)


def test_an_earlier_version_without_a_mark_is_an_earlier_version(older):
    db, _ = older
    with db.connect() as conn:
        conn.execute("ALTER EXTENSION pg_idempotent DROP FUNCTION idempotent.objects_version(); DROP FUNCTION idempotent.objects_version()")
        texts = refused(conn)
        assert [text[2] for text in texts] == ["Run ALTER EXTENSION pg_idempotent UPDATE."]
        assert "an earlier version" in texts.pop()[1]
        goes_on(conn)


def test_every_earlier_version_has_its_state(db):
    assert all((UPGRADE / f"{version}.state.sql").exists() for version in EARLIER)
