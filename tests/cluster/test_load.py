"""idempotent_load from outside: seen by other sessions, cancelled, killed, beside others that write and change the table.

What every test must show: killed at any moment and called again, the table is what one call would have made it; and
idempotent.loads tells what is committed, no more and no less.

PGI_ROUNDS   how often a load is killed (default 12)
"""

import random
import re
import threading
import time

import psycopg
import pytest

from support.dumps import dumped_and_restored
from support.project import SEED, size
from support.queries import advisory_locks, value
from support.sessions import in_background
from support.waiting import until, until_sql, waits_for_a_lock

ROUNDS = size("PGI_ROUNDS", 12)
ROWS = 6000

LOADED = re.compile(r'loaded "target": (\d+) rows? in \d+\.\d s: (\d+) inserted, (\d+) duplicates?, (\d+) conflicts?')


@pytest.fixture
def tables(db):
    make_tables(db)
    return db


def make_tables(db):
    with db.connect() as conn:
        conn.execute(
            f"""
            CREATE TABLE target (id int PRIMARY KEY, v text);
            CREATE TABLE source AS SELECT (i * 7919) % 10007 AS id, 'v' || i AS v FROM generate_series(1, {ROWS}) AS i;
            CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                PERFORM pg_sleep(current_setting('test.sleep')::float);
                RETURN NULL;
            END $$;
            CREATE FUNCTION status(OUT text) LANGUAGE sql AS $$ SELECT status FROM idempotent.loads ORDER BY load_id DESC LIMIT 1 $$;
            """
        )


def sleep_after_each_statement(db, seconds):
    """Every batch of up to 10,000 rows is one INSERT: a statement trigger makes it slow."""
    with db.connect() as conn:
        conn.execute("CREATE TRIGGER slow AFTER INSERT ON target FOR EACH STATEMENT EXECUTE FUNCTION slow()")
        conn.execute(f"ALTER DATABASE {db.name} SET test.sleep = '{seconds}'")


def load(conn, batch_size=500, **options):
    named = "".join(f", {name} => '{text}'" for name, text in options.items())
    conn.execute(f"CALL idempotent_load('target', 'source', batch_size => {batch_size}{named})")


def complete(db):
    with db.connect() as conn:
        difference = "(TABLE source EXCEPT ALL TABLE target) UNION ALL (TABLE target EXCEPT ALL TABLE source)"
        return value(conn, f"SELECT count(*) FROM ({difference}) AS d") == 0


def latest(conn):
    return conn.execute("SELECT * FROM idempotent.loads ORDER BY load_id DESC LIMIT 1").fetchone()


def wait_for(conn, condition):
    """The latest load, once the condition holds for it."""

    def found():
        row = latest(conn)
        return row if row and condition(row) else None

    return until(found, words=lambda: f"not in time: {latest(conn)}")


def test_its_progress_is_seen_from_another_session_and_is_what_is_committed(tables):
    db = tables
    sleep_after_each_statement(db, 0.05)
    with db.connect() as loader, db.connect() as watcher:
        watcher.execute("SET default_transaction_isolation = 'repeatable read'")
        join = in_background(lambda: load(loader))
        seen = []
        while True:
            with watcher.transaction():
                row = latest(watcher)
                stored = value(watcher, "SELECT count(*) FROM target")
            if row is None:
                continue
            seen.append(row)
            assert row["rows_done"] == row["inserted"] == stored
            assert row["pid"] == loader.info.backend_pid
            assert row["status"] in ("running", "finished"), row
            if row["status"] == "finished":
                break
            time.sleep(0.005)
        assert join() is None
    assert [row["rows_done"] for row in seen] == sorted(row["rows_done"] for row in seen)
    assert len({row["rows_done"] for row in seen}) > ROWS / 500 / 2
    assert seen[-1]["rows_total"] == seen[-1]["rows_done"] == ROWS and seen[-1]["batches"] == ROWS / 500
    assert complete(db)


def test_while_the_source_is_read_the_load_is_there_without_a_total(tables):
    db = tables
    with db.connect() as conn:
        conn.execute("CREATE VIEW sleepy AS SELECT id, v FROM (SELECT *, pg_sleep(0.001) FROM source LIMIT 300) AS s")
    with db.connect() as loader, db.connect() as watcher:
        join = in_background(lambda: loader.execute("CALL idempotent_load('target', 'sleepy')"))
        row = wait_for(watcher, lambda row: True)
        assert (row["status"], row["rows_total"], row["rows_done"]) == ("running", None, 0)
        assert join() is None
        assert latest(watcher)["status"] == "finished"


def test_notices_come_at_a_human_pace(tables):
    db = tables
    with db.connect() as conn:
        # Two and a half seconds to read the source, three to load it.
        conn.execute("CREATE VIEW slowly AS SELECT id, v FROM (SELECT *, CASE WHEN id % 100 = 0 THEN pg_sleep(0.05) END FROM source) AS s")
    sleep_after_each_statement(db, 0.5)
    notices = []
    with db.connect() as conn:
        conn.add_notice_handler(lambda notice: notices.append((time.monotonic(), notice.severity, notice.message_primary, notice.context)))
        started = time.monotonic()
        conn.execute("CALL idempotent_load('target', 'slowly', batch_size => 500)")
        assert all(severity == "NOTICE" and context is None for _, severity, _, context in notices)
        texts = [text for _, _, text, _ in notices]
        assert re.fullmatch(r'reading rows for "target": \d+ rows, \d+ rows/s', texts[0])
        assert all(
            re.fullmatch(r'loading "target": \d+ of 6000 rows \(\d+ %\), \d+ rows/s, \d+ s left', text) for text in texts[1:-1]
        )
        assert LOADED.fullmatch(texts[-1]).groups() == ("6000", "6000", "0", "0")
        assert 3 <= len(texts) <= 4, texts
        assert notices[0][0] - started >= 1.9
        assert notices[1][0] - notices[0][0] >= 4.9
        # A load that is quick says only what came of it; and one that is not wanted says nothing.
        notices.clear()
        load(conn)
        assert [LOADED.fullmatch(text).group(3) for _, _, text, _ in notices] == ["6000"]
        notices.clear()
        conn.execute("SET client_min_messages = warning")
        load(conn)
        assert not notices


def test_it_is_cancelled_and_called_again(tables):
    db = tables
    sleep_after_each_statement(db, 0.05)
    with db.connect() as loader, db.connect() as other:
        join = in_background(lambda: load(loader))
        before = wait_for(other, lambda row: row["batches"] >= 2)
        other.execute("SELECT pg_cancel_backend(%s)", [before["pid"]])
        error = join()
        assert error.sqlstate == "57014"
        row = latest(other)
        assert (row["status"], row["error"]) == ("failed", "canceling statement due to user request")
        assert row["rows_done"] == value(other, "SELECT count(*) FROM target")
        assert 0 < row["rows_done"] < ROWS
        # The session goes on.
        load(loader)
        row = latest(other)
        assert row["status"] == "finished" and row["duplicates"] > 0 and row["duplicates"] + row["inserted"] == ROWS
    assert complete(db)


def test_a_statement_timeout_counts_for_the_whole_load(tables):
    db = tables
    sleep_after_each_statement(db, 0.1)
    with db.connect() as conn:
        conn.execute("SET statement_timeout = '400ms'")
        with pytest.raises(psycopg.errors.QueryCanceled):
            load(conn)
        assert latest(conn)["status"] == "failed"
        assert 0 < value(conn, "SELECT count(*) FROM target") < ROWS


def test_it_is_terminated(tables):
    db = tables
    sleep_after_each_statement(db, 0.05)
    with db.connect() as loader, db.connect() as other:
        join = in_background(lambda: load(loader))
        before = wait_for(other, lambda row: row["batches"] >= 2)
        other.execute("SELECT pg_terminate_backend(%s, 10000)", [before["pid"]])
        assert join().sqlstate == "57P01"
        row = latest(other)
        assert row["status"] == "died" and row["rows_done"] == value(other, "SELECT count(*) FROM target")
        load(other)
        states = other.execute("SELECT status FROM idempotent.loads ORDER BY load_id").fetchall()
        assert [row["status"] for row in states] == ["died", "finished"]
    assert complete(db)


def test_a_load_with_a_token_that_was_terminated_goes_on_and_is_answered_once_it_has_ended(tables):
    db = tables
    sleep_after_each_statement(db, 0.05)
    with db.connect() as loader, db.connect() as other:
        join = in_background(lambda: load(loader, token="t"))
        before = wait_for(other, lambda row: row["batches"] >= 2)
        # Another one with the token waits, and does the rest.
        with db.connect() as second:
            rest = in_background(lambda: load(second, batch_size=400, token="t"))
            until_sql(other, "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)")
            other.execute("SELECT pg_terminate_backend(%s, 10000)", [before["pid"]])
            assert join().sqlstate == "57P01"
            assert rest() is None
        row = latest(other)
        assert row["status"] == "finished" and row["duplicates"] > 0 and row["duplicates"] + row["inserted"] == ROWS
        other.execute("DELETE FROM target WHERE id % 2 = 0")
        load(other, token="t")
        again = latest(other)
        assert again["replayed"] and not row["replayed"]
        assert [again[count] for count in ("rows_done", "inserted", "duplicates")] == [ROWS, row["inserted"], row["duplicates"]]
        assert value(other, "SELECT count(*) FROM target WHERE id % 2 = 0") == 0
        load(other)
    assert complete(db)


def test_killed_at_random_moments_it_ends_in_the_same_state(own_cluster):
    db = own_cluster.create_database()
    make_tables(db)
    sleep_after_each_statement(db, 0.005)
    random.seed(SEED)
    died = 0
    for _ in range(ROUNDS):
        with db.connect() as conn:
            conn.execute("DELETE FROM target WHERE id %% 100 < %s", [random.randint(0, 100)])
        loader = db.connect()
        join = in_background(lambda: load(loader, batch_size=random.choice([100, 250])))
        time.sleep(random.random() * 0.4)
        own_cluster.kill_backend(loader.info.backend_pid)
        if join() is None:
            # It was done before.
            with pytest.raises(psycopg.Error):
                loader.execute("SELECT 1")
        own_cluster.wait_until_up()
        with db.connect() as conn:
            rows = conn.execute("SELECT status, rows_done FROM idempotent.loads").fetchall()
            assert all(row["status"] in ("died", "finished") for row in rows), rows
            died += sum(row["status"] == "died" for row in rows)
            load(conn, batch_size=1000)
            assert latest(conn)["status"] == "finished"
            conn.execute("DELETE FROM idempotent.load_records")
        assert complete(db)
    assert died > 0


def test_two_loads_of_one_source_at_once(tables):
    db = tables
    sleep_after_each_statement(db, 0.005)
    with db.connect() as one, db.connect() as two:
        joins = [in_background(lambda conn=conn, n=n: load(conn, batch_size=n)) for conn, n in ((one, 130), (two, 170))]
        assert [join() for join in joins] == [None, None]
        rows = one.execute("SELECT status, inserted, duplicates, rows_done FROM idempotent.loads").fetchall()
    assert [row["status"] for row in rows] == ["finished"] * 2
    assert sum(row["inserted"] for row in rows) == sum(row["duplicates"] for row in rows) == ROWS
    assert complete(db)


def test_vacuum_and_analyze_do_not_stop_it_nor_does_it_stop_them(tables):
    db = tables
    sleep_after_each_statement(db, 0.02)
    with db.connect() as loader, db.connect() as other:
        other.execute("SET lock_timeout = '10s'")
        join = in_background(lambda: load(loader))
        wait_for(other, lambda row: row["batches"] >= 1)
        for command in ("ANALYZE target", "VACUUM target", "CREATE INDEX ON target (v)", "VACUUM (FULL) target", "REINDEX TABLE CONCURRENTLY target"):
            other.execute(command)
        assert latest(other)["status"] == "running"
        other.execute("ALTER TABLE target ADD CONSTRAINT mild CHECK (id < 100000)")
        other.execute("SELECT idempotent_guard('target')")
        assert join() is None
        assert latest(other)["status"] == "finished"
    assert complete(db)


CHANGES = {
    "ALTER TABLE target ADD COLUMN w int": "Its columns have changed.",
    "ALTER TABLE target ALTER COLUMN v TYPE varchar(50)": "Its columns have changed.",
    "ALTER TABLE target RENAME COLUMN v TO w": "Its columns have changed.",
    "ALTER TABLE target DROP COLUMN v": "Its columns have changed.",
    "ALTER TABLE target DROP CONSTRAINT target_pkey": "The unique index that decides has changed.",
    "DROP TABLE target": None,
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_target_that_is_changed_between_two_batches_ends_it(tables, change):
    db = tables
    sleep_after_each_statement(db, 0.05)
    with db.connect() as loader, db.connect() as other:
        join = in_background(lambda: load(loader))
        wait_for(other, lambda row: row["batches"] >= 1)
        other.execute(change)
        error = join()
        assert error.sqlstate == "55000", error
        verb = "dropped" if change.startswith("DROP TABLE") else "changed"
        assert error.diag.message_primary == f'table "target" was {verb} while it was loaded'
        assert error.diag.message_detail == CHANGES[change]
        row = latest(other)
        assert (row["status"], row["error"]) == ("failed", error.diag.message_primary)


def test_a_target_that_is_renamed_is_loaded_under_its_new_name(tables):
    db = tables
    sleep_after_each_statement(db, 0.05)
    with db.connect() as loader, db.connect() as other:
        join = in_background(lambda: load(loader))
        wait_for(other, lambda row: row["batches"] >= 1)
        other.execute("ALTER TABLE target RENAME TO renamed")
        assert join() is None
        assert value(other, "SELECT count(*) FROM renamed") == ROWS


def test_a_right_that_is_revoked_between_two_batches_ends_it(tables):
    db = tables
    sleep_after_each_statement(db, 0.05)
    with db.connect() as loader, db.connect() as other:
        other.execute("CREATE ROLE pgi_loader")
        try:
            other.execute("GRANT SELECT ON source, target TO pgi_loader; GRANT INSERT ON target TO pgi_loader")
            loader.execute("SET ROLE pgi_loader")
            join = in_background(lambda: load(loader))
            wait_for(other, lambda row: row["batches"] >= 1)
            other.execute("REVOKE INSERT ON target FROM pgi_loader")
            assert join().sqlstate == "42501"
            assert latest(other)["status"] == "failed"
        finally:
            loader.close()
            other.execute("DROP OWNED BY pgi_loader; DROP ROLE pgi_loader")


def test_what_others_write_meanwhile_is_verified(tables):
    """Another session inserts the same keys while the load runs, half of them with another value."""
    db = tables
    sleep_after_each_statement(db, 0.01)
    stop = threading.Event()

    def write():
        with db.connect() as conn:
            n = 0
            while not stop.is_set() and n < 300:
                n += 1
                conn.execute(
                    "INSERT INTO target SELECT id, CASE WHEN id %% 2 = 0 THEN v ELSE 'another' END FROM source OFFSET %s LIMIT 20 ON CONFLICT DO NOTHING",
                    [n * 17 % (ROWS - 20)],
                )

    with db.connect() as conn:
        join = in_background(write)
        load(conn, batch_size=200, on_conflict="report")
        stop.set()
        assert join() is None
        row = latest(conn)
        assert row["inserted"] + row["duplicates"] + row["conflicts"] == row["rows_done"] == ROWS
        assert value(conn, "SELECT count(*) FROM target") == ROWS
        assert row["conflicts"] == value(conn, "SELECT count(*) FROM target WHERE v = 'another'")


def test_a_lock_on_a_row_is_waited_for_between_commits(tables):
    db = tables
    with db.connect() as loader, db.connect(autocommit=False) as holder, db.connect() as other:
        holder.execute("INSERT INTO target SELECT * FROM source WHERE id = (SELECT id FROM source ORDER BY id OFFSET 3000 LIMIT 1)")
        join = in_background(lambda: load(loader))
        assert waits_for_a_lock(db, loader)
        row = latest(other)
        assert row["status"] == "running" and row["rows_done"] == value(other, "SELECT count(*) FROM target") == 3000
        holder.rollback()
        assert join() is None
    assert complete(db)


def test_errors_keep_every_field_and_the_server_no_files(tables):
    """The rows do not fit into work_mem: sort and store are on disk when the error comes, again and again in one session."""
    db = tables
    with db.connect() as conn:
        conn.execute("ALTER TABLE target ADD CONSTRAINT \"not 9000\" CHECK (id <> 9000)")
        conn.execute("INSERT INTO source VALUES (9000, repeat('x', 1000)) ")
        conn.execute("DELETE FROM source WHERE id = 9000 AND v LIKE 'v%'")
        conn.execute("SET work_mem = '64kB'")
        for _ in range(5):
            with pytest.raises(psycopg.errors.CheckViolation) as caught:
                load(conn)
            diag = caught.value.diag
            assert (diag.schema_name, diag.table_name, diag.constraint_name) == ("public", "target", "not 9000")
            assert diag.message_detail.startswith("Failing row contains (9000, xxx")
            assert value(conn, "SELECT count(*) FROM pg_ls_tmpdir()") == 0
            assert advisory_locks(conn) == 0
        conn.execute("UPDATE source SET v = 'differs' WHERE id = (SELECT max(id) FROM target)")
        with pytest.raises(psycopg.errors.IntegrityError) as caught:
            load(conn)
        diag = caught.value.diag
        assert (caught.value.sqlstate, diag.table_name, diag.column_name, diag.constraint_name) == ("23I01", "target", "v", "target_pkey")


@pytest.mark.once
def test_its_memory_does_not_grow_with_the_number_of_batches(tables):
    db = tables
    with db.connect() as conn:
        used = "SELECT sum(used_bytes)::bigint FROM pg_backend_memory_contexts"
        load(conn, batch_size=10)
        before = value(conn, used)
        for _ in range(5):
            load(conn, batch_size=10)
        assert value(conn, used) < before + 200_000
        # And while it runs: the last batch sees what the ones before have left.
        conn.execute("CREATE TABLE memory (bytes bigint)")
        conn.execute(
            f"""
            CREATE FUNCTION measure() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO memory {used}; RETURN NULL; END $$;
            CREATE TRIGGER measure AFTER INSERT ON target FOR EACH STATEMENT EXECUTE FUNCTION measure();
            TRUNCATE target
            """
        )
        load(conn, batch_size=20)
        grown = value(conn, "SELECT max(bytes) - min(bytes) FROM (SELECT bytes FROM memory OFFSET 20) AS m")
        assert grown < 500_000, grown


@pytest.mark.parametrize("protocol", ["simple", "extended"])
def test_it_can_be_called_by_drivers(tables, protocol):
    db = tables
    with db.connect() as conn:
        cursor = psycopg.ClientCursor(conn) if protocol == "simple" else conn.cursor()
        for _ in range(7):
            cursor.execute("CALL idempotent_load(%s::regclass, %s::regclass, batch_size => %s::int)", ["target", "source", 700], **({} if protocol == "simple" else {"prepare": True}))
    assert complete(db)
    with db.connect(autocommit=False) as conn:
        with pytest.raises(psycopg.errors.ActiveSqlTransaction) as caught:
            load(conn)
        assert "idempotent_insert_from" in caught.value.diag.message_hint


def test_loads_are_in_dumps_where_one_that_ran_has_died(tables):
    db = tables
    sleep_after_each_statement(db, 0.1)
    with db.connect() as loader, db.connect() as other:
        join = in_background(lambda: load(loader))
        before = wait_for(other, lambda row: row["batches"] >= 1)
        restored = dumped_and_restored(db)
        assert join() is None
    with db.cluster.connect(restored) as conn:
        row = latest(conn)
        assert (row["load_id"], row["status"], row["rows_total"]) == (before["load_id"], "died", ROWS)
        conn.execute("SET test.sleep = 0")
        load(conn)
        assert latest(conn)["load_id"] > before["load_id"] and latest(conn)["status"] == "finished"


def test_values_out_of_line_do_not_need_the_source_any_more(db):
    """What was read from the source stays readable after the source's own copies of large values are gone: between two
    batches nothing keeps VACUUM from removing them."""
    with db.connect() as conn:
        conn.execute(
            """
            CREATE TABLE target (id int PRIMARY KEY, v text);
            CREATE TABLE source (id int, v text);
            ALTER TABLE source ALTER v SET STORAGE EXTERNAL;
            INSERT INTO source SELECT i, repeat(md5(i::text), 200) FROM generate_series(1, 60) i;
            CREATE FUNCTION stop_at() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                IF NEW.id IN (15, 55) THEN
                    PERFORM pg_advisory_xact_lock(NEW.id);
                END IF;
                RETURN NEW;
            END $$;
            CREATE TRIGGER stop_at BEFORE INSERT ON target FOR EACH ROW EXECUTE FUNCTION stop_at();
            """
        )
    with db.connect() as loader, db.connect() as other:
        other.execute("SELECT pg_advisory_lock(15), pg_advisory_lock(55)")
        join = in_background(lambda: load(loader, batch_size=10))
        assert waits_for_a_lock(db, loader)
        other.execute("DELETE FROM source")
        other.execute("SELECT pg_advisory_unlock(15)")
        until_sql(other, "SELECT count(*) >= 40 FROM target")
        assert waits_for_a_lock(db, loader)
        other.execute("VACUUM source")
        assert value(other, "SELECT pg_relation_size(reltoastrelid) FROM pg_class WHERE oid = 'source'::regclass") == 0
        other.execute("SELECT pg_advisory_unlock(55)")
        assert join() is None
        right = "SELECT count(*) FILTER (WHERE v = repeat(md5(id::text), 200)) FROM target"
        assert value(other, right) == 60
