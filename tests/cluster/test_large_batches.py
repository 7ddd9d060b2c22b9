"""Batches of thousands of rows.

So many rows that a look did not find go in without ON CONFLICT, in a subtransaction, where nothing but the server looks
at them; if one of them was in somebody's way, that is undone, and all of them are sent again with ON CONFLICT. It may
show in nothing but the time that it takes: not in an outcome, an error, a lock that is kept, or memory.
"""

import random

import psycopg
import pytest

from support.errors import fields
from support.functions import insert_each, insert_from, insert_many
from support.memory import contexts
from support.project import SEED
from support.queries import value
from support.races import LEVELS, READ_COMMITTED, commit_with_retry, race
from support.sessions import in_background
from support.waiting import waits_for_a_lock

BATCH = 5000
TABLE = "CREATE TABLE events (id int PRIMARY KEY, n int, note text DEFAULT 'none')"


def rows(first, count=BATCH, **columns):
    return [{"id": first + n, "n": first + n, **columns} for n in range(count)]


def source(conn, payloads):
    conn.execute("CREATE TEMP TABLE IF NOT EXISTS source (id int, n int)")
    conn.execute("DELETE FROM source")
    with conn.cursor() as cursor, cursor.copy("COPY source FROM STDIN") as copy:
        for row in payloads:
            copy.write_row((row["id"], row["n"]))
    return "source"


def many(conn, payloads, **options):
    return insert_many(conn, "events", payloads, **options)


def each(conn, payloads, **options):
    found = insert_each(conn, "events", payloads, **options)
    outcomes = [row["outcome"] for row in found]
    return {
        "received": len(found),
        "inserted": outcomes.count("inserted"),
        "duplicates": outcomes.count("duplicate"),
        "conflicts": outcomes.count("conflict"),
        "rejected": outcomes.count("rejected"),
    }


def from_source(conn, payloads, **options):
    return insert_from(conn, "events", source(conn, payloads), **options)


def merge(conn, payloads):
    return conn.execute("SELECT * FROM idempotent_merge('events', %s)", [source(conn, payloads)]).fetchone()


INSERTS = {"many": many, "each": each, "from": from_source}
ALL = INSERTS | {"merge": merge}


def plainly(conn):
    """How many rows were written in a subtransaction of the running transaction, and how many in itself."""
    own = "xmin::text::bigint = pg_current_xact_id()::text::bigint % (1::bigint << 32)"
    row = conn.execute(
        f"SELECT count(*) FILTER (WHERE NOT {own}) AS plainly, count(*) FILTER (WHERE {own}) AS on_conflict FROM events"
    ).fetchone()
    return tuple(row.values())


@pytest.mark.parametrize("function", ["many", "from", "merge"])
def test_many_new_rows_go_in_plainly_few_do_not(conn, function):
    conn.execute(TABLE)
    least = 200 if function == "merge" else BATCH
    for count, wanted in ((least, (least, 0)), (least - 1, (0, least - 1))):
        with conn.transaction(force_rollback=True):
            assert ALL[function](conn, rows(1, count))["inserted"] == count
            assert plainly(conn) == wanted


@pytest.mark.parametrize("new, wanted", [(200, (200, 0)), (199, (0, 199))])
def test_new_rows_among_as_many_stored_ones_go_in_plainly(conn, new, wanted):
    """Their keys are looked up anyway."""
    conn.execute(TABLE)
    conn.execute("INSERT INTO events SELECT i, i FROM generate_series(2, %s, 2) i", [2 * new])
    with conn.transaction(force_rollback=True):
        assert many(conn, rows(1, 2 * new))["inserted"] == new
        in_subtransaction, in_itself = plainly(conn)
        # Those that were stored are of another transaction.
        assert (in_subtransaction - new, in_itself) == wanted


NOT_PLAINLY = {
    "row_trigger": "CREATE TRIGGER t BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION pass()",
    "after_trigger": "CREATE TRIGGER t AFTER INSERT ON events FOR EACH ROW EXECUTE FUNCTION pass()",
    "statement_trigger": "CREATE TRIGGER t BEFORE INSERT ON events EXECUTE FUNCTION pass()",
    "foreign_key": "CREATE TABLE other (n int PRIMARY KEY); INSERT INTO other SELECT generate_series(1, 9999); "
    "ALTER TABLE events ADD FOREIGN KEY (n) REFERENCES other",
    "deferrable": "ALTER TABLE events ADD UNIQUE (n) DEFERRABLE",
}


@pytest.mark.parametrize("function", ["many", "from", "merge"])
@pytest.mark.parametrize("what", NOT_PLAINLY)
def test_where_others_look_at_the_rows_none_is_sent_twice(conn, function, what):
    conn.execute(TABLE)
    conn.execute("CREATE FUNCTION pass() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'")
    conn.execute(NOT_PLAINLY[what])
    with conn.transaction(force_rollback=True):
        assert ALL[function](conn, rows(1))["inserted"] == BATCH
        assert plainly(conn) == (0, BATCH)


@pytest.mark.once
@pytest.mark.parametrize("function", ["many", "from", "merge"])
def test_a_transaction_has_32_such_subtransactions_and_the_next_begins_anew(conn, function):
    conn.execute(TABLE)
    for _ in range(2):
        with conn.transaction(force_rollback=True):
            for n in range(40):
                assert ALL[function](conn, rows(n * BATCH))["inserted"] == BATCH
            assert plainly(conn) == (32 * BATCH, 8 * BATCH)
            for n in range(40):
                assert ALL[function](conn, rows(n * BATCH)).get("inserted") == 0


@LEVELS
@pytest.mark.parametrize("shape", ["plain", "partitioned"])
def test_overlapping_large_batches_neither_collide_nor_deadlock_and_insert_each_key_once(db, level, shape):
    partitions = " PARTITION BY HASH (id)" if shape == "partitioned" else ""
    with db.connect() as conn:
        conn.execute(TABLE + partitions)
        if partitions:
            conn.execute("CREATE TABLE events_0 PARTITION OF events FOR VALUES WITH (MODULUS 2, REMAINDER 0)")
            conn.execute("CREATE TABLE events_1 PARTITION OF events FOR VALUES WITH (MODULUS 2, REMAINDER 1)")

    def work(number, conn, barrier):
        dice = random.Random(f"{SEED} {number}")
        outcomes = []
        counted = 0
        for n in range(6 if level is READ_COMMITTED else 3):
            payloads = rows(n * 2500 + number % 3 * 400)
            dice.choice([list.reverse, dice.shuffle, lambda rows: None])(payloads)
            barrier.wait()
            kind = (number + n) % 3
            if kind == 0:
                done = commit_with_retry(conn, lambda p=payloads: insert_each(conn, "events", p), level)
                outcomes += [(p["id"], row["outcome"]) for p, row in zip(payloads, done, strict=True)]
                continue
            act = many if kind == 1 else from_source
            done = commit_with_retry(conn, lambda p=payloads, act=act: act(conn, p), level)
            assert done["received"] == BATCH == done["inserted"] + done["duplicates"]
            counted += done["inserted"]
        return outcomes, counted

    results = race(db, work, sessions=6, level=level)
    with db.connect() as conn:
        assert value(conn, "SELECT count(*) FROM events WHERE n = id AND note = 'none'") == value(
            conn, "SELECT count(*) FROM events"
        )
        inserted = sum(outcome == "inserted" for outcomes, _ in results for _, outcome in outcomes)
        assert inserted + sum(counted for _, counted in results) == value(conn, "SELECT count(*) FROM events")


@pytest.mark.parametrize("work_mem", ["4MB", "64kB"])
@pytest.mark.parametrize("function", ALL)
def test_a_batch_whose_key_another_session_was_faster_with(db, function, work_mem):
    """The winner has an equal row, another row, or rolls back; with little memory the rows lie on disk by then."""
    with db.connect() as conn:
        conn.execute(TABLE)
    with db.connect(autocommit=False) as winner, db.connect() as loser:
        loser.execute(f"SET work_mem = '{work_mem}'")
        for first, end, n in ((0, "commit", 1500), (10_000, "commit", 7), (20_000, "rollback", 7)):
            winner.execute("INSERT INTO events VALUES (%s, %s)", [first + 1500, first + n])
            got = []
            options = {} if function == "merge" else {"on_conflict": "report"}
            payloads = rows(first)
            payloads.append(payloads[3])
            join = in_background(lambda p=payloads, o=options, got=got: got.append(ALL[function](loser, p, **o)))
            assert waits_for_a_lock(db, loser, "transactionid")
            getattr(winner, end)()
            assert join() is None
            fine = BATCH - (end == "commit")
            wanted = {"received": BATCH + 1, "inserted": fine}
            if function == "merge":
                wanted |= {"superseded": 1, "stale": 0, "deleted": 0, "updated": BATCH - fine if n == 7 else 0}
                wanted["unchanged"] = BATCH - fine - wanted["updated"]
            else:
                wanted["conflicts"] = BATCH - fine if n == 7 else 0
                wanted["rejected"] = 0
                wanted["duplicates"] = BATCH + 1 - fine - wanted["conflicts"]
            assert not got[0].pop("replayed", False)
            assert got[0] == wanted
            stored = value(loser, "SELECT n FROM events WHERE id = %s", first + 1500)
            assert stored == (first + n if end == "commit" and function != "merge" else first + 1500)
            assert value(loser, "SELECT count(*) FROM events WHERE id >= %s", first) == BATCH


@pytest.mark.parametrize("function", ["many", "from"])
def test_the_error_after_a_lost_race_is_the_conflict_and_nothing_of_the_unique_violation(db, function):
    with db.connect() as conn:
        conn.execute(TABLE)
    with db.connect(autocommit=False) as winner, db.connect() as loser:
        winner.execute("INSERT INTO events VALUES (1500, 7)")
        join = in_background(lambda: INSERTS[function](loser, rows(1)))
        assert waits_for_a_lock(db, loser, "transactionid")
        winner.commit()
        error = join()
        assert error.sqlstate == "23I01"
        diag = error.diag
        assert (diag.schema_name, diag.table_name, diag.column_name) == ("public", "events", "n")
        assert diag.constraint_name == "events_pkey"
        assert diag.message_primary == 'payload conflicts with the stored row in table "events"'
        sent = {"many": "Payload 1500", "from": "Row 1500 of the source"}[function]
        assert diag.message_detail == f"{sent}: Key (id)=(1500) is stored with n=7; the payload has n=1500."
        assert "duplicate key" not in str(error) and not (diag.context or "").count("INSERT INTO")
        assert value(loser, "SELECT count(*) FROM events") == 1
        # In quarantine it is recorded once.
        assert INSERTS[function](loser, rows(1), on_conflict="quarantine")["conflicts"] == 1
        assert value(loser, "SELECT count(*) FROM idempotent.conflicts") == 1


@LEVELS
@pytest.mark.parametrize("function", ["many", "from", "merge"])
def test_a_key_that_the_snapshot_cannot_see(db, function, level):
    with db.connect() as other, db.connect(autocommit=False) as conn:
        other.execute(TABLE)
        conn.isolation_level = level
        conn.execute("SELECT FROM events")
        other.execute("INSERT INTO events VALUES (1500, 1500)")
        if level is READ_COMMITTED:
            assert ALL[function](conn, rows(1))["inserted"] == BATCH - 1
        else:
            with pytest.raises(psycopg.errors.SerializationFailure):
                ALL[function](conn, rows(1))
            conn.rollback()
            assert ALL[function](conn, rows(1))["inserted"] == BATCH - 1
        conn.commit()
        assert value(other, "SELECT count(*) FROM events") == BATCH


REFUSALS = {
    "unique": "CREATE UNIQUE INDEX events_n ON events (n); INSERT INTO events VALUES (-1, 1900)",
    "unique_within": "CREATE UNIQUE INDEX events_n ON events ((n / 2))",
    "exclusion": "ALTER TABLE events ADD EXCLUDE USING btree (n WITH =); INSERT INTO events VALUES (-1, 1900)",
    "check": "ALTER TABLE events ADD CONSTRAINT few CHECK (n < 1900)",
    "not_null": "ALTER TABLE events ADD more int NOT NULL DEFAULT NULL",
    "generated": "ALTER TABLE events ADD g int GENERATED ALWAYS AS (1 / (n - 1900)) STORED",
    "domain": "CREATE DOMAIN few AS int CHECK (VALUE < 1900); ALTER TABLE events ALTER n TYPE few",
    "foreign_key": "CREATE TABLE other (n int PRIMARY KEY); INSERT INTO other SELECT generate_series(1, 1899); "
    "ALTER TABLE events ADD CONSTRAINT fk FOREIGN KEY (n) REFERENCES other",
    "raised_23505": "CREATE FUNCTION refuse(int) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN IF $1 = 1900 THEN RAISE 'mine' "
    "USING ERRCODE = '23505', CONSTRAINT = 'mine', DETAIL = 'a detail'; END IF; RETURN true; END $$; "
    "ALTER TABLE events ADD CONSTRAINT few CHECK (refuse(n))",
}


@pytest.mark.parametrize("function", ["many", "from", "merge"])
@pytest.mark.parametrize("what", REFUSALS)
def test_what_the_table_refuses_is_postgresqls_own_error_whole_and_once(db, conn, function, what):
    conn.execute(TABLE)
    conn.execute(REFUSALS[what])
    before = value(conn, "SELECT count(*) FROM events")
    source(conn, rows(1))
    with pytest.raises(psycopg.Error) as native:
        conn.execute("INSERT INTO events (id, n) SELECT id, n FROM source ORDER BY id")
    with conn.transaction():
        with pytest.raises(psycopg.Error) as ours, conn.transaction():
            ALL[function](conn, rows(1))
        # The transaction goes on.
        assert value(conn, "SELECT count(*) FROM events") == before
    assert fields(ours.value) == fields(native.value)
    assert (ours.value.diag.context or "").count("INSERT INTO") <= 1
    assert value(conn, "SELECT count(*) FROM events") == before


@pytest.mark.parametrize("function", ["many", "from", "merge"])
@pytest.mark.parametrize("what", ["foreign_key", "unique"])
def test_deferred_constraints_are_checked_at_commit(conn, function, what):
    conn.execute(TABLE)
    conn.execute(
        {
            "foreign_key": f"CREATE TABLE other (n int PRIMARY KEY); INSERT INTO other SELECT generate_series(1, {BATCH - 1}); "
            "ALTER TABLE events ADD FOREIGN KEY (n) REFERENCES other DEFERRABLE INITIALLY DEFERRED",
            "unique": f"INSERT INTO events VALUES (-1, {BATCH}); ALTER TABLE events ADD UNIQUE (n) DEFERRABLE INITIALLY DEFERRED",
        }[what]
    )
    before = value(conn, "SELECT count(*) FROM events")
    conn.execute("BEGIN")
    assert ALL[function](conn, rows(1))["inserted"] == BATCH
    with pytest.raises(psycopg.errors.IntegrityError) as error:
        conn.execute("COMMIT")
    assert error.value.sqlstate == {"foreign_key": "23503", "unique": "23505"}[what]
    assert value(conn, "SELECT count(*) FROM events") == before
    conn.execute("BEGIN")
    assert ALL[function](conn, rows(1))["inserted"] == BATCH
    conn.execute(f"DELETE FROM events WHERE n = {BATCH}")
    conn.execute("COMMIT")
    assert value(conn, "SELECT count(*) FROM events") == BATCH - 1


@pytest.mark.parametrize("function", ALL)
def test_savepoints_take_rows_back_that_went_in_plainly(conn, function):
    conn.execute(TABLE)
    act = ALL[function]
    with conn.transaction():
        assert act(conn, rows(1))["inserted"] == BATCH
        with conn.transaction(force_rollback=True):
            assert act(conn, rows(BATCH + 1))["inserted"] == BATCH
            assert act(conn, rows(1, BATCH * 2))["inserted"] == 0
        assert act(conn, rows(1, BATCH * 2))["inserted"] == BATCH
    assert value(conn, "SELECT count(*) FROM events") == BATCH * 2
    conn.execute("BEGIN")
    assert act(conn, rows(BATCH * 2 + 1))["inserted"] == BATCH
    conn.execute("ROLLBACK")
    assert value(conn, "SELECT count(*) FROM events") == BATCH * 2


def test_duplicates_and_conflicts_inside_a_large_batch_have_their_ordinals(conn):
    conn.execute(TABLE)
    payloads = rows(1)
    payloads.insert(700, {"id": 100, "n": 100})
    payloads.insert(1700, {"id": 50, "n": -50})
    for act, later, first in ((many, "Payload 1701", "payload 50"), (from_source, "Row 1701 of the source", "row 50 of the source")):
        with pytest.raises(psycopg.Error) as error:
            act(conn, payloads)
        assert error.value.sqlstate == "23I01"
        assert error.value.diag.message_detail == f"{later}: Key (id)=(50) is stored by {first} with n=50; the payload has n=-50."
        assert value(conn, "SELECT count(*) FROM events") == 0
        with conn.transaction(force_rollback=True):
            counts = act(conn, payloads, on_conflict="quarantine")
            assert not counts.pop("replayed", False)
            assert counts == {"received": BATCH + 2, "inserted": BATCH, "duplicates": 1, "conflicts": 1, "rejected": 0}
            assert value(conn, "SELECT payload FROM idempotent.conflicts") == {"id": 50, "n": -50}
    found = insert_each(conn, "events", payloads, on_conflict="report")
    odd = {row["ordinal"]: row["outcome"] for row in found if row["outcome"] != "inserted"}
    assert odd == {701: "duplicate", 1701: "conflict"}


def test_defaults_are_computed_once_a_row_where_nobody_is_in_the_way(conn):
    conn.execute("CREATE TABLE events (id int PRIMARY KEY, n int, no serial, at timestamptz DEFAULT clock_timestamp())")
    assert many(conn, rows(1))["inserted"] == BATCH
    assert value(conn, "SELECT last_value FROM events_no_seq") == BATCH
    assert value(conn, "SELECT count(DISTINCT no) FROM events") == BATCH


@pytest.mark.parametrize("function", ["many", "from", "merge"])
def test_a_wait_in_the_middle_can_be_cancelled_and_the_transaction_goes_on(db, function):
    with db.connect() as conn:
        conn.execute(TABLE)
    with db.connect(autocommit=False) as winner, db.connect() as loser:
        winner.execute("INSERT INTO events VALUES (1500, 1500)")

        def act():
            with loser.transaction():
                try:
                    with loser.transaction():
                        ALL[function](loser, rows(1))
                except psycopg.errors.QueryCanceled:
                    loser.execute("INSERT INTO events VALUES (0, 0)")

        join = in_background(act)
        assert waits_for_a_lock(db, loser, "transactionid")
        loser.cancel()
        assert join() is None
        winner.rollback()
        assert value(loser, "SELECT count(*) FROM events") == 1
        assert ALL[function](loser, rows(1))["inserted"] == BATCH


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
@pytest.mark.parametrize("function", ["many", "merge"])
def test_a_large_batch_can_be_prepared_and_is_waited_for(db, function, end):
    with db.connect() as conn, db.connect() as other:
        conn.execute(TABLE)
        conn.execute(f"CREATE VIEW steady AS SELECT g AS id, g AS n FROM generate_series(1, {BATCH}) g")
        calls = {"many": lambda c: many(c, rows(1)), "merge": lambda c: c.execute(MERGE_STEADY).fetchone()}
        conn.execute("BEGIN")
        assert calls[function](conn)["inserted"] == BATCH
        conn.execute("PREPARE TRANSACTION 'large'")
        got = []
        join = in_background(lambda: got.append(calls[function](other)))
        assert waits_for_a_lock(db, other, "transactionid")
        conn.execute(f"{end} PREPARED 'large'")
        assert join() is None
        assert got[0]["inserted"] == (0 if end == "COMMIT" else BATCH)
        assert value(conn, "SELECT count(*) FROM events") == BATCH


MERGE_STEADY = "SELECT * FROM idempotent_merge('events', 'steady')"


@pytest.mark.once
def test_memory_is_flat_whether_batches_go_in_fail_or_lose(db):
    with db.connect() as conn, db.connect(autocommit=False) as winner:
        conn.execute(TABLE)
        conn.execute("ALTER TABLE events ADD CONSTRAINT positive CHECK (n > 0)")

        def goes_in(n):
            many(conn, rows(1 + n * BATCH))

        def fails(n):
            with pytest.raises(psycopg.errors.CheckViolation):
                many(conn, [*rows(100_000_000), {"id": 200_000_000, "n": -1}])

        def loses(n):
            first = 300_000_000 + n * BATCH
            winner.execute("INSERT INTO events VALUES (%s, 1)", [first + 1500])
            join = in_background(lambda: many(conn, rows(first), on_conflict="report"))
            assert waits_for_a_lock(db, conn, "transactionid")
            winner.commit()
            assert join() is None

        for act in (goes_in, fails, loses):
            for n in range(3):
                act(n)
            before = contexts(conn)
            for n in range(3, 13):
                act(n)
            assert contexts(conn) - before < 64 * 1024, act.__name__
