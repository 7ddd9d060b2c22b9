"""The portable edition where whole databases and many sessions are needed: who installs it, a batch data API that loses
answers, and the races that its guard, merges and overwrites close. The suite `portable` runs the tests of tests/sql on it."""

import random
import subprocess
from types import SimpleNamespace

import psycopg
import pytest

from support.project import ROOT, SEED
from support.server import program

NAME = "portable"


@pytest.fixture
def portable(cluster):
    """A database without our library, in which an ordinary role has installed the portable edition."""
    path = ROOT / subprocess.run([ROOT / "scripts" / "portable"], check=True, stdout=subprocess.PIPE, encoding="utf-8").stdout.strip()
    with cluster.connect() as conn:
        conn.execute("CREATE ROLE tool_owner LOGIN; CREATE ROLE app LOGIN")
        conn.execute(f"CREATE DATABASE {NAME} TEMPLATE template0")
        conn.execute(f"GRANT CREATE ON DATABASE {NAME} TO tool_owner")
    with cluster.connect(NAME) as conn:
        conn.execute("CREATE SCHEMA tools AUTHORIZATION tool_owner; CREATE SCHEMA app AUTHORIZATION app")
        conn.execute("GRANT USAGE ON SCHEMA tools TO app")
    command = [program("psql"), "--no-psqlrc", "--quiet", f"--host={cluster.root}", "--username=tool_owner", "--set=ON_ERROR_STOP=1"]
    subprocess.run([*command, "--command=SET search_path = tools", "--file", path, NAME], env=cluster.environment, check=True)

    def connect(**options):
        conn = cluster.connect(NAME, user="app", **options)
        conn.execute("SET search_path = app, tools")
        return conn

    yield SimpleNamespace(connect=connect, host=cluster.root, environment=cluster.environment)
    with cluster.connect() as conn:
        conn.execute(f"DROP DATABASE {NAME} WITH (FORCE)")
        conn.execute("DROP ROLE tool_owner; DROP ROLE app")


def test_no_superuser_installs_or_uses_it(portable):
    with portable.connect() as conn:
        conn.execute("CREATE TABLE orders (order_id text PRIMARY KEY, amount numeric(10,2))")
        insert = """SELECT outcome FROM idempotent_insert('orders', '{"order_id": "a", "amount": %d}', on_conflict => 'quarantine')"""
        outcomes = [conn.execute(insert % amount).fetchone()["outcome"] for amount in (1, 1, 2)]
        assert outcomes == ["inserted", "duplicate", "conflict"]
        conflict = conn.execute("SELECT id, arrived_by FROM idempotent.conflicts").fetchone()
        assert conflict["arrived_by"] == "app"
        assert conn.execute("SELECT idempotent_resolve(%s, 'apply_payload') AS ended", [conflict["id"]]).fetchone()["ended"]
        assert conn.execute("SELECT amount FROM orders").fetchone()["amount"] == 2
        command = "SELECT replayed FROM idempotent_execute('k', 'DELETE FROM orders RETURNING *')"
        assert [conn.execute(command).fetchone()["replayed"] for _ in range(2)] == [False, True]


def test_a_batch_whose_answer_is_lost_is_sent_again(portable):
    rng = random.Random(SEED)
    sets = [(f"p{n}", n) for n in range(20)]
    with portable.connect() as conn:
        conn.execute("CREATE TABLE payments (id text PRIMARY KEY, amount numeric(10,2), paid_at timestamptz DEFAULT now())")
        conn.execute("SELECT idempotent_guard('payments')")
        # Each attempt ends somewhere, after sets that are committed one by one.
        for done in sorted(rng.sample(range(1, 20), 3)):
            for values in sets[:done]:
                conn.execute("INSERT INTO payments (id, amount) VALUES (%s, %s)", values)
        for values in sets:
            conn.execute("INSERT INTO payments (id, amount) VALUES (%s, %s)", values)
        assert conn.execute("SELECT count(*) AS n, sum(amount) AS total FROM payments").fetchone() == {"n": 20, "total": 190}
        with pytest.raises(psycopg.Error) as altered:
            conn.execute("INSERT INTO payments (id, amount) VALUES ('p3', 4)")
        assert (altered.value.sqlstate, altered.value.diag.column_name) == ("23I01", "amount")


def pgbench(portable, *scripts, clients=8, transactions=25):
    command = [program("pgbench"), "-n", "-c", str(clients), "-t", str(transactions), *(f"--file={script}" for script in scripts)]
    command += [f"--host={portable.host}", "--username=app", NAME]
    environment = {**portable.environment, "PGOPTIONS": "-c search_path=app,tools"}
    race = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8")
    assert race.returncode == 0, race.stdout
    assert "ERROR" not in race.stdout, race.stdout


def test_guarded_sessions_never_meet_in_the_index(portable, tmp_path):
    with portable.connect() as conn:
        conn.execute("CREATE TABLE events (id bigint PRIMARY KEY, v int); CREATE SEQUENCE draws; SELECT idempotent_guard('events')")
    # Sixteen draws to a key, so that the clients are always after the same fresh key; some by a function.
    plain, function = tmp_path / "plain.sql", tmp_path / "function.sql"
    plain.write_text("INSERT INTO events SELECT nextval('draws') / 16, 1;")
    function.write_text("SELECT idempotent_insert('events', jsonb_build_object('id', nextval('draws') / 16, 'v', 1));")
    pgbench(portable, f"{plain}@8", f"{function}@1", clients=16, transactions=40)
    with portable.connect() as conn:
        stored = conn.execute("SELECT count(*) AS n, max(id) AS last, sum(v) AS versions FROM events").fetchone()
    assert stored["n"] == stored["last"] + 1 == stored["versions"]


def test_the_extension_takes_guards_views_and_state_over(portable, cluster):
    with portable.connect() as conn:
        conn.execute("CREATE TABLE orders (id int PRIMARY KEY, v int, s text); CREATE TABLE arrived AS SELECT 2 AS id, 2 AS v")
        conn.execute("SELECT idempotent_guard('orders', ignore => '{s}', on_conflict => 'quarantine'), idempotent_view('orders', 'orders_in')")
        conn.execute("INSERT INTO orders VALUES (1, 1, 'a'); INSERT INTO orders VALUES (1, 2, 'b')")
        conn.execute("SELECT idempotent_execute('k', 'SELECT 7 AS n')")
        conn.execute("SELECT idempotent_insert_from('orders', 'arrived', token => 't')")
        conn.execute("CREATE VIEW mine AS SELECT * FROM idempotent.conflicts")
    with cluster.connect(NAME) as conn:
        conn.execute("SET search_path = app, tools")
        with pytest.raises(psycopg.errors.DependentObjectsStillExist, match="view app.mine"):
            conn.execute("SELECT idempotent_adopt()")
        conn.execute("DROP VIEW mine")
        assert len(conn.execute("SELECT idempotent_adopt()").fetchall()) == 2
        assert conn.execute("SELECT count(*) AS n FROM pg_extension WHERE extname = 'pg_idempotent'").fetchone()["n"] == 1
        assert conn.execute("SELECT to_regproc('idempotent_adopt') AS gone").fetchone()["gone"] is None
    with portable.connect() as conn:
        guard = conn.execute("SELECT key, ignore, on_conflict, problem FROM idempotent.guards").fetchone()
        assert guard == {"key": ["id"], "ignore": ["s"], "on_conflict": "quarantine", "problem": None}
        assert conn.execute("INSERT INTO orders VALUES (1, 1, 'c')").statusmessage == "INSERT 0 0"
        assert conn.execute("INSERT INTO orders_in VALUES (1, 1, 'a') RETURNING s").fetchone() == {"s": "a"}
        assert conn.execute("SELECT arrived_by, differences -> 'v' ->> 'payload' AS v FROM idempotent.conflicts").fetchone() == {"arrived_by": "app", "v": "2"}
        assert conn.execute("SELECT replayed FROM idempotent_execute('k', 'SELECT 7 AS n')").fetchone()["replayed"]
        assert conn.execute("SELECT replayed FROM idempotent_insert_from('orders', 'arrived', token => 't')").fetchone()["replayed"]


def test_a_digest_is_that_of_the_extension(portable, conn):
    rng = random.Random(SEED)
    rows = f"""SELECT (hash / 7919 - 100000)::int AS i, hash::bigint * hash AS l, (hash % 100000) / 100.0 AS n, nullif(hash % 5, 0)::float8 / 3 AS f, (hash % 99)::real / 7 AS real,
                      md5(hash::text) AS t, to_timestamp(hash) AS at, make_interval(secs => hash) AS span, ARRAY[hash, NULL] AS list, int4range(0, hash % 9) AS range,
                      jsonb_build_object('b', hash % 3, 'a', ARRAY[hash / 2.0], 'c', NULL) AS document, ROW(hash, 'x') AS inside, hash::text::tsvector AS words
               FROM (SELECT abs(hashint4(g + {rng.randrange(10**6)})) % 2000000000 AS hash FROM generate_series(1, 100) AS g) AS made"""
    query = f"SELECT idempotent_digest(r) AS digest FROM ({rows}) AS r"
    with portable.connect() as other:
        assert other.execute(query).fetchone() == conn.execute(query).fetchone()


def test_merges_leave_the_latest_row_that_ever_came(portable, tmp_path):
    with portable.connect() as conn:
        conn.execute("CREATE TABLE events (id int PRIMARY KEY, at int, v int)")
        conn.execute("CREATE TABLE sent (id int, at int, v int); CREATE SEQUENCE batches")
        conn.execute("""
            CREATE FUNCTION only_later() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                ASSERT (NEW.at, NEW.v) > (OLD.at, OLD.v);
                RETURN NEW;
            END $$;
            CREATE TRIGGER only_later BEFORE UPDATE ON events FOR EACH ROW EXECUTE FUNCTION only_later()""")
    merge = tmp_path / "merge.sql"
    # Batches come about in the order of their times, and meet at the same keys.
    merge.write_text("""
        WITH batch AS (SELECT jsonb_agg(jsonb_build_object('id', id, 'at', n + (random() * 8)::int, 'v', n)) AS payloads
                         FROM generate_series(0, 2) AS id, nextval('batches') AS n),
             noted AS (INSERT INTO sent SELECT p.* FROM batch, jsonb_to_recordset(payloads) AS p (id int, at int, v int))
        SELECT idempotent_merge_many('events', payloads, latest_by => '{at}') FROM batch;""")
    pgbench(portable, merge)
    with portable.connect() as conn:
        latest = "SELECT DISTINCT ON (id) id, at, v FROM sent ORDER BY id, at DESC, v DESC"
        assert conn.execute(f"SELECT count(*) AS n FROM (({latest}) EXCEPT SELECT * FROM events) AS lost").fetchone()["n"] == 0


def test_overwrites_take_turns_whatever_columns_their_slices_name(portable, tmp_path):
    with portable.connect() as conn:
        conn.execute("CREATE TABLE sales (day int, shop text, writer bigint); CREATE SEQUENCE writers; CREATE TABLE seen (copies int, writers int)")
        rows = "SELECT day, shop, currval('writers') AS writer FROM generate_series(1, 3) AS day, unnest('{a,b,c}'::text[]) AS shop"
        conn.execute(f"CREATE VIEW everything AS {rows}")
        for source, condition in {"day_1": "day = 1", "day_2": "day = 2", "days": "day < 3", "shop_a": "shop = 'a'"}.items():
            conn.execute(f"CREATE VIEW {source} AS SELECT * FROM everything WHERE {condition}")
    slices = {"day_1": '{"day": 1}', "day_2": '{"day": 2}', "days": '{"day": {"from": 1, "to": 3}}', "shop_a": '{"shop": "a"}', "everything": "{}"}
    scripts = []
    for source, named in slices.items():
        scripts.append(tmp_path / f"{source}.sql")
        # How often a row is there, and by how many writers the rows of a day are that shop a has no part in.
        scripts[-1].write_text(f"""
            SELECT nextval('writers');
            SELECT idempotent_overwrite('sales', '{source}', '{named}');
            INSERT INTO seen SELECT max(copies), max(writers)
              FROM (SELECT count(*) OVER (PARTITION BY day, shop) AS copies,
                           max(writer) FILTER (WHERE shop <> 'a') OVER day - min(writer) FILTER (WHERE shop <> 'a') OVER day AS writers
                      FROM sales WINDOW day AS (PARTITION BY day)) AS s;
            """)
    pgbench(portable, *scripts)
    with portable.connect() as conn:
        assert conn.execute("SELECT max(copies) AS copies, max(writers) AS more_writers FROM seen").fetchone() == {"copies": 1, "more_writers": 0}
        assert conn.execute("SELECT count(*) AS n FROM pg_locks WHERE locktype = 'advisory'").fetchone()["n"] == 0
