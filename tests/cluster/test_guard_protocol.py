"""The protocol of the guard, step by step: what the races show only now and then."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from support.queries import KEY_LOCKS, value
from support.waiting import until_sql

GATE = """
    CREATE FUNCTION wait_in_first(anything text DEFAULT NULL) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
    BEGIN
        IF current_setting('application_name') = 'first' THEN
            PERFORM pg_advisory_xact_lock(4713);
        END IF;
        RETURN true;
    END $$
"""
KEY_LOCKS_GRANTED = f"{KEY_LOCKS} AND granted = %s"


LOWER = """
    CREATE FUNCTION lower_cmp(text, text) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT bttextcmp(lower($1), lower($2))';
    CREATE FUNCTION lower_lt(text, text) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT lower($1) < lower($2)';
    CREATE FUNCTION lower_le(text, text) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT lower($1) <= lower($2)';
    CREATE FUNCTION lower_eq(text, text) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT lower($1) = lower($2)';
    CREATE FUNCTION lower_ge(text, text) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT lower($1) >= lower($2)';
    CREATE FUNCTION lower_gt(text, text) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT lower($1) > lower($2)';
    CREATE OPERATOR <# (LEFTARG = text, RIGHTARG = text, FUNCTION = lower_lt);
    CREATE OPERATOR <=# (LEFTARG = text, RIGHTARG = text, FUNCTION = lower_le);
    CREATE OPERATOR =# (LEFTARG = text, RIGHTARG = text, FUNCTION = lower_eq);
    CREATE OPERATOR >=# (LEFTARG = text, RIGHTARG = text, FUNCTION = lower_ge);
    CREATE OPERATOR ># (LEFTARG = text, RIGHTARG = text, FUNCTION = lower_gt);
    CREATE OPERATOR CLASS lower_ops FOR TYPE text USING btree AS
        OPERATOR 1 <#, OPERATOR 2 <=#, OPERATOR 3 =#, OPERATOR 4 >=#, OPERATOR 5 >#, FUNCTION 1 lower_cmp(text, text);
    CREATE TABLE events (id text NOT NULL, v int, CHECK (wait_in_first()));
    CREATE UNIQUE INDEX ON events (id lower_ops)
"""
ICU = """
    CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
    CREATE TABLE events (id text COLLATE ci PRIMARY KEY, v int, CHECK (wait_in_first()))
"""
# The index has a collation of its own.
ICU_INDEX = """
    CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
    CREATE TABLE events (id text COLLATE "C" NOT NULL, v int, CHECK (wait_in_first()));
    CREATE UNIQUE INDEX ON events (id COLLATE ci)
"""
NUMERIC = "CREATE TABLE events (id numeric PRIMARY KEY, v int, CHECK (wait_in_first()))"
NULLS = "CREATE TABLE events (id text, v int, CHECK (wait_in_first()), UNIQUE NULLS NOT DISTINCT (id))"


@pytest.mark.parametrize(
    "ddl, first, second",
    [
        pytest.param(NUMERIC, "1.0", "1.00", id="numeric"),
        pytest.param(ICU, "'Ab'", "'aB'", id="collation"),
        pytest.param(ICU_INDEX, "U&'\\00e9'", "U&'e\\0301'", id="collation of the index"),
        pytest.param(LOWER, "'Ab'", "'aB'", id="operator class"),
        pytest.param(NULLS, "NULL", "NULL", id="nulls"),
    ],
)
def test_equal_keys_share_a_lock_however_they_are_written(db, ddl, first, second):
    with db.connect() as gate, db.connect(application_name="first") as one, db.connect() as two:
        if "icu" in ddl and not value(gate, "SELECT count(*) FROM pg_collation WHERE collname = 'und-x-icu'"):
            pytest.skip("needs a server built with ICU")
        gate.execute(GATE)
        gate.execute(ddl)
        gate.execute("SELECT idempotent_guard('events')")
        gate.execute("SELECT pg_advisory_lock(4713)")
        with ThreadPoolExecutor() as pool:
            try:
                # The first is judged, and not yet in the table.
                inserts = [pool.submit(one.execute, f"INSERT INTO events VALUES ({first}, 1)")]
                until_sql(gate, KEY_LOCKS_GRANTED, True)
                inserts.append(pool.submit(two.execute, f"INSERT INTO events VALUES ({second}, 1)"))
                until_sql(gate, KEY_LOCKS_GRANTED, False)
            finally:
                gate.execute("SELECT pg_advisory_unlock(4713)")
            assert [insert.result().rowcount for insert in inserts] == [1, 0]


def test_who_meets_a_speculative_insertion_waits_for_its_end_not_for_its_transaction(db):
    """ON CONFLICT takes a row back that meets another key: the key under which it was is free, and its transaction goes on."""
    with db.connect() as gate, db.connect(application_name="first") as one, db.connect() as two:
        gate.execute(GATE)
        gate.execute(
            """
            CREATE TABLE events (id int PRIMARY KEY, email text);
            CREATE INDEX ON events (wait_in_first(email));
            CREATE UNIQUE INDEX ON events (email);
            SELECT idempotent_guard('events', key => '{id}')
            """
        )
        one.execute("SET pg_idempotent.guard = off")
        two.execute("SET statement_timeout = '10s'")
        gate.execute("SELECT pg_advisory_lock(4713)")
        with ThreadPoolExecutor() as pool:
            try:
                one.execute("BEGIN")
                # Its row is in the first index, with a token, and stops at the second.
                back = pool.submit(one.execute, "INSERT INTO events VALUES (1, 'taken') ON CONFLICT DO NOTHING")
                until_sql(gate, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
                gate.execute("INSERT INTO events VALUES (2, 'taken')")
                waits = pool.submit(two.execute, "INSERT INTO events VALUES (1, 'free')")
                until_sql(gate, "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query ~ '''free'''")
            finally:
                gate.execute("SELECT pg_advisory_unlock(4713)")
            assert back.result().rowcount == 0
            assert waits.result().rowcount == 1
            one.execute("COMMIT")
        assert value(gate, "SELECT array_agg(id ORDER BY id) FROM events") == [1, 2]


def test_a_function_that_meets_a_row_in_a_race_need_not_tell_it_from_a_moved_one(db):
    """Where a partition's guard is disabled, plain duplicates are refused; a function verifies its own."""
    with db.connect() as winner, db.connect() as caller:
        winner.execute(
            """
            CREATE TABLE events (id int PRIMARY KEY, v int) PARTITION BY RANGE (id);
            CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM (0) TO (100);
            CREATE TABLE events_2 PARTITION OF events FOR VALUES FROM (100) TO (200);
            SELECT idempotent_guard('events');
            ALTER TABLE events_2 DISABLE TRIGGER zz_idempotent_guard
            """
        )
        winner.execute("BEGIN")
        winner.execute("INSERT INTO events VALUES (1, 1)")
        with ThreadPoolExecutor() as pool:
            try:
                call = pool.submit(value, caller, "SELECT outcome FROM idempotent_insert('events', '{\"id\": 1, \"v\": 1}')")
                until_sql(winner, "SELECT count(*) FROM pg_locks WHERE locktype = 'transactionid' AND NOT granted")
            finally:
                winner.execute("COMMIT")
            assert call.result() == "duplicate"


@pytest.mark.parametrize("meets", ["a duplicate", "a conflict", "a transaction in progress"])
def test_a_guard_that_is_not_looking_is_not_in_the_way_of_vacuum(db, meets):
    """A page that a scan pins, of table or index, can be neither vacuumed nor frozen."""
    with db.connect() as gate, db.connect(application_name="first") as one, db.connect() as vacuum:
        gate.execute(GATE)
        gate.execute(
            """
            CREATE TABLE events (id int PRIMARY KEY, v int, alias int UNIQUE);
            INSERT INTO events VALUES (1, 1, 1), (3, 3, 3);
            SELECT idempotent_guard('events', key => '{id}', on_conflict => 'quarantine')
            """
        )
        gate.execute("DELETE FROM events WHERE id = 3")
        vacuum.execute("SET statement_timeout = '5s'")
        v = 2 if meets == "a conflict" else 1
        rows = f"SELECT n AS id, CASE WHEN n = 1 THEN {v} WHEN wait_in_first(n::text) THEN 2 END AS v, n AS alias FROM generate_series(1, 2) n"
        sql, end = f"INSERT INTO events {rows}", "SELECT pg_advisory_unlock(4713)"
        if meets == "a transaction in progress":
            gate.execute("BEGIN")
            gate.execute("UPDATE events SET v = 1 WHERE id = 1")
            end = "COMMIT"
        else:
            gate.execute("SELECT pg_advisory_lock(4713)")
        with ThreadPoolExecutor() as pool:
            try:
                sent = pool.submit(one.execute, sql)
                until_sql(vacuum, "SELECT count(*) FROM pg_locks WHERE NOT granted")
                vacuum.execute("VACUUM (FREEZE, INDEX_CLEANUP on) events")
            finally:
                gate.execute(end)
            sent.result()
