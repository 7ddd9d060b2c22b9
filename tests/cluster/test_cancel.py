"""Whatever the extension is doing over its input, a cancelled statement answers at once.

Each case is run to its end once, and then cancelled by statement_timeout at parts of that time. What is late is how
long the answer takes from then on: a loop that is deaf is late by a good part of the whole. PGI_SCALE makes inputs
larger for a fast machine.
"""

import time

import psycopg
import pytest

from support.errors import failure
from support.memory import MEGABYTE, peak
from support.project import size
from support.queries import value

pytestmark = [pytest.mark.timeout(600), pytest.mark.once]

SCALE = size("PGI_SCALE", 1)
# Late by so many seconds is a deaf loop. Other tests may run beside these: the best of some attempts counts.
LATE = 1.0
ATTEMPTS = 4

ROWS = "SELECT g AS id, g % 97 AS a, 'text of row ' || g AS b, (g % 1000)::numeric / 7 AS c FROM generate_series(1, {n}) AS g"
TABLE = "CREATE TABLE {t} (id int PRIMARY KEY, a int, b text, c numeric)"


def rows(n):
    return ROWS.format(n=n * SCALE)


def table(conn, name, n=0, changed=False):
    conn.execute(TABLE.format(t=name))
    if n:
        conn.execute(f"INSERT INTO {name} SELECT id, a{' + 1' if changed else ''}, b, c FROM ({rows(n)}) AS r")


def payloads(conn, n):
    table(conn, "t")
    conn.execute(f"CREATE TABLE input AS SELECT jsonb_agg(to_jsonb(r)) AS doc FROM ({rows(n)}) AS r")


def many(conn):
    payloads(conn, 200_000)
    return "SELECT * FROM idempotent_insert_many('t', (SELECT doc FROM input))"


def each(conn):
    payloads(conn, 80_000)
    return "SELECT count(*) FROM idempotent_insert_each('t', (SELECT doc FROM input))"


def duplicates(conn):
    payloads(conn, 300_000)
    conn.execute(f"INSERT INTO t {rows(300_000)}")
    return "SELECT * FROM idempotent_insert_many('t', (SELECT doc FROM input))"


def conflicts(conn):
    payloads(conn, 80_000)
    conn.execute(f"INSERT INTO t SELECT id, a + 1, b, c FROM ({rows(80_000)}) AS r")
    return "SELECT count(*) FROM idempotent_insert_each('t', (SELECT doc FROM input), on_conflict => 'report')"


def quarantined(conn):
    payloads(conn, 15_000)
    conn.execute(f"INSERT INTO t SELECT id, a + 1, b, c FROM ({rows(15_000)}) AS r")
    return "SELECT * FROM idempotent_insert_many('t', (SELECT doc FROM input), on_conflict => 'quarantine')"


def rejected(conn):
    """One row in four is refused: when it is read, when it goes in, when the statement ends."""
    conn.execute("CREATE TABLE known (a int PRIMARY KEY); INSERT INTO known SELECT generate_series(1, 96)")
    payloads(conn, 25_000)
    conn.execute("ALTER TABLE t ADD CHECK (id % 8 <> 0), ADD FOREIGN KEY (a) REFERENCES known")
    conn.execute(
        """UPDATE input SET doc = (SELECT jsonb_agg(CASE WHEN row->'id' <@ '[7, 1007, 2007]' THEN row || '{"c": "x"}' ELSE row END)
             FROM jsonb_array_elements(doc) AS row)"""
    )
    return "SELECT * FROM idempotent_insert_many('t', (SELECT doc FROM input), on_error => 'quarantine')"


def unreadable(conn):
    table(conn, "t")
    conn.execute(f"CREATE TABLE input AS SELECT id, a, b, 'x' || c AS c FROM ({rows(60_000)}) AS r")
    conn.execute("CREATE DOMAIN refusing AS text CHECK (VALUE !~ '^x'); ALTER TABLE t ALTER c TYPE refusing")
    return "SELECT * FROM idempotent_insert_from('t', 'input', on_error => 'report')"


def no_objects(conn):
    """The last of very many payloads is none; nothing else is read of them."""
    table(conn, "t")
    conn.execute(f"CREATE TABLE input AS SELECT jsonb_agg(CASE WHEN g < {4_000_000 * SCALE} THEN '{{}}' ELSE '1' END::jsonb) AS doc FROM generate_series(1, {4_000_000 * SCALE}) AS g")
    return "SELECT * FROM idempotent_insert_many('t', (SELECT doc FROM input))"


def shapes(conn):
    """Every payload names other columns of a wide table."""
    names = ", ".join(f"c{i} int" for i in range(600))
    conn.execute(f"CREATE TABLE t (id int PRIMARY KEY, {names})")
    conn.execute(
        f"CREATE TABLE input AS SELECT jsonb_agg(doc) AS doc FROM (SELECT g, jsonb_object_agg(name, 1) || jsonb_build_object('id', g) AS doc"
        f" FROM generate_series(1, {350 * SCALE}) AS g, LATERAL (SELECT 'c' || i AS name FROM generate_series(0, 599) AS i WHERE i <> g % 600) AS n"
        " GROUP BY g) AS d"
    )
    return "SELECT * FROM idempotent_insert_many('t', (SELECT doc FROM input))"


def nested(conn):
    """One payload with a very long list, whose last member is refused: nothing is stored."""
    conn.execute("CREATE TABLE t (id int PRIMARY KEY, list int[])")
    conn.execute(f"CREATE TABLE input AS SELECT jsonb_build_object('id', 1, 'list', jsonb_agg(g) || jsonb_build_array('x')) AS doc FROM generate_series(1, {4_000_000 * SCALE}) AS g")
    return "SELECT outcome FROM idempotent_insert('t', (SELECT doc FROM input))"


def source(conn):
    table(conn, "t")
    table(conn, "source", 150_000)
    return "SELECT * FROM idempotent_insert_from('t', 'source')"


def merge(conn):
    table(conn, "t", 50_000, changed=True)
    table(conn, "source", 50_000)
    return "SELECT * FROM idempotent_merge('t', 'source')"


def merge_new(conn):
    table(conn, "t")
    table(conn, "source", 100_000)
    return "SELECT * FROM idempotent_merge('t', 'source', latest_by => '{a}')"


def overwrite(conn):
    table(conn, "t", 80_000, changed=True)
    table(conn, "source", 80_000)
    for name in ("t", "source"):
        conn.execute(f"ALTER TABLE {name} ADD day date DEFAULT '2013-01-31'")
    return "SELECT * FROM idempotent_overwrite('t', 'source', '{\"day\": \"2013-01-31\"}')"


def overwrite_each(conn):
    overwrite(conn)
    conn.execute("ALTER TABLE t DROP CONSTRAINT t_pkey")
    conn.execute("CREATE VIEW days AS SELECT id, a, b, c, '2013-01-01'::date + id % 200 AS day FROM source")
    return "SELECT count(*) FROM idempotent_overwrite_each('t', 'days', '{day}')"


def reconcile(conn):
    table(conn, "t", 80_000, changed=True)
    table(conn, "source", 80_000)
    return "SELECT count(*) FROM idempotent_reconcile('t', 'source')"


def load(conn):
    table(conn, "t")
    table(conn, "source", 120_000)
    return "CALL idempotent_load('t', 'source')"


def guarded(conn):
    table(conn, "t")
    table(conn, "source", 130_000)
    conn.execute("SELECT idempotent_guard('t')")
    return "INSERT INTO t SELECT * FROM source"


def guarded_duplicates(conn):
    table(conn, "t", 250_000)
    table(conn, "source", 250_000)
    conn.execute("SELECT idempotent_guard('t')")
    return "INSERT INTO t SELECT * FROM source"


def digest(conn):
    table(conn, "t", 250_000)
    return "SELECT idempotent_digest(t) FROM t"


def digest_array(conn):
    conn.execute(f"CREATE TABLE t AS SELECT array_agg(g) AS list FROM generate_series(1, {6_000_000 * SCALE}) AS g")
    return "SELECT idempotent_digest(t) FROM t"


def digest_multirange(conn):
    conn.execute(f"CREATE TABLE t AS SELECT range_agg(int4range(2 * g, 2 * g + 1)) AS list FROM generate_series(1, {1_500_000 * SCALE}) AS g")
    return "SELECT idempotent_digest(t) FROM t"


def digest_document(conn):
    conn.execute(f"CREATE TABLE t AS SELECT jsonb_agg(g) AS list FROM generate_series(1, {2_000_000 * SCALE}) AS g")
    return "SELECT idempotent_digest(t) FROM t"


def digest_text(conn):
    conn.execute(f"CREATE TABLE t AS SELECT string_agg(s, '') AS text FROM (SELECT repeat(chr(65 + g), 10000000) AS s FROM generate_series(1, {6 * SCALE}) AS g) AS p")
    return "SELECT idempotent_digest(t) FROM t"


def lint(conn):
    """A long body, with a comment and a text that are long as well."""
    table(conn, "t")
    body = "BEGIN\n/* " + "long " * 200_000 * SCALE + "*/\n" + "NEW.a := coalesce(NEW.a, 0);\n" * 40_000 * SCALE
    body += "NEW.b := '" + "x" * 1_000_000 * SCALE + "';\nRETURN NEW; END"
    conn.execute(f"CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $body${body}$body$")
    conn.execute("CREATE TRIGGER f BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()")
    return "SELECT count(*) FROM idempotent_lint('t')"


def lint_targets(conn):
    """Very many targets in one statement, and conditions within conditions."""
    table(conn, "t")
    conn.execute("SET check_function_bodies = off")
    body = "BEGIN SELECT 1, 2 INTO " + "NEW.a, " * 1_500 * SCALE + "NEW.b; RETURN NEW; END"
    conn.execute(f"CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $body${body}$body$")
    conn.execute("CREATE TRIGGER f BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()")
    return "SELECT count(*) FROM idempotent_lint('t')"


def response(conn):
    return f"SELECT length(response::text) FROM idempotent_execute('k', 'SELECT generate_series(1, {400_000 * SCALE})')"


def long_command(conn):
    """A command of megabytes, which is quoted, hashed, stored and parsed, each in one piece."""
    conn.execute(f"CREATE TABLE t AS SELECT repeat(' ', {60_000_000 * SCALE}) || 'SELECT 1' AS command")
    return "SELECT length(response::text) FROM t, idempotent_execute('k', command)"


def mismatch(conn):
    """Two requests of very many fields."""
    conn.execute(
        "CREATE TABLE t AS SELECT n, jsonb_object_agg('field ' || g, g + n) AS doc"
        f" FROM generate_series(1, {600_000 * SCALE}) AS g, generate_series(0, 1) AS n GROUP BY n"
    )
    begin = "SELECT * FROM idempotent_request_begin('k', (SELECT doc FROM t WHERE n = {}))"
    conn.execute(begin.format(0))
    return begin.format(1)


def purge(conn):
    conn.execute(
        "INSERT INTO idempotent.request_records (role, scope, key, status, attempt, fingerprint, request, ttl, started_at, expires_at, purge_after)"
        f" SELECT idempotent.own_role(), '', g::text, 'finished', g, '', '1', '1 day', now(), now(), now() FROM generate_series(1, {300_000 * SCALE}) AS g"
    )
    return "SELECT idempotent_purge(10000000)"


CASES = [
    many, each, duplicates, conflicts, quarantined, rejected, unreadable, no_objects, shapes, nested, source, merge, merge_new,
    overwrite, overwrite_each, reconcile, load,
    guarded, guarded_duplicates, digest, digest_array, digest_multirange, digest_document, digest_text, lint, lint_targets, response, long_command,
    mismatch, purge,
]  # fmt: skip


def seconds(conn, sql, timeout=0):
    """How long a statement takes, and whether it was cancelled."""
    commits = sql.startswith("CALL")
    conn.execute(f"SET statement_timeout = {timeout}" if commits else f"BEGIN; SET LOCAL statement_timeout = {timeout}")
    begin = time.monotonic()
    cancelled = False
    try:
        conn.execute(sql)
    except psycopg.errors.QueryCanceled:
        cancelled = True
    except psycopg.Error as error:
        # What `no_objects`, `mismatch` and `nested` come to.
        assert error.sqlstate in ("22023", "23I02", "22P02"), error
    took = time.monotonic() - begin
    conn.execute("SET statement_timeout = 0; TRUNCATE t" if commits else "ROLLBACK")
    return took, cancelled


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_a_cancelled_statement_answers_at_once(conn, case):
    sql = case(conn)
    whole, _ = seconds(conn, sql)
    late = {}
    for part in (0.1, 0.35, 0.6, 0.85):
        found = []
        for _ in range(ATTEMPTS):
            timeout = max(int(1000 * part * whole), 1)
            took, cancelled = seconds(conn, sql, timeout)
            found.append(took - timeout / 1000)
            if cancelled and found[-1] < min(LATE, whole / 10 + 0.1):
                break
        late[part] = min(found)
    assert max(late.values()) < LATE, (whole, late)
    # A deaf stretch is a part of the whole, however fast the machine is.
    assert max(late.values()) < whole / 4 + 0.15, (whole, late)


def takes(conn, sql, *parameters):
    # What is not linear would take hours: it ends here, with another error than the one that is asked for.
    conn.execute("SET statement_timeout = '15s'")
    begin = time.monotonic()
    error = failure(lambda: conn.execute(sql, parameters or None))
    return time.monotonic() - begin, error


def test_a_mismatch_of_very_many_fields_is_found_in_one_pass(conn):
    conn.execute("CREATE TABLE docs AS SELECT n, jsonb_object_agg('field ' || g, g + n) AS doc FROM generate_series(1, 200000) AS g, generate_series(0, 1) AS n GROUP BY n")
    begin = "SELECT * FROM idempotent_request_begin('k', (SELECT doc FROM docs WHERE n = %s))"
    conn.execute(begin, [0])
    took, error = takes(conn, begin, 1)
    assert error.sqlstate == "23I02"
    assert error.diag.message_detail.endswith("field 10 and 199990 more.")
    assert len(error.diag.message_detail) < 200
    assert took < 5


@pytest.mark.parametrize("option", ["key", "compare", "ignore"])
def test_a_list_of_very_many_names_is_read_in_one_pass(conn, option):
    table(conn, "t")
    conn.execute("CREATE TABLE names AS SELECT array_agg('name ' || g) AS list FROM generate_series(1, 400000) AS g")
    for call in (
        "SELECT * FROM idempotent_insert('t', '{{\"id\": 1}}', {} => (SELECT list FROM names))",
        "SELECT * FROM idempotent_insert_from('t', 't', {} => (SELECT list FROM names))",
        "SELECT * FROM idempotent_merge('t', 't', {} => (SELECT list FROM names))",
        "SELECT * FROM idempotent_guard('t', {} => (SELECT list FROM names))",
    ):
        took, error = takes(conn, call.format(option))
        assert error.sqlstate == "42703"
        assert took < 5


def test_long_names_are_cut_in_errors(conn):
    table(conn, "t")
    long = "repeat('ü', 5000000)"
    for sqlstate, call in (
        ("42703", f"SELECT * FROM idempotent_insert('t', '{{\"id\": 1}}', key => ARRAY[{long}])"),
        ("42701", f"SELECT * FROM idempotent_insert('t', '{{\"id\": 1}}', key => ARRAY[{long}, {long}])"),
        ("42703", f"SELECT * FROM idempotent_insert('t', jsonb_build_object({long}, 1))"),
        ("42703", f"SELECT * FROM idempotent_guard('t', ignore => ARRAY[{long}])"),
        ("42703", f"SELECT * FROM idempotent_guard('t', remember => {long})"),
        ("22023", f"SELECT * FROM idempotent_insert('t', '{{\"id\": 1}}', on_conflict => {long})"),
        ("22023", f"SELECT * FROM idempotent_guard('t', on_conflict => {long})"),
        ("22023", f"SELECT idempotent_resolve(1, {long})"),
        ("42703", f"SELECT * FROM idempotent_merge('t', 't', latest_by => ARRAY[{long}])"),
        ("42703", f"SELECT * FROM idempotent_overwrite('t', 't', jsonb_build_object({long}, 1))"),
        ("22023", f"SELECT * FROM idempotent_request_begin({long}, '1')"),
        ("22023", f"SELECT * FROM idempotent_run_begin({long})"),
    ):
        _, error = takes(conn, call)
        assert error.sqlstate == sqlstate, (call, error)
        assert len(str(error)) < 1000, call
        if "ü" in str(error):
            assert "ü" * 32 + "…" in str(error)


def test_a_response_takes_its_own_size_and_not_its_rows(conn):
    pid = conn.info.backend_pid
    conn.execute("SELECT * FROM idempotent_execute('small', 'SELECT generate_series(1, 10)')")
    before = peak(pid)
    found = conn.execute(
        "SELECT jsonb_array_length(response) AS rows, pg_column_size(response) / 1048576 AS megabytes"
        " FROM idempotent_execute('large', 'SELECT generate_series(1, 1000000)')"
    ).fetchone()
    assert found == {"rows": 1_000_000, "megabytes": found["megabytes"]}
    # The response while it grows, whole, and as it is stored; at 2 kB a row it was more than 2 GB.
    assert peak(pid) - before < (8 * found["megabytes"] + 64) * MEGABYTE


def test_a_response_that_is_too_large_is_refused(conn):
    _, error = takes(conn, "SELECT * FROM idempotent_execute('k', 'SELECT repeat(''x'', 100000000) FROM generate_series(1, 4)')")
    assert error.sqlstate == "54000"
    assert value(conn, "SELECT count(*) FROM idempotent.request_records") == 0
