"""Guarded tables in dumps, restored once and twice, and guarded subscribers of logical replication."""


import psycopg
import pytest

from support.dumps import dump, empty_database, restore
from support.queries import value
from support.replication import catch_up
from support.waiting import until


def all_rows(conn, tables):
    return {table: conn.execute(f"SELECT to_jsonb(t) AS row FROM {table} t ORDER BY 1").fetchall() for table in tables}


# --- dump and restore ------------------------------------------------------------------------------------------------

SCHEMA = """
    CREATE SCHEMA "Other";
    CREATE TABLE "Other"."Orders" ("Id" uuid PRIMARY KEY, amount numeric(12,2), "Status" text, at timestamptz DEFAULT now());
    CREATE TABLE parted (day date, no int, v text, PRIMARY KEY (no, day)) PARTITION BY RANGE (day);
    CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM ('2013-01-01') TO ('2013-07-01');
    CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM ('2013-07-01') TO ('2014-01-01') PARTITION BY HASH (no);
    CREATE TABLE parted_2a PARTITION OF parted_2 FOR VALUES WITH (MODULUS 2, REMAINDER 0);
    CREATE TABLE parted_2b PARTITION OF parted_2 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
    CREATE TABLE remembered (id int PRIMARY KEY, v int, note text, first jsonb);
    CREATE TABLE hashed (id int PRIMARY KEY, v int, note text, first bytea);
    CREATE TABLE by_hand (no serial PRIMARY KEY, code text UNIQUE, v int);
    CREATE TABLE replicated (id int PRIMARY KEY, v int);
    CREATE TABLE off (id int PRIMARY KEY, v int);
    SELECT idempotent_guard('"Other"."Orders"', ignore => '{Status}', on_conflict => 'quarantine');
    SELECT idempotent_guard('parted');
    SELECT idempotent_guard('remembered', remember => 'first');
    SELECT idempotent_guard('hashed', compare => '{v}', remember => 'first');
    CREATE TRIGGER zzz_by_hand BEFORE INSERT ON by_hand FOR EACH ROW EXECUTE FUNCTION idempotent_guard_trigger('key=code');
    SELECT idempotent_guard('replicated');
    SELECT idempotent_guard('off');
    ALTER TABLE replicated ENABLE ALWAYS TRIGGER zz_idempotent_guard;
    ALTER TABLE off DISABLE TRIGGER zz_idempotent_guard;
"""
ROWS = """
    INSERT INTO "Other"."Orders" SELECT md5(n::text)::uuid, n, 'new' FROM generate_series(1, 500) n;
    INSERT INTO parted SELECT date '2013-01-01' + n % 365, n, 'v' || n FROM generate_series(1, 500) n;
    INSERT INTO remembered SELECT n, n, 'x' FROM generate_series(1, 500) n;
    INSERT INTO hashed SELECT n, n, 'x' FROM generate_series(1, 500) n;
    INSERT INTO by_hand (code, v) SELECT 'c' || n, n FROM generate_series(1, 500) n;
    INSERT INTO replicated SELECT n, n FROM generate_series(1, 500) n;
    INSERT INTO off SELECT n, n FROM generate_series(1, 500) n;
    -- What has legitimately changed since it arrived.
    UPDATE "Other"."Orders" SET "Status" = 'paid' WHERE amount < 100;
    UPDATE remembered SET v = -v, note = 'changed' WHERE id % 5 = 0;
    UPDATE hashed SET v = -v WHERE id % 5 = 0;
    -- A conflict in quarantine.
    INSERT INTO "Other"."Orders" VALUES (md5('1')::uuid, 2);
"""
TABLES = ['"Other"."Orders"', "parted", "remembered", "hashed", "by_hand", "replicated"]
GUARDS = "SELECT to_jsonb(g) AS guard FROM idempotent.guards g ORDER BY target::text, trigger"


@pytest.fixture
def dumped(db):
    """A database with guarded tables, and an empty one beside it."""
    with db.connect() as conn:
        conn.execute(SCHEMA)
        conn.execute(ROWS)
    empty_database(db.cluster, restored_name(db))
    return db


def restored_name(db):
    return f"{db.name}_restored"


def restored(db):
    return db.cluster.connect(restored_name(db))


def test_a_dump_carries_the_guards_and_its_restore_the_rows_and_what_is_remembered(dumped):
    db, cluster = dumped, dumped.cluster
    file = dump(db, "-Fc")
    with restored(db) as conn:
        # The restored tables have other oids.
        conn.execute("CREATE TABLE takes_an_oid (id int)")
    restore(file, cluster, restored_name(db))
    with db.connect() as before, restored(db) as conn:
        guards = before.execute(GUARDS).fetchall()
        assert len(guards) == 7 and all(row["guard"]["problem"] is None for row in guards)
        assert conn.execute(GUARDS).fetchall() == guards
        assert all_rows(conn, TABLES) == all_rows(before, TABLES)
        assert value(conn, "SELECT count(*) FROM idempotent.conflicts WHERE target = '\"Other\".\"Orders\"'::regclass") == 1
        # Retries of what arrived before the dump, in its first version, are duplicates after it.
        assert conn.execute("INSERT INTO remembered SELECT n, n, 'x' FROM generate_series(1, 500) n").rowcount == 0
        assert conn.execute("INSERT INTO hashed SELECT n, n, 'other' FROM generate_series(1, 500) n").rowcount == 0
        retry = "INSERT INTO parted SELECT date '2013-01-01' + n % 365, n, 'v' || n FROM generate_series(1, 500) n"
        assert conn.execute(retry).rowcount == 0
        with pytest.raises(psycopg.IntegrityError) as caught:
            conn.execute("INSERT INTO remembered VALUES (5, -5, 'changed')")
        assert caught.value.sqlstate == "23I01"
        with pytest.raises(psycopg.IntegrityError) as caught:
            conn.execute("INSERT INTO by_hand (code, v) VALUES ('c1', 2)")
        assert caught.value.sqlstate == "23I01"
        # The guard that was off is off.
        with pytest.raises(psycopg.errors.UniqueViolation):
            conn.execute("INSERT INTO off VALUES (1, 1)")


@pytest.mark.parametrize("format", ["copy", "inserts"])
def test_data_restored_into_guarded_tables_twice_is_there_once(dumped, format):
    """Also into a table that has half of it. What is remembered comes with the rows, and is what is compared."""
    db, cluster = dumped, dumped.cluster
    options = ["--rows-per-insert=7"] if format == "inserts" else []
    tables = [f"--table={table}" for table in (*TABLES, "parted_*")]
    file = dump(db, "-Fc", *options, *tables)
    with restored(db) as conn:
        conn.execute("CREATE EXTENSION pg_idempotent")
        conn.execute(SCHEMA)
        conn.execute("INSERT INTO parted SELECT date '2013-01-01' + n % 365, n, 'v' || n FROM generate_series(1, 250) n")
    for _ in range(2):
        restore(file, cluster, restored_name(db), "--data-only")
        with db.connect() as before, restored(db) as conn:
            assert all_rows(conn, TABLES) == all_rows(before, TABLES)
            assert value(conn, "SELECT count(*) FROM idempotent.conflicts") == 0
    # A row that has changed in the dump since is no duplicate.
    with restored(db) as conn:
        conn.execute("UPDATE replicated SET v = 0 WHERE id = 400")
    done = restore(file, cluster, restored_name(db), "--data-only", check=False)
    assert done.returncode != 0 and "payload conflicts with the stored row" in done.stdout, done.stdout


# --- logical replication ---------------------------------------------------------------------------------------------


class Replication:
    """A database on each server, and a subscription from the one to the other."""

    def __init__(self, publisher, subscriber, ddl):
        self.publisher, self.subscriber = publisher.create_database(), subscriber.create_database()
        self.name = f"sub_{self.publisher.name}"
        for db in (self.publisher, self.subscriber):
            with db.connect() as conn:
                conn.execute(ddl)

    def subscribe(self, options="copy_data = true"):
        with self.publisher.connect() as conn:
            if not value(conn, "SELECT count(*) FROM pg_publication"):
                conn.execute("CREATE PUBLICATION p FOR ALL TABLES WITH (publish_via_partition_root = true)")
        with self.subscriber.connect() as conn:
            source = f"host={self.publisher.cluster.root} user=postgres dbname={self.publisher.name}"
            conn.execute(f"CREATE SUBSCRIPTION {self.name} CONNECTION '{source}' PUBLICATION p WITH ({options})")

    def unsubscribe(self):
        self.subscriber.cluster.wait_until_up()
        with self.subscriber.connect() as conn:
            conn.execute(f"DROP SUBSCRIPTION IF EXISTS {self.name}")

    def catch_up(self):
        catch_up(self.publisher, self.subscriber)

    def wait_until_disabled(self):
        with self.subscriber.connect() as here:
            until(
                lambda: not value(here, "SELECT subenabled FROM pg_subscription"),
                words=lambda: self.subscriber.cluster.log.read_text()[-3000:],
            )


@pytest.fixture
def replicate(servers):
    made = []

    def make(ddl):
        made.append(Replication(*servers, ddl))
        return made[-1]

    yield make
    for replication in made:
        replication.unsubscribe()


DDL = """
    CREATE TABLE events (id int PRIMARY KEY, v int, note text);
    CREATE TABLE parted (id int PRIMARY KEY, v int) PARTITION BY HASH (id);
    CREATE TABLE parted_0 PARTITION OF parted FOR VALUES WITH (MODULUS 2, REMAINDER 0);
    CREATE TABLE parted_1 PARTITION OF parted FOR VALUES WITH (MODULUS 2, REMAINDER 1);
    CREATE TABLE kept (id int PRIMARY KEY, v int, first jsonb);
"""
FILL = """
    INSERT INTO events SELECT n, n, 'x' FROM generate_series({0}, {1}) n;
    INSERT INTO parted SELECT n, n FROM generate_series({0}, {1}) n;
    INSERT INTO kept SELECT n, n FROM generate_series({0}, {1}) n;
"""
NAMES = ["events", "parted", "kept"]


def guard(conn, on_conflict="error", enable="ENABLE ALWAYS"):
    for table in NAMES:
        remember = ", remember => 'first'" if table == "kept" else ""
        conn.execute(f"SELECT idempotent_guard('{table}', on_conflict => '{on_conflict}'{remember})")
        if enable:
            conn.execute(f"ALTER TABLE {table} {enable} TRIGGER zz_idempotent_guard")


@pytest.mark.parametrize("enable", ["ENABLE ALWAYS", "ENABLE REPLICA"])
def test_the_initial_copy_into_a_guarded_subscriber_can_be_repeated(replicate, enable):
    replication = replicate(DDL)
    with replication.publisher.connect() as there, replication.subscriber.connect() as here:
        guard(there, enable=None)
        guard(here, enable=enable)
        # Half of it is there from elsewhere.
        there.execute(FILL.format(1, 1000))
        here.execute("SET session_replication_role = 'replica'")
        here.execute(FILL.format(1, 500))
        for _ in range(2):
            replication.subscribe()
            replication.catch_up()
            assert all_rows(here, NAMES) == all_rows(there, NAMES)
            # Changes are replicated as ever: also those of rows whose first version is remembered.
            there.execute("UPDATE events SET v = v + 1 WHERE id % 10 = 0; UPDATE kept SET v = v + 1 WHERE id % 10 = 0")
            there.execute("DELETE FROM parted WHERE id % 10 = 0")
            there.execute("INSERT INTO parted VALUES (10, 11), (20, 20)")
            replication.catch_up()
            assert all_rows(here, NAMES) == all_rows(there, NAMES)
            there.execute("INSERT INTO kept SELECT n, n FROM generate_series(1, 1000) n")
            replication.unsubscribe()
            there.execute("DELETE FROM parted WHERE id IN (10, 20)")
            here.execute("DELETE FROM parted WHERE id IN (10, 20)")
        assert value(here, "SELECT count(*) FROM idempotent.conflicts") == 0
        assert all_rows(here, NAMES) == all_rows(there, NAMES)


def test_rows_that_come_twice_or_in_another_version_do_not_stop_a_subscriber_with_a_quarantine(replicate):
    replication = replicate(DDL)
    with replication.publisher.connect() as there, replication.subscriber.connect() as here:
        guard(here, on_conflict="quarantine")
        here.execute("INSERT INTO events VALUES (1, 1, 'x'), (2, 0, 'other'), (101, 101, 'x'), (102, 0, 'x')")
        here.execute("INSERT INTO parted VALUES (2, 0), (102, 0)")
        there.execute(FILL.format(1, 100))
        replication.subscribe()
        replication.catch_up()
        there.execute(FILL.format(101, 200))
        replication.catch_up()
        assert value(here, "SELECT count(*) FROM events") == value(here, "SELECT count(*) FROM parted") == 200
        assert value(here, "SELECT count(*) FROM kept WHERE first = jsonb_build_object('v', v)") == 200
        found = here.execute(
            "SELECT target::text, key, differences FROM idempotent.conflicts ORDER BY target::text, key"
        ).fetchall()
        both = {"stored": 0, "payload": 2}
        assert found == [
            {
                "target": "events",
                "key": {"id": 2},
                "differences": {"v": both, "note": {"stored": "other", "payload": "x"}},
            },
            {"target": "events", "key": {"id": 102}, "differences": {"v": {"stored": 0, "payload": 102}}},
            {"target": "parted", "key": {"id": 2}, "differences": {"v": both}},
            {"target": "parted", "key": {"id": 102}, "differences": {"v": {"stored": 0, "payload": 102}}},
        ]
        # What is stored stays, and later changes are applied.
        assert value(here, "SELECT v FROM events WHERE id = 102") == 0
        there.execute("UPDATE events SET v = 7 WHERE id = 102")
        replication.catch_up()
        assert value(here, "SELECT v FROM events WHERE id = 102") == 7


def test_a_conflict_stops_a_subscriber_without_a_quarantine_until_it_is_resolved(replicate):
    replication = replicate(DDL)
    with replication.publisher.connect() as there, replication.subscriber.connect() as here:
        guard(here)
        here.execute("INSERT INTO events VALUES (2, 0, 'x')")
        replication.subscribe("disable_on_error = true")
        replication.catch_up()
        there.execute("INSERT INTO events VALUES (1, 1, 'x'), (2, 2, 'x')")
        replication.wait_until_disabled()
        assert value(here, "SELECT count(*) FROM events") == 1
        log = replication.subscriber.cluster.log.read_text()
        assert "23I01 ERROR:  payload conflicts with the stored row" in log
        assert "Key (id)=(2) is stored with v=0; the payload has v=2." in log
        here.execute("UPDATE events SET v = 2 WHERE id = 2")
        here.execute(f"ALTER SUBSCRIPTION {replication.name} ENABLE")
        replication.catch_up()
        assert all_rows(here, ["events"]) == all_rows(there, ["events"])


def test_without_always_a_guard_takes_no_part_in_replication(replicate):
    """As with every trigger. The subscriber's rows are then protected by their unique index alone."""
    replication = replicate(DDL)
    with replication.publisher.connect() as there, replication.subscriber.connect() as here:
        guard(here, enable=None)
        here.execute("INSERT INTO events VALUES (1, 1, 'x')")
        replication.subscribe("disable_on_error = true")
        replication.catch_up()
        there.execute("INSERT INTO events VALUES (1, 1, 'x')")
        replication.wait_until_disabled()
        # The words differ between the versions.
        assert "23505 ERROR:" in replication.subscriber.cluster.log.read_text()
        # The statement that is applied once more is the same; now the guard is to see it.
        here.execute("ALTER TABLE events ENABLE ALWAYS TRIGGER zz_idempotent_guard")
        here.execute(f"ALTER SUBSCRIPTION {replication.name} ENABLE")
        replication.catch_up()
        assert value(here, "SELECT count(*) FROM events") == 1


def test_session_replication_role(conn):
    conn.execute("CREATE TABLE events (id int PRIMARY KEY, v int); SELECT idempotent_guard('events')")
    conn.execute("INSERT INTO events VALUES (1, 1)")

    def is_guarded(role):
        conn.execute(f"SET session_replication_role = '{role}'")
        try:
            return conn.execute("INSERT INTO events VALUES (1, 1)").rowcount == 0
        except psycopg.errors.UniqueViolation:
            return False

    for enable, origin, replica, word in (
        ("ENABLE", True, False, "origin"),
        ("ENABLE ALWAYS", True, True, "always"),
        ("ENABLE REPLICA", False, True, "replica"),
        ("DISABLE", False, False, "disabled"),
    ):
        conn.execute(f"ALTER TABLE events {enable} TRIGGER zz_idempotent_guard")
        assert (is_guarded("origin"), is_guarded("local"), is_guarded("replica")) == (origin, origin, replica), enable
        assert value(conn, "SELECT enabled FROM idempotent.guards WHERE target = 'events'::regclass") == word
        # New options leave that as it is.
        if word != "disabled":
            conn.execute("SELECT idempotent_guard('events', on_conflict => 'quarantine')")
            assert value(conn, "SELECT enabled FROM idempotent.guards WHERE target = 'events'::regclass") == word
