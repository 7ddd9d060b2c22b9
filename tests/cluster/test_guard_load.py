"""A guarded load of any length takes one slot of the lock table and no memory to speak of.

PGI_LOAD_ROWS   rows of a load (default 300000; the promise is shown with 5000000)

A load is watched from outside while it runs: pg_locks, and what the kernel says is private to its process.
"""

import threading
import time

import psycopg
import pytest

from support.memory import MEGABYTE, contexts, resident
from support.project import size
from support.queries import KEY_LOCKS, advisory_locks, value

ROWS = size("PGI_LOAD_ROWS", 300_000)
MEGABYTE = 1024 * 1024

pytestmark = [pytest.mark.timeout(max(120, ROWS // 5_000)), pytest.mark.once]

ALL_LOCKS = "SELECT count(*) FROM pg_locks WHERE pid = %s"


class Watch:
    """What others can see of a statement while it runs."""

    def __init__(self, db, pid):
        self.key_locks = set()
        self.all_locks = 0
        self.memory = []
        self._stop = threading.Event()
        self._pid = pid
        self._conn = db.connect()
        self._thread = threading.Thread(target=self._look)

    def _look(self):
        with self._conn as conn:
            while not self._stop.is_set():
                self.key_locks.add(value(conn, KEY_LOCKS))
                self.all_locks = max(self.all_locks, value(conn, ALL_LOCKS, self._pid))
                self.memory.append(resident(self._pid))
                time.sleep(0.002)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()

    @property
    def growth(self):
        """From a tenth of the way to the end, when the caches are long warm."""
        return max(self.memory) - self.memory[len(self.memory) // 10]


@pytest.fixture
def source(db):
    """A file with the rows of a load, and a function that makes another one."""

    def make(name, query):
        path = db.cluster.root / f"{db.name}_{name}.copy"
        with db.connect() as conn:
            conn.execute(f"COPY ({query}) TO '{path}'")
        return path

    return make


def rows(count, first=1):
    return f"SELECT md5(n::text)::uuid, n, 'note ' || n % 1000, n % 50 FROM generate_series({first}, {first + count - 1}) n"


PLAIN = "CREATE TABLE events (id uuid, n int, note text, part int, PRIMARY KEY (id, part))"
PARTITIONED = PLAIN + " PARTITION BY LIST (part);" + ";".join(
    f"CREATE TABLE events_{n} PARTITION OF events FOR VALUES IN ({n})" for n in range(50)
)


NO_OP = """
    CREATE FUNCTION pass() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
    CREATE TRIGGER pass BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION pass();
"""


def growth_with_any_trigger(db, conn, statement):
    """PostgreSQL itself keeps a copy of every row that a BEFORE trigger of a partition leaves as it is, until the
    statement ends (ExecBRInsertTriggers): some hundred bytes a row, whatever the trigger."""
    conn.execute(NO_OP)
    with Watch(db, conn.info.backend_pid) as watch:
        conn.execute(statement)
    conn.execute("TRUNCATE events; DROP FUNCTION pass() CASCADE")
    return watch.growth


@pytest.mark.parametrize("shape", ["plain", "partitioned"])
def test_a_copy_in_one_transaction_holds_one_key_lock_and_flat_memory(db, source, shape):
    count = ROWS if shape == "plain" else ROWS // 2
    path = source("rows", rows(count))
    with db.connect(autocommit=False) as conn:
        conn.execute(PLAIN if shape == "plain" else PARTITIONED)
        pid = conn.info.backend_pid
        core = growth_with_any_trigger(db, conn, f"COPY events FROM '{path}'") if shape == "partitioned" else 0
        conn.execute("SELECT idempotent_guard('events')")
        conn.commit()
        # New rows.
        with Watch(db, pid) as watch:
            assert conn.execute(f"COPY events FROM '{path}'").rowcount == count
        assert watch.key_locks == {0, 1}
        # The table, its index, the function, the transaction: nothing for each row.
        assert watch.all_locks < (20 if shape == "plain" else 350), watch.all_locks
        assert watch.growth - core < 8 * MEGABYTE, (watch.growth, core)
        # None is left after the statement, within the transaction.
        assert value(conn, KEY_LOCKS) == 0
        # The same rows once more in the same transaction, then committed, then once more.
        for _ in range(2):
            with Watch(db, pid) as watch:
                assert conn.execute(f"COPY events FROM '{path}'").rowcount == 0
            assert max(watch.key_locks) <= 1
            assert watch.growth - core < 8 * MEGABYTE, (watch.growth, core)
            assert value(conn, KEY_LOCKS) == 0
            conn.commit()
        assert value(conn, "SELECT count(*) FROM events") == count


def test_an_insert_into_fifty_partitions_holds_one_key_lock_and_no_memory_of_its_own(db):
    with db.connect(autocommit=False) as conn:
        conn.execute(PARTITIONED)
        statement = "INSERT INTO events " + rows(ROWS // 2)
        core = growth_with_any_trigger(db, conn, statement)
        conn.execute("SELECT idempotent_guard('events')")
        conn.commit()
        for expected in (ROWS // 2, 0):
            with Watch(db, conn.info.backend_pid) as watch:
                assert conn.execute(statement).rowcount == expected
            assert max(watch.key_locks) <= 1
            assert watch.growth - core < 8 * MEGABYTE, (watch.growth, core)
            assert value(conn, KEY_LOCKS) == 0


def test_a_load_that_is_half_there_holds_one_key_lock_and_flat_memory(db, source):
    """Every other row is stored already, and one in a thousand is in conflict."""
    path = source("rows", rows(ROWS // 2))
    with db.connect() as conn:
        conn.execute(PLAIN)
        conn.execute(f"INSERT INTO events SELECT * FROM ({rows(ROWS // 2)}) s (id, n, note, part) WHERE n % 2 = 0")
        conn.execute("UPDATE events SET n = -n WHERE n % 1000 = 0")
        conn.execute("SELECT idempotent_guard('events', on_conflict => 'quarantine')")
        with Watch(db, conn.info.backend_pid) as watch:
            assert conn.execute(f"COPY events FROM '{path}'").rowcount == (ROWS // 2 + 1) // 2
        assert watch.key_locks == {0, 1}
        assert watch.growth < 8 * MEGABYTE, watch.growth
        assert value(conn, "SELECT count(*) FROM events") == ROWS // 2
        assert value(conn, "SELECT count(*) FROM idempotent.conflicts WHERE target = 'events'::regclass") == ROWS // 2000


def test_a_remembered_load_holds_one_key_lock_and_flat_memory(db, source):
    path = source("rows", rows(ROWS // 4))
    with db.connect(autocommit=False) as conn:
        conn.execute(PLAIN)
        conn.execute("ALTER TABLE events ADD arrived jsonb")
        conn.execute("SELECT idempotent_guard('events', remember => 'arrived')")
        conn.commit()
        for expected in (ROWS // 4, 0):
            with Watch(db, conn.info.backend_pid) as watch:
                assert conn.execute(f"COPY events (id, n, note, part) FROM '{path}'").rowcount == expected
            assert max(watch.key_locks) <= 1
            assert watch.growth < 8 * MEGABYTE, watch.growth
            assert value(conn, KEY_LOCKS) == 0
        conn.commit()
        assert value(conn, "SELECT count(*) FROM events WHERE (arrived->>'n')::int = n") == ROWS // 4


def test_many_statements_leave_no_memory_and_no_lock_behind(db):
    """What a guard opens lives as long as its statement, be there a million of them in a transaction, and in a function."""
    statements = ROWS // 10
    with db.connect(autocommit=False) as conn:
        conn.execute(PLAIN)
        conn.execute("SELECT idempotent_guard('events')")
        conn.commit()
        pid = conn.info.backend_pid

        def loop(first, last):
            conn.execute(
                f"""
                DO $do$ BEGIN
                    FOR n IN {first} .. {last} LOOP
                        INSERT INTO events VALUES (md5((n / 2)::text)::uuid, n / 2, 'x', 0);
                    END LOOP;
                END $do$
                """
            )

        loop(1, 2000)
        before, at_first = resident(pid), contexts(conn)
        with Watch(db, pid) as watch:
            loop(2001, statements)
        assert max(watch.key_locks) <= 1
        assert resident(pid) - before < 8 * MEGABYTE
        assert contexts(conn) - at_first < MEGABYTE
        assert value(conn, KEY_LOCKS) == 0
        with conn.pipeline():
            for n in range(statements // 10):
                conn.execute("INSERT INTO events VALUES (md5(%s::text)::uuid, %s, 'x', 0)", [str(n), n], prepare=True)
        conn.commit()
        assert resident(pid) - before < 8 * MEGABYTE


def test_a_table_can_be_changed_between_guarded_statements_of_a_transaction(db):
    """Nothing that a guard opened outlives its statement: an open reference would stop DDL, and so would a lock."""
    with db.connect(autocommit=False) as conn:
        conn.execute(PLAIN)
        conn.execute("SELECT idempotent_guard('events')")
        conn.execute("INSERT INTO events SELECT * FROM (" + rows(100) + ") s")
        conn.execute("ALTER TABLE events ADD more int DEFAULT 5")
        assert conn.execute("INSERT INTO events SELECT *, 5 FROM (" + rows(100) + ") s").rowcount == 0
        with conn.cursor().copy("COPY events (id, n, note, part) FROM STDIN") as copy:
            copy.write_row(["00000000-0000-0000-0000-000000000000", 0, "x", 0])
        conn.execute("REINDEX TABLE events")
        conn.execute("ALTER TABLE events DROP COLUMN note")
        assert conn.execute("INSERT INTO events (id, n, part) SELECT id, n, part FROM events").rowcount == 0
        conn.execute("TRUNCATE events")
        assert conn.execute("INSERT INTO events (id, n, part) SELECT s.* FROM (SELECT gen_random_uuid(), 1, 1) s").rowcount == 1
        conn.execute("ALTER TABLE events DROP CONSTRAINT events_pkey")
        conn.execute("ALTER TABLE events ADD PRIMARY KEY (part, id)")
        assert conn.execute("INSERT INTO events TABLE events").rowcount == 0
        conn.execute("DROP TABLE events")
        conn.commit()


@pytest.mark.parametrize("remember", [False, True], ids=["plain", "remember"])
def test_a_transaction_with_guarded_inserts_can_be_prepared_and_takes_no_key_lock_along(db, remember):
    with db.connect() as conn:
        conn.execute(PLAIN)
        conn.execute("ALTER TABLE events ADD arrived jsonb")
        conn.execute("SELECT idempotent_guard('events'" + (", remember => 'arrived')" if remember else ", ignore => '{arrived}')"))
        for end in ("ROLLBACK", "COMMIT"):
            conn.execute("BEGIN")
            conn.execute("INSERT INTO events SELECT * FROM (" + rows(1000) + ") s")
            conn.execute("SAVEPOINT s")
            with conn.cursor().copy("COPY events (id, n, note, part) FROM STDIN") as copy:
                copy.write_row(["00000000-0000-0000-0000-000000000000", 0, "x", 0])
            conn.execute("ROLLBACK TO SAVEPOINT s")
            conn.execute("INSERT INTO events SELECT * FROM (" + rows(1000) + ") s")
            with pytest.raises(psycopg.IntegrityError):
                conn.execute("SAVEPOINT e")
                conn.execute("INSERT INTO events SELECT md5('1')::uuid, 2, 'x', 1")
            conn.execute("ROLLBACK TO SAVEPOINT e")
            conn.execute("PREPARE TRANSACTION 'load'")
            assert advisory_locks(conn) == 0
            assert value(conn, "SELECT count(*) FROM events") == 0
            # The session goes on.
            conn.execute("INSERT INTO events VALUES ('11111111-1111-1111-1111-111111111111', 1, 'x', 1)")
            conn.execute("DELETE FROM events")
            conn.execute(f"{end} PREPARED 'load'")
        assert value(conn, "SELECT count(*) FROM events") == 1000
        assert conn.execute("INSERT INTO events SELECT * FROM (" + rows(1000) + ") s").rowcount == 0
