"""The rows of state in another place: dumped and restored, in whole and in part, by whoever owns the database; replicated.

A row is a role's or a table's for what it is, not for the number it had, and nobody's where that is not there. No row is
lost, no number is given twice, and nobody needs to be a superuser but who hands out what is others'.
"""

import re
import time

import psycopg
import pytest

from support.cluster import running
from support.dumps import dump, empty_database, restore
from support.functions import insert
from support.queries import value
from support.replication import catch_up
from support.server import BINDIR
from support.sessions import in_background

EXECUTE = "SELECT response, replayed FROM idempotent_execute(%s, %s)"
STATE = ("request_records", "pipeline_run_records", "load_records", "batch_records", "conflict_records", "rejection_records")


def execute(conn, key, command="SELECT current_user AS by"):
    return conn.execute(EXECUTE, [key, command]).fetchone()


def sent_again(conn):
    """Whether a batch is answered from its record."""
    return value(conn, "SELECT replayed FROM idempotent_insert_from('orders', 'source', token => 'file')")


def counts(conn):
    return {table: value(conn, f"SELECT count(*) FROM idempotent.{table}") for table in STATE}


def role(conn, name, *options):
    conn.execute(f"CREATE ROLE {name} LOGIN {' '.join(options)}")
    return value(conn, "SELECT max(oid::bigint) FROM pg_roles")


def fill(db, *users):
    """Tables with a conflict and a rejection each, and for each of the users a request, a run and a load."""
    with db.connect() as conn:
        conn.execute("CREATE TABLE orders (id int PRIMARY KEY, v int); CREATE TABLE \"Other\" (id int PRIMARY KEY, v int)")
        for table in ("orders", '"Other"'):
            insert(conn, table, {"id": 1, "v": 1})
            insert(conn, table, {"id": 1, "v": 2}, on_conflict="quarantine")
            conn.execute("SELECT idempotent_insert_many(%s, '[{\"id\": 2, \"v\": \"x\"}]', on_error => 'quarantine')", [table])
        conn.execute("CREATE TABLE source (id int PRIMARY KEY, v int); INSERT INTO source VALUES (7, 7)")
        conn.execute("GRANT SELECT, INSERT ON orders TO PUBLIC; GRANT SELECT ON source TO PUBLIC")
    for user in users:
        with db.connect(user=user) as conn:
            assert execute(conn, "k") == {"response": [{"by": user}], "replayed": False}
            conn.execute("SELECT idempotent_run_begin('day', input_version => '1')")
            conn.execute("SELECT idempotent_run_publish(run_id) FROM idempotent_run_begin('done', input_version => '1')")
            conn.execute("CALL idempotent_load('orders', 'source')")
            assert not sent_again(conn)


@pytest.fixture(scope="module")
def elsewhere():
    with running() as cluster:
        yield cluster


# --- roles -----------------------------------------------------------------------------------------------------------


def test_a_role_that_was_dropped_leaves_nothing_to_whoever_has_its_number_elsewhere(own_cluster):
    db = own_cluster.create_database()
    with db.connect() as conn:
        gone = role(conn, "gone")
        role(conn, '"0815"')
    fill(db, "gone", "0815")
    with db.connect() as conn:
        conn.execute("DROP ROLE gone")
        before = counts(conn)
    file = dump(db)
    with running() as other:
        other.stop()
        other.tool(BINDIR / "pg_resetwal", "-o", str(gone), other.data)
        other.start()
        with other.connect() as conn:
            assert role(conn, "mallory") == gone
            role(conn, f'"{gone}"')
            role(conn, '"0815"')
        restore(file, other, empty_database(other, "restored"))
        for user in ("mallory", str(gone)):
            with other.connect("restored", user=user) as conn:
                assert not execute(conn, "k")["replayed"]
                assert value(conn, "SELECT decision FROM idempotent_run_begin('done', input_version => '1')") == "run"
                assert value(conn, "SELECT count(*) FROM idempotent.loads") == 0
        with other.connect("restored", user="0815") as conn:
            assert execute(conn, "k") == {"response": [{"by": "0815"}], "replayed": True}
            assert value(conn, "SELECT decision FROM idempotent_run_begin('done', input_version => '1')") == "skip"
            assert value(conn, "SELECT count(*) FROM idempotent.loads") == 1
            assert sent_again(conn)
        with other.connect("restored") as conn:
            now = counts(conn)
            assert now.pop("request_records") == before.pop("request_records") + 2
            assert now.pop("pipeline_run_records") == before.pop("pipeline_run_records") + 2
            assert now == before
            nobody = value(conn, "SELECT role::text FROM idempotent.request_records WHERE role::oid = 0")
            assert re.fullmatch(rf"\(dropped {gone} of \d+\)", nobody)


def test_a_role_that_was_renamed_keeps_what_is_its_own_and_one_made_anew_gets_nothing(own_cluster, elsewhere):
    db = own_cluster.create_database()
    with db.connect() as conn:
        role(conn, "alice")
        role(conn, "bob")
    fill(db, "alice", "bob")
    with db.connect() as conn:
        conn.execute('ALTER ROLE alice RENAME TO "Alicia (A.)"; DROP ROLE bob; CREATE ROLE alice LOGIN; CREATE ROLE bob LOGIN')
    with elsewhere.connect() as conn:
        for name in ("alice", '"Alicia (A.)"', "bob"):
            role(conn, name)
    restore(dump(db), elsewhere, empty_database(elsewhere, "renamed"))
    for cluster, name in ((own_cluster, db.name), (elsewhere, "renamed")):
        with cluster.connect(name, user="Alicia (A.)") as conn:
            assert execute(conn, "k") == {"response": [{"by": "alice"}], "replayed": True}
            assert sent_again(conn)
        for user in ("alice", "bob"):
            with cluster.connect(name, user=user) as conn:
                assert execute(conn, "k") == {"response": [{"by": user}], "replayed": False}
                assert value(conn, "SELECT count(*) FROM idempotent.pipeline_runs") == 0
                assert not sent_again(conn)


def test_a_cluster_that_lacks_a_role_gets_all_rows_and_the_role_what_it_is_given_later(own_cluster, elsewhere):
    db = own_cluster.create_database()
    with db.connect() as conn:
        role(conn, "here_only")
        role(conn, "everywhere")
    fill(db, "here_only", "everywhere")
    with db.connect() as conn:
        before = counts(conn)
    with elsewhere.connect() as conn:
        role(conn, "everywhere")
    restore(dump(db), elsewhere, empty_database(elsewhere, "lacks_a_role"))
    with elsewhere.connect("lacks_a_role", user="everywhere") as conn:
        assert execute(conn, "k")["replayed"]
    with elsewhere.connect("lacks_a_role") as conn:
        assert counts(conn) == before
        role(conn, "here_only")
    # It is another role's name until somebody says that it is not.
    with elsewhere.connect("lacks_a_role", user="here_only") as conn:
        assert not execute(conn, "k")["replayed"]
        assert value(conn, "SELECT count(*) FROM idempotent.pipeline_runs") == 0
    # A dump of both keeps them apart.
    again = elsewhere.create_database()
    again.name = "lacks_a_role"
    restore(dump(again), elsewhere, empty_database(elsewhere, "lacked_a_role"))
    with elsewhere.connect("lacked_a_role") as conn:
        assert value(conn, "SELECT count(*) FROM idempotent.request_records WHERE role::text IN ('here_only', '(here_only)')") == 2
        conn.execute("DELETE FROM idempotent.request_records WHERE role::text = 'here_only'")
        for table in ("request_records", "pipeline_run_records", "load_records", "batch_records"):
            conn.execute(f"UPDATE idempotent.{table} SET role = 'here_only' WHERE role::text = '(here_only)'")
    with elsewhere.connect("lacked_a_role", user="here_only") as conn:
        assert execute(conn, "k") == {"response": [{"by": "here_only"}], "replayed": True}
        assert value(conn, "SELECT decision FROM idempotent_run_begin('done', input_version => '1')") == "skip"


# --- tables ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["dropped", "left out"])
def test_a_conflict_of_a_table_that_is_not_there_is_kept_and_no_other_tables(db, how):
    fill(db)
    with db.connect() as conn:
        gone = value(conn, "SELECT 'orders'::regclass::oid::int")
        before = conn.execute("SELECT id, key, payload, stored FROM idempotent.conflict_records ORDER BY id").fetchall()
        if how == "dropped":
            conn.execute("DROP TABLE orders")
    file = dump(db, *(["-T", "orders"] if how == "left out" else []))
    name = empty_database(db.cluster, f"{db.name}_{how.replace(' ', '_')}")
    with db.cluster.connect(name) as conn:
        # The number may be in use there already.
        while value(conn, "SELECT max(oid)::bigint::int FROM pg_class") < gone and how == "dropped":
            conn.execute(f"CREATE TABLE taken_{time.monotonic_ns()} (id int)")
    restore(file, db.cluster, name)
    with db.cluster.connect(name) as conn:
        assert conn.execute("SELECT id, key, payload, stored FROM idempotent.conflict_records ORDER BY id").fetchall() == before
        shown = conn.execute("SELECT id, target::oid::int AS target FROM idempotent.conflicts ORDER BY id").fetchall()
        assert shown[0] == {"id": before[0]["id"], "target": 0}
        text = value(conn, "SELECT target::text FROM idempotent.conflict_records ORDER BY id LIMIT 1")
        assert re.fullmatch(rf"\(dropped {gone} of \d+/\d+\)" if how == "dropped" else r"\(public\.orders\)", text)
        conn.execute("SELECT idempotent_resolve(%s, 'apply_payload')", [before[1]["id"]])
        assert value(conn, 'SELECT v FROM "Other"') == 2
        conn.execute("CREATE TABLE public.orders (id int PRIMARY KEY, v int); INSERT INTO public.orders VALUES (1, 1)")
        if how == "left out":
            conn.execute("UPDATE idempotent.conflict_records SET target = 'public.orders' WHERE target::text = '(public.orders)'")
            conn.execute("SELECT idempotent_resolve(%s, 'apply_payload')", [before[0]["id"]])
            assert value(conn, "SELECT v FROM public.orders") == 2
        else:
            assert value(conn, "SELECT idempotent_resolve(%s, 'keep_stored')", before[0]["id"])


# --- whoever owns the database ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def owned(cluster):
    """A database that belongs to a plain role, the state in it of two roles, and one who may read all data."""
    with cluster.connect() as conn:
        for name in ("db_owner", "db_user"):
            role(conn, name)
        role(conn, "db_reader", "IN ROLE pg_read_all_data")
    db = cluster.create_database()
    with db.connect() as conn:
        conn.execute(f"ALTER DATABASE {db.name} OWNER TO db_owner")
    fill(db, "db_owner", "db_user")
    with db.connect() as conn:
        for table in ("orders", '"Other"', "source"):
            conn.execute(f"ALTER TABLE {table} OWNER TO db_owner")
    return db


@pytest.mark.parametrize("format", [["-Fp"], ["-Fc"], ["--inserts"], ["-Fp", "--data-only"], ["-Fc", "--data-only"]], ids=" ".join)
@pytest.mark.parametrize("user", ["postgres", "db_owner", "db_reader"])
def test_a_dump_by_who_may_read_it_is_restored_where_the_extension_is_already(owned, user, format):
    file = dump(owned, *format, user=user)
    restorer = "postgres" if user == "postgres" else "db_owner"
    name = empty_database(owned.cluster, f"r_{user}_{'_'.join(format).replace('-', '')}".lower(), restorer, extension=True)
    if "--data-only" in format:
        with owned.cluster.connect(name, user=restorer) as conn:
            conn.execute('CREATE TABLE public.orders (id int PRIMARY KEY, v int)')
            conn.execute('CREATE TABLE public."Other" (id int PRIMARY KEY, v int); CREATE TABLE public.source (id int PRIMARY KEY, v int)')
    restore(file, owned.cluster, name, user=restorer)
    with owned.connect() as before, owned.cluster.connect(name) as conn:
        assert counts(conn) == counts(before)
        conn.execute("SELECT idempotent_resolve(id, 'keep_stored') FROM idempotent.conflicts")
    with owned.cluster.connect(name, user="db_owner") as conn:
        assert execute(conn, "k")["replayed"]
    # What is others', only a superuser hands out.
    with owned.cluster.connect(name, user="db_user") as conn:
        assert execute(conn, "k")["replayed"] == (restorer == "postgres")


def test_the_owner_of_a_database_cannot_make_rows_for_others(owned):
    name = empty_database(owned.cluster, "forged", "db_owner", extension=True)
    with owned.cluster.connect(name) as conn:
        conn.execute("CREATE TABLE not_yours (id int PRIMARY KEY, v int); INSERT INTO not_yours VALUES (1, 1)")
        conn.execute("CREATE TABLE idempotent_copy AS SELECT * FROM idempotent.request_records")
        execute(conn, "sample")
    with owned.cluster.connect(name, user="db_owner") as conn:
        conn.execute(
            "INSERT INTO idempotent.request_records SELECT 'postgres', scope, 'forged', status, attempt, fingerprint, request, recovery_point,"
            " '\"forged\"', ttl, lease, lease_until, started_at, completed_at, expires_at, purge_after FROM idempotent.request_records"
        )
        conn.execute(
            "INSERT INTO idempotent.conflict_records (target, key, payload, stored, differences, digest, arrived_by) VALUES"
            " ('public.not_yours', '{\"id\": 1}', '{\"id\": 1, \"v\": 9}', '{\"id\": 1, \"v\": 1}', '{\"v\": {}}', '', 'postgres')"
        )
        for forbidden in (
            "UPDATE idempotent.request_records SET response = '1'",
            "DELETE FROM idempotent.pipeline_run_records",
            "INSERT INTO idempotent.request_records SELECT role, scope, 'x', status, attempt, fingerprint, request FROM idempotent.request_records LIMIT 1"
            " ON CONFLICT (key, scope, role) DO UPDATE SET response = '1'",
            "TRUNCATE idempotent.load_records",
            "CREATE TRIGGER t BEFORE INSERT ON idempotent.pipeline_run_records FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                conn.execute(forbidden)
    with owned.cluster.connect(name) as conn:
        assert value(conn, "SELECT role::text FROM idempotent.request_records WHERE key = 'forged'") == "(postgres)"
        assert not execute(conn, "forged")["replayed"]
        with pytest.raises(psycopg.errors.UndefinedObject):
            conn.execute("SELECT idempotent_resolve(id, 'apply_payload') FROM idempotent.conflict_records")


# --- numbers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("binary", ["false", "true"])
def test_a_subscriber_that_takes_over_gives_no_number_twice_and_every_role_its_own(servers, binary):
    publisher, subscriber = servers
    there, here = publisher.create_database(), subscriber.create_database()
    with subscriber.connect() as conn:
        role(conn, f"takes_an_oid_{binary}")
    oids = []
    for cluster in servers:
        with cluster.connect() as conn:
            conn.execute("DROP ROLE IF EXISTS alice")
            oids.append(role(conn, "alice"))
    # The number is another's, or nobody's, here.
    assert oids[0] != oids[1]
    fill(there, "alice")
    with here.connect() as conn:
        # Made before the extension of the publisher, as far as attempts go; used already.
        conn.execute("SELECT setval('idempotent.request_attempts', 1), setval('idempotent.pipeline_run_records_run_id_seq', 2)")
        conn.execute('CREATE TABLE orders (id int PRIMARY KEY, v int); CREATE TABLE "Other" (id int PRIMARY KEY, v int)')
        conn.execute("CREATE TABLE source (id int PRIMARY KEY, v int); GRANT SELECT, INSERT ON orders TO PUBLIC; GRANT SELECT ON source TO PUBLIC")
    with there.connect() as conn:
        conn.execute("CREATE PUBLICATION p FOR ALL TABLES")
    with here.connect() as conn:
        source = f"host={publisher.root} user=postgres dbname={there.name}"
        conn.execute(f"CREATE SUBSCRIPTION s_{binary} CONNECTION '{source}' PUBLICATION p WITH (binary = {binary})")
    # What is copied at first is text on older servers: what follows is to come from the stream.
    catch_up(there, here)
    begin = "SELECT * FROM idempotent_request_begin('pay', '{}', lease => '1 microsecond')"
    with there.connect() as upstream, here.connect() as conn:
        with there.connect(user="alice") as alice:
            execute(alice, "later")
            attempt = alice.execute(begin).fetchone()["attempt"]
            for n in range(10):
                alice.execute("SELECT idempotent_run_begin('other', %s)", [str(n)])
        for n in range(10):
            insert(upstream, '"Other"', {"id": 1, "v": 10 + n}, on_conflict="quarantine")
        catch_up(there, here)
        conn.execute(f"DROP SUBSCRIPTION s_{binary}")
        assert counts(conn) == counts(upstream)
    with here.connect(user="alice") as alice:
        for key in ("k", "later"):
            assert execute(alice, key) == {"response": [{"by": "alice"}], "replayed": True}
        resumed = alice.execute(begin).fetchone()
        assert resumed["status"] == "resumed" and resumed["attempt"] > attempt
        last = value(alice, "SELECT max(run_id) FROM idempotent.pipeline_runs")
        runs = [value(alice, "SELECT run_id FROM idempotent_run_begin('new', %s)", str(n)) for n in range(5)]
        assert runs == sorted(set(runs)) and runs[0] > last
        alice.execute("CALL idempotent_load('orders', 'source')")
        assert value(alice, "SELECT count(DISTINCT load_id) FROM idempotent.loads") == 2
    with here.connect() as conn:
        for n in range(5):
            insert(conn, "orders", {"id": 1, "v": 10 + n}, on_conflict="quarantine")
        assert value(conn, "SELECT count(*) FROM idempotent.conflict_records") == 17


def test_numbers_that_are_met_are_drawn_again_in_every_session(db):
    """The sequences are put back, behind rows of every number up to 40: nobody sees a 23505."""
    with db.connect() as conn:
        conn.execute("CREATE TABLE orders (id int PRIMARY KEY, v int); INSERT INTO orders VALUES (1, 1)")
        for n in range(40):
            conn.execute("SELECT idempotent_run_begin('first', %s)", [str(n)])
            insert(conn, "orders", {"id": 1, "v": 100 + n}, on_conflict="quarantine")
        back = "SELECT setval('idempotent.pipeline_run_records_run_id_seq', 30), setval('idempotent.conflict_records_id_seq', 30)"
        conn.execute(back)
    with db.connect(autocommit=False) as a, db.connect() as b:
        first = value(a, "SELECT run_id FROM idempotent_run_begin('second', 'a')")
        assert first == 41
        b.execute(back)
        assert value(b, "SELECT count(*) FROM idempotent.pipeline_run_records") == 40
        a.commit()
        assert value(b, "SELECT run_id FROM idempotent_run_begin('second', 'b')") == 42
        payloads = ", ".join(f'{{"id": 1, "v": {v}}}' for v in (100, 500, 501, 502, 503))
        for _ in range(2):
            b.execute("SELECT idempotent_insert_many('orders', %s, on_conflict => 'quarantine')", [f"[{payloads}]"])
            assert value(b, "SELECT count(*) FROM idempotent.conflict_records") == 44
        assert value(b, "SELECT min(id) FROM idempotent.conflict_records WHERE payload @> '{\"v\": 500}'") > 40


def test_attempts_go_with_the_clock_and_no_two_of_any_sessions_are_the_same(db):
    begin = "SELECT attempt FROM idempotent_request_begin(%s, '{}')"
    micros = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
    with db.connect() as conn:
        for _ in range(5):
            # As long ago as if nobody had drawn one for two minutes.
            late = value(conn, f"SELECT setval('idempotent.request_attempts', {micros} - 120000000)")
            now = value(conn, f"SELECT {micros}")
            assert late < now - 60_000_000

            def work(name):
                with db.connect() as worker:
                    for n in range(50):
                        worker.execute(begin, [f"{name} {n} {late}"])

            joins = [in_background(lambda name=name: work(name)) for name in range(8)]
            assert [join() for join in joins] == [None] * 8
            # What was drawn before the first one saw that it was late is not given out.
            assert value(conn, "SELECT min(attempt) FROM idempotent.request_records WHERE key LIKE %s", f"% {late}") >= now
        assert value(conn, f"SELECT max(attempt) <= {micros} FROM idempotent.request_records")
        assert value(conn, "SELECT count(*) = count(DISTINCT attempt) FROM idempotent.request_records")
        # A row that is ahead of it all: the next attempt at its key is ahead of that, and no other is.
        conn.execute("UPDATE idempotent.request_records SET attempt = attempt + 10 ^ 12, lease_until = now() WHERE key LIKE '1 1 %'")
        ahead = value(conn, "SELECT min(attempt) FROM idempotent.request_records WHERE key LIKE '1 1 %'")
        key = value(conn, "SELECT key FROM idempotent.request_records WHERE attempt = %s", ahead)
        assert value(conn, begin, key) == ahead + 1
        assert value(conn, begin, "another") < ahead
