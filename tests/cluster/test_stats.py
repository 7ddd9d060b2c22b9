"""Statistics: what idempotent.stats and idempotent.stats_database show is what happened, in all sessions together.

On PostgreSQL 15 and 16 the library is preloaded for that. From 17 on it needs not be: one test has it both ways.
"""

import json
import random
import threading

import psycopg
import pytest
from psycopg.errors import CheckViolation, IntegrityError, LockNotAvailable

from support.cluster import running
from support.functions import insert, insert_each, insert_from, insert_many
from support.project import SEED
from support.queries import value
from support.server import SERVER_MAJOR
from support.sessions import in_background, together
from support.waiting import until_alone, waits_for_a_lock

PRELOADED = {"shared_preload_libraries": "pg_idempotent"}
CONFLICT = "23I01"
ORDERS = "CREATE TABLE orders (id int PRIMARY KEY, amount int CHECK (amount >= 0))"
GUARDED = f"{ORDERS}; SELECT idempotent_guard('orders')"
# As in src/stats/shared.rs: the pairs of table and form that are counted.
ROOM = 8192
FORMS = "insert insert_many insert_each insert_from merge merge_many"


@pytest.fixture(scope="module")
def counting_cluster():
    with running(settings=PRELOADED if SERVER_MAJOR < 17 else {}) as cluster:
        yield cluster


@pytest.fixture
def db(counting_cluster):
    return counting_cluster.create_database()


def stats(conn, target="orders", form="guard"):
    """The counters that are not 0."""
    row = conn.execute(
        "SELECT * FROM idempotent.stats WHERE target = %s::regclass AND form = %s", [target, form]
    ).fetchone()
    return {name: count for name, count in (row or {}).items() if name not in ("target", "form", "since") and count}


def of_database(conn):
    row = conn.execute("SELECT * FROM idempotent.stats_database").fetchone()
    return {name: count for name, count in row.items() if name.startswith(("requests_", "runs_")) and count}


def refused(conn, sql, *parameters):
    """The SQLSTATE of a statement that fails."""
    with pytest.raises(psycopg.Error) as caught:
        conn.execute(sql, parameters or None)
    return caught.value.sqlstate


def test_a_guard_counts_what_it_does_with_rows(db):
    with db.connect() as conn:
        conn.execute(GUARDED)
        conn.execute("INSERT INTO orders VALUES (1, 1), (2, 2), (3, 3)")
        conn.execute("INSERT INTO orders VALUES (1, 1), (2, 2), (4, 4)")
        with conn.cursor().copy("COPY orders FROM STDIN") as copy:
            copy.write("1\t1\n5\t5\n")
        assert stats(conn) == {"inserted": 5, "duplicates": 3}
        assert refused(conn, "INSERT INTO orders VALUES (6, 6), (1, 2)") == CONFLICT
        assert stats(conn) == {"inserted": 5, "duplicates": 3, "conflicts": 1}
        conn.execute("SELECT idempotent_guard('orders', on_conflict => 'quarantine')")
        conn.execute("INSERT INTO orders VALUES (1, 2), (2, 3), (7, 7)")
        assert stats(conn) == {"inserted": 6, "duplicates": 3, "conflicts": 3}
        conn.execute("SELECT idempotent_guard('orders', on_conflict => 'observe')")
        assert refused(conn, "INSERT INTO orders VALUES (1, 1)") == "23505"
        assert stats(conn, form="observe") == {"duplicates": 1}


def test_a_partitioned_table_and_one_that_remembers_are_counted_as_one(db):
    with db.connect() as conn:
        conn.execute(
            """
            CREATE TABLE parted (id int PRIMARY KEY, v int) PARTITION BY HASH (id);
            CREATE TABLE parted_0 PARTITION OF parted FOR VALUES WITH (MODULUS 2, REMAINDER 0);
            CREATE TABLE parted_1 PARTITION OF parted FOR VALUES WITH (MODULUS 2, REMAINDER 1);
            CREATE TABLE remembers (id int PRIMARY KEY, v int, first jsonb);
            SELECT idempotent_guard('parted'), idempotent_guard('remembers', remember => 'first')
            """
        )
        for _ in range(2):
            conn.execute("INSERT INTO parted SELECT n, n FROM generate_series(1, 10) AS n")
            conn.execute("INSERT INTO remembers (id, v) SELECT n, n FROM generate_series(1, 10) AS n")
        assert stats(conn, "parted") == stats(conn, "remembers") == {"inserted": 10, "duplicates": 10}
        assert value(conn, "SELECT count(*) FROM idempotent.stats") == 2


def test_every_function_counts_under_its_own_name(db):
    payloads = [{"id": n, "amount": n} for n in (1, 2, 3)]
    with db.connect() as conn:
        conn.execute(ORDERS)
        conn.execute("CREATE TABLE source (id int, amount int)")
        conn.execute("INSERT INTO source VALUES (1, 1), (2, 5), (9, 9)")
        insert(conn, "orders", payloads[0])
        insert(conn, "orders", payloads[0])
        insert(conn, "orders", {"id": 1, "amount": 2}, on_conflict="report")
        assert stats(conn, form="insert") == {"inserted": 1, "duplicates": 1, "conflicts": 1}
        insert_many(conn, "orders", [*payloads, {"id": 4, "amount": -1}], on_error="report")
        assert stats(conn, form="insert_many") == {"inserted": 2, "duplicates": 1, "rejected": 1}
        insert_each(conn, "orders", [*payloads, {"id": 1, "amount": 7}], on_conflict="report")
        assert stats(conn, form="insert_each") == {"duplicates": 3, "conflicts": 1}
        insert_from(conn, "orders", "source", on_conflict="report")
        assert stats(conn, form="insert_from") == {"inserted": 1, "duplicates": 1, "conflicts": 1}
        conn.execute("CALL idempotent_load('orders', 'source', on_conflict => 'report', batch_size => 1)")
        assert stats(conn, form="load") == {"duplicates": 2, "conflicts": 1}
        conn.execute("SELECT idempotent_merge('orders', 'source')")
        assert stats(conn, form="merge") == {"updated": 1, "duplicates": 2}
        conn.execute("SELECT idempotent_merge_many('orders', %s)", [json.dumps([{"id": 1, "amount": 1}, {"id": 5, "amount": 5}])])
        assert stats(conn, form="merge_many") == {"inserted": 1, "duplicates": 1}
        conn.execute("SELECT idempotent_overwrite('orders', 'source', '{}')")
        assert stats(conn, form="overwrite") == {"inserted": 3, "deleted": 5}
        conn.execute("SELECT idempotent_overwrite('orders', 'source', '{}')")
        assert stats(conn, form="overwrite") == {"inserted": 3, "deleted": 5, "duplicates": 3}
        conn.execute("SELECT idempotent_overwrite_each('orders', 'source', '{id}')")
        assert stats(conn, form="overwrite_each") == {"duplicates": 3}
        conn.execute("UPDATE orders SET amount = 0 WHERE id = 1")
        conn.execute("SELECT idempotent_repair('orders', 'source', dry_run => false)")
        assert stats(conn, form="repair") == {"updated": 1}
        conn.execute("SELECT idempotent_view('orders', 'incoming')")
        conn.execute("INSERT INTO incoming VALUES (1, 1), (8, 8)")
        assert refused(conn, "INSERT INTO incoming VALUES (1, 2)") == CONFLICT
        assert stats(conn, form="view") == {"inserted": 1, "duplicates": 1, "conflicts": 1}


def test_a_function_on_a_guarded_table_counts_and_the_guard_does_not(db):
    with db.connect() as conn:
        conn.execute(GUARDED)
        insert_many(conn, "orders", [{"id": n, "amount": n} for n in range(10)])
        insert(conn, "orders", {"id": 1, "amount": 1})
        assert value(conn, "SELECT string_agg(form, ' ' ORDER BY form) FROM idempotent.stats") == "insert insert_many"


def test_what_is_rolled_back_is_neither_inserted_nor_a_duplicate(db):
    """A conflict is one, although it mostly ends the transaction."""
    with db.connect() as conn:
        conn.execute(GUARDED)
        conn.execute("INSERT INTO orders VALUES (1, 1)")
        conn.execute("BEGIN; INSERT INTO orders VALUES (1, 1), (2, 2); ROLLBACK")
        assert stats(conn) == {"inserted": 1}
        conn.execute("BEGIN; INSERT INTO orders VALUES (3, 3); SAVEPOINT a; INSERT INTO orders VALUES (4, 4)")
        assert refused(conn, "INSERT INTO orders VALUES (5, 5), (1, 2)") == CONFLICT
        conn.execute("ROLLBACK TO a; INSERT INTO orders VALUES (6, 6); SAVEPOINT b; INSERT INTO orders VALUES (7, 7); RELEASE a; COMMIT")
        assert stats(conn) == {"inserted": 4, "conflicts": 1}
        assert value(conn, "SELECT count(*) FROM orders") == 4
        conn.execute(
            """
            DO $$ BEGIN
                FOR n IN 1..10 LOOP
                    BEGIN
                        INSERT INTO orders VALUES (100 + n, 1);
                        PERFORM idempotent_insert('orders', jsonb_build_object('id', 1, 'amount', 2));
                    EXCEPTION WHEN SQLSTATE '23I01' THEN
                        INSERT INTO orders VALUES (200 + n, 1);
                    END;
                END LOOP;
            END $$
            """
        )
        assert stats(conn) == {"inserted": 14, "conflicts": 1}
        assert stats(conn, form="insert") == {"conflicts": 10}
        assert value(conn, "SELECT count(*) FROM orders") == 14


def test_a_statement_that_fails_later_takes_its_rows_back(db):
    with db.connect() as conn:
        conn.execute(GUARDED)
        with pytest.raises(CheckViolation):
            conn.execute("INSERT INTO orders VALUES (1, 1), (2, -1)")
        assert stats(conn) == {}


def test_a_prepared_transaction_is_counted_when_it_is_prepared(db):
    with db.connect() as conn:
        conn.execute(GUARDED)
        conn.execute("BEGIN; INSERT INTO orders VALUES (1, 1); PREPARE TRANSACTION 'stats'")
        assert stats(conn) == {"inserted": 1}
        conn.execute("COMMIT PREPARED 'stats'")
        assert stats(conn) == {"inserted": 1}


def test_sessions_add_up_exactly(db):
    sessions, transactions = 8, 60
    with db.connect() as conn:
        conn.execute(GUARDED)
        conn.execute("CREATE TABLE other (id int PRIMARY KEY, amount int); SELECT idempotent_guard('other')")

    def work(number, conn):
        chance = random.Random(SEED + number)
        sent = conflicts = 0
        for _ in range(transactions):
            keys = sorted(chance.sample(range(400), 3))
            rows = [(key, key + (chance.random() < 0.02)) for key in keys]
            rolls_back = chance.random() < 0.2
            conn.execute("BEGIN")
            try:
                for table in ("orders", "other"):
                    conn.execute(f"INSERT INTO {table} VALUES (%s, %s), (%s, %s), (%s, %s)", [n for row in rows for n in row])
                    if table == "orders":
                        insert(conn, "other", {"id": keys[0], "amount": keys[0]}, on_conflict="report")
                conn.execute("ROLLBACK" if rolls_back else "COMMIT")
                sent += 0 if rolls_back else 3
            except IntegrityError:
                conn.execute("ROLLBACK")
                conflicts += 1
        return sent, conflicts

    results = together(db, work, sessions)
    with db.connect() as conn:
        until_alone(conn)
        of_orders, of_other = stats(conn), stats(conn, "other")
        by_function = stats(conn, "other", "insert")
        assert of_orders["inserted"] == value(conn, "SELECT count(*) FROM orders")
        assert of_orders["inserted"] + of_orders["duplicates"] == sum(sent for sent, _ in results)
        assert of_other["inserted"] + by_function.get("inserted", 0) == value(conn, "SELECT count(*) FROM other")
        assert of_orders.get("conflicts", 0) + of_other.get("conflicts", 0) == sum(conflicts for _, conflicts in results)


def test_a_session_that_waits_counts_it(db):
    with db.connect() as conn, db.connect() as first, db.connect() as second:
        conn.execute(GUARDED)
        first.execute("BEGIN; INSERT INTO orders VALUES (1, 1)")
        join = in_background(lambda: second.execute("INSERT INTO orders VALUES (1, 1)"))
        assert waits_for_a_lock(db, second)
        assert stats(conn) == {}
        first.execute("COMMIT")
        assert join() is None
        assert stats(conn) == {"inserted": 1, "duplicates": 1, "waits": 1}
        # Also a wait that runs out of time.
        first.execute("BEGIN; INSERT INTO orders VALUES (2, 2)")
        with pytest.raises(LockNotAvailable):
            second.execute("SET lock_timeout = '10ms'; INSERT INTO orders VALUES (2, 2)")
        assert stats(conn)["waits"] == 2
        first.execute("ROLLBACK")


def test_a_function_counts_the_rows_that_others_were_faster_with(db):
    with db.connect() as conn, db.connect() as first, db.connect() as second:
        conn.execute(ORDERS)
        # A few duplicates, so that keys are looked up before they are inserted.
        insert_many(conn, "orders", [{"id": n, "amount": n} for n in range(10)])
        for _ in range(20):
            insert(second, "orders", {"id": 1, "amount": 1})
        first.execute("BEGIN; INSERT INTO orders VALUES (20, 20)")
        join = in_background(lambda: insert(second, "orders", {"id": 20, "amount": 20}))
        assert waits_for_a_lock(db, second)
        first.execute("COMMIT")
        assert join() is None
        assert stats(conn, form="insert") == {"duplicates": 21, "waits": 1}


def test_requests_and_runs_are_counted(db):
    begin = "SELECT * FROM idempotent_request_begin(%s, '{}', lease => '1 hour')"
    with db.connect() as conn, db.connect() as other:
        conn.execute("SELECT idempotent_execute('a', 'SELECT 1')")
        conn.execute("SELECT idempotent_execute('a', 'SELECT 1')")
        assert refused(conn, "SELECT idempotent_execute('a', 'SELECT 2')") == "23I02"
        attempt = conn.execute(begin, ["b"]).fetchone()["attempt"]
        assert refused(other, "SELECT idempotent_request_begin('b', '{}')") == "55I01"
        conn.execute("SELECT idempotent_request_abandon('b', %s)", [attempt])
        conn.execute("SELECT idempotent_request_begin('c', '{}', lease => '1 microsecond')")
        conn.execute("SELECT idempotent_request_begin('c', '{}')")
        conn.execute("BEGIN; SELECT idempotent_execute('d', 'SELECT 1'); ROLLBACK")
        assert of_database(conn) == {
            "requests_started": 3, "requests_resumed": 1, "requests_replayed": 1, "requests_finished": 1,
            "requests_abandoned": 1, "requests_in_progress": 1, "requests_mismatched": 1,
        }  # fmt: skip
        run = value(conn, "SELECT run_id FROM idempotent_run_begin('d', 'p', 'v', lease => '1 hour')")
        assert refused(other, "SELECT idempotent_run_begin('d', 'p', 'v')") == "55I01"
        conn.execute("SELECT idempotent_run_publish(%s)", [run])
        conn.execute("SELECT idempotent_run_begin('d', 'p', 'v')")
        run = value(conn, "SELECT run_id FROM idempotent_run_begin('d', 'p', 'w', lease => '1 microsecond')")
        run = value(conn, "SELECT run_id FROM idempotent_run_begin('d', 'p', 'w')")
        conn.execute("SELECT idempotent_run_fail(%s, 'x')", [run])
        runs = {name: count for name, count in of_database(conn).items() if name.startswith("runs_")}
        assert runs == {
            "runs_started": 3, "runs_taken_over": 1, "runs_skipped": 1, "runs_published": 1, "runs_failed": 1, "runs_in_progress": 1,
        }  # fmt: skip


def test_reset_begins_to_count_anew(db):
    with db.connect() as conn:
        conn.execute(GUARDED)
        conn.execute("INSERT INTO orders VALUES (1, 1)")
        conn.execute("SELECT idempotent_execute('a', 'SELECT 1')")
        insert(conn, "orders", {"id": 2, "amount": 2})
        conn.execute("CREATE TABLE other (id int PRIMARY KEY); SELECT idempotent_guard('other'); INSERT INTO other VALUES (1)")
        before = value(conn, "SELECT max(since) FROM idempotent.stats")
        time = value(conn, "SELECT idempotent_stats_reset('orders')")
        assert time > before
        assert stats(conn) == stats(conn, form="insert") == {}
        assert value(conn, "SELECT since FROM idempotent.stats WHERE form = 'guard' AND target = 'orders'::regclass") == time
        assert stats(conn, "other") == {"inserted": 1}
        assert of_database(conn) == {"requests_started": 1, "requests_finished": 1}
        conn.execute("INSERT INTO orders VALUES (1, 1)")
        assert stats(conn) == {"duplicates": 1}
        conn.execute("SELECT idempotent_stats_reset()")
        assert stats(conn) == stats(conn, "other") == of_database(conn) == {}


def test_who_may_look_and_who_may_reset(db):
    with db.connect() as conn:
        conn.execute(GUARDED)
        conn.execute("INSERT INTO orders VALUES (1, 1)")
        conn.execute("DROP ROLE IF EXISTS stats_reader; CREATE ROLE stats_reader; SET ROLE stats_reader")
        assert value(conn, "SELECT inserted FROM idempotent.stats") == 1
        assert value(conn, "SELECT collected FROM idempotent.stats_database")
        assert refused(conn, "SELECT idempotent_stats_reset()") == "42501"
        assert refused(conn, "SET pg_idempotent.track = off") == "42501"
        conn.execute("RESET ROLE; GRANT EXECUTE ON FUNCTION idempotent_stats_reset TO stats_reader; SET ROLE stats_reader")
        conn.execute("SELECT idempotent_stats_reset()")
        conn.execute("RESET ROLE; DROP OWNED BY stats_reader; DROP ROLE stats_reader")
        assert stats(conn) == {}


def test_a_session_that_does_not_track_counts_nothing(db):
    with db.connect() as conn:
        conn.execute(GUARDED)
        conn.execute("SET pg_idempotent.track = off; INSERT INTO orders VALUES (1, 1)")
        insert(conn, "orders", {"id": 2, "amount": 2})
        assert conn.execute("SELECT collected, reason FROM idempotent.stats_database").fetchone() == {
            "collected": False, "reason": "pg_idempotent.track is off",
        }  # fmt: skip
        assert stats(conn) == {}
        conn.execute("SET pg_idempotent.track = on; INSERT INTO orders VALUES (3, 3)")
        assert stats(conn) == {"inserted": 1}


def test_databases_see_their_own(counting_cluster, db):
    other = counting_cluster.create_database()
    with db.connect() as conn, other.connect() as elsewhere:
        for one in (conn, elsewhere):
            one.execute(GUARDED)
        conn.execute("INSERT INTO orders VALUES (1, 1)")
        elsewhere.execute("INSERT INTO orders VALUES (1, 1), (2, 2)")
        elsewhere.execute("SELECT idempotent_execute('a', 'SELECT 1')")
        assert stats(conn) == {"inserted": 1}
        assert stats(elsewhere) == {"inserted": 2}
        assert of_database(conn) == {}
        conn.execute("SELECT idempotent_stats_reset()")
        assert stats(elsewhere) == {"inserted": 2}


def test_a_session_that_is_ended_in_its_transaction_has_counted_its_conflicts(db):
    with db.connect() as conn:
        conn.execute(GUARDED)
        conn.execute("INSERT INTO orders VALUES (1, 1)")
        other = db.connect()
        other.execute("BEGIN; SAVEPOINT a")
        assert refused(other, "INSERT INTO orders VALUES (1, 2)") == CONFLICT
        other.execute("ROLLBACK TO a; INSERT INTO orders VALUES (2, 2)")
        conn.execute("SELECT pg_terminate_backend(%s)", [other.info.backend_pid])
        until_alone(conn)
        assert stats(conn) == {"inserted": 1, "conflicts": 1}


@pytest.mark.once
def test_dropped_tables_vanish_and_make_room(counting_cluster):
    """More tables than are counted; then room again, and not for tables of a database that is gone."""
    first, second = counting_cluster.create_database(), counting_cluster.create_database()
    forms = FORMS.split()
    tables = ROOM // len(forms) + 100

    def fill(conn, count):
        conn.execute(
            f"""
            DO $$ BEGIN
                FOR n IN 1..{count} LOOP
                    EXECUTE format('CREATE TABLE t_%s (id int PRIMARY KEY)', n);
                    EXECUTE format('SELECT FROM idempotent_insert(%1$L, %2$L), idempotent_insert_many(%1$L, %3$L), idempotent_insert_each(%1$L, %3$L),
                        idempotent_insert_from(%1$L, ''source''), idempotent_merge(%1$L, ''source''), idempotent_merge_many(%1$L, %3$L)',
                        't_' || n, '{{"id": 1}}', '[{{"id": 1}}]');
                    IF n % 100 = 0 THEN COMMIT; END IF;
                END LOOP;
            END $$
            """
        )

    def shown(conn):
        return value(conn, "SELECT count(*) FROM idempotent.stats")

    with first.connect() as conn, second.connect() as elsewhere:
        for one in (conn, elsewhere):
            one.execute("CREATE TABLE source (id int); INSERT INTO source VALUES (1)")
        uncounted = value(conn, "SELECT uncounted FROM idempotent.stats_database")
        fill(conn, tables)
        full = shown(conn)
        assert ROOM - 200 < full <= ROOM
        assert value(conn, "SELECT uncounted FROM idempotent.stats_database") > uncounted
        # What has room goes on to count, the rest does no harm.
        insert(conn, "t_1", {"id": 1})
        assert stats(conn, "t_1", "insert") == {"inserted": 1, "duplicates": 1}
        # Nobody has to look for dropped tables to make room: who finds none does, at most once a minute.
        conn.execute("DROP TABLE t_2; CREATE TABLE another (id int PRIMARY KEY)")
        with first.connect() as fresh:
            for _ in range(3):
                insert(fresh, "another", {"id": 1})
        assert stats(conn, "another", "insert")["duplicates"] >= 1
        conn.execute("DROP TABLE t_1, another")
        assert shown(conn) < full - len(forms)
        fill(elsewhere, 1)
        assert shown(elsewhere) == len(forms)
    with counting_cluster.connect() as conn:
        conn.execute(f"DROP DATABASE {first.name}")
    with second.connect() as elsewhere:
        assert shown(elsewhere) == len(forms)
        elsewhere.execute("DROP TABLE t_1")
        fill(elsewhere, 300)
        assert shown(elsewhere) == 300 * len(forms)
    with counting_cluster.connect() as conn:
        conn.execute(f"DROP DATABASE {second.name}")


def test_counting_begins_anew_after_a_crash():
    with running(settings=PRELOADED) as cluster:
        db = cluster.create_database(GUARDED)
        with db.connect() as conn:
            conn.execute("INSERT INTO orders VALUES (1, 1)")
            assert stats(conn) == {"inserted": 1}
        with db.connect() as victim:
            cluster.kill_backend(victim.info.backend_pid)
        cluster.wait_until_up()
        with db.connect() as conn:
            assert stats(conn) == {}
            conn.execute("INSERT INTO orders VALUES (1, 1)")
            assert stats(conn) == {"duplicates": 1}
        cluster.stop()
        cluster.start()
        with db.connect() as conn:
            assert stats(conn) == {}
            conn.execute("INSERT INTO orders VALUES (1, 1)")
            assert stats(conn) == {"duplicates": 1}


@pytest.mark.skipif(SERVER_MAJOR >= 17, reason="it needs not be preloaded")
def test_without_preloading_nothing_is_counted_and_the_view_says_why(cluster):
    with cluster.create_database(GUARDED).connect() as conn:
        notices = []
        conn.add_notice_handler(lambda notice: notices.append(notice.message_primary))
        conn.execute("INSERT INTO orders VALUES (1, 1)")
        assert stats(conn) == {}
        assert notices == ["pg_idempotent collects no statistics: pg_idempotent is not in shared_preload_libraries"]
        row = conn.execute("SELECT collected, reason FROM idempotent.stats_database").fetchone()
        assert row == {"collected": False, "reason": "pg_idempotent is not in shared_preload_libraries"}


def test_a_standby_counts_its_own():
    """A duplicate writes nothing, so a standby can verify one, and counts it."""
    with running(settings=PRELOADED) as cluster:
        db = cluster.create_database(GUARDED)
        with db.connect() as conn:
            insert(conn, "orders", {"id": 1, "amount": 1})
        with cluster.standby() as standby:
            with standby.connect(db.name) as conn:
                assert stats(conn, form="insert") == {}
                insert(conn, "orders", {"id": 1, "amount": 1})
                assert stats(conn, form="insert") == {"duplicates": 1}


def test_many_sessions_make_an_entry_at_once(db):
    barrier = threading.Barrier(16, timeout=60)
    with db.connect() as conn:
        for n in range(20):
            conn.execute(f"CREATE TABLE t_{n} (id int PRIMARY KEY); SELECT idempotent_guard('t_{n}')")

    def work(number, conn):
        for n in range(20):
            barrier.wait()
            conn.execute(f"INSERT INTO t_{n} VALUES (%s)", [number])

    together(db, work, 16, barrier=barrier)
    with db.connect() as conn:
        assert value(conn, "SELECT count(*) FROM idempotent.stats") == 20
        assert value(conn, "SELECT array_agg(DISTINCT inserted) FROM idempotent.stats") == [16]


@pytest.mark.skipif(SERVER_MAJOR < 18, reason="EXPLAIN takes no options of extensions")
class TestExplain:
    def explained(self, conn, statement, options="ANALYZE, IDEMPOTENT, COSTS OFF, TIMING OFF, SUMMARY OFF, BUFFERS OFF"):
        rows = conn.execute(f"EXPLAIN ({options}) {statement}").fetchall()
        return [row["QUERY PLAN"] for row in rows]

    def shown(self, conn, statement):
        return [line for line in self.explained(conn, statement) if line.startswith("Idempotent")]

    @pytest.fixture
    def conn(self, db):
        with db.connect() as conn:
            conn.execute(f"LOAD 'pg_idempotent'; {GUARDED}; INSERT INTO orders VALUES (1, 1), (2, 2)")
            yield conn

    def test_it_shows_what_the_statement_did(self, conn):
        statement = "INSERT INTO orders VALUES (1, 1), (2, 2), (3, 3)"
        expected = ["Idempotent: guard on public.orders: inserted=1 duplicates=2 conflicts=0 waits=0"]
        assert self.shown(conn, statement) == expected
        conn.execute("SET pg_idempotent.track = off; BEGIN; INSERT INTO orders VALUES (9, 9)")
        assert self.shown(conn, statement) == ["Idempotent: guard on public.orders: inserted=0 duplicates=3 conflicts=0 waits=0"]
        conn.execute("ROLLBACK")
        assert self.shown(conn, "SELECT 1") == []

    def test_it_shows_functions_too(self, conn):
        call = """SELECT idempotent_insert('orders', '{"id": 1, "amount": 5}', on_conflict => 'report')"""
        assert self.shown(conn, call) == ["Idempotent: insert on public.orders: inserted=0 duplicates=0 conflicts=1 waits=0"]

    def test_other_formats_have_fields(self, conn):
        (plan,) = self.explained(conn, "INSERT INTO orders VALUES (1, 1)", "ANALYZE, IDEMPOTENT, FORMAT JSON")
        assert plan[0]["Idempotent"] == [
            {
                "Form": "guard", "Relation": "public.orders", "Inserted": 0, "Updated": 0, "Deleted": 0, "Duplicates": 1,
                "Superseded": 0, "Conflicts": 0, "Rejected": 0, "Waits": 0,
            }
        ]  # fmt: skip

    def test_it_requires_analyze(self, conn):
        with pytest.raises(psycopg.Error, match="EXPLAIN option IDEMPOTENT requires ANALYZE"):
            self.explained(conn, "INSERT INTO orders VALUES (1, 1)", "IDEMPOTENT")
        assert self.shown(conn, "INSERT INTO orders VALUES (1, 1)") != []
        assert not any("Idempotent" in line for line in self.explained(conn, "SELECT 1", "ANALYZE"))
