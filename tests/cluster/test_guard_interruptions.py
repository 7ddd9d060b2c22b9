"""Guarded loads that are cut short, and the same loads again: cancelled, killed, timed out, crashed."""

import contextlib
import time

import psycopg
import pytest

from support.errors import sqlstate
from support.killing import kill_in_the_middle
from support.logs import FORBIDDEN, Log
from support.memory import MEGABYTE, memory
from support.project import size
from support.queries import KEY_LOCKS, advisory_locks, value
from support.rows import create_source, holds_the_source
from support.sessions import in_background
from support.waiting import until_alone, waits_for_a_lock

ROWS = size("PGI_LOAD_ROWS", 300_000)

TABLES = {
    "plain": "CREATE TABLE events (id uuid PRIMARY KEY, n int, note text); SELECT idempotent_guard('events')",
    "remember": """
        CREATE TABLE events (id uuid PRIMARY KEY, n int, note text, arrived jsonb);
        SELECT idempotent_guard('events', remember => 'arrived')
    """,
    "partitioned": """
        CREATE TABLE events (id uuid PRIMARY KEY, n int, note text) PARTITION BY HASH (id);
        CREATE TABLE events_0 PARTITION OF events FOR VALUES WITH (MODULUS 2, REMAINDER 0);
        CREATE TABLE events_1 PARTITION OF events FOR VALUES WITH (MODULUS 2, REMAINDER 1);
        SELECT idempotent_guard('events')
    """,
}
STORED = "SELECT count(*) FROM events"


def prepare(db, shape="plain", rows=ROWS):
    """The source, the file of its rows, and a guarded table with a third of them in it already."""
    path = db.cluster.root / f"{db.name}.copy"
    with db.connect() as conn:
        create_source(conn, rows)
        conn.execute(f"COPY source TO '{path}'")
        conn.execute(TABLES[shape])
        conn.execute("INSERT INTO events (id, n, note) SELECT * FROM source WHERE n % 3 = 0")
        conn.execute("CHECKPOINT")
    return f"COPY events (id, n, note) FROM '{path}'"


def loads_the_rest_and_then_nothing(conn, load, rows=ROWS):
    assert conn.execute(load).rowcount == rows - rows // 3
    assert conn.execute(load).rowcount == 0
    assert holds_the_source(conn)
    assert value(conn, KEY_LOCKS) == 0


@pytest.mark.parametrize("shape", TABLES)
def test_a_load_that_is_cancelled_or_timed_out_and_run_again_gives_the_source(db, shape):
    load = prepare(db, shape)
    with db.connect() as conn, db.connect() as admin:
        ended = set()
        for delay in (0.01, 0.03, 0.1, 0.2):
            conn.execute(f"SET statement_timeout = '{int(delay * 1000)}ms'")
            with contextlib.suppress(psycopg.errors.QueryCanceled):
                conn.execute(load)
                break
            ended.add("timed out")
            conn.execute("RESET statement_timeout")
            join = in_background(lambda: conn.execute(load))
            time.sleep(delay)
            admin.execute("SELECT pg_cancel_backend(%s)", [conn.info.backend_pid])
            error = join()
            if error is None:
                break
            assert error.sqlstate == "57014" and error.diag.message_primary == "canceling statement due to user request"
            ended.add("cancelled")
            # And a session that is ended altogether.
            other = db.connect()
            join = in_background(lambda: other.execute(load))
            time.sleep(delay)
            admin.execute("SELECT pg_terminate_backend(%s, 10000)", [other.info.backend_pid])
            error = join()
            other.close()
            if error is None:
                break
            assert isinstance(error, psycopg.OperationalError)
            ended.add("terminated")
            assert value(admin, STORED) == ROWS // 3
            assert value(admin, KEY_LOCKS) == 0
        assert ended == {"timed out", "cancelled", "terminated"}
        conn.execute("RESET statement_timeout")
        conn.execute("TRUNCATE events")
        conn.execute("INSERT INTO events (id, n, note) SELECT * FROM source WHERE n % 3 = 0")
        loads_the_rest_and_then_nothing(conn, load)


def test_a_load_whose_client_goes_away_in_the_middle_and_another_one_give_the_source(db):
    prepare(db)
    conn = db.connect()
    rows = "".join(f"{n // 2:032x}\t{n // 2}\tx\n" for n in range(20_000)).encode()
    conn.pgconn.send_query(b"COPY events FROM STDIN")
    while conn.pgconn.is_busy():
        conn.pgconn.consume_input()
    conn.pgconn.get_result()
    conn.pgconn.put_copy_data(rows)
    conn.pgconn.flush()
    conn.pgconn.finish()
    with db.connect() as other:
        until_alone(other)
        assert value(other, STORED) == ROWS // 3
        with other.cursor().copy("COPY events FROM STDIN") as copy:
            copy.write(rows)
        assert value(other, STORED) == ROWS // 3 + 10_000


def test_a_wait_for_a_winner_can_be_cancelled_timed_out_and_limited(db):
    with db.connect() as setup:
        setup.execute("CREATE TABLE events (id int PRIMARY KEY, v int); SELECT idempotent_guard('events')")
        setup.execute("INSERT INTO events VALUES (50, 50)")
    statements = (
        "INSERT INTO events VALUES (1, 1)",
        "INSERT INTO events SELECT n, n FROM generate_series(-10, 10) n",
        "INSERT INTO events VALUES (50, 50)",
    )
    with db.connect(autocommit=False) as winner, db.connect() as loser, db.connect() as admin:
        for statement in statements:
            winner.execute("INSERT INTO events VALUES (1, 1)")
            winner.execute("DELETE FROM events WHERE id = 50")
            join = in_background(lambda: loser.execute(statement))
            assert waits_for_a_lock(db, loser, "transactionid")
            # Never with a key lock in hand.
            assert value(admin, KEY_LOCKS) == 0
            admin.execute("SELECT pg_cancel_backend(%s)", [loser.info.backend_pid])
            assert join().sqlstate == "57014"
            for setting, state in (("statement_timeout", "57014"), ("lock_timeout", "55P03")):
                loser.execute(f"SET {setting} = '30ms'")
                assert sqlstate(lambda: loser.execute(statement)) == state
                # In a subtransaction: the rest of the transaction goes on, and nothing of the wait is left.
                loser.execute("BEGIN; INSERT INTO events VALUES (7, 7); SAVEPOINT s")
                assert sqlstate(lambda: loser.execute(statement)) == state
                loser.execute("ROLLBACK TO SAVEPOINT s")
                loser.execute("INSERT INTO events VALUES (8, 8)")
                assert value(loser, KEY_LOCKS) == 0
                loser.execute("COMMIT")
                loser.execute(f"RESET {setting}")
                assert value(loser, "DELETE FROM events WHERE id IN (7, 8) RETURNING 2") == 2
            winner.rollback()
            assert value(admin, "SELECT array_agg(id) FROM events") == [50]
        assert loser.execute(statements[1]).rowcount == 21


def test_a_terminated_winner_hands_its_key_to_the_waiting_session(db):
    with db.connect() as setup:
        setup.execute("CREATE TABLE events (id int PRIMARY KEY, v int); SELECT idempotent_guard('events')")
    winner = db.connect(autocommit=False)
    with db.connect() as loser, db.connect() as admin:
        winner.execute("INSERT INTO events VALUES (1, 1)")
        inserted = []
        join = in_background(lambda: inserted.append(loser.execute("INSERT INTO events VALUES (1, 2)").rowcount))
        assert waits_for_a_lock(db, loser)
        admin.execute("SELECT pg_terminate_backend(%s)", [winner.info.backend_pid])
        assert join() is None
        assert inserted == [1]
    winner.close()


@pytest.mark.timeout(180)
@pytest.mark.parametrize("shape", ["plain", "partitioned"])
def test_a_backend_killed_in_the_middle_of_a_load_and_the_load_again_give_the_source(own_cluster, shape):
    db = own_cluster.create_database()
    load = prepare(db, shape)

    def nothing_of_it_is_stored(conn):
        assert value(conn, STORED) == ROWS // 3

    kill_in_the_middle(own_cluster, db, lambda conn: conn.execute(load), (0.03, 0.1, 0.2), nothing_of_it_is_stored)
    with db.connect() as conn:
        conn.execute("DELETE FROM events WHERE n % 3 <> 0")
        loads_the_rest_and_then_nothing(conn, load)


@pytest.mark.timeout(180)
def test_a_server_stopped_at_once_in_the_middle_of_a_load_and_the_load_again_give_the_source(own_cluster):
    """What was committed by others meanwhile is a duplicate afterwards, what the load had in is gone."""
    db = own_cluster.create_database()
    load = prepare(db)
    with db.connect() as conn, db.connect() as other:
        join = in_background(lambda: conn.execute(load))
        time.sleep(0.05)
        # Committed in the middle, and durable, of rows that the load comes to late.
        other.execute(f"INSERT INTO events SELECT * FROM source WHERE n > {ROWS - 100}")
        running = value(other, "SELECT state FROM pg_stat_activity WHERE pid = %s", conn.info.backend_pid) == "active"
        own_cluster.stop("immediate")
        error = join()
    own_cluster.start()
    with db.connect() as conn:
        assert value(conn, KEY_LOCKS) == 0
        missing = ROWS - value(conn, STORED)
        if running and error is not None:
            assert missing == ROWS - ROWS // 3 - len([n for n in range(ROWS - 99, ROWS + 1) if n % 3])
        assert conn.execute(load).rowcount == missing
        assert conn.execute(load).rowcount == 0
        assert holds_the_source(conn)


def test_a_prepared_load_survives_a_crash_and_still_decides(own_cluster):
    db = own_cluster.create_database()
    with db.connect() as conn:
        conn.execute("CREATE TABLE events (id int PRIMARY KEY, v int); SELECT idempotent_guard('events')")
        conn.execute("BEGIN; INSERT INTO events SELECT n, n FROM generate_series(1, 100) n; PREPARE TRANSACTION 'load'")
    own_cluster.crash()
    with db.connect() as conn:
        conn.execute("SET lock_timeout = '50ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            conn.execute("INSERT INTO events VALUES (7, 7)")
        conn.execute("COMMIT PREPARED 'load'")
        assert conn.execute("INSERT INTO events SELECT n, n FROM generate_series(1, 101) n").rowcount == 1
        with pytest.raises(psycopg.IntegrityError):
            conn.execute("INSERT INTO events VALUES (7, 8)")


SUBTRANSACTIONS = """
DO $do$
DECLARE n int; inserted int; states text[] := '{{}}';
BEGIN
    FOR n IN {first} .. {last} LOOP
        -- A conflict.
        BEGIN
            INSERT INTO events VALUES (1, 2);
        EXCEPTION WHEN SQLSTATE '23I01' THEN states[1] := SQLSTATE;
        END;
        -- A NULL in the key, after a row that went in.
        BEGIN
            INSERT INTO events VALUES (-n, 1), (NULL, 1);
        EXCEPTION WHEN not_null_violation THEN states[2] := SQLSTATE;
        END;
        -- A constraint that the row violates after the guard has let it through, with the key lock in hand.
        BEGIN
            INSERT INTO events VALUES (-n, -1);
        EXCEPTION WHEN check_violation THEN states[3] := SQLSTATE;
        END;
        -- Another unique index.
        BEGIN
            INSERT INTO events VALUES (-n, 1, 'taken');
        EXCEPTION WHEN unique_violation THEN states[4] := SQLSTATE;
        END;
        -- An error in the middle of a statement, some rows of which are in.
        BEGIN
            INSERT INTO events SELECT -i, 10 / (n - i) FROM generate_series(n - 3, n) i;
        EXCEPTION WHEN division_by_zero THEN states[5] := SQLSTATE;
        END;
        -- An error in a trigger behind the row, and in a function that the statement calls meanwhile.
        BEGIN
            INSERT INTO events SELECT -n, inner_insert(n);
        EXCEPTION WHEN raise_exception THEN states[6] := SQLSTATE;
        END;
        -- Subtransactions in subtransactions: the outer one ends in an error when the inner one went well.
        BEGIN
            BEGIN
                INSERT INTO events VALUES (-n, 1);
                INSERT INTO events VALUES (-n, 2);
            EXCEPTION WHEN SQLSTATE '23I01' THEN
                INSERT INTO events VALUES (-n, 3);
            END;
            INSERT INTO events VALUES (-n, 3);
            RAISE EXCEPTION 'out';
        EXCEPTION WHEN raise_exception THEN states[7] := SQLSTATE;
        END;
        -- And one that goes well.
        BEGIN
            INSERT INTO events VALUES (n % 100, n % 100) ON CONFLICT DO NOTHING;
        END;
    END LOOP;
    IF states <> ARRAY['23I01', '23502', '23514', '23505', '22012', 'P0001', 'P0001'] THEN
        RAISE EXCEPTION 'states: %', states USING ERRCODE = 'data_exception';
    END IF;
END $do$
"""


@pytest.mark.once
@pytest.mark.parametrize("shape", ["plain", "partitioned", "remember"])
def test_thousands_of_failed_subtransactions_leave_nothing_behind(db, shape):
    """No memory, no lock, no warning of the server about what it had to clean up."""
    rounds = size("PGI_ROUNDS", 400) * 8
    with db.connect() as conn:
        columns = "(id int PRIMARY KEY, v int CHECK (v >= 0), email text, arrived jsonb)"
        if shape == "partitioned":
            conn.execute(
                f"""
                CREATE TABLE events {columns} PARTITION BY RANGE (id);
                CREATE TABLE events_low PARTITION OF events FOR VALUES FROM (MINVALUE) TO (0);
                CREATE TABLE events_rest PARTITION OF events DEFAULT;
                CREATE UNIQUE INDEX ON events_low (email);
                """
            )
        else:
            conn.execute(f"CREATE TABLE events {columns}; CREATE UNIQUE INDEX ON events (email)")
        options = "remember => 'arrived'" if shape == "remember" else "ignore => '{arrived}'"
        conn.execute(f"SELECT idempotent_guard('events', {options})")
        conn.execute("INSERT INTO events VALUES (1, 1, NULL), (-2000000, 1, 'taken')")
        conn.execute(
            """
            CREATE FUNCTION inner_insert(n int) RETURNS int LANGUAGE plpgsql AS $$
            BEGIN
                INSERT INTO events VALUES (n + 1000000, 1);
                RAISE EXCEPTION 'inner';
            END $$
            """
        )
        code = SUBTRANSACTIONS
        conn.execute(code.format(first=200, last=400))
        log = Log(db.cluster)
        before = memory(conn)
        for part in range(4):
            first = 401 + part * rounds // 4
            conn.execute(code.format(first=first, last=first + rounds // 4 - 1))
        after = memory(conn)
        assert after[0] - before[0] < MEGABYTE
        assert after[1] - before[1] < 8 * MEGABYTE
        assert advisory_locks(conn) == 0
        assert value(conn, "SELECT count(*) FROM events WHERE id < 0") == 1
    said = log.news()
    assert not FORBIDDEN.search(said), said[:2000]
    assert "WARNING" not in said, said[:2000]


def test_cursors_and_portals_that_end_with_an_aborted_subtransaction(db):
    """A guarded statement can be left open in the middle, by a portal that is read row by row."""
    with db.connect(autocommit=False) as conn:
        conn.execute("CREATE TABLE events (id int PRIMARY KEY, v int); SELECT idempotent_guard('events')")
        conn.execute(
            """
            CREATE FUNCTION sends(first int, last int) RETURNS SETOF int LANGUAGE plpgsql AS $$
            BEGIN
                FOR n IN first .. last LOOP
                    INSERT INTO events VALUES (n, n);
                    RETURN NEXT n;
                END LOOP;
            END $$
            """
        )
        conn.commit()
        for ending in ("CLOSE c", "ROLLBACK TO SAVEPOINT s", "RELEASE SAVEPOINT s"):
            conn.execute("SAVEPOINT s")
            conn.execute("DECLARE c CURSOR FOR SELECT sends(1, 10)")
            conn.execute("FETCH 3 FROM c")
            with pytest.raises(psycopg.IntegrityError):
                conn.execute("SAVEPOINT e")
                conn.execute("INSERT INTO events VALUES (3, 0)")
            conn.execute("ROLLBACK TO SAVEPOINT e")
            conn.execute("FETCH 3 FROM c")
            conn.execute(ending)
            conn.execute("INSERT INTO events VALUES (20, 20)")
            assert value(conn, KEY_LOCKS) == 0
        conn.commit()
        assert value(conn, "SELECT count(*) FROM events") == 11
