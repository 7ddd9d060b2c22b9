"""The secret that lock tags are keyed with: one for all sessions of a database, another for another database."""


import pytest

from support.cluster import Database
from support.dumps import dump, restore
from support.queries import value
from support.sessions import in_background
from support.waiting import waits_for_a_lock

SECRET = "SELECT secret FROM idempotent.lock_secret"
BEGIN = "SELECT decision FROM idempotent_run_begin('orders', 'today')"
TAG = (
    "SELECT classid::bigint << 32 | objid::bigint FROM pg_locks"
    " WHERE locktype = 'advisory' AND objsubid = 31 AND pid = pg_backend_pid()"
)


def tag(conn):
    with conn.transaction(force_rollback=True):
        conn.execute(BEGIN)
        return value(conn, TAG)


@pytest.fixture
def fresh(cluster):
    """Databases of their own that no template gave the extension."""
    names = []

    def create(template="template0"):
        name = f"secret_{len(names)}"
        with cluster.connect() as conn:
            conn.execute(f"DROP DATABASE IF EXISTS {name}")
            conn.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        names.append(name)
        return name

    yield create
    with cluster.connect() as conn:
        for name in names:
            conn.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_all_sessions_of_a_database_have_one_and_other_databases_another(cluster, fresh):
    one, other = fresh(), fresh()
    with cluster.connect(one) as a, cluster.connect(one) as b, cluster.connect(other) as c:
        a.execute("CREATE EXTENSION pg_idempotent")
        c.execute("CREATE EXTENSION pg_idempotent")
        assert tag(a) == tag(b) == tag(a)
        assert tag(a) != tag(c)
        assert value(a, SECRET) != value(c, SECRET)


def test_a_copy_of_a_database_has_locks_of_its_own(cluster, fresh):
    """The secret is copied with its template; a tag names its database."""
    one = fresh()
    with cluster.connect(one) as conn:
        conn.execute("CREATE EXTENSION pg_idempotent")
    copy = fresh(one)
    with cluster.connect(one) as a, cluster.connect(copy) as b:
        assert value(a, SECRET) == value(b, SECRET)
        with a.transaction(), b.transaction():
            a.execute(BEGIN)
            # Nothing is in progress here.
            assert b.execute(BEGIN).fetchone()["decision"] == "run"


def test_a_dump_does_not_tell_it_and_a_restored_database_has_another(cluster, fresh, tmp_path):
    one, other = fresh(), fresh()
    with cluster.connect(one) as conn:
        conn.execute("CREATE EXTENSION pg_idempotent; CREATE TABLE t (id int PRIMARY KEY); SELECT idempotent_guard('t')")
        secret = value(conn, SECRET)
    file = dump(Database(cluster, one))
    assert secret.hex() not in file.read_text()
    restore(file, cluster, other)
    with cluster.connect(other) as conn:
        assert value(conn, "SELECT count(*) FROM idempotent.lock_secret") == 1
        assert value(conn, SECRET) != secret
        conn.execute("INSERT INTO t VALUES (1); INSERT INTO t VALUES (1)")


def test_a_transaction_that_is_older_than_the_extension_has_it(cluster, fresh):
    """It is read as catalogs are, which no transaction's snapshot decides."""
    one = fresh()
    with cluster.connect(one) as old, cluster.connect(one) as conn:
        conn.execute("CREATE TABLE t (id int PRIMARY KEY)")
        old.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        old.execute("SELECT count(*) FROM t")
        with conn.transaction():
            conn.execute("CREATE EXTENSION pg_idempotent; SELECT idempotent_guard('t')")
            # The transaction that makes it has it as well.
            conn.execute("INSERT INTO t VALUES (1)")
        old.execute("INSERT INTO t VALUES (2)")
        old.execute("COMMIT")
        assert value(conn, "SELECT count(*) FROM t") == 2


def test_nobody_has_the_next_secret_while_somebody_has_a_lock_under_this_one(cluster, fresh):
    """DROP EXTENSION waits for whoever uses the secret; who comes later waits for it, and has the next one."""
    one = fresh()
    with cluster.connect(one) as user, cluster.connect(one) as owner, cluster.connect(one) as late:
        owner.execute("CREATE EXTENSION pg_idempotent; CREATE TABLE daily (day date); CREATE TABLE source (day date)")
        overwrite = "SELECT idempotent_overwrite('daily', 'source', '{\"day\": \"2013-01-31\"}')"
        slices = TAG.replace("31 ", "33 ")
        late.execute(overwrite)
        user.execute("BEGIN")
        # A slice's lock touches no other table of the extension's.
        user.execute(overwrite)
        before = value(user, slices)
        replaced = in_background(lambda: owner.execute("BEGIN; DROP EXTENSION pg_idempotent; CREATE EXTENSION pg_idempotent; COMMIT"))
        db = Database(cluster, one)
        assert waits_for_a_lock(db, owner, "relation")
        late.execute("BEGIN")
        found = []
        overwritten = in_background(lambda: (late.execute(overwrite), found.append(value(late, slices))))
        assert waits_for_a_lock(db, late)
        user.execute("COMMIT")
        assert replaced() is None
        error = overwritten()
        # It has met the functions, or the table, as they were dropped; or the next ones.
        if error is None:
            assert found != [before]
        late.execute("ROLLBACK")
        with late.transaction(force_rollback=True):
            late.execute(overwrite)
            assert value(late, slices) != before


def test_another_servers_secret_that_is_replicated_does_not_count(cluster, fresh):
    """A publication of all tables brings it, behind the first row."""
    one = fresh()
    with cluster.connect(one) as conn, cluster.connect(one) as other:
        conn.execute("CREATE EXTENSION pg_idempotent")
        before = tag(conn)
        conn.execute("INSERT INTO idempotent.lock_secret VALUES (sha256('another')), ('\\x00')")
        conn.execute("VACUUM FULL idempotent.lock_secret")
        assert tag(conn) == tag(other) == before
