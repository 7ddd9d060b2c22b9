"""Sessions that race each other with the same request keys.

What every race must show: the work of a key is done once, every client gets the answer of that one time, and nobody
gets another error than the two that a client is told to retry on: 55I01 and 40001.

PGI_ROUNDS   how many keys are raced for (default 400)
"""

import random
import threading
import time

import psycopg
import pytest

from support.pgbench import failed_transactions, pgbench
from support.project import size
from support.queries import advisory_locks, value
from support.sessions import LEVELS, together

CLIENTS = 16
ROUNDS = size("PGI_ROUNDS", 400)

IN_PROGRESS = "55I01"
SERIALIZATION_FAILURE = "40001"
NOT_HELD = "55000"

COMMAND = "INSERT INTO effects (key, n) VALUES ($1, nextval('numbers')) RETURNING n"


@pytest.fixture
def effects(db):
    with db.connect() as conn:
        conn.execute(
            """
            CREATE SEQUENCE numbers;
            CREATE SEQUENCE draws MINVALUE 16;
            CREATE TABLE effects (key text, n bigint);
            CREATE TABLE answers (key text, response jsonb, replayed boolean);
            """
        )
    return db


def one_effect_one_answer(db, keys):
    with db.connect() as conn:
        assert value(conn, "SELECT count(DISTINCT key) FROM effects") == keys
        assert value(conn, "SELECT count(*) FROM effects") == keys
        wrong = conn.execute(
            """
            SELECT key, count(*), count(DISTINCT response), count(*) FILTER (WHERE NOT replayed) AS runs
            FROM answers a JOIN effects e USING (key) GROUP BY key, e.n
            HAVING count(DISTINCT response) <> 1 OR count(*) FILTER (WHERE NOT replayed) <> 1
                OR min(response -> 0 ->> 'n')::bigint <> e.n
            """
        ).fetchall()
        assert not wrong, wrong[:10]
        assert value(conn, "SELECT count(DISTINCT key) FROM answers") == keys
        assert value(conn, "SELECT count(*) FROM idempotent.request_records WHERE status <> 'finished'") == 0
        assert value(conn, "SELECT count(*) FROM idempotent.request_records") == keys
        assert advisory_locks(conn) == 0


@LEVELS
def test_16_clients_that_wait_for_each_other_run_the_statement_once(effects, level):
    """pgbench, whose clients meet more often than threads do. They draw their keys from one sequence, sixteen draws to a
    key; but pgbench draws again when it retries. They wait for the lock, so there is no 55I01, and at the higher levels
    40001 is retried."""
    db = effects
    keys = ROUNDS
    script = (
        "SELECT nextval('draws') / 16 AS key \\gset\n"
        "BEGIN;\n"
        "INSERT INTO answers SELECT 'key ' || :key, e.*"
        " FROM idempotent_execute('key ' || :key, $c$" + COMMAND + "$c$, jsonb_build_array('key ' || :key)) e;\n"
        "COMMIT;\n"
    )
    options = ("-c", CLIENTS, "-t", keys, "--max-tries", 100_000)
    done = pgbench(db, [(1, script)], *options, settings="-c lock_timeout=60s -c synchronous_commit=off", level=level)
    states = set(done.states)
    assert states <= (set() if level == "read committed" else {SERIALIZATION_FAILURE}), (states, done.stdout[-2000:])
    assert done.returncode == 0, done.stdout[-2000:]
    assert failed_transactions(done) == 0, done.stdout[-2000:]
    # Every call got its answer.
    with db.connect() as conn:
        assert value(conn, "SELECT count(*) FROM answers") == keys * CLIENTS
        drawn = value(conn, "SELECT count(DISTINCT key) FROM answers")
    assert drawn >= keys
    one_effect_one_answer(db, drawn)


def in_sessions(db, work, count, level="read committed", barrier=None):
    """Run `work(number, conn)` in as many sessions at once, whose commits need not reach the disk."""

    def quickly(number, conn):
        conn.execute("SET synchronous_commit = off")
        work(number, conn)

    together(db, quickly, count, level, barrier)


@LEVELS
def test_16_clients_that_retry_run_the_statement_once(effects, level):
    """Nobody waits: who comes second gets 55I01 at once, and comes again."""
    db = effects
    rounds = max(10, ROUNDS // 4)
    barrier = threading.Barrier(CLIENTS)
    met = []

    def work(number, conn):
        for n in range(rounds):
            key = f"key {n}"
            barrier.wait(60)
            for attempt in range(10_000):
                try:
                    with conn.transaction():
                        # Long enough to be met.
                        conn.execute(
                            "INSERT INTO answers SELECT %(key)s, e.*"
                            " FROM idempotent_execute(%(key)s, %(command)s, jsonb_build_array(%(key)s::text)) e, pg_sleep(0.001)",
                            {"key": key, "command": COMMAND},
                        )
                    break
                except psycopg.Error as error:
                    if error.sqlstate not in (IN_PROGRESS, SERIALIZATION_FAILURE):
                        raise
                    if level == "read committed" and error.sqlstate != IN_PROGRESS:
                        raise
                    met.append(error.sqlstate)
                    time.sleep(random.random() * 0.003)
            else:
                raise AssertionError("never got through")

    in_sessions(db, work, CLIENTS, level, barrier)
    assert IN_PROGRESS in met, "nobody met"
    with db.connect() as conn:
        assert value(conn, "SELECT count(*) FROM answers") == rounds * CLIENTS
    one_effect_one_answer(db, rounds)


def test_a_statement_that_fails_for_the_first_lets_the_next_one_run(effects):
    """Every other run fails after its effect. Nothing of it stays, and the key is free for whoever waits."""
    db = effects
    with db.connect() as conn:
        conn.execute(
            """
            CREATE FUNCTION unsure(key text) RETURNS bigint LANGUAGE plpgsql AS $$
            DECLARE drawn bigint := nextval('numbers');
            BEGIN
                INSERT INTO effects VALUES (key, drawn);
                IF drawn % 3 <> 0 THEN RAISE SQLSTATE 'TT001'; END IF;
                RETURN drawn;
            END $$
            """
        )
    keys = max(10, ROUNDS // 10)
    barrier = threading.Barrier(CLIENTS)
    failed = []

    def work(number, conn):
        conn.execute("SET lock_timeout = '60s'")
        for n in range(keys):
            barrier.wait(60)
            while True:
                try:
                    conn.execute(
                        "INSERT INTO answers SELECT %(key)s, e.*"
                        " FROM idempotent_execute(%(key)s, 'SELECT unsure($1) AS n', jsonb_build_array(%(key)s::text)) e",
                        {"key": f"key {n}"},
                    )
                    break
                except psycopg.Error as error:
                    if error.sqlstate != "TT001":
                        raise
                    failed.append(n)

    in_sessions(db, work, CLIENTS, barrier=barrier)
    assert len(failed) > keys // 2
    one_effect_one_answer(db, keys)


def test_of_the_attempts_that_take_over_from_each_other_one_finishes(db):
    """Leases of some milliseconds, work that takes as long, and workers that vanish. Whoever finishes does so alone,
    and all others learn the answer; who was taken over is refused; a recovery point is that of a past attempt."""
    keys = max(20, ROUNDS // 2)
    workers = 8
    finished, taken_over, advanced, attempts = [], [], [], []
    answers = {}

    def work(number, conn):
        dice = random.Random(number)
        for n in range(keys):
            key = f"key {n}"
            while True:
                try:
                    status, attempt, point, response = conn.execute(
                        "SELECT * FROM idempotent_request_begin(%s, '{\"a\": 1}', lease => %s)",
                        [key, f"{dice.choice([1, 3, 6])} ms"],
                    ).fetchone().values()
                except psycopg.Error as error:
                    assert error.sqlstate == IN_PROGRESS, error
                    time.sleep(0.001)
                    continue
                if status == "finished":
                    assert answers.setdefault(key, response) == response
                    break
                attempts.append(attempt)
                if status == "resumed" and point is not None:
                    assert (key, int(point)) in advanced and int(point) < attempt
                else:
                    assert point is None
                assert response is None
                try:
                    for _ in range(dice.randrange(3)):
                        time.sleep(dice.random() * 0.004)
                        # Before: another may see the point before this call comes back.
                        advanced.append((key, attempt))
                        conn.execute("SELECT idempotent_request_advance(%s, %s, %s)", [key, attempt, str(attempt)])
                    if dice.random() < 0.5:
                        continue
                    time.sleep(dice.random() * 0.004)
                    conn.execute("SELECT idempotent_request_finish(%s, %s, %s)", [key, attempt, str(attempt)])
                    finished.append((key, attempt))
                except psycopg.Error as error:
                    assert error.sqlstate == NOT_HELD, error
                    taken_over.append(key)

    in_sessions(db, work, workers)
    assert len(attempts) == len(set(attempts)), "an attempt number was given out twice"
    assert sorted(key for key, _ in finished) == sorted(f"key {n}" for n in range(keys)), "finished twice, or never"
    assert all(answers.get(key, attempt) == attempt for key, attempt in finished)
    assert taken_over, "nobody was taken over"


def test_purge_beside_traffic_takes_no_live_key_and_stops_nobody(db):
    """Workers with keys of their own, some that live for a day and some for 30 ms, so that each knows what begin has to
    say; and two sessions that purge all the time, one of them in transactions that stay open for a while."""
    seconds = 6
    deadline = time.monotonic() + seconds
    ttl = 0.03
    purged, counts = [], {"replayed": 0, "anew": 0, "slowest": 0.0}

    def purge(number, conn):
        while time.monotonic() < deadline:
            with conn.transaction():
                purged.append(value(conn, "SELECT idempotent_purge(%s)", 7 if number else 50))
                if number:
                    time.sleep(0.05)

    def traffic(number, conn):
        dice = random.Random(number)
        known = {}
        while time.monotonic() < deadline:
            key = f"{number} {dice.randrange(60)}"
            began = time.monotonic()
            status, attempt, _, response = conn.execute(
                "SELECT * FROM idempotent_request_begin(%s, '1', ttl => %s)",
                [key, "1 day" if key.endswith("0") else f"{int(ttl * 1000)} ms"],
            ).fetchone().values()
            begun = time.monotonic()
            if key.endswith("0"):
                # The transaction of a purge that has taken such a key would be waited for.
                counts["slowest"] = max(counts["slowest"], begun - began)
            if key in known:
                answer, asked, given = known[key]
                if key.endswith("0") or begun - asked < ttl:
                    assert status == "finished" and response == answer, (key, status, response, answer)
                elif began - given > ttl + 0.001:
                    assert status == "started", (key, status)
            else:
                assert status == "started", (key, status)
            if status == "finished":
                assert response == known[key][0]
                counts["replayed"] += 1
                continue
            counts["anew"] += 1
            asked = time.monotonic()
            conn.execute("SELECT idempotent_request_finish(%s, %s, %s)", [key, attempt, str(attempt)])
            known[key] = (attempt, asked, time.monotonic())

    def work(number, conn):
        conn.execute("SET lock_timeout = '5s'")
        (purge if number < 2 else traffic)(number, conn)

    in_sessions(db, work, 6)
    assert sum(purged) > 50 and counts["replayed"] > 100 and counts["anew"] > 100, (sum(purged), counts)
    assert counts["slowest"] < 2, counts
