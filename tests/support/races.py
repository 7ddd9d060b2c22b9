"""Sessions that start together, and commits that are retried."""

import collections
import threading

import psycopg
import pytest

from support.sessions import Sessions

READ_COMMITTED = psycopg.IsolationLevel.READ_COMMITTED
REPEATABLE_READ = psycopg.IsolationLevel.REPEATABLE_READ
SERIALIZABLE = psycopg.IsolationLevel.SERIALIZABLE
LEVELS = pytest.mark.parametrize(
    "level", [READ_COMMITTED, REPEATABLE_READ, SERIALIZABLE], ids=lambda level: level.name.lower()
)


def race(db, work, sessions=16, level=READ_COMMITTED):
    """Run `work(number, conn, barrier)` in as many sessions at once, to their end. The level is that of transactions
    that the connection begins: a statement in autocommit is at the server's. What it returned, by number; the first
    exception of any of them is raised."""
    barrier = threading.Barrier(sessions)

    def connect():
        conn = db.connect(autocommit=False)
        conn.isolation_level = level
        return conn

    return Sessions(sessions, connect, lambda number, conn: work(number, conn, barrier), barrier).join()


def commit_with_retry(conn, act, level):
    """Commit `act()`; 40001 is retried where the isolation level entitles the server to it, and nowhere else."""
    for attempt in range(1000):
        try:
            result = act()
            conn.commit()
            return result
        except psycopg.errors.SerializationFailure:
            if level is READ_COMMITTED:
                raise
            conn.rollback()
    raise AssertionError("a thousand serialization failures in a row")


def one_inserted_per_key(outcomes):
    """Of the committed calls of a key one inserted, and the others are duplicates. `outcomes`: (key, outcome) of each
    call. Returns the number of keys."""
    seen = collections.defaultdict(collections.Counter)
    for key, outcome in outcomes:
        seen[key][outcome] += 1
    wrong = {key: dict(counts) for key, counts in seen.items() if counts["inserted"] != 1}
    assert not wrong, wrong
    assert {outcome for counts in seen.values() for outcome in counts} <= {"inserted", "duplicate"}
    return len(seen)
