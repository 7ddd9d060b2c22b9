"""An updated extension is the same as a fresh one, object by object; and the comparison that says so can see.

sql/upgrade/ holds the install script of every earlier version, as it was, and what a database may hold in that version
(VERSION.state.sql). The scripts are put where the server finds them, for as long as these tests run.
"""

import pytest
from support.catalog import described, differences
from support.functions import insert
from support.queries import value
from support.versions import EARLIER, UPGRADE, installable
from psycopg.errors import IntegrityError

TABLES = "batch_records conflict_records load_records lock_secret pipeline_run_records rejection_records request_records".split()
# What the owner of an older database may have in it, and what an update must not pass on to new objects.
STRANGER = "CREATE ROLE stranger; ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO stranger; ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO stranger"


@pytest.fixture(scope="module", autouse=True)
def earlier_versions_at_hand():
    with installable({path.name: path.read_text(encoding="utf-8") for path in EARLIER.values()}):
        yield


@pytest.fixture
def database(cluster):
    """Makes databases without the extension, and takes the role of STRANGER away with them."""
    made = []

    def make():
        db = cluster.create_database()
        made.append(db.name)
        with db.connect() as conn:
            conn.execute("DROP EXTENSION pg_idempotent")
        return db

    yield make
    with cluster.connect() as conn:
        for name in made:
            conn.execute(f"DROP DATABASE {name} WITH (FORCE)")
        conn.execute("DROP ROLE IF EXISTS stranger")


def install(conn, version=None, schema="public"):
    conn.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
    # An earlier version may name C functions that the library does not have any more. Sessions in which the extension
    # is not updated yet get error 42883 from them.
    conn.execute("UPDATE pg_language SET lanvalidator = 0 WHERE lanname = 'c'")
    conn.execute(f"CREATE EXTENSION pg_idempotent SCHEMA {schema}" + (f" VERSION '{version}'" if version else ""))


def counts(conn):
    return {table: value(conn, f"SELECT count(*) FROM idempotent.{table}") for table in TABLES}


def test_there_is_an_earlier_version_to_upgrade_from():
    assert EARLIER


@pytest.mark.parametrize("schema", ["public", "tools"])
@pytest.mark.parametrize("version", EARLIER)
def test_updated_is_the_same_as_fresh(database, version, schema):
    updated, fresh = database(), database()
    with updated.connect() as conn:
        conn.execute(STRANGER)
        install(conn, version, schema)
        before = described(conn)
        conn.execute("ALTER EXTENSION pg_idempotent UPDATE")
        after, rows = described(conn), counts(conn)
    with fresh.connect() as conn:
        conn.execute(STRANGER.removeprefix("CREATE ROLE stranger; "))
        install(conn, schema=schema)
        expected = described(conn)
        assert rows == counts(conn)
    found = differences(after, expected)
    assert not found, f"{len(found)} differences:\n" + "\n".join(found)
    # Every version differs from the next one, if only by its number. If more differs, so does the mark by which the library
    # knows it.
    changed = differences(before, expected)
    assert changed
    mark = "function idempotent.objects_version()"
    if any(not line.startswith("extension: extversion") for line in changed):
        assert any(line.startswith((mark, f"only in the fresh one: {mark}")) for line in changed), "sql/version.sql names the version before"


@pytest.mark.parametrize("version", EARLIER)
def test_what_a_database_holds_is_there_after_the_update(database, version):
    with database().connect() as conn:
        install(conn, version)
        conn.execute((UPGRADE / f"{version}.state.sql").read_text(encoding="utf-8"))
        before = counts(conn)
        assert all(before.values())
        conn.execute("ALTER EXTENSION pg_idempotent UPDATE")
        assert counts(conn) == before
        for view in "conflicts guards loads rejections requests pipeline_runs".split():
            assert value(conn, f"SELECT count(*) FROM idempotent.{view}") == 1
        assert conn.execute("INSERT INTO orders VALUES (1, 10)").rowcount == 0
        with pytest.raises(IntegrityError):
            conn.execute("INSERT INTO orders VALUES (1, 2)")
        # It is the conflict that is in quarantine already.
        assert insert(conn, "orders", {"id": 1, "amount": 2}, on_conflict="quarantine")["outcome"] == "conflict"
        assert value(conn, "SELECT count(*) FROM idempotent.conflicts") == 1
        # So it is with the rejection.
        conn.execute("SELECT idempotent_insert_many('orders', '[{\"id\": 2, \"amount\": \"x\"}]', on_error => 'quarantine')")
        assert value(conn, "SELECT count(*) FROM idempotent.rejections") == 1
        assert value(conn, "SELECT replayed FROM idempotent_execute('r-1', 'SELECT 1 AS one', '[]')")
        assert value(conn, "SELECT decision FROM idempotent_run_begin('d', 'p', 'v1')") == "skip"


CHANGES = {
    "the code of a function": "ALTER FUNCTION idempotent.own_role() IMMUTABLE",
    "an argument's name": "UPDATE pg_proc SET proargnames = '{other}' WHERE oid = 'idempotent_purge'::regproc",
    "an argument's default": "UPDATE pg_proc SET pronargdefaults = 0, proargdefaults = NULL WHERE oid = 'idempotent_purge'::regproc",
    "parallel": "ALTER FUNCTION idempotent_unguard(regclass) PARALLEL SAFE",
    "a setting of a function": "ALTER FUNCTION idempotent_lint(regclass) SET work_mem = '1MB'",
    "rows": "ALTER FUNCTION idempotent_lint(regclass) ROWS 11",
    "rights on a function": "REVOKE EXECUTE ON FUNCTION idempotent_unguard(regclass) FROM PUBLIC",
    "a function that is no member": "ALTER EXTENSION pg_idempotent DROP FUNCTION idempotent_unguard(regclass)",
    "rights on a table": "GRANT SELECT ON idempotent.request_records TO PUBLIC",
    "rights on a column": "GRANT SELECT (role) ON idempotent.request_records TO PUBLIC",
    "rights on a view": "REVOKE SELECT ON idempotent.guards FROM PUBLIC",
    "rights on the schema": "REVOKE USAGE ON SCHEMA idempotent FROM PUBLIC",
    "a comment on a function": "COMMENT ON FUNCTION idempotent.own_role() IS 'other'",
    "a comment on a column": "COMMENT ON COLUMN idempotent.guards.key IS NULL",
    "a comment on the extension": "COMMENT ON EXTENSION pg_idempotent IS 'other'",
    "a column": "ALTER TABLE idempotent.request_records ADD COLUMN extra int",
    "a column's default": "ALTER TABLE idempotent.conflict_records ALTER arrived_at SET DEFAULT now()",
    "a column's null": "ALTER TABLE idempotent.lock_secret ALTER secret DROP NOT NULL",
    "a constraint": "ALTER TABLE idempotent.request_records ADD CONSTRAINT more CHECK (true)",
    "an index": "CREATE INDEX more ON idempotent.request_records ((1))",
    "an index that is gone": "DROP INDEX idempotent.conflict_records_unresolved",
    "a policy": "CREATE POLICY more ON idempotent.lock_secret USING (true)",
    "row-level security": "ALTER TABLE idempotent.lock_secret DISABLE ROW LEVEL SECURITY",
    "a trigger": """CREATE TRIGGER more BEFORE UPDATE ON idempotent.request_records
        FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()""",
    "a rule": "CREATE RULE more AS ON DELETE TO idempotent.request_records DO INSTEAD NOTHING",
    "an option of a view": "ALTER VIEW idempotent.conflicts RESET (security_barrier)",
    "a view's query": """DO $$ BEGIN EXECUTE format('CREATE OR REPLACE VIEW idempotent.pipeline_runs WITH (%s) AS SELECT * FROM (%s) AS v',
        (SELECT array_to_string(reloptions, ', ') FROM pg_class WHERE oid = 'idempotent.pipeline_runs'::regclass),
        rtrim(pg_get_viewdef('idempotent.pipeline_runs'), ';')); END $$""",
    "a sequence": "ALTER SEQUENCE idempotent.request_attempts INCREMENT 2",
    "which tables are dumped": "UPDATE pg_extension SET extconfig = NULL, extcondition = NULL WHERE extname = 'pg_idempotent'",
    "which of their rows are dumped": "UPDATE pg_extension SET extcondition[1] = 'WHERE true' WHERE extname = 'pg_idempotent'",
    "a type": "UPDATE pg_type SET typcategory = 'X' WHERE oid = 'idempotent.kept_role'::regtype",
    "an operator": "ALTER OPERATOR idempotent.< (idempotent.kept_role, idempotent.kept_role) SET (RESTRICT = scalarltsel)",
    "an operator class": "UPDATE pg_opclass SET opcdefault = false WHERE opcname = 'kept_table_ops'",
    "a cast": "UPDATE pg_cast SET castcontext = 'i' WHERE castsource = 'idempotent.kept_role'::regtype",
    "an aggregate": "UPDATE pg_aggregate SET aggtransspace = 1 WHERE aggfnoid = 'idempotent_digest(record)'::regprocedure",
    "an object that is not the extension's": "CREATE TABLE idempotent.left_behind ()",
    "an owner": "CREATE ROLE stranger; ALTER TABLE idempotent.load_records OWNER TO stranger",
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_comparison_sees(db, change):
    with db.connect(autocommit=False) as conn:
        before = described(conn)
        assert not differences(described(conn), before)
        conn.execute(CHANGES[change])
        assert differences(described(conn), before)
        conn.rollback()


WAY = """
    SELECT way.path FROM pg_extension_update_paths('pg_idempotent') AS way
      JOIN pg_available_extensions AS extension ON extension.default_version = way.target
     WHERE extension.name = 'pg_idempotent' AND way.source = %s"""


def test_a_step_is_shipped_for_every_earlier_version(db):
    with db.connect() as conn:
        for version in EARLIER:
            path = value(conn, WAY, version)
            assert path, f"no sql/pg_idempotent--{version}--….sql leads to the version of Cargo.toml"
