"""Workers that race each other for the partitions of a dataset, and die.

What every race must show: of the sessions that begin a partition at once exactly one is told to run; nobody gets
another error than the ones that a worker is told to retry on, 55I01 and 40001; a run that was taken over can neither
publish nor fail nor send a heartbeat; and idempotent.pipeline_run_records tells the whole story.

PGI_ROUNDS   how many partitions are raced for (default 40)
"""

import threading
import time

import psycopg
import pytest

from support.dumps import dumped_and_restored
from support.project import size
from support.queries import advisory_locks, value
from support.sessions import LEVELS, in_background, together
from support.waiting import until, waits_for_a_lock

CLIENTS = 16
ROUNDS = size("PGI_ROUNDS", 40)

RETRIED = {"55I01", "40001"}


def begin(conn, dataset, partition="", version=None, **options):
    named = "".join(f", {name} => %({name})s" for name in options)
    return conn.execute(
        f"SELECT * FROM idempotent_run_begin(%(d)s, %(p)s, %(v)s{named})",
        {"d": dataset, "p": partition, "v": version, **options},
    ).fetchone()


@LEVELS
@pytest.mark.parametrize("before", ["nothing", "failed", "lease ran out", "another input"])
def test_of_16_sessions_that_begin_a_partition_at_once_one_runs(db, level, before):
    rounds = max(2, ROUNDS // 4)
    with db.connect() as conn:
        for n in range(rounds):
            if before == "nothing":
                continue
            run = begin(conn, "d", str(n), "v0", lease="1 microsecond")["run_id"]
            if before == "failed":
                conn.execute("SELECT idempotent_run_fail(%s, 'x')", [run])
            elif before == "another input":
                conn.execute("SELECT idempotent_run_publish(%s)", [run])
    barrier = threading.Barrier(CLIENTS, timeout=60)
    decisions = [[] for _ in range(rounds)]
    states = set()

    def work(_number, conn):
        for n in range(rounds):
            barrier.wait()
            try:
                decisions[n].append(begin(conn, "d", str(n), "v1")["decision"])
            except psycopg.Error as error:
                states.add(error.sqlstate)

    together(db, work, CLIENTS, level)
    assert decisions == [["run"]] * rounds
    assert states and states <= RETRIED
    with db.connect() as conn:
        statuses = conn.execute("SELECT partition, array_agg(status ORDER BY attempt) AS all FROM idempotent.pipeline_run_records GROUP BY partition").fetchall()
        last = {"nothing": [], "failed": ["failed"], "lease ran out": ["taken_over"], "another input": ["published"]}[before]
        assert [row["all"] for row in statuses] == [last + ["running"]] * rounds
        assert advisory_locks(conn) == 0


@LEVELS
def test_workers_that_die_and_come_again_make_every_partition_once(db, level):
    """Each worker goes through all partitions, does the work in the transaction that publishes, and dies now and then: it
    fails, rolls back, or leaves its run behind, whose lease is short. Others wait for it or come again."""
    with db.connect() as conn:
        conn.execute("CREATE TABLE made (partition text, run_id bigint)")
    partitions = ROUNDS
    states = set()

    def work(number, conn):
        todo = list(range(partitions))
        turn = 0
        while todo:
            turn += 1
            n = todo[(number * 7 + turn) % len(todo)]
            try:
                begun = begin(conn, "d", str(n), "v1", lease="100 ms")
                if begun["decision"] == "skip":
                    todo.remove(n)
                    continue
                fate = (number + turn) % 5
                if fate == 0:
                    conn.execute("SELECT idempotent_run_fail(%s, 'died')", [begun["run_id"]])
                    continue
                if fate == 1:
                    continue
                with conn.transaction(force_rollback=fate == 2):
                    conn.execute("INSERT INTO made VALUES (%s, %s)", [str(n), begun["run_id"]])
                    conn.execute("SELECT idempotent_run_publish(%s, 1)", [begun["run_id"]])
            except psycopg.Error as error:
                states.add(error.sqlstate)
                time.sleep(0.01)

    together(db, work, CLIENTS, level)
    assert states <= RETRIED | {"55000"}, states
    with db.connect() as conn:
        assert value(conn, "SELECT count(*) FROM made") == partitions
        assert value(conn, "SELECT count(DISTINCT partition) FROM made") == partitions
        story = conn.execute(
            """
            SELECT count(*) FILTER (WHERE status = 'published') AS published,
                   count(*) FILTER (WHERE status = 'running') AS running,
                   max(attempt) = count(*) AND count(DISTINCT attempt) = count(*) AS gapless,
                   bool_and(status = 'published' AND run_id = (SELECT m.run_id FROM made m WHERE m.partition = r.partition))
                       FILTER (WHERE attempt = (SELECT max(attempt) FROM idempotent.pipeline_run_records n WHERE n.partition = r.partition)) AS last_made_it
            FROM idempotent.pipeline_run_records r GROUP BY partition
            """
        ).fetchall()
        assert story == [{"published": 1, "running": 0, "gapless": True, "last_made_it": True}] * partitions


@LEVELS
def test_a_run_that_was_taken_over_is_fenced_off(db, level):
    with db.at_level(level) as old, db.at_level(level) as new:
        first = begin(old, "d", "p", "v1", lease="50 ms")["run_id"]
        # The worker hangs; its backend even dies. The row is there.
        old.execute("SELECT 1")
        time.sleep(0.1)
        taken = begin(new, "d", "p", "v1")
        assert (taken["decision"], taken["reason"]) == ("run", "lease_expired")
        for call in (
            f"idempotent_run_publish({first}, 1)",
            f"idempotent_run_heartbeat({first})",
            f"idempotent_run_fail({first}, 'x')",
        ):
            with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState) as caught:
                old.execute("SELECT " + call)
            assert caught.value.diag.message_detail == f"It was taken over by run {taken['run_id']}."
        new.execute("SELECT idempotent_run_publish(%s, 2, 'o')", [taken["run_id"]])
        rows = new.execute("SELECT status, row_count FROM idempotent.pipeline_run_records ORDER BY run_id").fetchall()
        assert rows == [{"status": "taken_over", "row_count": None}, {"status": "published", "row_count": 2}]


def test_a_backend_that_is_killed_while_it_publishes_leaves_the_run_running(own_cluster):
    db = own_cluster.create_database()
    with db.connect() as conn:
        conn.execute("CREATE TABLE made (n int)")
    worker = db.connect()
    run = begin(worker, "d", lease="300 ms")["run_id"]
    worker.execute("BEGIN")
    worker.execute("INSERT INTO made VALUES (1)")
    worker.execute("SELECT idempotent_run_publish(%s)", [run])
    own_cluster.kill_backend(worker.info.backend_pid)
    with pytest.raises(psycopg.OperationalError):
        worker.execute("SELECT 1")
    own_cluster.wait_until_up()
    with db.connect() as conn:
        assert value(conn, "SELECT count(*) FROM made") == 0
        assert value(conn, "SELECT status FROM idempotent.pipeline_run_records") == "running"
        time.sleep(0.4)
        assert begin(conn, "d")["reason"] == "lease_expired"


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_who_has_a_lock_timeout_waits_for_the_transaction_that_begins(db, end):
    got = []
    with db.connect(autocommit=False) as first, db.connect() as second:
        begin(first, "d")
        second.execute("SET lock_timeout = '30s'")
        join = in_background(lambda: got.append(begin(second, "d")))
        assert waits_for_a_lock(db, second, "advisory")
        getattr(first, end)()
        error = join()
        if end == "commit":
            assert error.sqlstate == "55I01"
        else:
            assert error is None and got[0]["decision"] == "run"


def test_a_heartbeat_thread_is_not_in_the_way_of_publishing(db):
    with db.connect() as worker, db.connect() as heart:
        for n in range(ROUNDS):
            run = begin(worker, "d", str(n))["run_id"]
            stop = threading.Event()
            beats = []

            def beat():
                while not stop.is_set():
                    heart.execute("SELECT idempotent_run_heartbeat(%s)", [run])
                    beats.append(1)

            join = in_background(beat)
            until(lambda: beats, pause=0.001)
            worker.execute("SELECT idempotent_run_publish(%s)", [run])
            stop.set()
            error = join()
            assert error is None or error.sqlstate == "55000"


def test_the_history_is_in_dumps(cluster):
    db = cluster.create_database()
    with db.connect() as conn:
        conn.execute("CREATE ROLE pgi_runs_worker")
        conn.execute("SET ROLE pgi_runs_worker")
        conn.execute("SELECT idempotent_run_publish(run_id, 5, 'o') FROM idempotent_run_begin('d', 'p', 'v1')")
        begin(conn, "d", "q", "v1")
        conn.execute("RESET ROLE")
        before = conn.execute("SELECT * FROM idempotent.pipeline_run_records ORDER BY run_id").fetchall()
    try:
        with cluster.connect(dumped_and_restored(db)) as conn:
            assert conn.execute("SELECT * FROM idempotent.pipeline_run_records ORDER BY run_id").fetchall() == before
            conn.execute("SET ROLE pgi_runs_worker")
            assert begin(conn, "d", "p", "v1")["decision"] == "skip"
            again = begin(conn, "d", "p", "v2")
            assert again["decision"] == "run" and again["run_id"] > before[-1]["run_id"]
            conn.execute("SELECT idempotent_run_publish(%s)", [before[1]["run_id"]])
    finally:
        with cluster.connect() as conn:
            conn.execute("DROP ROLE pgi_runs_worker")
