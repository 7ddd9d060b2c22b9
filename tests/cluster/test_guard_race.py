"""Sessions that race each other into a guarded table, by plain INSERT and COPY.

What every race must show: the arbiter never raises 23505, a key is stored exactly once and inserted by exactly one of
the committed transactions, and every row that met another version of itself is in the quarantine.

pgbench drives the races, since sessions of Python threads hardly ever meet in the few microseconds that count. Its
clients draw their keys from one sequence, sixteen draws to a key, so that they are always after the same fresh key.
A client that meets an error other than a deadlock or a serialization failure gives up, and pgbench fails.

PGI_RACE_INSERTS   how many inserts all races together try, roughly (default 80000; a million takes some minutes)
"""

import os
import threading

import pytest

from support.pgbench import failed_transactions, pgbench
from support.project import size
from support.queries import KEY_LOCKS, value
from support.server import BINDIR
from support.sessions import beside

CLIENTS = 16
INSERTS = size("PGI_RACE_INSERTS", 80_000)
LEVELS = ["read committed", "repeatable read", "serializable"]

LIMIT = max(60, INSERTS // 400)

pytestmark = pytest.mark.timeout(2 * LIMIT)


class Race:
    """A database with a guarded table `events`, and pgbench's answer to scripts that ran in it."""

    def __init__(self, db):
        self.db = db

    def sql(self, text):
        with self.db.connect() as conn:
            conn.execute(text)

    def run(self, scripts, share, tries=1, level=None, protocol="simple", clients=CLIENTS):
        """`scripts`: (weight, text). `share`: which part of INSERTS these transactions are. Returns the transcript."""
        options = ["-c", clients, "-M", protocol, "-D", "n=0", "-t", max(20, int(INSERTS * share) // clients)]
        options += ["--max-tries", tries, "--failures-detailed"]
        # Where deadlocks are meant to happen they shall not take long.
        settings = "-c deadlock_timeout=3ms"
        return pgbench(self.db, scripts, *options, settings=settings, level=level, timeout=LIMIT)

    def must(self, scripts, share, may=(), **options):
        """Run, and nothing went wrong but what `may` be retried."""
        done = self.run(scripts, share, tries=100_000 if may else 1, **options)
        assert set(done.states) <= set(may), (set(done.states), done.stdout[-2000:])
        assert done.returncode == 0, done.stdout[-2000:]
        assert failed_transactions(done) == 0, done.stdout[-2000:]
        return done

    def verify(self, functions=False, conflicts=True):
        """One row a key, one insert a key, and every version that differs from the stored one is quarantined: once, or
        with `functions` in the race once as the row and once as the shorter payload of the functions."""
        with self.db.connect() as conn:
            rows, keys = conn.execute("SELECT count(*) AS n, count(DISTINCT id) AS keys FROM events").fetchone().values()
            assert rows == keys > 0
            wrong = conn.execute(
                """
                SELECT id, sum(inserted), count(e.id) FROM ledger LEFT JOIN events e USING (id)
                GROUP BY id HAVING sum(inserted) <> 1 OR count(e.id) <> count(*)
                """
            ).fetchall()
            assert not wrong, wrong[:10]
            assert value(conn, "SELECT count(DISTINCT id) FROM ledger") == keys
            # Met: (key, version) pairs of committed transactions that are not what is stored.
            recorded = "SELECT DISTINCT * FROM recorded" if functions else "TABLE recorded"
            wrong = conn.execute(
                f"""
                WITH met AS (
                    SELECT DISTINCT l.id, e.version AS stored, l.version AS payload
                    FROM ledger l JOIN events e USING (id) WHERE l.version <> e.version
                ), recorded AS (
                    SELECT (key->>'id')::bigint AS id, (differences->'version'->>'stored')::int AS stored,
                           (differences->'version'->>'payload')::int AS payload
                    FROM idempotent.conflicts
                    WHERE target = 'events'::regclass
                )
                SELECT 'not recorded', * FROM (TABLE met EXCEPT ALL ({recorded})) d
                UNION ALL
                SELECT 'recorded too often', * FROM (({recorded}) EXCEPT ALL TABLE met) d
                """
            ).fetchall()
            assert not wrong, wrong[:10]
            assert (value(conn, "SELECT count(*) FROM idempotent.conflicts") > 0) == conflicts
            assert value(conn, KEY_LOCKS) == 0


PLAIN = "CREATE TABLE events (id bigint PRIMARY KEY, version int, note text DEFAULT 'x')"
PARTITIONED = """
    CREATE TABLE events (note text DEFAULT 'x', version int, id bigint PRIMARY KEY) PARTITION BY RANGE (id);
    CREATE TABLE events_low PARTITION OF events FOR VALUES FROM (MINVALUE) TO (200) PARTITION BY HASH (id);
    CREATE TABLE events_even PARTITION OF events_low FOR VALUES WITH (MODULUS 2, REMAINDER 0);
    CREATE TABLE events_odd (gone int, id bigint NOT NULL, version int, note text DEFAULT 'x');
    ALTER TABLE events_odd DROP COLUMN gone;
    ALTER TABLE events_low ATTACH PARTITION events_odd FOR VALUES WITH (MODULUS 2, REMAINDER 1);
    CREATE TABLE events_high PARTITION OF events DEFAULT
"""
LEDGER = "CREATE TABLE ledger (id bigint, version int, inserted int); CREATE SEQUENCE turn MINVALUE 16"
GUARD = "SELECT idempotent_guard('events', on_conflict => 'quarantine')"


@pytest.fixture
def race(db):
    return Race(db)


@pytest.fixture(params=["plain", "partitioned"])
def table(race, request):
    race.sql({"plain": PLAIN, "partitioned": PARTITIONED}[request.param])
    race.sql(LEDGER)
    race.sql(GUARD)
    return race


# --- scripts: rows -------------------------------------------------------------------------------------------------

# One in ten sends another version of the event than the others do.
DRAW = """
SELECT nextval('turn') / 16 AS k \\gset
\\set v random(1, 10) / 10
\\set dice random(1, 10)
"""
# All clients walk through the same keys, each at its own pace: a transaction that is tried again has the same key.
WALK = """
\\set n :n + 1
\\set k :n
\\set v random(1, 10) / 10
\\set dice random(1, 10)
"""
ROW = """
WITH sent AS (INSERT INTO events (id, version) VALUES (:k, :v) RETURNING id)
INSERT INTO ledger SELECT :k, :v, count(*) FROM sent;
"""
END = """
\\if :dice <= 3
ROLLBACK;
\\else
COMMIT;
\\endif
"""
TAKEN_BACK_OR_KEPT = """
\\if :dice % 2 = 0
ROLLBACK TO SAVEPOINT s;
\\else
RELEASE SAVEPOINT s;
\\endif
"""


def single_rows(draw):
    return [
        (6, draw + ROW),
        (3, f"{draw} BEGIN; {ROW} {END}"),
        (3, f"{draw} BEGIN; SAVEPOINT s; {ROW} {TAKEN_BACK_OR_KEPT} {ROW} {END}"),
        (2, f"{draw} BEGIN; SAVEPOINT s; {ROW} ROLLBACK TO SAVEPOINT s; {END}"),
        # A subtransaction that ends in an error, and the row once more.
        (
            2,
            f"""{draw} DO $do$ BEGIN
                BEGIN
                    INSERT INTO events (id, version) VALUES (:k, :v);
                    RAISE division_by_zero;
                EXCEPTION WHEN division_by_zero THEN NULL;
                END;
                {ROW}
            END $do$;""",
        ),
    ]


# --- scripts: batches ----------------------------------------------------------------------------------------------

# Ten keys, the upper half of which is the lower half of the next batch.
BATCH_DRAW = """
SELECT nextval('turn') / 16 * 5 AS k \\gset
\\set last :k + 9
\\set v random(1, 10) / 10
\\set dice random(1, 10)
"""
# Four keys, two of them shared with each neighbour. The more of them, the more of the time goes to deadlocks.
SMALL_BATCH_DRAW = """
SELECT nextval('turn') / 16 * 2 AS k \\gset
\\set last :k + 3
\\set v random(1, 10) / 10
\\set dice random(1, 10)
"""
BATCH_WALK = """
\\set n :n + 1
\\set k :n * 5
\\set last :k + 9
\\set v random(1, 10) / 10
\\set dice random(1, 10)
"""


def batch(order="id", low=":k", high=":last"):
    return f"""
WITH sent AS (
    INSERT INTO events (id, version) SELECT id, :v FROM generate_series({low}, {high}) id ORDER BY {order} RETURNING id
) INSERT INTO ledger SELECT id, :v, count(s.id) FROM generate_series({low}, {high}) id LEFT JOIN sent s USING (id) GROUP BY id;
"""


def values(offsets):
    """A multi-row INSERT … VALUES."""
    return f"""
WITH sent AS (
    INSERT INTO events (id, version) VALUES {", ".join(f"(:k + {n}, :v)" for n in offsets)} RETURNING id
) INSERT INTO ledger SELECT id, :v, count(s.id) FROM generate_series(:k, :last) id LEFT JOIN sent s USING (id) GROUP BY id;
"""


def copy(program):
    """COPY of the same ten rows; what it inserted is what this transaction's id is on."""
    return f"""
BEGIN;
COPY events (id, version) FROM PROGRAM '{program}' (FORMAT csv);
INSERT INTO ledger SELECT k, :v, count(e.id) FROM generate_series(:k, :last) k
    LEFT JOIN events e ON e.id = k AND e.xmin = pg_current_xact_id()::xid GROUP BY k;
"""


IN_ORDER = 'seq -f "%.0f,":v :k :last'
IN_DISORDER = 'seq -f "%.0f,":v :k :last | sort -R'


def sorted_batches(draw):
    return [
        (4, draw + batch()),
        (4, draw + values(range(10))),
        (1, draw + copy(IN_ORDER) + END),
        (2, f"{draw} BEGIN; {batch()} {END}"),
        # What a savepoint takes back comes again, beyond the keys that the transaction holds anyway.
        (2, f"{draw} BEGIN; {batch()} SAVEPOINT s; {batch('id', ':last + 1', ':last + 5')} {TAKEN_BACK_OR_KEPT} {END}"),
    ]


def shuffled_batches(draw):
    return [
        (4, draw + batch("random()")),
        (4, draw + values([2, 0, 3, 1])),
        (4, draw + values([1, 3, 0, 2])),
        (1, draw + copy(IN_DISORDER) + END),
        (2, f"{draw} BEGIN; {batch('-id')} SAVEPOINT s; {batch('id')} {TAKEN_BACK_OR_KEPT} {END}"),
    ]


# --- races -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["simple", "prepared"])
def test_bare_single_row_inserts_of_the_same_fresh_key_never_collide(race, protocol):
    """Nothing but the INSERT, so that as much as possible of a client's time is the critical moment."""
    race.sql(PLAIN)
    race.sql(LEDGER)
    race.sql("SELECT idempotent_guard('events')")
    race.must([(1, "INSERT INTO events SELECT nextval('turn') / 16, 1;")], 0.25, protocol=protocol)
    with race.db.connect() as conn:
        drawn = value(conn, "SELECT last_value / 16 FROM turn")
        assert value(conn, "SELECT count(*) FROM events") == value(conn, "SELECT max(id) FROM events") == drawn


NAIVE = """
    CREATE FUNCTION look_then_insert() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM FROM events WHERE id = NEW.id;
        IF FOUND THEN RETURN NULL; END IF;
        RETURN NEW;
    END $$;
    CREATE TRIGGER look_then_insert BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION look_then_insert()
"""


def test_the_same_race_breaks_a_trigger_that_looks_and_then_inserts(race):
    """The races above are worth something only if they find what is wrong."""
    race.sql(PLAIN)
    race.sql(LEDGER)
    race.sql(NAIVE)
    for _ in range(20):
        done = race.run([(1, "INSERT INTO events SELECT nextval('turn') / 16, 1;")], 0.02)
        if "23505" in done.states:
            break
    assert "23505" in done.states and done.returncode != 0
    assert 'duplicate key value violates unique constraint "events_pkey"' in done.stdout


def test_single_row_transactions_neither_collide_nor_deadlock(table):
    """Autocommit, explicit transactions, savepoints, rollbacks and errors, at random."""
    table.must(single_rows(DRAW), 0.15)
    table.verify()


def test_batches_in_key_order_neither_collide_nor_deadlock(table):
    table.must(sorted_batches(BATCH_DRAW), 0.025)
    table.verify()


def test_batches_in_any_order_do_not_collide_and_their_deadlocks_can_be_retried(table):
    """Who takes two keys in one order while another takes them in the other deadlocks, here as with a plain INSERT."""
    table.must(shuffled_batches(SMALL_BATCH_DRAW), 0.01, may={"40P01"}, clients=6)
    table.verify()


@pytest.mark.parametrize("level", LEVELS[1:])
def test_with_snapshots_only_serialization_failures_happen_and_their_retries_succeed(race, level):
    race.sql(PLAIN)
    race.sql(LEDGER)
    race.sql(GUARD)
    race.must(single_rows(WALK), 0.04, may={"40001"}, level=level)
    race.verify()


@pytest.mark.parametrize("level", LEVELS[1:])
def test_batches_with_snapshots_only_fail_to_serialize(race, level):
    race.sql(PARTITIONED)
    race.sql(LEDGER)
    race.sql(GUARD)
    race.must(sorted_batches(BATCH_WALK), 0.005, may={"40001"}, level=level)
    race.verify()


FUNCTIONS = [
    (
        3,
        DRAW
        + """
WITH sent AS (
    SELECT outcome FROM idempotent_insert('events', jsonb_build_object('id', :k, 'version', :v), on_conflict => 'quarantine')
) INSERT INTO ledger SELECT :k, :v, (outcome = 'inserted')::int FROM sent;
""",
    ),
    (
        1,
        f"""{DRAW} BEGIN; WITH sent AS (
    SELECT outcome FROM idempotent_insert_each('events', jsonb_build_array(jsonb_build_object('id', :k, 'version', :v)),
        on_conflict => 'quarantine')
) INSERT INTO ledger SELECT :k, :v, (outcome = 'inserted')::int FROM sent; {END}""",
    ),
    (
        1,
        DRAW
        + """
WITH sent AS (
    SELECT inserted FROM idempotent_insert_many('events',
        jsonb_build_array(jsonb_build_object('id', :k, 'version', :v), jsonb_build_object('id', :k, 'version', :v)),
        on_conflict => 'quarantine')
) INSERT INTO ledger SELECT :k, :v, inserted FROM sent;
""",
    ),
]


def test_plain_inserts_and_functions_race_for_the_same_keys(table):
    table.must(single_rows(DRAW) + [(weight * 3, text) for weight, text in FUNCTIONS], 0.06)
    table.verify(functions=True)


@pytest.mark.parametrize("conflicts", [False, True], ids=["one_version", "conflicts"])
def test_batches_of_functions_and_plain_batches_race_for_the_same_keys(table, conflicts):
    """The functions insert in key order; so do these statements: no deadlock. Records of the quarantine are another
    matter: a function writes them when its rows are in, a guard as it comes by, so that the two can wait for each other."""
    functions = """
WITH sent AS (
    SELECT (stored->>'id')::bigint AS id, outcome FROM idempotent_insert_each('events',
        (SELECT jsonb_agg(jsonb_build_object('id', id, 'version', :v) ORDER BY random()) FROM generate_series(:k, :last) id),
        on_conflict => 'quarantine')
) INSERT INTO ledger SELECT id, :v, (outcome = 'inserted')::int FROM sent;
"""
    draw = BATCH_DRAW if conflicts else BATCH_DRAW.replace("random(1, 10) / 10", "0")
    scripts = sorted_batches(draw) + [(6, draw + functions), (2, f"{draw} BEGIN; {functions} {END}")]
    table.must(scripts, 0.01, may={"40P01"} if conflicts else ())
    table.verify(functions=True, conflicts=conflicts)


@pytest.mark.parametrize("table", ["plain", "partitioned"], indirect=True)
def test_rows_that_are_deleted_meanwhile_are_inserted_again_never_lost(table):
    """Inserts less deletes of a key are what the table holds of it. Five keys, so that everyone meets everyone."""
    delete = "WITH gone AS (DELETE FROM events WHERE id = :k RETURNING id) INSERT INTO ledger SELECT :k, 0, -count(*) FROM gone;"
    few = "\\set k random(1, 5)\n\\set v 0\n\\set dice random(1, 10)\n"
    call = """
WITH sent AS (SELECT outcome FROM idempotent_insert('events', jsonb_build_object('id', :k, 'version', 0)))
INSERT INTO ledger SELECT :k, 0, (outcome = 'inserted')::int FROM sent;
"""
    all_five = """
WITH sent AS (INSERT INTO events (id, version) VALUES (1, 0), (2, 0), (3, 0), (4, 0), (5, 0) RETURNING id)
INSERT INTO ledger SELECT id, 0, 1 FROM sent;
"""
    scripts = [
        (8, few + delete),
        (4, f"{few} BEGIN; {delete} {END}"),
        # Deleted and inserted again by one transaction.
        (2, f"{few} BEGIN; {delete} {ROW} {END}"),
        (8, few + ROW),
        (4, f"{few} BEGIN; {ROW} {END}"),
        (4, few + call),
        (2, all_five),
    ]
    table.must(scripts, 0.1)
    with table.db.connect() as conn:
        wrong = conn.execute(
            """
            SELECT id, coalesce(l.n, 0) AS ledger, count(e.id) AS stored
            FROM (SELECT id, sum(inserted) AS n FROM ledger GROUP BY id) l FULL JOIN events e USING (id)
            GROUP BY id, l.n HAVING coalesce(l.n, 0) <> count(e.id)
            """
        ).fetchall()
        assert not wrong, wrong
        assert value(conn, "SELECT count(*) FROM idempotent.conflicts") == 0


@pytest.mark.parametrize("shape", ["hot", "new_index_entries", "moves_between_leaves", "policies"])
def test_a_row_that_is_updated_all_the_time_is_found_by_every_insert(race, shape):
    """An update leaves the old version of a row behind and puts the new one somewhere else, with an index entry of its
    own unless it is HOT. Who looks through the index meanwhile may pass by where the new one will be and then find the
    old one dead: the key is there all the time and yet not seen. It must not be taken for free."""
    race.sql("CREATE TABLE events (id bigint PRIMARY KEY, version int, beat int DEFAULT 0, note text) WITH (fillfactor = 50)")
    if shape != "hot":
        race.sql("CREATE INDEX ON events (beat)")
    role = ""
    if shape == "policies":
        # The place where the guard has found the row is not where the policies are asked about it.
        role = "SET ROLE sends_rows; "
        race.sql("CREATE ROLE sends_rows; GRANT SELECT, INSERT, UPDATE ON events TO sends_rows")
        race.sql("ALTER TABLE events ENABLE ROW LEVEL SECURITY; CREATE POLICY every ON events USING (true)")
    race.sql("INSERT INTO events SELECT n, 0, 0, '' FROM generate_series(1, 3) n")
    race.sql("SELECT idempotent_guard('events', ignore => '{beat,note}')")
    grow = ", note = repeat('x', (random() * 1000)::int)" if shape == "moves_between_leaves" else ""
    few = "\\set k random(1, 3)\n\\set dice random(1, 10)\n"
    scripts = [
        (8, f"{few} UPDATE events SET beat = beat + 1{grow} WHERE id = :k;"),
        (2, f"{few} BEGIN; UPDATE events SET beat = beat + 1{grow} WHERE id = :k; {END}"),
        (10, f"{few} {role} INSERT INTO events VALUES (:k, 0);"),
        (2, f"{role} INSERT INTO events VALUES (1, 0), (2, 0), (3, 0);"),
        # After a new key a guard may look in another way than after a duplicate.
        (10, f"{few} {role} INSERT INTO events SELECT nextval('turn'), 0 UNION ALL SELECT :k, 0;"),
    ]
    race.sql("CREATE SEQUENCE turn MINVALUE 16; GRANT USAGE ON SEQUENCE turn TO PUBLIC")
    race.must(scripts, 0.1)
    with race.db.connect() as conn:
        assert value(conn, "SELECT count(*) FROM events WHERE id <= 3 AND version = 0") == 3


def test_an_updated_row_is_judged_as_it_was_before_or_after_never_as_a_mixture(race):
    race.sql("CREATE TABLE events (id bigint PRIMARY KEY, a int, b int, beat int); CREATE INDEX ON events (a)")
    race.sql("INSERT INTO events SELECT n, 0, 0, 0 FROM generate_series(1, 3) n")
    race.sql("SELECT idempotent_guard('events', ignore => '{beat}', on_conflict => 'quarantine')")
    few = "\\set k random(1, 3)\n\\set dice random(1, 10)\n"
    scripts = [
        (4, f"{few} UPDATE events SET a = 1 - a, b = 1 - b WHERE id = :k;"),
        (2, f"{few} BEGIN; UPDATE events SET a = 1 - a, b = 1 - b WHERE id = :k; {END}"),
        (4, f"{few} INSERT INTO events VALUES (:k, 0, 0, 0);"),
        (4, f"{few} INSERT INTO events VALUES (:k, 1, 1, 0);"),
    ]
    race.must(scripts, 0.05)
    with race.db.connect() as conn:
        assert value(conn, "SELECT count(*) FROM events WHERE a = b") == 3
        seen = conn.execute("SELECT DISTINCT differences::text AS d FROM idempotent.conflicts ORDER BY 1").fetchall()
    # Each of the two versions met the other.
    assert [row["d"] for row in seen] == [
        '{"a": {"stored": 0, "payload": 1}, "b": {"stored": 0, "payload": 1}}',
        '{"a": {"stored": 1, "payload": 0}, "b": {"stored": 1, "payload": 0}}',
    ]


def test_new_options_of_the_guard_and_rebuilds_of_its_arbiter_open_no_gap(race):
    """The guard is replaced and its index is built anew, again and again, while others insert."""
    race.sql(PLAIN)
    race.sql(LEDGER)
    race.sql(GUARD)
    done = threading.Event()
    rounds = []

    def change(conn):
        while not done.is_set():
            conn.execute("REINDEX INDEX CONCURRENTLY events_pkey")
            rounds.append(conn.execute(GUARD))
            done.wait(0.02)

    changes = beside(race.db, change)
    try:
        race.must(single_rows(DRAW), 0.03)
    finally:
        done.set()
        changes.join()
    assert len(rounds) > 1
    race.verify()


def test_pgbench_is_there():
    """Without it nothing here is tested."""
    assert os.access(BINDIR / "pgbench", os.X_OK)
