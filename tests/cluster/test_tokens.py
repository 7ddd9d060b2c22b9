"""Batches under tokens, sent by many sessions at once: each is done once, and all are told the same."""

import random
from collections import defaultdict

import psycopg
import pytest

from support.functions import call
from support.project import SEED, size
from support.queries import advisory_locks, value
from support.sessions import LEVELS, together

WORKERS = 8
BATCHES = 6
ROUNDS = size("PGI_ROUNDS", 30)


@LEVELS
@pytest.mark.parametrize("function", ["insert_from", "merge"])
def test_a_batch_is_done_once_whoever_sends_it(db, function, level):
    """What a batch stores is told by who stored it: were it done twice, by another worker, the counts would say so."""
    with db.connect() as conn:
        conn.execute("CREATE TABLE events (id int PRIMARY KEY, v int)")
        for batch in range(BATCHES):
            conn.execute(f"CREATE VIEW batch_{batch} AS SELECT g AS id, g AS v FROM generate_series({batch * 10}, {batch * 10 + 14}) AS g")
    states = set()

    def work(number, conn):
        chance = random.Random(SEED + number)
        answers = []
        for _ in range(ROUNDS):
            batch = chance.randrange(BATCHES)
            while True:
                keep = chance.random() < 0.8
                try:
                    with conn.transaction(force_rollback=not keep):
                        sql, parameters = call(function, "regclass", "events", f"batch_{batch}", {"token": f"batch {batch}"})
                        answer = conn.execute(sql, parameters).fetchone()
                    if keep:
                        answers.append((batch, answer))
                    break
                except psycopg.Error as error:
                    states.add(error.sqlstate)
        return answers

    answers = [answer for answers in together(db, work, WORKERS, level) for answer in answers]
    assert states <= ({"40001"} if level != "read committed" else set()), states
    told = defaultdict(list)
    for batch, answer in answers:
        told[batch].append(answer)
    for batch, of_batch in told.items():
        assert [answer.pop("replayed") for answer in of_batch].count(False) == 1, batch
        assert all(answer == of_batch[0] for answer in of_batch), of_batch
    with db.connect() as conn:
        assert value(conn, "SELECT count(*) FROM idempotent.batches") == len(told)
        assert value(conn, "SELECT sum((counts ->> 'inserted')::int) FROM idempotent.batches") == value(conn, "SELECT count(*) FROM events")
        assert advisory_locks(conn) == 0


def test_a_replay_does_not_depend_on_the_number_of_rows(db):
    """It reads no block of source and target, and writes nothing."""
    with db.connect() as conn:
        conn.execute("CREATE TABLE events (id int PRIMARY KEY, v int); CREATE TABLE source AS SELECT g AS id, g AS v FROM generate_series(1, 50000) AS g")
        conn.execute("SELECT * FROM idempotent_insert_from('events', 'source', token => 't')")
        conn.execute("SELECT pg_stat_force_next_flush()")
    reads = "SELECT sum(seq_scan + COALESCE(idx_scan, 0)) FROM pg_stat_user_tables WHERE relname IN ('events', 'source')"
    with db.connect() as conn:
        before, wal = value(conn, reads), value(conn, "SELECT pg_current_wal_insert_lsn()")
    with db.connect() as conn:
        assert conn.execute("SELECT * FROM idempotent_insert_from('events', 'source', token => 't')").fetchone()["replayed"]
        conn.execute("SELECT pg_stat_force_next_flush()")
    with db.connect() as conn:
        assert value(conn, reads) == before
        assert value(conn, "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), %s) < 10000", wal)
