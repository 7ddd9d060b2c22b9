"""Overwrites that race each other, die, and come again.

What every race must show: a slice is at any moment one of its sources, whole, for every reader; nobody gets another error
than those that a worker is told to retry on; a reader never waits for long; and the same overwrite again writes nothing.

PGI_ROUNDS   how many overwrites each worker does (default 40)
"""

import json
import random
import threading

import psycopg
import pytest

from support.cluster import running
from support.project import SEED, size
from support.queries import advisory_locks, value
from support.sessions import LEVELS, beside, in_background, together
from support.waiting import waits_for_a_lock

WORKERS = 8
SLICES = 4
ROUNDS = size("PGI_ROUNDS", 40)
KINDS = pytest.mark.parametrize("kind", ["plain", "partitioned"])

PLAIN = "CREATE TABLE sales (day int, worker int, v int)"
PARTITIONED = """
CREATE TABLE sales (day int, worker int, v int) PARTITION BY LIST (day);
""" + "".join(f"CREATE TABLE sales_{day} PARTITION OF sales FOR VALUES IN ({day});\n" for day in range(SLICES))


def overwrite(conn, target, source, **slice):
    return conn.execute(
        "SELECT * FROM idempotent_overwrite(%s::regclass, %s::regclass, %s::jsonb)", [target, source, json.dumps(slice)]
    ).fetchone()


def overwrite_each(conn, target, source, *by):
    return conn.execute(
        "SELECT * FROM idempotent_overwrite_each(%s::regclass, %s::regclass, %s)", [target, source, list(by)]
    ).fetchall()


def prepare(conn, kind):
    """A table of so many slices, and for each worker a source for each: as many rows as its number says, and one."""
    conn.execute(PLAIN if kind == "plain" else PARTITIONED)
    for worker in range(WORKERS):
        for day in range(SLICES):
            conn.execute(
                f"CREATE VIEW source_{worker}_{day} AS SELECT {day} AS day, {worker} AS worker, v FROM generate_series(0, {worker}) v"
            )


# Every slice as a reader finds it: its workers, and whether all of their rows are there, each once.
STATE = """
SELECT day, array_agg(DISTINCT worker ORDER BY worker) AS workers,
       count(*) = max(worker) + 1 AND count(DISTINCT v) = count(*) AS whole
FROM sales GROUP BY day ORDER BY day
"""


def whole(states):
    return all(state["whole"] and len(state["workers"]) == 1 for state in states)


@LEVELS
@KINDS
def test_a_slice_is_whole_whoever_looks_while_eight_workers_overwrite(db, kind, level):
    with db.connect() as conn:
        prepare(conn, kind)
        for day in range(SLICES):
            overwrite(conn, "sales", f"source_0_{day}", day=day)
    states, looks = set(), []
    done = threading.Event()

    def work(number, conn):
        chance = random.Random(SEED + number)
        conn.execute("SET lock_timeout = '60s'")
        for _ in range(ROUNDS):
            day = chance.randrange(SLICES)
            while True:
                try:
                    with conn.transaction(force_rollback=chance.random() < 0.2):
                        overwrite(conn, "sales", f"source_{number}_{day}", day=day)
                    break
                except psycopg.Error as error:
                    states.add(error.sqlstate)

    def look(conn):
        while not done.is_set():
            looks.append(conn.execute(STATE).fetchall())

    reader = beside(db, look)
    try:
        together(db, work, WORKERS, level)
    finally:
        done.set()
        reader.join()
    assert states <= ({"40001"} if level != "read committed" else set()), states
    assert looks
    for seen in looks:
        assert whole(seen) and len(seen) == SLICES, seen
    with db.connect() as conn:
        final = conn.execute(STATE).fetchall()
        assert whole(final) and len(final) == SLICES
        assert advisory_locks(conn) == 0


@LEVELS
def test_overwrites_of_slices_that_overlap_do_not_deadlock(db, level):
    """Half of the workers replace days, half of them shops: each holds rows of the other's slices."""
    with db.connect() as conn:
        conn.execute("CREATE TABLE sales (day int, shop int, writer text, v int)")
        for n in range(SLICES):
            conn.execute(f"CREATE VIEW day_{n} AS SELECT {n} AS day, s AS shop, 'day' AS writer, 0 AS v FROM generate_series(0, {SLICES - 1}) s")
            conn.execute(f"CREATE VIEW shop_{n} AS SELECT d AS day, {n} AS shop, 'shop' AS writer, 0 AS v FROM generate_series(0, {SLICES - 1}) d")
    states = set()

    def work(number, conn):
        chance = random.Random(SEED + number)
        name = "day" if number % 2 else "shop"
        for _ in range(ROUNDS // 2):
            n = chance.randrange(SLICES)
            while True:
                try:
                    overwrite(conn, "sales", f"{name}_{n}", **{name: n})
                    break
                except psycopg.Error as error:
                    states.add(error.sqlstate)

    together(db, work, WORKERS, level)
    assert states <= ({"40001"} if level != "read committed" else set()), states
    with db.connect() as conn:
        # A row under each pair, at most one: two slices that met would have left two.
        assert value(conn, "SELECT count(*) FROM sales") == value(conn, "SELECT count(DISTINCT (day, shop)) FROM sales")
        assert value(conn, "SELECT count(*) FROM sales") > 0


def span(chance, values):
    """A range of these, at times without one of its bounds."""
    low, high = sorted(chance.sample(values, 2))
    bounds = {"from": low, "to": high}
    if chance.random() < 0.3:
        del bounds[chance.choice(["from", "to"])]
    return bounds


def any_slice(chance, values):
    """Of some columns the value, NULL at times, or a range; of none, now and then: the whole table."""
    names = [name for name in values if chance.random() < 0.45]
    return {name: span(chance, values[name]) if chance.random() < 0.5 else chance.choice([*values[name], None]) for name in names}


def condition(slice):
    """The same in SQL."""
    parts = ["true"]
    for name, value in slice.items():
        if isinstance(value, dict):
            parts += [f"{name} {'>=' if bound == 'from' else '<'} '{end}'" for bound, end in value.items()]
        else:
            parts.append(f"{name} IS NULL" if value is None else f"{name} = '{value}'")
    return " AND ".join(parts)


VALUES = {
    "day": [f"2026-01-{day:02}" for day in range(1, 13)],
    "shop": list("abcdef"),
    "n": list(range(-3, 5)),
    "at": [f"2026-01-01 00:00:{second:02}" for second in range(0, 60, 7)],
}
MIXED = "CREATE TABLE mixed (day date, shop text, n bigint, at timestamp)"
# Partitions that a range may hold as a whole, and others.
MIXED_PARTITIONED = f"""
{MIXED} PARTITION BY RANGE (day);
CREATE TABLE mixed_1 PARTITION OF mixed FOR VALUES FROM ('2026-01-01') TO ('2026-01-03');
CREATE TABLE mixed_2 PARTITION OF mixed FOR VALUES FROM ('2026-01-03') TO ('2026-01-04') PARTITION BY LIST (shop);
CREATE TABLE mixed_2a PARTITION OF mixed_2 FOR VALUES IN ('a');
CREATE TABLE mixed_2b PARTITION OF mixed_2 DEFAULT;
CREATE TABLE mixed_3 PARTITION OF mixed FOR VALUES FROM ('2026-01-04') TO ('2026-01-09');
CREATE TABLE mixed_4 PARTITION OF mixed FOR VALUES FROM ('2026-01-09') TO (MAXVALUE);
CREATE TABLE mixed_5 PARTITION OF mixed DEFAULT;
"""


@KINDS
def test_a_slice_is_what_plain_sql_says(conn, kind):
    """Every slice that can be written: DELETE and INSERT with its condition in SQL leave the same rows."""
    chance = random.Random(SEED)
    conn.execute(MIXED if kind == "plain" else MIXED_PARTITIONED)
    conn.execute("CREATE TABLE arriving (LIKE mixed)")

    def fill(table, rows):
        cells = [[chance.choice([*values, None]) for values in VALUES.values()] for _ in range(rows)]
        conn.cursor().executemany(f"INSERT INTO {table} VALUES (%s, %s, %s, %s)", cells)

    def stored():
        return conn.execute("SELECT * FROM mixed ORDER BY mixed").fetchall()

    for _ in range(ROUNDS * 4):
        slice = any_slice(chance, VALUES)
        where = condition(slice)
        conn.execute("TRUNCATE mixed, arriving")
        conn.execute(f"SET pg_idempotent.use_distributed_form = {chance.choice(['on', 'off'])}")
        fill("mixed", chance.choice([1, 30, 100]))
        fill("arriving", chance.choice([0, 30, 300]))
        outside = value(conn, f"SELECT count(*) FROM arriving WHERE ({where}) IS NOT TRUE")
        if outside:
            with pytest.raises(psycopg.errors.CheckViolation):
                overwrite(conn, "mixed", "arriving", **slice)
            conn.execute(f"DELETE FROM arriving WHERE ({where}) IS NOT TRUE")
        with conn.transaction(force_rollback=True):
            equal = value(
                conn,
                f"SELECT NOT EXISTS (SELECT * FROM mixed WHERE {where} EXCEPT ALL TABLE arriving) "
                f"AND NOT EXISTS (TABLE arriving EXCEPT ALL SELECT * FROM mixed WHERE {where})",
            )
            deleted = conn.execute(f"DELETE FROM mixed WHERE {where}").rowcount
            inserted = conn.execute("INSERT INTO mixed TABLE arriving").rowcount
            wanted = stored()
        counts = {"deleted": 0, "inserted": 0, "unchanged": True}
        if not equal:
            counts = {"deleted": deleted, "inserted": inserted, "unchanged": False}
        assert overwrite(conn, "mixed", "arriving", **slice) == counts, (SEED, slice)
        assert stored() == wanted, (SEED, slice)
        assert overwrite(conn, "mixed", "arriving", **slice)["unchanged"], (SEED, slice)


@KINDS
def test_each_is_an_overwrite_of_every_slice_of_the_source(conn, kind):
    """Beside one call for each slice, in their order: the same counts, and the same rows in the end."""
    chance = random.Random(SEED)
    conn.execute(MIXED if kind == "plain" else MIXED_PARTITIONED)
    conn.execute("CREATE TABLE arriving (LIKE mixed)")

    def fill(table, rows):
        cells = [[chance.choice([*values, None]) for values in VALUES.values()] for _ in range(rows)]
        conn.cursor().executemany(f"INSERT INTO {table} VALUES (%s, %s, %s, %s)", cells)

    def stored():
        return conn.execute("SELECT * FROM mixed ORDER BY mixed").fetchall()

    for _ in range(ROUNDS):
        by = [name for name in VALUES if chance.random() < 0.4] or ["day"]
        names = ", ".join(by)
        conn.execute("TRUNCATE mixed, arriving")
        conn.execute(f"SET pg_idempotent.use_distributed_form = {chance.choice(['on', 'off'])}")
        fill("mixed", chance.choice([1, 30, 100]))
        fill("arriving", chance.choice([0, 30, 300]))
        if chance.random() < 0.5:
            conn.execute("INSERT INTO arriving SELECT * FROM mixed WHERE n > 0")
        one_by_one = []
        with conn.transaction(force_rollback=True):
            pairs = ", ".join(f"'{name}', {name}" for name in by)
            slices = conn.execute(
                f"SELECT DISTINCT {names}, jsonb_build_object({pairs}) AS slice FROM arriving ORDER BY {names}"
            ).fetchall()
            for slice in (row["slice"] for row in slices):
                conn.execute(f"CREATE TEMP VIEW of_slice AS SELECT * FROM arriving WHERE {condition(slice)}")
                one_by_one.append({"slice": slice, **overwrite(conn, "mixed", "of_slice", **slice)})
                conn.execute("DROP VIEW of_slice")
            wanted = stored()
        assert overwrite_each(conn, "mixed", "arriving", *chance.sample(by, len(by))) == one_by_one, (SEED, by)
        assert stored() == wanted, (SEED, by)
        assert all(row["unchanged"] for row in overwrite_each(conn, "mixed", "arriving", *by)), (SEED, by)


@LEVELS
@KINDS
def test_slices_of_every_form_take_turns_without_a_deadlock(db, kind, level):
    """Each worker fills its slice, whatever that is, with one row for each pair of day and shop in it."""
    with db.connect() as conn:
        conn.execute((MIXED if kind == "plain" else MIXED_PARTITIONED).replace("bigint, at timestamp", "bigint"))
    states = set()
    values = {name: VALUES[name] for name in ("day", "shop")}

    def work(number, conn):
        chance = random.Random(SEED + number)
        conn.execute("SET lock_timeout = '60s'; CREATE TEMP TABLE arriving (day date, shop text, n bigint)")
        for _ in range(ROUNDS // 2):
            slice = any_slice(chance, values)
            conn.execute("DELETE FROM arriving")
            conn.execute(
                f"INSERT INTO arriving SELECT day, shop, {number} FROM unnest(%s::date[]) day, unnest(%s::text[]) shop WHERE {condition(slice)}",
                [values["day"], values["shop"]],
            )
            while True:
                try:
                    if chance.random() < 0.3:
                        overwrite_each(conn, "mixed", "arriving", *chance.choice([["day"], ["shop"], ["day", "shop"]]))
                    else:
                        overwrite(conn, "mixed", "arriving", **slice)
                    break
                except psycopg.Error as error:
                    states.add(error.sqlstate)

    together(db, work, WORKERS, level)
    assert states <= ({"40001"} if level != "read committed" else set()), states
    with db.connect() as conn:
        assert value(conn, "SELECT count(*) FROM mixed") == value(conn, "SELECT count(DISTINCT (day, shop)) FROM mixed")
        assert advisory_locks(conn) == 0


@KINDS
def test_what_plain_writers_insert_meanwhile_goes_with_a_later_overwrite_or_stays_whole(db, kind):
    """Plain INSERTs know no slice. Each of their rows is there once or, if an overwrite came after it, not at all."""
    with db.connect() as conn:
        prepare(conn, kind)
    done = threading.Event()
    inserted = []

    def insert(conn):
        n = 0
        while not done.is_set():
            n += 1
            conn.execute("INSERT INTO sales VALUES (1, -1, %s)", [n])
            inserted.append(n)

    def work(number, conn):
        for _ in range(ROUNDS):
            overwrite(conn, "sales", f"source_{number}_1", day=1)

    writer = beside(db, insert)
    try:
        together(db, work, 4)
    finally:
        done.set()
        writer.join()
    with db.connect() as conn:
        assert value(conn, "SELECT count(DISTINCT worker) FROM sales WHERE worker >= 0") == 1
        assert value(conn, "SELECT count(*) = max(worker) + 1 FROM sales WHERE worker >= 0")
        plain = [row["v"] for row in conn.execute("SELECT v FROM sales WHERE worker < 0 ORDER BY v").fetchall()]
        assert plain == sorted(set(plain)) and set(plain) <= set(inserted)
        last = overwrite(conn, "sales", "source_3_1", day=1)
        # Unless nobody else has come after the same source.
        assert last["unchanged"] or last["inserted"] == 4
        assert conn.execute(STATE).fetchall() == [{"day": 1, "workers": [3], "whole": True}]


def big(conn, kind):
    conn.execute(PLAIN if kind == "plain" else PARTITIONED)
    conn.execute("CREATE VIEW old AS SELECT 1 AS day, 1 AS worker, v FROM generate_series(1, 20000) v")
    conn.execute("CREATE VIEW new AS SELECT 1 AS day, 2 AS worker, v FROM generate_series(1, 30000) v")
    overwrite(conn, "sales", "old", day=1)


def worker_of(conn):
    return conn.execute("SELECT worker, count(*) FROM sales GROUP BY worker").fetchall()


OLD, NEW = [{"worker": 1, "count": 20000}], [{"worker": 2, "count": 30000}]


@KINDS
@pytest.mark.parametrize("how", ["terminate", "cancel", "kill"])
def test_an_overwrite_that_is_cut_short_leaves_the_old_slice_and_is_done_again(request, kind, how):
    cluster = request.getfixturevalue("own_cluster" if how == "kill" else "cluster")
    db = cluster.create_database()
    with db.connect() as conn:
        big(conn, kind)
    # It is caught with all of the old rows gone and the new ones in, but for the end of its transaction.
    worker = db.connect(autocommit=False)
    done = overwrite(worker, "sales", "new", day=1)
    assert done == {"deleted": 20000, "inserted": 30000, "unchanged": False}
    pid = worker.info.backend_pid
    if how == "kill":
        cluster.kill_backend(pid)
        cluster.wait_until_up()
    elif how == "terminate":
        with db.connect() as other:
            other.execute("SELECT pg_terminate_backend(%s, 10000)", [pid])
    else:
        worker.rollback()
    worker.close()
    with db.connect() as conn:
        assert worker_of(conn) == OLD
        assert overwrite(conn, "sales", "new", day=1) == done
        assert worker_of(conn) == NEW
        assert overwrite(conn, "sales", "new", day=1)["unchanged"]


@KINDS
def test_cancelled_at_any_moment_the_slice_is_old_or_new(db, kind):
    with db.connect() as conn:
        big(conn, kind)
        cancelled = 0
        for n in range(30):
            before = worker_of(conn)
            source, after = ("new", NEW) if before == OLD else ("old", OLD)
            conn.execute(f"SET statement_timeout = '{n * 3 + 1}ms'")
            try:
                overwrite(conn, "sales", source, day=1)
                expected = after
            except psycopg.errors.QueryCanceled:
                cancelled += 1
                expected = before
            conn.execute("RESET statement_timeout")
            assert worker_of(conn) == expected
        assert cancelled


@KINDS
def test_twice_is_once_the_second_time_writes_no_wal(db, kind):
    with db.connect() as conn:
        big(conn, kind)
        conn.execute("VACUUM (FREEZE, ANALYZE) sales")
        conn.execute("CHECKPOINT")
        sql = "SELECT * FROM idempotent_overwrite('sales', '%s', '{\"day\": 1}')"
        # Reading the catalogs may prune their pages, which is no doing of ours.
        for _ in range(2):
            conn.execute(sql % "old")

        def records(source):
            row = conn.execute("EXPLAIN (ANALYZE, WAL, COSTS OFF, FORMAT JSON) " + sql % source).fetchone()
            return row["QUERY PLAN"][0]["Plan"]["WAL Records"]

        assert records("old") == 0
        assert records("new") >= 30000
        files = "SELECT array_agg(pg_relation_filenode(oid) ORDER BY oid) FROM pg_class WHERE relname LIKE 'sales%' AND relkind = 'r'"
        before = value(conn, files)
        with conn.transaction():
            assert overwrite(conn, "sales", "new", day=1)["unchanged"]
            assert value(conn, "SELECT pg_current_xact_id_if_assigned()") is None
        assert value(conn, files) == before


@KINDS
@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
def test_a_prepared_overwrite_holds_its_slice_over_a_restart(own_cluster, kind, end):
    db = own_cluster.create_database()
    with db.connect() as conn:
        big(conn, kind)
        conn.execute("CREATE VIEW two AS SELECT 2 AS day, 2 AS worker, 0 AS v")
        conn.execute("BEGIN")
        overwrite(conn, "sales", "new", day=1)
        conn.execute("PREPARE TRANSACTION 'overwrite'")
    own_cluster.stop("fast")
    own_cluster.start()
    with db.connect() as conn, db.connect() as other:
        conn.execute("SET lock_timeout = '100ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            overwrite(conn, "sales", "old", day=1)
        assert overwrite(conn, "sales", "two", day=2)["inserted"] == 1
        conn.execute("RESET lock_timeout")
        got = []
        join = in_background(lambda: got.append(overwrite(conn, "sales", "old", day=1)))
        assert waits_for_a_lock(db, conn, "advisory")
        other.execute(f"{end} PREPARED 'overwrite'")
        assert join() is None
        assert got == [
            {"deleted": 30000, "inserted": 20000, "unchanged": False}
            if end == "COMMIT"
            else {"deleted": 0, "inserted": 0, "unchanged": True}
        ]


def test_overwrites_of_other_slices_hold_locks_side_by_side(db):
    with db.connect() as conn:
        prepare(conn, "partitioned")
    with db.connect(autocommit=False) as one, db.connect(autocommit=False) as two, db.connect() as look:
        overwrite(one, "sales", "source_3_0", day=0)
        two.execute("SET LOCAL lock_timeout = '1s'")
        overwrite(two, "sales", "source_5_1", day=1)
        held = look.execute(
            "SELECT pid, count(DISTINCT classid::text || objid) AS slices FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 33 AND granted GROUP BY pid"
        ).fetchall()
        assert sorted(row["pid"] for row in held) == sorted([one.info.backend_pid, two.info.backend_pid])
        assert all(row["slices"] == 1 for row in held)
        assert value(look, "SELECT count(*) FROM pg_locks WHERE NOT granted") == 0


def test_a_writer_of_the_source_does_not_get_between_check_and_insert(db):
    """Rows that a source gets while it is read belong to the slice or are refused; what went in was checked."""
    with db.connect() as conn:
        conn.execute("CREATE TABLE sales (day int, v int)")
        conn.execute("CREATE TABLE source (day int, v int)")
    done = threading.Event()

    def change(conn):
        n = 0
        while not done.is_set():
            n += 1
            conn.execute("INSERT INTO source VALUES (%s, %s)", [n % 2, n])
            if n % 5 == 0:
                conn.execute("DELETE FROM source WHERE day = 0")

    writer = beside(db, change)
    refused = accepted = 0
    try:
        with db.connect() as conn:
            for _ in range(ROUNDS * 10):
                try:
                    overwrite(conn, "sales", "source", day=1)
                    accepted += 1
                except psycopg.errors.CheckViolation:
                    refused += 1
                assert value(conn, "SELECT count(*) FROM sales WHERE day <> 1") == 0
    finally:
        done.set()
        writer.join()
    assert accepted and refused


def test_a_slot_that_decodes_without_a_publication_is_told_of_deletes():
    with running(settings={"wal_level": "logical"}) as cluster:
        db = cluster.create_database()
        with db.connect() as conn:
            prepare(conn, "partitioned")
            files = "SELECT pg_relation_filenode('sales_1')"
            before = value(conn, files)
            overwrite(conn, "sales", "source_1_1", day=1)
            overwrite(conn, "sales", "source_2_1", day=1)
            assert value(conn, files) != before
            try:
                conn.execute("SELECT pg_create_logical_replication_slot('decodes', 'test_decoding')")
            except psycopg.errors.UndefinedFile:
                pytest.skip("this server has no test_decoding")
            before = value(conn, files)
            overwrite(conn, "sales", "source_3_1", day=1)
            assert value(conn, files) == before
            changes = [row["data"] for row in conn.execute("SELECT data FROM pg_logical_slot_get_changes('decodes', NULL, NULL)").fetchall()]
            assert sum("DELETE" in change for change in changes) == 3
            assert sum("INSERT" in change for change in changes) == 4
            conn.execute("SELECT pg_drop_replication_slot('decodes')")
            overwrite(conn, "sales", "source_4_1", day=1)
            assert value(conn, files) != before
