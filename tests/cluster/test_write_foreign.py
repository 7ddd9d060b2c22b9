"""Merges into foreign tables and overwrites of them: the same outcomes as for local tables, and races."""

import contextlib
import random
import threading

import psycopg
import pytest

from support.project import SEED, size
from support.queries import value
from support.sessions import Sessions, until_it_succeeds
from support.waiting import until

ROUNDS = size("PGI_ROUNDS", 20)
COLUMNS = "id int, at int, day date, amount numeric, v text"
MERGE = "SELECT * FROM idempotent_merge_many(%s, %s, key => '{{id,day}}', latest_by => '{{at}}', delete_when => 'gone'{})"


@contextlib.contextmanager
def foreign_table(db, key="PRIMARY KEY (id, day)"):
    """Connections to a database with the foreign table `far` and the like table `near`, and to that of `far`; makes others."""
    other = db.cluster.create_database()
    with other.connect() as there, db.connect() as here:
        if not value(here, "SELECT count(*) FROM pg_available_extensions WHERE name = 'postgres_fdw'"):
            pytest.skip("the server does not have postgres_fdw")
        key = f", {key}" if key else ""
        there.execute(f"CREATE TABLE far ({COLUMNS}{key})")
        here.execute(f"CREATE TABLE near ({COLUMNS}{key})")
        socket_directory = value(here, "SHOW unix_socket_directories").split(",")[0]
        port = value(here, "SHOW port")
        here.execute(
            f"""CREATE EXTENSION postgres_fdw;
                CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '{socket_directory}', port '{port}', dbname '{other.name}');
                CREATE USER MAPPING FOR CURRENT_USER SERVER far;
                CREATE FOREIGN TABLE far ({COLUMNS}) SERVER far"""
        )
        yield here, there


def rows_of(conn, table):
    return value(conn, f"SELECT coalesce(array_agg(x::text ORDER BY x::text), '{{}}') FROM {table} AS x")


def in_sessions(db, count, work):
    """Lets sessions work at the same time: `work(number, dice, conn, send)`. `send` makes a call until it succeeds. Gives the
    SQLSTATEs of its failures."""
    states = []

    def session(number, conn):
        work(number, random.Random(SEED + number), conn, lambda *call: until_it_succeeds(lambda: conn.execute(*call).fetchall(), states))

    Sessions(count, db.connect, session).join()
    return states


def payload(dice):
    row = {"id": dice.randrange(30), "day": f"2020-01-0{dice.randint(1, 3)}", "at": dice.randint(1, 9)}
    if dice.random() < 0.7:
        row["amount"] = dice.choice([None, 1, 1.5, "2.50"])
    if dice.random() < 0.7:
        row["v"] = dice.choice([None, "", "a", "it's", "\\", "ä" * 9])
    if dice.random() < 0.2:
        row["gone"] = True
    return row


def test_random_merges_do_the_same_as_in_a_local_table(db):
    dice = random.Random(SEED)
    with foreign_table(db) as (here, there):
        for _ in range(ROUNDS):
            rows = psycopg.types.json.Jsonb([payload(dice) for _ in range(dice.choice([1, 20, 400]))])
            options = dice.choice(["", ", insert_only => '{v}'", ", ignore => '{amount}'"])
            merge = MERGE.format(options)
            near, far = (here.execute(merge, [table, rows]).fetchone() for table in ("near", "far"))
            assert near == far
            assert rows_of(here, "near") == rows_of(there, "far")


def test_random_overwrites_do_the_same_as_of_a_local_table(db):
    dice = random.Random(SEED)
    days = ["2020-01-01", "2020-01-02", "2020-01-03"]
    slices = [*({"day": day} for day in days), {"day": {"from": days[1]}}, {"id": 3}, {"v": None}, {}]
    with foreign_table(db, key=None) as (here, there):
        here.execute(f"CREATE TABLE source ({COLUMNS})")
        for _ in range(ROUNDS):
            here.execute("TRUNCATE source")
            slice_ = dice.choice(slices)
            with here.cursor().copy("COPY source FROM STDIN") as copy:
                for _ in range(dice.choice([0, 3, 600])):
                    row = {"id": dice.randrange(9), "at": 1, "day": dice.choice(days[1:]), "amount": dice.choice([None, "1", "1.50"]), "v": dice.choice([None, "a", "\\"])}
                    row.update((name, x) for name, x in slice_.items() if not isinstance(x, dict))
                    copy.write_row(list(row.values()))
            if dice.random() < 0.3:
                there.execute("UPDATE far SET amount = amount + 1 WHERE id = 2")
                here.execute("UPDATE near SET amount = amount + 1 WHERE id = 2")
            for _ in range(2):
                if dice.random() < 0.3:
                    call, arguments = "SELECT * FROM idempotent_overwrite_each(%s, 'source', '{day,id}')", []
                else:
                    call, arguments = "SELECT * FROM idempotent_overwrite(%s, 'source', %s)", [psycopg.types.json.Jsonb(slice_)]
                near, far = (here.execute(call, [table, *arguments]).fetchall() for table in ("near", "far"))
                assert near == far
                assert rows_of(here, "near") == rows_of(there, "far")


def test_racing_merges_leave_the_greatest_row_of_each_key(db):
    sent = {}

    def work(number, dice, conn, send):
        for _ in range(6):
            rows = [{"id": key, "day": "2020-01-01", "at": dice.randint(1, 40), "amount": number, "v": dice.choice("abc")} for key in range(40)]
            dice.shuffle(rows)
            for row in rows:
                sent.setdefault(row["id"], []).append((row["at"], row["amount"], row["v"]))
            send(MERGE.format(""), ["far", psycopg.types.json.Jsonb(rows)])

    with foreign_table(db) as (_, there):
        states = in_sessions(db, 8, work)
        assert set(states) <= {"40001", "40P01"}
        stored = {row["id"]: (row["at"], int(row["amount"]), row["v"]) for row in there.execute("SELECT * FROM far").fetchall()}
        assert stored == {key: max(rows) for key, rows in sent.items()}


def test_racing_overwrites_of_slices_that_overlap_take_turns(db):
    """No key keeps the rows of two calls apart. Each call writes all cells of its slice anew, a cell being an id and a day."""

    def work(number, dice, conn, send):
        conn.execute(f"CREATE TEMP TABLE mine ({COLUMNS})")
        for call in range(15):
            id_, day = dice.randrange(3), f"2020-01-0{dice.randint(1, 3)}"
            slice_ = dice.choice([{"id": id_}, {"day": day}, {"id": id_, "day": day}, {}])
            within = " AND ".join(f"{name} = '{x}'" for name, x in slice_.items()) or "true"
            conn.execute("TRUNCATE mine")
            conn.execute(
                f"""INSERT INTO mine SELECT id, {call}, day, NULL, '{number}.{call}' FROM generate_series(0, 2) AS id,
                    generate_series('2020-01-01'::date, '2020-01-03', '1 day') AS day, generate_series(1, 3) WHERE {within}"""
            )
            if len(slice_) == 1 and dice.random() < 0.3:
                send("SELECT * FROM idempotent_overwrite_each('far', 'mine', %s)", [list(slice_)])
            else:
                send("SELECT * FROM idempotent_overwrite('far', 'mine', %s)", [psycopg.types.json.Jsonb(slice_)])

    with foreign_table(db, key=None) as (_, there):
        assert in_sessions(db, 8, work) == []
        cells = there.execute("SELECT id, day, count(*), count(DISTINCT v) AS calls FROM far GROUP BY id, day").fetchall()
        assert [(row["count"], row["calls"]) for row in cells] == [(3, 1)] * 9


@pytest.mark.parametrize("gone", [False, True])
def test_a_row_that_is_changed_since_the_snapshot_is_an_error(db, gone):
    with foreign_table(db) as (here, there):
        there.execute("INSERT INTO far VALUES (1, 1, '2020-01-01', 1, 'a')")
        rows = psycopg.types.json.Jsonb([{"id": 1, "day": "2020-01-01", "at": 2, "gone": gone}])
        here.execute("BEGIN")
        assert value(here, "SELECT count(*) FROM far") == 1
        there.execute("UPDATE far SET at = 3")
        with pytest.raises(psycopg.errors.SerializationFailure):
            here.execute(MERGE.format(""), ["far", rows])
        here.execute("ROLLBACK")
        assert here.execute(MERGE.format(""), ["far", rows]).fetchone()["stale"] == 1


def test_an_overwrite_waits_for_the_one_before(db):
    """The slice is empty at first: no row of it could be waited for."""
    with foreign_table(db, key=None) as (here, there):
        here.execute("INSERT INTO near SELECT i, i, '2020-01-01' FROM generate_series(1, 40) AS i")
        call = "SELECT * FROM idempotent_overwrite('far', 'near', '{}')"
        found = []

        def wait():
            with db.connect() as own:
                found.append(own.execute(call).fetchone())

        here.execute("BEGIN")
        assert here.execute(call).fetchone()["inserted"] == 40
        thread = threading.Thread(target=wait)
        thread.start()
        with db.connect() as watch:
            until(lambda: value(watch, "SELECT count(*) > 0 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"), 30)
        here.execute("COMMIT")
        thread.join()
        assert found == [{"deleted": 0, "inserted": 0, "unchanged": True}]
        assert value(there, "SELECT count(*) FROM far") == 40


@pytest.mark.timeout(120)
def test_at_serializable_an_overwrite_takes_turns_with_a_commit_that_was_abandoned(db):
    """The session ends while the other server commits, which goes on there. The slice is empty at first."""
    with foreign_table(db, key=None) as (here, there):
        here.execute("INSERT INTO near SELECT i, i, '2020-01-01' FROM generate_series(1, 40) AS i")
        there.execute("CREATE SEQUENCE first; SELECT pg_advisory_lock(13)")
        there.execute(
            """CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN IF nextval('public.first') = 1 THEN PERFORM pg_advisory_xact_lock_shared(13); END IF; RETURN NULL; END $$;
            CREATE CONSTRAINT TRIGGER hold AFTER INSERT ON far DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION hold()"""
        )
        call = "SELECT * FROM idempotent_overwrite('far', 'near', '{}')"
        session = []

        def abandoned():
            with db.connect() as own, contextlib.suppress(psycopg.OperationalError):
                session.append(value(own, "SELECT pg_backend_pid()"))
                own.execute("BEGIN ISOLATION LEVEL SERIALIZABLE")
                own.execute(call)
                own.execute("COMMIT")
                session.append("committed")

        held = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'advisory'"
        thread = threading.Thread(target=abandoned)
        thread.start()
        until(lambda: value(there, held) == 1, 30)
        here.execute("SELECT pg_terminate_backend(%s)", session)
        thread.join()
        assert session[1:] == [] and value(there, held) == 1

        def overwrite():
            with here.transaction():
                here.execute("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")
                return here.execute(call).fetchone()

        states = []
        until_it_succeeds(overwrite, states)
        assert set(states) <= {"40001"}
        there.execute("SELECT pg_advisory_unlock(13)")
        until(lambda: value(there, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'postgres_fdw' AND state = 'active'") == 0, 30)
        assert value(there, "SELECT count(*) FROM far") == 40
