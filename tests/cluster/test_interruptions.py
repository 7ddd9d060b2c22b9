"""Calls that are cut short, and the same calls again: cancelled, killed, crashed, prepared for two-phase commit."""

import contextlib
import time

import psycopg
import pytest

from support.errors import sqlstate
from support.functions import insert, insert_each, insert_from, insert_many
from support.killing import kill_in_the_middle
from support.project import size
from support.queries import value
from support.rows import create_source, holds_the_source
from support.sessions import in_background
from support.waiting import until_alone, waits_for_a_lock

ROWS = size("PGI_ROWS", 1_000_000) // 4


def prepare_source(conn):
    conn.execute("CREATE TABLE events (id uuid PRIMARY KEY, n int, note text)")
    create_source(conn, ROWS)


def load(conn):
    return insert_from(conn, "events", "source")


@pytest.mark.parametrize("function", ["from", "many"])
def test_a_cancelled_batch_leaves_nothing_and_the_same_call_again_completes_it(db, conn, function):
    prepare_source(conn)
    if function == "many":
        conn.execute("CREATE TABLE arrays AS SELECT jsonb_agg(to_jsonb(s)) AS payloads FROM source s")
        sql = "SELECT r.* FROM arrays, idempotent_insert_many('events', payloads) r"
    else:
        sql = "SELECT * FROM idempotent_insert_from('events', 'source')"
    cancelled = 0
    for delay in (0.02, 0.1, 0.25, 0.5):
        conn.execute(f"SET statement_timeout = '{int(delay * 1000)}ms'")
        try:
            conn.execute(sql)
            break
        except psycopg.errors.QueryCanceled as error:
            cancelled += 1
            assert error.diag.message_primary == "canceling statement due to statement timeout"
            assert value(conn, "SELECT count(*) FROM events") == 0
    assert cancelled
    conn.execute("RESET statement_timeout")
    conn.execute(f"{sql} LIMIT 1")
    assert value(conn, "SELECT count(*) FROM events") == ROWS
    again = conn.execute(sql).fetchone()
    again.pop("replayed", None)
    assert again == {"received": ROWS, "inserted": 0, "duplicates": ROWS, "conflicts": 0, "rejected": 0}


def test_a_cancel_is_answered_within_a_second_in_a_batch_of_duplicates(db, conn):
    prepare_source(conn)
    load(conn)
    started = time.monotonic()
    conn.execute("SET statement_timeout = '50ms'")
    with contextlib.suppress(psycopg.errors.QueryCanceled):
        load(conn)
    assert time.monotonic() - started < 1.05


def test_a_session_that_waits_for_a_winner_can_be_cancelled_and_used_again(db):
    with db.connect() as setup:
        setup.execute("CREATE TABLE events (id int PRIMARY KEY, n int)")
    with db.connect(autocommit=False) as winner, db.connect() as loser:
        for call in (
            lambda: insert(loser, "events", {"id": 1, "n": 1}),
            lambda: insert_many(loser, "events", [{"id": 2, "n": 1}, {"id": 1, "n": 1}]),
            lambda: insert_each(loser, "events", [{"id": 1, "n": 1}]),
        ):
            insert(winner, "events", {"id": 1, "n": 1})
            join = in_background(call)
            assert waits_for_a_lock(db, loser)
            loser.cancel()
            error = join()
            assert error.sqlstate == "57014" and error.diag.message_primary == "canceling statement due to user request"
            winner.rollback()
            assert insert(loser, "events", {"id": 7, "n": 7})["outcome"] in ("inserted", "duplicate")
        assert value(loser, "SELECT count(*) FROM events") == 1


def test_a_terminated_winner_hands_its_key_to_the_waiting_session(db):
    with db.connect() as setup:
        setup.execute("CREATE TABLE events (id int PRIMARY KEY, n int)")
    winner = db.connect(autocommit=False)
    with db.connect() as loser, db.connect() as admin:
        insert(winner, "events", {"id": 1, "n": 1})
        outcome = []
        join = in_background(lambda: outcome.append(insert(loser, "events", {"id": 1, "n": 2})["outcome"]))
        assert waits_for_a_lock(db, loser)
        admin.execute("SELECT pg_terminate_backend(%s)", [winner.info.backend_pid])
        assert join() is None
        assert outcome == ["inserted"]
    winner.close()


@pytest.mark.timeout(180)
def test_a_backend_killed_in_the_middle_and_the_same_call_again_give_the_right_end(own_cluster):
    db = own_cluster.create_database()
    with db.connect() as conn:
        prepare_source(conn)
        # A third is there already and must come out as duplicates whatever happens.
        conn.execute("INSERT INTO events SELECT * FROM source WHERE n % 3 = 0")
        conn.execute("CHECKPOINT")

    def nothing_of_it_is_stored(conn):
        assert value(conn, "SELECT count(*) FROM events") == ROWS // 3

    kill_in_the_middle(own_cluster, db, load, (0.05, 0.2, 0.4), nothing_of_it_is_stored)
    with db.connect() as conn:
        first = load(conn)
        assert first["received"] == ROWS and first["conflicts"] == 0
        assert first["inserted"] in (ROWS - ROWS // 3, 0)
        assert load(conn)["duplicates"] == ROWS
        assert holds_the_source(conn)


def test_after_a_crash_committed_calls_are_duplicates_and_uncommitted_ones_are_gone(own_cluster):
    db = own_cluster.create_database()
    with db.connect() as conn:
        conn.execute("CREATE TABLE events (id int PRIMARY KEY, n int)")
        insert_many(conn, "events", [{"id": n, "n": n} for n in range(100)])
        open_one = db.connect(autocommit=False)
        insert(open_one, "events", {"id": 1000, "n": 1})
        insert_many(open_one, "events", [{"id": n, "n": n} for n in range(100, 200)])
        value(conn, "SELECT pg_current_wal_flush_lsn()")
    own_cluster.crash()
    with contextlib.suppress(psycopg.Error):
        open_one.close()
    with db.connect() as conn:
        assert insert_many(conn, "events", [{"id": n, "n": n} for n in range(200)]) == {
            "received": 200,
            "inserted": 100,
            "duplicates": 100,
            "conflicts": 0,
            "rejected": 0,
        }
        assert insert(conn, "events", {"id": 1000, "n": 2})["outcome"] == "inserted"


def test_a_lost_commit_acknowledgement_is_safe_since_the_retry_is_a_duplicate(db):
    """The client dies after the server has committed and before it hears so; a new session sends the same again."""
    with db.connect() as conn:
        conn.execute("CREATE TABLE events (id int PRIMARY KEY, n int)")
    conn = db.connect(autocommit=False)
    assert insert(conn, "events", {"id": 1, "n": 1})["outcome"] == "inserted"
    conn.pgconn.send_query(b"COMMIT")
    conn.pgconn.finish()
    with db.connect() as check:
        until_alone(check)
    with db.connect() as again:
        assert insert(again, "events", {"id": 1, "n": 1})["outcome"] == "duplicate"


@pytest.mark.parametrize("end, outcome", [("COMMIT", "duplicate"), ("ROLLBACK", "inserted")])
@pytest.mark.parametrize("function", ["insert", "each"])
def test_a_prepared_transaction_is_waited_for_and_the_preparing_session_goes_on(db, end, outcome, function):
    call = insert if function == "insert" else lambda conn, target, payload: insert_each(conn, target, [payload])[0]
    with db.connect() as winner, db.connect() as loser:
        winner.execute("CREATE TABLE events (id int PRIMARY KEY, n int)")
        winner.execute("BEGIN")
        assert call(winner, "events", {"id": 1, "n": 1})["outcome"] == "inserted"
        winner.execute("PREPARE TRANSACTION 'p'")
        # The session that prepared goes on with other keys, and is not deceived about its own.
        assert call(winner, "events", {"id": 2, "n": 2})["outcome"] == "inserted"
        winner.execute("SET lock_timeout = '50ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            call(winner, "events", {"id": 1, "n": 1})
        got = []
        join = in_background(lambda: got.append(call(loser, "events", {"id": 1, "n": 1})["outcome"]))
        assert waits_for_a_lock(db, loser)
        winner.execute(f"{end} PREPARED 'p'")
        assert join() is None
        assert got == [outcome]


def test_a_prepared_transaction_survives_a_restart_and_still_decides(own_cluster):
    db = own_cluster.create_database()
    with db.connect() as conn:
        conn.execute("CREATE TABLE events (id int PRIMARY KEY, n int)")
        conn.execute("BEGIN")
        insert_many(conn, "events", [{"id": 1, "n": 1}, {"id": 2, "n": 2}])
        conn.execute("PREPARE TRANSACTION 'p'")
    own_cluster.crash()
    with db.connect() as conn:
        conn.execute("SET lock_timeout = '50ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            insert(conn, "events", {"id": 2, "n": 2})
        conn.execute("COMMIT PREPARED 'p'")
        assert insert(conn, "events", {"id": 2, "n": 2})["outcome"] == "duplicate"


def test_ddl_between_calls_is_noticed_at_once(db):
    """What the backend remembers of a table must go when the table changes, also by another session's hand."""
    with db.connect() as conn, db.connect() as other:
        other.execute("CREATE TABLE events (id int PRIMARY KEY, v text)")
        assert insert(conn, "events", {"id": 1, "v": "1.0"})["outcome"] == "inserted"
        assert insert(conn, "events", {"id": 1, "v": "1.00"}, on_conflict="report")["outcome"] == "conflict"
        other.execute("ALTER TABLE events ALTER v TYPE numeric(5,1) USING v::numeric")
        assert insert(conn, "events", {"id": 1, "v": "1.00"})["outcome"] == "duplicate"
        other.execute("ALTER TABLE events ADD w int DEFAULT 5")
        assert insert(conn, "events", {"id": 1, "v": "1.00", "w": 5})["outcome"] == "duplicate"
        assert insert_many(conn, "events", [{"id": 2, "v": 1}])["inserted"] == 1
        other.execute("ALTER TABLE events DROP COLUMN v")
        with pytest.raises(psycopg.errors.UndefinedColumn):
            insert(conn, "events", {"id": 1, "v": "1.00"})
        other.execute("ALTER TABLE events RENAME w TO v")
        assert insert(conn, "events", {"id": 1, "v": 5})["outcome"] == "duplicate"
        other.execute("ALTER TABLE events DROP CONSTRAINT events_pkey")
        assert sqlstate(lambda: insert(conn, "events", {"id": 1, "v": 5})) == "42P10"
        other.execute("DELETE FROM events WHERE id = 2; ALTER TABLE events ADD UNIQUE (v)")
        assert insert(conn, "events", {"id": 7, "v": 5}, on_conflict="report")["differences"] == {
            "id": {"stored": 1, "payload": 7}
        }
        other.execute("ALTER TABLE events RENAME TO happenings")
        assert insert(conn, "happenings", {"id": 1, "v": 5})["outcome"] == "duplicate"
        other.execute("DROP TABLE happenings; CREATE TABLE happenings (id text, v int, UNIQUE (v, id))")
        assert insert(conn, "happenings", {"id": "1", "v": 5})["outcome"] == "inserted"
        other.execute("CREATE SCHEMA shadow; CREATE TABLE shadow.happenings (id int PRIMARY KEY)")
        conn.execute("SET search_path = shadow, public")
        assert insert(conn, "happenings", {"id": 1})["outcome"] == "inserted"
        assert value(conn, "SELECT count(*) FROM shadow.happenings") == 1


def test_partitions_that_come_and_go_between_calls_are_noticed(db):
    with db.connect() as conn, db.connect() as other:
        other.execute("CREATE TABLE events (id int PRIMARY KEY, v int) PARTITION BY RANGE (id)")
        other.execute("CREATE TABLE low PARTITION OF events FOR VALUES FROM (0) TO (10)")
        assert insert_many(conn, "events", [{"id": 1, "v": 1}])["inserted"] == 1
        with pytest.raises(psycopg.errors.CheckViolation):
            insert(conn, "events", {"id": 11, "v": 1})
        other.execute("CREATE TABLE high (gone int, v int, id int NOT NULL); ALTER TABLE high DROP gone")
        other.execute("ALTER TABLE events ATTACH PARTITION high FOR VALUES FROM (10) TO (20)")
        assert insert(conn, "events", {"id": 11, "v": 1})["outcome"] == "inserted"
        assert insert(conn, "events", {"id": 11, "v": 2}, on_conflict="report")["outcome"] == "conflict"
        other.execute("ALTER TABLE events DETACH PARTITION low")
        with pytest.raises(psycopg.errors.CheckViolation):
            insert_many(conn, "events", [{"id": 1, "v": 1}])
        assert insert(conn, "low", {"id": 1, "v": 1})["outcome"] == "duplicate"


def test_privileges_revoked_between_calls_are_revoked_at_once(db):
    with db.connect() as conn, db.connect() as other:
        role = "reader_" + db.name
        other.execute(f"CREATE ROLE {role}; CREATE TABLE events (id int PRIMARY KEY, v int)")
        other.execute(f"GRANT SELECT, INSERT ON events TO {role}")
        conn.execute(f"SET ROLE {role}")
        assert insert(conn, "events", {"id": 1, "v": 1})["outcome"] == "inserted"
        assert insert(conn, "events", {"id": 1, "v": 1})["outcome"] == "duplicate"
        other.execute(f"REVOKE INSERT ON events FROM {role}")
        for call in (insert, lambda c, t, p: insert_many(c, t, [p])):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                call(conn, "events", {"id": 1, "v": 1})
        other.execute(f"GRANT INSERT ON events TO {role}; ALTER TABLE events ENABLE ROW LEVEL SECURITY")
        other.execute("CREATE POLICY p ON events USING (v = 1)")
        assert insert(conn, "events", {"id": 1, "v": 1})["outcome"] == "duplicate"
        found = insert(conn, "events", {"id": 1, "v": 2}, on_conflict="report")
        assert found["outcome"] == "conflict" and "stored" not in found["differences"]["v"]
        conn.execute("RESET ROLE")
        found = insert(conn, "events", {"id": 1, "v": 2}, on_conflict="report")
        assert found["differences"] == {"v": {"stored": 1, "payload": 2}}
