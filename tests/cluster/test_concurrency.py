"""Sessions that race each other under the same fresh keys.

What every round must show: no unique violation, no deadlock, one row a key, exactly one `inserted` among the committed
calls of a key, and all other outcomes `duplicate`.
"""

import collections
import json
import random

import psycopg
import pytest

from support.functions import insert, insert_each, insert_from, insert_many
from support.project import size
from support.queries import value
from support.races import LEVELS, READ_COMMITTED, commit_with_retry, one_inserted_per_key, race


@LEVELS
def test_16_sessions_sending_the_same_fresh_keys_one_by_one_insert_each_once(db, level):
    rounds = size("PGI_ROUNDS", 400)
    with db.connect() as conn:
        conn.execute("CREATE TABLE events (id uuid PRIMARY KEY, n int, note text)")
    keys = [f"{n:032x}" for n in range(rounds)]

    def work(number, conn, barrier):
        outcomes = []
        for n, key in enumerate(keys):
            if n % 10 == 0:
                barrier.wait()
            payload = {"id": key, "n": n, "note": "x"}
            result = commit_with_retry(conn, lambda: insert(conn, "events", payload), level)
            outcomes.append((key, result["outcome"]))
        return outcomes

    results = race(db, work, level=level)
    assert one_inserted_per_key(o for session in results for o in session) == rounds
    with db.connect() as conn:
        assert value(conn, "SELECT count(*) FROM events") == rounds


@LEVELS
def test_overlapping_batches_in_opposite_orders_neither_deadlock_nor_collide(db, level):
    """Even sessions send a batch forwards, odd ones backwards or shuffled, some by _each, some by _many or _from, some
    with the key's columns named in another order, and the payloads of a batch name different columns."""
    rounds = size("PGI_ROUNDS", 400) // 20
    if level is not READ_COMMITTED:
        rounds = max(1, rounds // 3)
    # Longer than the run of new keys after which the rest of a batch may be taken for new.
    batch = 200
    with db.connect() as conn:
        conn.execute("CREATE TABLE events (day date, no text, n int, note text DEFAULT 'none', PRIMARY KEY (day, no))")

    def payload(n):
        row = {"day": f"2013-11-{n % 7 + 1:02}", "no": str(n), "n": n}
        if n % 3 == 0:
            row["note"] = "none"
        if n % 5 == 0:
            del row["n"]
        return row

    def work(number, conn, barrier):
        dice = random.Random(number)
        outcomes = []
        counts = collections.Counter()
        conn.execute("CREATE TEMP TABLE source (no text, day date, n int) ON COMMIT PRESERVE ROWS")
        conn.commit()
        for n in range(rounds):
            rows = [payload(k) for k in range(n * batch // 2, n * batch // 2 + batch)]
            if number % 4 == 1:
                rows.reverse()
            elif number % 4 == 3:
                dice.shuffle(rows)
            how = (number + n) % 4
            key = [None, ["day", "no"], ["no", "day"]][dice.randrange(3)]
            if how == 0:
                conn.execute("TRUNCATE source")
                conn.execute(
                    "INSERT INTO source SELECT no, day, n FROM jsonb_populate_recordset(null::source, %s)",
                    [json.dumps([r for r in rows if "n" in r])],
                )
                conn.commit()
            barrier.wait()
            if how == 0:
                call = lambda: insert_from(conn, "events", "source", key=key)
            elif how == 1:
                call = lambda: insert_many(conn, "events", rows, key=key)
            else:
                call = lambda: insert_each(conn, "events", rows, key=key)
            result = commit_with_retry(conn, call, level)
            if how < 2:
                assert result["conflicts"] == 0
                assert result["received"] == result["inserted"] + result["duplicates"]
                counts["inserted"] += result["inserted"]
            else:
                for row, outcome in zip(rows, result, strict=True):
                    assert outcome["outcome"] in ("inserted", "duplicate")
                    counts[outcome["outcome"]] += 1
        return counts

    results = race(db, work, level=level)
    with db.connect() as conn:
        stored = value(conn, "SELECT count(*) FROM events")
        assert stored == (rounds + 1) * batch // 2
        assert sum(counts["inserted"] for counts in results) == stored


@LEVELS
def test_winners_that_roll_back_leave_the_key_to_the_next(db, level):
    """Four of ten calls are rolled back. Nobody may take a rolled back row for stored."""
    rounds = size("PGI_ROUNDS", 400) // 3
    with db.connect() as conn:
        conn.execute("CREATE TABLE events (id bigint PRIMARY KEY, n int)")

    def work(number, conn, barrier):
        dice = random.Random(number)
        outcomes = []
        for n in range(rounds):
            if n % 5 == 0:
                barrier.wait()
            while True:
                try:
                    if dice.random() < 0.5:
                        result = insert(conn, "events", {"id": n, "n": n})["outcome"]
                    else:
                        (row,) = insert_each(conn, "events", [{"id": n, "n": n}])
                        result = row["outcome"]
                    if dice.random() < 0.4:
                        conn.rollback()
                        continue
                    conn.commit()
                    outcomes.append((n, result))
                    break
                except psycopg.errors.SerializationFailure:
                    assert level is not READ_COMMITTED
                    conn.rollback()
        return outcomes

    results = race(db, work, level=level)
    assert one_inserted_per_key(o for session in results for o in session) == rounds


@LEVELS
def test_of_differing_payloads_one_is_stored_and_the_others_are_conflicts_with_it(db, level):
    """Sessions send one of two versions of each event. A version is stored, its senders get inserted once and duplicate
    otherwise, and every sender of the other version is told exactly what differs."""
    rounds = size("PGI_ROUNDS", 400) // 3
    with db.connect() as conn:
        conn.execute("CREATE TABLE events (id bigint PRIMARY KEY, version int, note text)")

    def work(number, conn, barrier):
        seen = []
        version = number % 2
        for n in range(rounds):
            if n % 5 == 0:
                barrier.wait()
            payload = {"id": n, "version": version, "note": "same"}
            if number % 4 < 2:
                call = lambda: insert(conn, "events", payload, on_conflict="report")
            else:
                call = lambda: insert_each(conn, "events", [payload], on_conflict="report")[0]
            result = commit_with_retry(conn, call, level)
            seen.append((n, version, result["outcome"], result["differences"], result["stored"]))
        return seen

    results = race(db, work, level=level)
    with db.connect() as conn:
        stored = {row["id"]: row["version"] for row in conn.execute("SELECT id, version FROM events")}
    inserted = collections.Counter()
    for key, version, outcome, differences, row in (entry for session in results for entry in session):
        assert row == {"id": key, "version": stored[key], "note": "same"}
        if version == stored[key]:
            assert outcome in ("inserted", "duplicate") and differences is None
            inserted[key] += outcome == "inserted"
        else:
            assert outcome == "conflict"
            assert differences == {"version": {"stored": stored[key], "payload": version}}
    assert inserted == dict.fromkeys(range(rounds), 1)


DELETED_FROM = {
    "plain": "CREATE TABLE events (id int PRIMARY KEY, n int)",
    "drawing": "CREATE TABLE events (id int PRIMARY KEY, n int, no serial)",
    "with_before_trigger": """
        CREATE TABLE events (id int PRIMARY KEY, n int);
        CREATE FUNCTION pass() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
        CREATE TRIGGER pass BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION pass()""",
    "partitioned": """
        CREATE TABLE events (id int PRIMARY KEY, n int) PARTITION BY HASH (id);
        CREATE TABLE events_0 PARTITION OF events FOR VALUES WITH (MODULUS 2, REMAINDER 0);
        CREATE TABLE events_1 PARTITION OF events FOR VALUES WITH (MODULUS 2, REMAINDER 1)""",
}


@pytest.mark.parametrize("table", DELETED_FROM)
def test_rows_deleted_between_look_and_verify_are_inserted_again_never_lost(db, table):
    """Half of the sessions delete what the others insert. A call may say `duplicate` only of a row that was there: so
    the number of inserts less the number of deletes is what the table holds in the end."""
    rounds = size("PGI_ROUNDS", 400) * 2
    with db.connect() as conn:
        conn.execute(DELETED_FROM[table])

    def work(number, conn, barrier):
        dice = random.Random(number)
        balance = 0
        barrier.wait()
        for n in range(rounds):
            key = dice.randrange(4)
            if number % 2:
                balance -= conn.execute("DELETE FROM events WHERE id = %s", [key]).rowcount
            elif dice.random() < 0.5:
                outcome = insert(conn, "events", {"id": key, "n": key})["outcome"]
                assert outcome in ("inserted", "duplicate")
                balance += outcome == "inserted"
            else:
                rows = [{"id": k, "n": k} for k in range(4)]
                try:
                    counts = insert_many(conn, "events", rows)
                except psycopg.errors.DeadlockDetected:
                    # A key that vanishes after its turn goes in out of order (docs/isolation.md). Only deletes bring that about,
                    # and only to batches of several rows; the retry is the caller's.
                    conn.rollback()
                    continue
                assert counts["conflicts"] == 0 and counts["received"] == 4
                balance += counts["inserted"]
            # Locks of two deletes in a transaction could deadlock by themselves: one statement a transaction.
            conn.commit()
        return balance

    results = race(db, work)
    with db.connect() as conn:
        assert value(conn, "SELECT count(*) FROM events") == sum(results)


def test_rows_updated_meanwhile_are_verified_in_their_newest_version(db):
    """A session toggles a column and back; no caller may see anything but the two versions that were ever committed."""
    rounds = size("PGI_ROUNDS", 400) * 2
    with db.connect() as conn:
        conn.execute("CREATE TABLE events (id int PRIMARY KEY, a int, b int)")
        conn.execute("INSERT INTO events VALUES (1, 0, 0)")

    def work(number, conn, barrier):
        barrier.wait()
        for n in range(rounds):
            if number < 2:
                conn.execute("UPDATE events SET a = 1 - a, b = 1 - b WHERE id = 1")
            else:
                result = insert(conn, "events", {"id": 1, "a": 0, "b": 0}, on_conflict="report")
                if result["outcome"] == "conflict":
                    one = {"stored": 1, "payload": 0}
                    assert result["differences"] == {"a": one, "b": one}
                    assert result["stored"] == {"id": 1, "a": 1, "b": 1}
                else:
                    assert result["outcome"] == "duplicate"
                    assert result["stored"] == {"id": 1, "a": 0, "b": 0}
            conn.commit()

    race(db, work, sessions=8)


def test_plain_inserts_and_on_conflict_race_with_the_functions(db):
    """Writers that do not use the extension share the table; only they can get a unique violation."""
    rounds = size("PGI_ROUNDS", 400)
    with db.connect() as conn:
        conn.execute("CREATE TABLE events (id int PRIMARY KEY, n int)")

    def work(number, conn, barrier):
        mine = 0
        for n in range(rounds):
            if n % 10 == 0:
                barrier.wait()
            if number % 4 == 0:
                try:
                    conn.execute("INSERT INTO events VALUES (%s, %s)", [n, n])
                    mine += 1
                except psycopg.errors.UniqueViolation:
                    conn.rollback()
                    continue
            elif number % 4 == 1:
                mine += conn.execute("INSERT INTO events VALUES (%s, %s) ON CONFLICT DO NOTHING", [n, n]).rowcount
            elif number % 4 == 2:
                mine += insert(conn, "events", {"id": n, "n": n})["outcome"] == "inserted"
            else:
                mine += insert_many(conn, "events", [{"id": n, "n": n}])["inserted"]
            conn.commit()
        return mine

    assert sum(race(db, work)) == rounds


@pytest.mark.parametrize("shape", ["partitioned", "text_key_icu_free", "not_distinct", "expression_default"])
def test_odd_targets_survive_the_race_too(db, shape):
    rounds = size("PGI_ROUNDS", 400) // 10
    ddl = {
        "partitioned": """
            CREATE TABLE events (a int, b text, n int, PRIMARY KEY (a, b)) PARTITION BY LIST (a);
            CREATE TABLE e0 PARTITION OF events FOR VALUES IN (0) PARTITION BY HASH (b);
            CREATE TABLE e0x (n int, gone int, b text NOT NULL, a int NOT NULL);
            ALTER TABLE e0x DROP COLUMN gone;
            ALTER TABLE e0 ATTACH PARTITION e0x FOR VALUES WITH (MODULUS 2, REMAINDER 0);
            CREATE TABLE e0y PARTITION OF e0 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
            CREATE TABLE e1 PARTITION OF events DEFAULT""",
        "text_key_icu_free": 'CREATE TABLE events (a int, b text COLLATE "C", n int, PRIMARY KEY (b, a))',
        "not_distinct": "CREATE TABLE events (a int, b text, n int, UNIQUE NULLS NOT DISTINCT (a, b))",
        "expression_default": "CREATE TABLE events (a int, b text, n int, t timestamptz DEFAULT clock_timestamp(), "
        "s bigserial, PRIMARY KEY (a, b))",
    }[shape]
    with db.connect() as conn:
        conn.execute(ddl)

    def work(number, conn, barrier):
        inserted = 0
        dice = random.Random(number)
        for n in range(rounds):
            rows = [
                {"a": k % 3, "b": None if shape == "not_distinct" and k % 7 == 0 else f"k{n * 20 + k}", "n": k % 3}
                for k in range(40)
            ]
            dice.shuffle(rows)
            barrier.wait()
            inserted += insert_many(conn, "events", rows)["inserted"]
            conn.commit()
        return inserted

    total = sum(race(db, work, sessions=8))
    with db.connect() as conn:
        assert total == value(conn, "SELECT count(*) FROM events")
        assert total == value(conn, "SELECT count(*) FROM (SELECT DISTINCT a, b FROM events) d")


def test_quarantine_under_concurrency_records_an_unresolved_conflict_once(db):
    with db.connect() as conn:
        conn.execute("CREATE TABLE events (id int PRIMARY KEY, n int); INSERT INTO events VALUES (1, 1)")

    def work(number, conn, barrier):
        for n in range(20):
            barrier.wait()
            result = insert(conn, "events", {"id": 1, "n": 100 + n}, on_conflict="quarantine")
            assert result["outcome"] == "conflict"
            conn.commit()

    race(db, work, sessions=8)
    with db.connect() as conn:
        rows = conn.execute("SELECT payload->>'n' AS n, count(*) FROM idempotent.conflicts GROUP BY 1").fetchall()
        assert {row["n"]: row["count"] for row in rows} == {str(100 + n): 1 for n in range(20)}
