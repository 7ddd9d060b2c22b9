"""pg_upgrade of a database in use from an older server: what the extension knew before, it knows after.

It needs a second server with the extension, an older one: the oldest private copy beside that of PG_CONFIG which has this
build. scripts/test installs into one version after the other, so the later ones have an older one beside them.
"""

import re
import subprocess
from pathlib import Path

import psycopg
import pytest
from support.catalog import described, differences
from support.cluster import Cluster, assert_clean
from support.dumps import empty_database
from support.functions import insert, insert_from
from support.queries import value
from support.server import BINDIR, PG_CONFIG, SERVER_MAJOR, program


def asked(config, what):
    return subprocess.run([config, f"--{what}"], check=True, capture_output=True, text=True).stdout.strip()


def extension_of(config):
    """The lines of the install script that this server has; None without the extension."""
    directory = Path(asked(config, "sharedir")) / "extension"
    control = directory / "pg_idempotent.control"
    if not control.exists() or not (Path(asked(config, "pkglibdir")) / "pg_idempotent.so").exists():
        return None
    version = re.search(r"default_version = '(.*)'", control.read_text())[1]
    # pgrx puts the files of sql/ in another order from build to build.
    return sorted((directory / f"pg_idempotent--{version}.sql").read_text().splitlines())


def older_server():
    """The programs of the oldest server beside this one that has the same extension; None if there is none."""
    for major in range(15, SERVER_MAJOR):
        config = Path(PG_CONFIG).parent.parent / str(major) / "pg_config"
        if config.exists() and extension_of(config) == extension_of(PG_CONFIG):
            return Path(asked(config, "bindir"))


class OlderCluster(Cluster):
    bindir = older_server()


class UpgradedCluster(Cluster):
    """A cluster that pg_upgrade makes of a stopped one."""

    def __init__(self, older):
        self.older = older
        super().__init__()

    def init(self):
        # New clusters have checksums from PostgreSQL 18 on; those of before have none.
        super().init(*(["--no-data-checksums"] if SERVER_MAJOR >= 18 else []))

    def begin(self):
        if (self.bindir / "pg_upgrade").exists():
            upgrade = self.bindir / "pg_upgrade"
        else:
            upgrade = program("pg_upgrade")
        made = [upgrade, "-b", self.older.bindir, "-B", self.bindir, "-d", self.older.data, "-D", self.data, "-U", "postgres", "-s", self.root]
        done = self._run(*made, check=False)
        logs = (self.data / "pg_upgrade_output.d").rglob("pg_upgrade_dump_*.log")
        said = [line for log in logs for line in log.read_text().splitlines() if "error" in line.lower()]
        assert done.returncode == 0, "\n".join([*done.stdout.splitlines()[-20:], *said])
        self.start()


BEFORE = """
    CREATE ROLE app LOGIN;
    CREATE TABLE orders (id int PRIMARY KEY, amount numeric(10,2), note text, at timestamptz DEFAULT now());
    SELECT idempotent_guard('orders');
    CREATE TABLE events (id uuid PRIMARY KEY, kind text, "first" bytea);
    SELECT idempotent_guard('events', remember => 'first', on_conflict => 'quarantine');
    CREATE TABLE days (day date, n int, v text, PRIMARY KEY (day, n)) PARTITION BY RANGE (day);
    CREATE TABLE days_2026 PARTITION OF days FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
    SELECT idempotent_guard('days', ignore => '{v}');
    CREATE TABLE refs (no serial PRIMARY KEY, ref text UNIQUE NOT NULL);
    SELECT idempotent_view('refs', 'orders_by_ref', key => '{ref}', ignore => '{no}');
    CREATE TABLE source (id int PRIMARY KEY, amount numeric(10,2));
    CREATE TABLE loaded (LIKE source INCLUDING ALL);
    INSERT INTO source SELECT n, n FROM generate_series(1, 100) AS n;
    GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA public TO app;
    GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO app;
    INSERT INTO orders VALUES (1, 10, 'a');
    INSERT INTO events VALUES ('00000000-0000-0000-0000-000000000001', 'made');
    UPDATE events SET kind = 'changed';
    INSERT INTO events VALUES ('00000000-0000-0000-0000-000000000001', 'other');
    INSERT INTO days VALUES ('2026-01-01', 1, 'x');
    INSERT INTO orders_by_ref (ref) VALUES ('r');
"""

DIGEST = "SELECT idempotent_digest(s) FROM source AS s"


def use(conn):
    """As a role that owns nothing: a request, a run, a batch, a load, a conflict."""
    answer = value(conn, "SELECT response FROM idempotent_execute('k', 'SELECT current_user AS by')")
    conn.execute("SELECT idempotent_run_publish(run_id, 100, 'out') FROM idempotent_run_begin('day', 'p', 'in')")
    began = conn.execute("SELECT * FROM idempotent_request_begin('step', '{}', lease => '1 h')").fetchone()
    insert_from(conn, "loaded", "source", token="file")
    conn.execute("CALL idempotent_load('loaded', 'source')")
    assert insert(conn, "orders", {"id": 1, "amount": 11, "note": "a"}, on_conflict="quarantine")["outcome"] == "conflict"
    conn.execute("SELECT idempotent_insert_many('orders', '[{\"id\": 2, \"amount\": \"x\"}]', on_error => 'quarantine')")
    return answer, began["attempt"]


VIEWS = {
    "conflicts": "id, target::text, key, payload, stored, differences, arrived_at, arrived_by, resolution",
    "rejections": "id, target::text, payload, error, arrived_at, arrived_by",
    "guards": "target::text, key, compared, ignore, on_conflict, remember, problem",
    "loads": "*",
    "batches": "*",
    "requests": "*",
    "pipeline_runs": "*",
}


def shown(conn):
    return {view: conn.execute(f"SELECT {columns} FROM idempotent.{view} ORDER BY 1").fetchall() for view, columns in VIEWS.items()}


def without_what_is_unknown(older, databases):
    """A minor release of a later date may note in columns what the newer server's, of an earlier date, refuses to restore.
    pg_upgrade fails then, whatever is in the database."""
    if b"pg_attver" in (BINDIR / "postgres").read_bytes():
        return
    for database in databases:
        with older.connect(database) as conn:
            conn.execute("UPDATE pg_attribute SET attoptions = NULL WHERE array_to_string(attoptions, ' ') LIKE 'pg\\_attver=%'")


@pytest.fixture(scope="module")
def upgraded():
    """What was seen in the old cluster, and the name of the database and the new cluster."""
    if OlderCluster.bindir is None:
        pytest.skip("there is no older server with this build of the extension")
    older = OlderCluster()
    try:
        db = older.create_database()
        with db.connect() as conn:
            conn.execute(BEFORE)
        with db.connect(user="app") as conn:
            used = use(conn)
            seen = shown(conn)
        with db.connect() as conn:
            digest = value(conn, DIGEST)
            everything = shown(conn)
        without_what_is_unknown(older, ["template1", "postgres", db.name])
        older.stop()
        new = UpgradedCluster(older)
        yield {"cluster": new, "db": db.name, "used": used, "app sees": seen, "owner sees": everything, "digest": digest}
        assert_clean(new.destroy())
    finally:
        assert_clean(older.destroy())


def test_every_view_shows_what_it_showed(upgraded):
    with upgraded["cluster"].connect(upgraded["db"], user="app") as conn:
        assert shown(conn) == upgraded["app sees"]
        assert all(seen for seen in upgraded["app sees"].values())
    with upgraded["cluster"].connect(upgraded["db"]) as conn:
        assert int(value(conn, "SHOW server_version_num")) // 10000 == SERVER_MAJOR
        assert shown(conn) == upgraded["owner sees"]


def test_a_retry_is_a_duplicate_and_another_payload_a_conflict(upgraded):
    with upgraded["cluster"].connect(upgraded["db"], user="app") as conn:
        assert conn.execute("INSERT INTO orders VALUES (1, 10, 'a')").rowcount == 0
        with pytest.raises(psycopg.IntegrityError) as caught:
            conn.execute("INSERT INTO orders VALUES (1, 12, 'a')")
        assert caught.value.sqlstate == "23I01"
        assert conn.execute("INSERT INTO days VALUES ('2026-01-01', 1, 'y'), ('2026-01-02', 1, 'y')").rowcount == 1
        assert value(conn, "INSERT INTO orders_by_ref (ref) VALUES ('r') RETURNING no") == 1
        # By what was remembered, of a row that was updated since.
        assert conn.execute("INSERT INTO events VALUES ('00000000-0000-0000-0000-000000000001', 'made')").rowcount == 0
        # In quarantine already.
        conflicts = value(conn, "SELECT count(*) FROM idempotent.conflicts")
        conn.execute("INSERT INTO events VALUES ('00000000-0000-0000-0000-000000000001', 'other')")
        insert(conn, "orders", {"id": 1, "amount": 11, "note": "a"}, on_conflict="quarantine")
        assert value(conn, "SELECT count(*) FROM idempotent.conflicts") == conflicts


def test_requests_batches_and_runs_are_answered_from_before(upgraded):
    answer, attempt = upgraded["used"]
    with upgraded["cluster"].connect(upgraded["db"], user="app") as conn:
        row = conn.execute("SELECT * FROM idempotent_execute('k', 'SELECT current_user AS by')").fetchone()
        assert row == {"response": answer, "replayed": True}
        assert insert_from(conn, "loaded", "source", token="file")["replayed"]
        assert value(conn, "SELECT decision FROM idempotent_run_begin('day', 'p', 'in')") == "skip"
        conn.execute("SELECT idempotent_request_finish('step', %s, '{\"done\": true}')", [attempt])
        assert value(conn, "SELECT status FROM idempotent_request_begin('step', '{}', lease => '1 h')") == "finished"
    with upgraded["cluster"].connect(upgraded["db"]) as conn:
        # Another role's request.
        assert not value(conn, "SELECT replayed FROM idempotent_execute('k', 'SELECT current_user AS by')")


def test_digests_are_the_same(upgraded):
    with upgraded["cluster"].connect(upgraded["db"]) as conn:
        assert value(conn, DIGEST) == upgraded["digest"]


def test_a_conflict_is_resolved_and_new_ones_have_new_numbers(upgraded):
    with upgraded["cluster"].connect(upgraded["db"]) as conn:
        before = value(conn, "SELECT max(id) FROM idempotent.conflicts")
        insert(conn, "orders", {"id": 1, "amount": 99, "note": "a"}, on_conflict="quarantine")
        assert value(conn, "SELECT max(id) FROM idempotent.conflicts") > before
        first = value(conn, "SELECT min(id) FROM idempotent.conflicts WHERE target = 'orders'::regclass")
        conn.execute("SELECT idempotent_resolve(%s, 'apply_payload')", [first])
        assert value(conn, "SELECT amount FROM orders WHERE id = 1") == 11


# What a function's rights are where none were ever granted or revoked. A dump leaves rights like these out.
DEFAULT = "{=X/postgres,postgres=X/postgres}"


def by_meaning(objects):
    """The description of objects, with default rights in one form."""
    same = {}
    for name, says in objects.items():
        if name.startswith("initial rights on function") and says == DEFAULT:
            continue
        if name.startswith("function") and says["rights"] is None:
            says = says | {"rights": DEFAULT}
        same[name] = says
    return same


def test_the_extension_is_the_same_as_a_fresh_one(upgraded):
    cluster = upgraded["cluster"]
    with cluster.connect(upgraded["db"]) as conn:
        after = by_meaning(described(conn))
    with cluster.connect(empty_database(cluster, "fresh", extension=True)) as conn:
        found = differences(after, by_meaning(described(conn)))
    assert not found, f"{len(found)} differences:\n" + "\n".join(found)
