"""Rows that are sent to INSERT without a look, because most keys are new: the guess costs time at worst. It never gives
another outcome, never has an effect of its own, and is not made where it could. The protections that these
tests watch: exact commands instead of «ours», READ ONLY, row-level security, statement triggers, plain defaults."""

import psycopg
import pytest

from support.functions import insert, insert_from, insert_many
from support.queries import value

# More than the sample of keys that is looked up before anything is guessed.
NEW = 150


def batch(*stored, first=1_000, count=NEW, **columns):
    """Payloads with fresh keys, sorted behind the stored ones, and those given."""
    fresh = [{"id": first + n, "v": n, **columns} for n in range(count)]
    return list(stored) + fresh


def test_rows_of_the_own_transaction_are_duplicates_not_inserted_again(conn):
    conn.execute("CREATE TABLE events (id int PRIMARY KEY, v int)")
    with conn.transaction():
        conn.execute("INSERT INTO events VALUES (5000, 5)")
        counts = insert_many(conn, "events", batch({"id": 5000, "v": 5}))
        assert (counts["inserted"], counts["duplicates"]) == (NEW, 1)


def test_a_conflict_behind_many_new_keys_is_named(conn):
    conn.execute("CREATE TABLE events (id int PRIMARY KEY, v int); INSERT INTO events VALUES (5000, 5)")
    counts = insert_many(conn, "events", batch({"id": 5000, "v": 6}), on_conflict="report")
    assert (counts["inserted"], counts["duplicates"], counts["conflicts"]) == (NEW, 0, 1)
    assert value(conn, "SELECT v FROM events WHERE id = 5000") == 5


def test_a_retry_succeeds_in_a_read_only_transaction_after_new_keys(conn):
    conn.execute("CREATE TABLE events (id int PRIMARY KEY, v int)")
    payloads = batch()
    assert insert_many(conn, "events", payloads)["inserted"] == NEW
    with conn.transaction():
        conn.execute("SET TRANSACTION READ ONLY")
        assert insert_many(conn, "events", payloads)["duplicates"] == NEW


def test_a_duplicate_that_a_policy_would_refuse_stays_a_duplicate_behind_new_keys(conn):
    conn.execute(
        """
        CREATE TABLE events (id int PRIMARY KEY, v int);
        INSERT INTO events VALUES (5000, -1);
        ALTER TABLE events ENABLE ROW LEVEL SECURITY;
        CREATE POLICY positive ON events USING (true) WITH CHECK (v >= 0);
        DROP ROLE IF EXISTS guess_writer;
        CREATE ROLE guess_writer;
        GRANT INSERT, SELECT ON events TO guess_writer;
        """
    )
    conn.execute("SET ROLE guess_writer")
    counts = insert_many(conn, "events", batch({"id": 5000, "v": -1}))
    conn.execute("RESET ROLE")
    assert (counts["inserted"], counts["duplicates"]) == (NEW, 1)


@pytest.mark.parametrize("rows", [NEW, 25_000])
def test_a_statement_trigger_fires_once_for_new_rows_and_not_for_a_retry(conn, rows):
    conn.execute(
        """
        CREATE TABLE events (id int PRIMARY KEY, v int);
        CREATE TABLE source AS SELECT n AS id, n AS v FROM generate_series(1, %d) n;
        CREATE TABLE fired (n int);
        CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN INSERT INTO fired VALUES (1); RETURN NULL; END';
        CREATE TRIGGER note AFTER INSERT ON events FOR EACH STATEMENT EXECUTE FUNCTION note();
        """
        % rows
    )
    for _ in range(2):
        insert_from(conn, "events", "source")
    assert value(conn, "SELECT count(*) FROM fired") == 1


def test_a_default_that_fails_does_not_fail_a_duplicate(conn):
    conn.execute("CREATE TABLE events (id int PRIMARY KEY, v text NOT NULL DEFAULT current_setting('app.v'))")
    conn.execute("SET app.v = 'a'")
    insert(conn, "events", {"id": 1})
    conn.execute("SET app.v TO DEFAULT")
    with psycopg.connect(conn.info.dsn, autocommit=True) as fresh:
        assert fresh.execute("SELECT outcome FROM idempotent_insert('events', '{\"id\": 1}')").fetchone()[0] == "duplicate"
    assert insert(conn, "events", {"id": 1})["outcome"] == "duplicate"
