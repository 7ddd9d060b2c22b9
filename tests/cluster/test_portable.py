"""The portable edition where whole databases and many sessions are needed: who installs it, a batch data API that loses
answers, and the races that its guard, merges and overwrites close. The suite `portable` runs the tests of tests/sql on it."""

import random
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import psycopg
import pytest

from support.project import ROOT, SEED
from support.server import program
from support.waiting import until

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


def quick_start():
    """The SQL of README's quick start, and what psql prints for it, without the CREATE EXTENSION."""
    part = (ROOT / "README.md").read_text(encoding="utf-8").split("## Quick start")[1].split("\n## ")[0]
    sql, printed = (re.search(f"```{language}\n(.*?)```", part, re.S).group(1) for language in ("sql", "text"))
    begins = "CREATE EXTENSION pg_idempotent;\n", "CREATE EXTENSION\n"
    assert sql.startswith(begins[0]) and printed.startswith(begins[1])
    return sql.removeprefix(begins[0]), printed.removeprefix(begins[1])


def test_the_quick_start_prints_the_same(portable):
    sql, printed = quick_start()
    command = [program("psql"), "--no-psqlrc", f"--host={portable.host}", "--username=app", "--set=SHOW_CONTEXT=never", NAME]
    environment = {**portable.environment, "PGOPTIONS": "-c search_path=app,tools"}
    psql = subprocess.run(command, input=sql, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8")
    lines = [[line.rstrip() for line in text.strip().split("\n")] for text in (psql.stdout, printed)]
    assert lines[0] == lines[1]


class LostAnswer(Exception):
    """The connection broke before the answer came: the client knows nothing of what was stored."""


class BatchDataApi:
    """What a data API does with one statement and many sets of parameters. Each set is a statement of its own, committed by itself,
    or all of them are one transaction; the answer may be lost after any of them, with the sets before it stored or rolled back."""

    def __init__(self, portable):
        self.portable = portable

    def execute(self, sql, sets, lost_after=None, in_one_transaction=False):
        """How many rows each set has updated."""
        counts = []
        with self.portable.connect() as conn:
            conn.autocommit = not in_one_transaction
            for done, values in enumerate(sets):
                if done == lost_after:
                    # The server learns that the client is gone, and rolls back what is not committed.
                    conn.close()
                    raise LostAnswer
                counts.append(conn.execute(sql, values).rowcount)
            if not in_one_transaction:
                return counts
            conn.commit()
        if lost_after == len(sets):
            raise LostAnswer
        return counts


PAYMENTS = [(f"p{n}", n, f"2024-05-01T12:{n:02}:00Z") for n in range(20)]
BY_INSERT = "INSERT INTO payments (id, amount, paid_at) VALUES (%s, %s, %s)"
BY_FUNCTION = "SELECT * FROM idempotent_insert('payments', jsonb_build_object('id', %s::text, 'amount', %s::int, 'paid_at', %s::text))"


@pytest.mark.parametrize("in_one_transaction", [False, True])
@pytest.mark.parametrize("sql", [BY_INSERT, BY_FUNCTION])
def test_a_batch_whose_answer_is_lost_is_sent_again(portable, sql, in_one_transaction):
    rng = random.Random(SEED)
    api = BatchDataApi(portable)
    with portable.connect() as conn:
        conn.execute("CREATE TABLE payments (id text PRIMARY KEY, amount numeric(10,2), paid_at timestamptz, arrived timestamptz DEFAULT clock_timestamp())")
        conn.execute("SELECT idempotent_guard('payments')")
        for lost_after in [*sorted(rng.sample(range(1, 20), 3)), len(PAYMENTS) if in_one_transaction else 19]:
            with pytest.raises(LostAnswer):
                api.execute(sql, PAYMENTS, lost_after, in_one_transaction)
        api.execute(sql, PAYMENTS, None, in_one_transaction)
        stored = "SELECT count(*) AS n, sum(amount) AS total, max(arrived) AS last FROM payments"
        before = conn.execute(stored).fetchone()
        assert (before["n"], before["total"]) == (20, 190)
        # Once more, with every answer: nothing is new.
        counts = api.execute(sql, PAYMENTS, None, in_one_transaction)
        assert counts == ([0] * 20 if sql == BY_INSERT else [1] * 20)
        assert conn.execute(stored).fetchone() == before


@pytest.mark.parametrize("sql", [BY_INSERT, BY_FUNCTION])
def test_a_batch_that_was_altered_is_no_retry(portable, sql):
    api = BatchDataApi(portable)
    altered = [*PAYMENTS[:3], ("p3", 4, PAYMENTS[3][2]), *PAYMENTS[4:]]
    with portable.connect() as conn:
        conn.execute("CREATE TABLE payments (id text PRIMARY KEY, amount numeric(10,2), paid_at timestamptz)")
        conn.execute("SELECT idempotent_guard('payments')")
        with pytest.raises(LostAnswer):
            api.execute(sql, PAYMENTS, 10)
        with pytest.raises(psycopg.Error) as refused:
            api.execute(sql, altered)
        assert (refused.value.sqlstate, refused.value.diag.column_name) == ("23I01", "amount")
        assert conn.execute("SELECT count(*) AS n, sum(amount) AS total FROM payments").fetchone() == {"n": 10, "total": 45}


def test_one_call_takes_a_whole_batch(portable):
    batch = [{"id": id, "amount": amount} for id, amount, _ in PAYMENTS]
    sql = "SELECT outcome FROM idempotent_insert_each('payments', %s, on_conflict => 'report')"
    with portable.connect() as conn:
        conn.execute("CREATE TABLE payments (id text PRIMARY KEY, amount numeric(10,2))")

        def outcomes(payloads):
            return [row["outcome"] for row in conn.execute(sql, [psycopg.types.json.Jsonb(payloads)]).fetchall()]

        assert outcomes(batch[:7]) == ["inserted"] * 7
        assert outcomes(batch) == ["duplicate"] * 7 + ["inserted"] * 13
        assert outcomes([{**batch[0], "amount": 1}, *batch[1:]]) == ["conflict"] + ["duplicate"] * 19


def test_a_request_that_is_finished_and_begun_again_in_one_transaction_waits_for_nobody(portable):
    begin = "SELECT status, attempt, response FROM idempotent_request_begin('k', '{}', lease => '1 ms', wait => '20 s')"
    with portable.connect() as mine, portable.connect() as other, ThreadPoolExecutor(1) as pool:
        attempt = mine.execute(begin).fetchone()["attempt"]
        with mine.transaction():
            mine.execute("SELECT idempotent_request_finish('k', %s, '7')", [attempt])
            waiting = pool.submit(lambda: other.execute(begin).fetchone())
            until(lambda: mine.execute("SELECT count(*) AS n FROM pg_locks WHERE locktype = 'advisory' AND NOT granted").fetchone()["n"], words="the other session waits for the lock")
            # The transaction has the lock already for which the other one waits.
            assert mine.execute(begin).fetchone()["status"] == "finished"
        assert (waiting.result()["status"], waiting.result()["response"]) == ("finished", 7)


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
        conn.execute("CREATE TABLE told (id int PRIMARY KEY, v numeric, at timestamptz DEFAULT now(), first bytea); SELECT idempotent_guard('told', remember => 'first')")
        conn.execute("INSERT INTO told (id, v) VALUES (1, 1); UPDATE told SET v = 2")
        conn.execute("CREATE VIEW mine AS SELECT * FROM idempotent.conflicts")
    with cluster.connect(NAME) as conn:
        conn.execute("SET search_path = app, tools")
        with pytest.raises(psycopg.errors.DependentObjectsStillExist, match="view app.mine"):
            conn.execute("SELECT idempotent_adopt()")
        conn.execute("DROP VIEW mine")
        assert len(conn.execute("SELECT idempotent_adopt()").fetchall()) == 3
        assert conn.execute("SELECT count(*) AS n FROM pg_extension WHERE extname = 'pg_idempotent'").fetchone()["n"] == 1
        assert conn.execute("SELECT to_regproc('idempotent_adopt') AS gone").fetchone()["gone"] is None
    with portable.connect() as conn:
        guard = conn.execute("SELECT key, ignore, on_conflict, problem FROM idempotent.guards WHERE target = 'orders'::regclass").fetchone()
        assert guard == {"key": ["id"], "ignore": ["s"], "on_conflict": "quarantine", "problem": None}
        assert conn.execute("INSERT INTO orders VALUES (1, 1, 'c')").statusmessage == "INSERT 0 0"
        assert conn.execute("INSERT INTO orders_in VALUES (1, 1, 'a') RETURNING s").fetchone() == {"s": "a"}
        assert conn.execute("INSERT INTO told (id, v) VALUES (1, 1.0)").statusmessage == "INSERT 0 0"
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


def test_a_guard_remembers_what_the_extension_would(portable, conn):
    columns = '''id int PRIMARY KEY, n numeric, f float8, t text, at timestamptz DEFAULT now(), day date, span interval, list int[], range int4range, document jsonb,
                 plain json, place point, address inet, bytes bytea, yes bool, who text DEFAULT current_user'''
    rows = '''(1, 1.50, 0.1, 'é "x"', '2024-05-01 12:00Z', '2024-05-01', '1 day -02:00', '[0:1]={1,NULL}', '[1,5)', 'null', '{"b": 1, "a": [1.0]}', '(1,2)', '10.0.0.1/8', '\\x00ff', true, 'a'),
              (2, NULL, 'NaN', '', '2024-05-01 14:00+02', NULL, '24:00', '{}', 'empty', '{"a": {"b": []}}', NULL, NULL, NULL, NULL, NULL, 'b')'''
    kept = []
    with portable.connect() as other:
        for editor in (other, conn):
            for name, type in (("documents", "jsonb"), ("digests", "bytea")):
                editor.execute(f"CREATE TABLE {name} ({columns}, first {type}); SELECT idempotent_guard('{name}', remember => 'first')")
                editor.execute(f"INSERT INTO {name} VALUES {rows}; INSERT INTO {name} (id, t) VALUES (3, 'left out')")
            # The role is another one in each; and so is the time, where a document keeps it.
            kept.append([editor.execute(f"SELECT id, {shown} AS first FROM {name} WHERE id < {last} ORDER BY id").fetchall()
                         for name, shown, last in (("documents", "first::text", 3), ("digests", "first", 4))])  # fmt: skip
    assert kept[0] == kept[1]


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
