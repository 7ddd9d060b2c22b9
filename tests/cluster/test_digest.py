"""idempotent_digest: one text for one multiset of rows, on every server, in every process.

What a digest is made of is written down here a second time, for the common types, and must agree.
"""

import hashlib
import json
import random
import struct
from decimal import Decimal

import psycopg
import pytest
from psycopg.types.json import Jsonb

from support.dumps import dump, restore
from support.memory import grows
from support.project import SEED, size
from support.queries import value
from support.server import SERVER_MAJOR

CASES = size("PGI_CASES", 200)
ROWS = size("PGI_ROWS", 100_000)

DIGEST = "SELECT idempotent_digest(t.*) FROM {} AS t"


# --- the reference ---


def length(n):
    out = bytearray()
    while n >= 0x80:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def text(string):
    return b"\x20" + length(len(string.encode())) + string.encode()


def numeric(number):
    if not number.is_finite():
        return bytes([48 if number.is_nan() else 49 if number > 0 else 50])
    sign, digits, exponent = number.as_tuple()
    digits = list(digits) + [0] * (exponent % 4)
    exponent -= exponent % 4
    digits = [0] * (-len(digits) % 4) + digits
    words = [int("".join(map(str, digits[i : i + 4]))) for i in range(0, len(digits), 4)]
    weight = exponent // 4 + len(words) - 1
    while words and words[0] == 0:
        words, weight = words[1:], weight - 1
    while words and words[-1] == 0:
        words = words[:-1]
    if not words:
        return b"\x33\x00"
    return bytes([52 if sign else 51]) + length(len(words)) + struct.pack(f">h{len(words)}H", weight, *words)


def member(v):
    """A value inside a document."""
    if isinstance(v, dict):
        fields = sorted(v.items(), key=lambda field: (len(field[0].encode()), field[0].encode()))
        return b"\x22" + length(len(v)) + b"".join(length(len(k.encode())) + k.encode() + member(v) for k, v in fields)
    if isinstance(v, list):
        return b"\x23" + length(len(v)) + b"".join(map(member, v))
    return numeric(Decimal(v)) if isinstance(v, int) and not isinstance(v, bool) else canonical(v)


def canonical(v):
    if v is None:
        return b"\x00"
    if isinstance(v, bool):
        return b"\x02" if v else b"\x01"
    if isinstance(v, int):
        count = 0 if v == 0 else (v if v >= 0 else ~v).bit_length() // 8 + 1
        return bytes([16 + count]) + v.to_bytes(count, "big", signed=True)
    if isinstance(v, str):
        return text(v)
    if isinstance(v, float):
        v = 0.0 if v == 0 else v
        return b"\x03" + (struct.pack(">Q", 0x7FF8 << 48) if v != v else struct.pack(">d", v))
    if isinstance(v, Decimal):
        return numeric(v)
    if isinstance(v, bytes):
        return b"\x0b" + length(len(v)) + v
    if isinstance(v, Jsonb):
        return b"\x21" + member(v.obj)
    if isinstance(v, list):
        if not v:
            return b"\x24\x00"
        return b"\x24\x01" + canonical(len(v)) + canonical(1) + b"".join(map(canonical, v))
    raise TypeError(v)


def chacha(key, counter, nonce, rounds):
    """A block, as RFC 8439 has it, but for the number of rounds."""
    start = [*struct.unpack("<4I", b"expand 32-byte k"), *struct.unpack("<8I", key), counter, *struct.unpack("<3I", nonce)]
    words = list(start)

    def quarter(a, b, c, d):
        for to, other, add, turn in ((a, d, b, 16), (c, b, d, 12), (a, d, b, 8), (c, b, d, 7)):
            words[to] = words[to] + words[add] & 0xFFFFFFFF
            turned = words[other] ^ words[to]
            words[other] = (turned << turn | turned >> 32 - turn) & 0xFFFFFFFF

    for _ in range(rounds // 2):
        for i in range(4):
            quarter(i, 4 + i, 8 + i, 12 + i)
        for i in range(4):
            quarter(i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4)
    return struct.pack("<16I", *(a + b & 0xFFFFFFFF for a, b in zip(words, start)))


def test_chacha_here_is_that_of_its_rfc():
    key, nonce = bytes(range(32)), bytes.fromhex("000000090000004a00000000")
    block = chacha(key, 1, nonce, 20)
    assert block.hex().startswith("10f1e7e4d13b5915500fdd1fa32071c4") and block.hex().endswith("b5129cd1de164eb9cbd083e8a2503c4e")


LANES = 256


def lanes(row):
    key = hashlib.sha256(b"".join(map(canonical, row))).digest()
    stream = b"".join(chacha(key, i, bytes(12), 12) for i in range(LANES * 8 // 64))
    return [1, *struct.unpack(f"<{LANES}Q", stream)[1:]]


def text_of(vector):
    return f"v2:{vector[0]}:{hashlib.sha256(struct.pack(f'<{LANES}Q', *vector)).hexdigest()}"


def reference(rows):
    return text_of([sum(lane) % 2**64 for lane in zip(*map(lanes, rows))])


# --- rows ---

TYPES = "i int, b bigint, t text, f boolean, d float8, m numeric, j jsonb, y bytea, a text[]"


def some_text(r):
    return r.choice(["", "a", "b", "ab", "Grüße", "世界", "x" * r.randrange(200), "y" * r.randrange(9000)])


def some_document(r, depth=0):
    kind = r.randrange(7 if depth < 3 else 5)
    if kind == 5:
        return [some_document(r, depth + 1) for _ in range(r.randrange(4))]
    if kind == 6:
        return {some_text(r)[:20]: some_document(r, depth + 1) for _ in range(r.randrange(4))}
    return [None, True, False, r.randrange(-(10**9), 10**9), some_text(r)[:50]][kind]


def some_row(r):
    row = [
        r.choice([0, 1, -1, 127, 128, -128, -129, 2**31 - 1, -(2**31), r.randrange(-(2**31), 2**31)]),
        r.choice([0, 2**63 - 1, -(2**63), r.randrange(-(2**63), 2**63)]),
        some_text(r),
        r.random() < 0.5,
        r.choice([0.0, -0.0, float("nan"), float("inf"), -float("inf"), r.uniform(-1e9, 1e9)]),
        r.choice([Decimal("NaN"), Decimal("Infinity"), Decimal("-Infinity"), Decimal("0.00"), Decimal("-0.0010"),
                  Decimal(r.randrange(-(10**30), 10**30)).scaleb(-r.randrange(40))]),
        Jsonb(some_document(r)),
        r.randbytes(r.randrange(20)),
        [r.choice([None, some_text(r)[:30]]) for _ in range(r.randrange(4))],
    ]  # fmt: skip
    return [None if r.random() < 0.1 else v for v in row]


def fill(conn, table, rows):
    conn.execute(f"DROP TABLE IF EXISTS {table}; CREATE TABLE {table} ({TYPES})")
    with conn.cursor().copy(f"COPY {table} FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)


def test_digests_are_what_they_are_said_to_be(conn):
    r = random.Random(SEED)
    rows = [some_row(r) for _ in range(CASES)]
    fill(conn, "t", rows)
    assert value(conn, DIGEST.format("t")) == reference(rows)
    columns = value(
        conn, "SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 't'::regclass AND attnum > 0"
    )
    assert value(conn, f"SELECT idempotent_digest({columns}) FROM t") == reference(rows)
    # Row by row, so that a wrong one is shown.
    for row in rows[:50]:
        fill(conn, "one", [row])
        assert value(conn, DIGEST.format("one")) == reference([row]), row


def test_any_order_is_the_same_and_any_change_is_another(conn):
    r = random.Random(SEED + 1)
    seen = {}
    for n in range(max(10, CASES // 10)):
        rows = [some_row(r) for _ in range(r.randrange(2, 8))]
        digest = reference(rows)
        assert seen.setdefault(digest, rows) is rows
        shuffled = r.sample(rows, len(rows))
        fill(conn, "t", shuffled)
        assert value(conn, DIGEST.format("t")) == digest
        i = r.randrange(len(rows))
        c = r.randrange(len(rows[i]))
        kinds = [rows[:i] + rows[i + 1 :], [*rows, rows[i]]]
        other = some_row(r)[c]
        if canonical(other) != canonical(rows[i][c]):
            kinds.append(rows[:i] + [rows[i][:c] + [other] + rows[i][c + 1 :]] + rows[i + 1 :])
        for changed in kinds:
            fill(conn, "t", changed)
            assert value(conn, DIGEST.format("t")) != digest, (rows, changed)
            assert value(conn, DIGEST.format("t")) == reference(changed)


def test_many_copies_are_no_multiple_of_anything(conn):
    """In lanes of 16 bits, 65536 copies of a row are none."""
    copies = "SELECT idempotent_digest(ROW({})) FROM generate_series(1, {})"
    for n in (2**8, min(2**16, ROWS)):
        a, b = value(conn, copies.format(1, n)), value(conn, copies.format(2, n))
        assert a == text_of([n * lane % 2**64 for lane in lanes([1])])
        assert b == text_of([n * lane % 2**64 for lane in lanes([2])])
        assert a != b


# fmt: off
FORGED = (
    [4, 4, 4, 4, 5, 5, 7, 10, 12, 12, 12, 14, 14, 16, 18, 19, 19, 22, 23, 23, 25, 25, 26, 26, 29, 29, 29, 31, 32, 32, 33, 34, 34, 34, 35, 38, 38, 38, 39, 41, 52, 53, 60, 60, 61, 63, 65, 65, 65, 67, 67, 67, 70, 70, 70, 71, 72, 72, 74, 75, 78, 78, 83, 83, 84, 87, 90, 94, 96, 96, 97, 97, 100, 100, 100, 101, 103, 103, 103, 103, 107, 107, 108, 108, 108, 108, 109, 109, 109, 109, 113, 119, 119],
    [3, 3, 6, 8, 8, 8, 11, 13, 13, 13, 20, 20, 21, 21, 27, 27, 27, 28, 28, 30, 30, 30, 30, 36, 36, 36, 37, 40, 42, 43, 43, 43, 44, 44, 45, 46, 48, 50, 50, 55, 55, 55, 59, 59, 62, 64, 66, 66, 69, 73, 77, 77, 79, 79, 79, 80, 80, 80, 81, 81, 85, 85, 86, 86, 88, 88, 88, 88, 88, 89, 91, 92, 93, 98, 99, 99, 102, 105, 105, 106, 106, 106, 110, 110, 111, 111, 114, 114, 116, 117, 118, 118, 120],
)
# fmt: on


def test_rows_whose_hashes_had_the_same_sum(conn):
    """Lattice reduction found these among rows of one integer, where a digest was a sum of SHA-256 modulo 2^256."""
    with_sum = lambda rows: sum(int.from_bytes(hashlib.sha256(canonical(i)).digest(), "big") for i in rows) % 2**256
    assert with_sum(FORGED[0]) == with_sum(FORGED[1]) and not set(FORGED[0]) & set(FORGED[1])
    conn.execute("CREATE TABLE forged (side int, i int)")
    for side, rows in enumerate(FORGED):
        for i in rows:
            conn.execute("INSERT INTO forged VALUES (%s, %s)", (side, i))
    a, b = (value(conn, f"SELECT idempotent_digest(ROW(i)) FROM forged WHERE side = {side}") for side in (0, 1))
    assert a != b


def test_swapped_columns_and_moved_values(conn):
    conn.execute("CREATE TABLE t (a text, b text, c text); INSERT INTO t VALUES ('x', 'y', NULL), ('x', '', 'z')")
    orders = ["a, b, c", "b, a, c", "a, c, b", "c, b, a", "b, c, a", "c, a, b"]
    digests = {value(conn, f"SELECT idempotent_digest(ROW({order})) FROM t") for order in orders}
    assert len(digests) == 6
    assert value(conn, DIGEST.format("t")) in digests
    # Names do not count.
    conn.execute("ALTER TABLE t RENAME a TO other")
    assert value(conn, DIGEST.format("t")) in digests


# --- parallel ---

PARALLEL = """
SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;
SET max_parallel_workers_per_gather = 4; SET max_parallel_workers = 8;
"""

WIDE = """
CREATE TYPE mood AS ENUM ('sad', 'happy');
CREATE TYPE pair AS (a int, b text);
CREATE TABLE big AS SELECT
    i, i % 100 AS g, md5(i::text) AS t, i / 7.0 AS m, now() + make_interval(secs => i) AS at,
    CASE i % 2 WHEN 0 THEN 'sad'::mood END AS mood, ROW(i, 'x')::pair AS pair, ARRAY['sad', 'happy']::mood[] AS moods,
    jsonb_build_object('i', i) AS j, 'big'::text::regtype::regclass AS r
FROM generate_series(1, {rows}) AS i;
ANALYZE big;
"""


@pytest.fixture
def big(conn):
    conn.execute(WIDE.replace("'big'::text::regtype::regclass", "'pg_type'::regclass").format(rows=ROWS))
    return conn


def workers(conn, query):
    """How many parallel workers a query had, and whether each aggregated its part."""
    (plan,) = value(conn, f"EXPLAIN (ANALYZE, FORMAT JSON) {query}")
    partial, launched = False, 0

    def visit(node):
        nonlocal partial, launched
        partial = partial or node.get("Partial Mode") == "Partial"
        launched = max(launched, node.get("Workers Launched", 0))
        for child in node.get("Plans", []):
            visit(child)

    visit(plan["Plan"])
    return launched, partial


def test_parallel_workers_give_the_same(big):
    big.execute("SET max_parallel_workers_per_gather = 0")
    groups = "SELECT g, idempotent_digest(big) AS digest FROM big GROUP BY g ORDER BY g"
    filtered = "SELECT idempotent_digest(big) FILTER (WHERE i % 3 = 0), idempotent_digest(ROW(t, r)) FROM big"
    columns = "SELECT idempotent_digest(t, r), idempotent_digest(i, mood, pair, moods, j) FROM big"
    empty = "SELECT idempotent_digest(big) FROM big WHERE i % 3 = 7"
    queries = [DIGEST.format("big"), groups, filtered, columns, empty]
    serial = [big.execute(query).fetchall() for query in queries]
    big.execute(PARALLEL)
    for query, expected in zip(queries, serial):
        launched, partial = workers(big, query)
        assert launched >= 1 and partial
        assert big.execute(query).fetchall() == expected
    # Not in part where that cannot be: the rows are gathered.
    distinct = "SELECT idempotent_digest(DISTINCT ROW(g, mood)) FROM big"
    gathered = big.execute(distinct).fetchall()
    big.execute("SET max_parallel_workers_per_gather = 0")
    assert big.execute(distinct).fetchall() == gathered


def test_a_worker_for_everything(big):
    """The setting that runs every query in a worker."""
    expected = value(big, DIGEST.format("big"))
    big.execute(f"SET {'debug_parallel_query' if SERVER_MAJOR >= 16 else 'force_parallel_mode'} = on")
    assert value(big, DIGEST.format("big")) == expected
    assert value(big, "SELECT idempotent_digest(ROW(1, 'pg_class'::regclass))") == value(
        big, "SELECT idempotent_digest(ROW(1, 'pg_class'))"
    )


@pytest.mark.once
def test_many_groups_in_little_memory(big):
    """Also where the groups do not fit and are put aside."""
    query = "SELECT idempotent_digest(ROW(i, digest)) FROM (SELECT i, idempotent_digest(big) AS digest FROM big GROUP BY i) AS s"
    expected = value(big, query)
    big.execute("SET work_mem = '64kB'")
    assert value(big, query) == expected
    big.execute("SET enable_hashagg = off")
    assert value(big, query) == expected
    big.execute("SET enable_hashagg = on; SET work_mem = '4MB';" + PARALLEL)
    assert value(big, query) == expected


# --- other databases ---


def test_a_dump_keeps_digests(db):
    """Enums, row types and tables get other oids where they are restored."""
    query = "SELECT idempotent_digest(ROW(mood, moods, pair, r, t)) FROM big"
    with db.connect() as conn:
        conn.execute(WIDE.replace("'big'::text::regtype::regclass", "'idempotent.request_records'::regclass").format(rows=1000))
        conn.execute("CREATE TABLE names (r regclass, p regprocedure, t regtype); CREATE SCHEMA s; CREATE TABLE s.x ()")
        conn.execute("INSERT INTO names VALUES ('s.x', 'idempotent_purge(int)', 's.x')")
        digests = value(conn, query), value(conn, DIGEST.format("names"))
    file = dump(db)
    restored = db.cluster.create_database()
    with restored.connect() as conn:
        conn.execute("DROP EXTENSION pg_idempotent; CREATE TABLE takes_an_oid (); CREATE TYPE takes_one AS ENUM ('a', 'b')")
    restore(file, db.cluster, restored.name)
    with restored.connect() as conn:
        assert (value(conn, query), value(conn, DIGEST.format("names"))) == digests


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_an_encoding_changes_no_digest(cluster, encoding):
    """In UTF-8 the names of fields have another order than in LATIN1."""
    strings = ["äöü", "é", "zz", "ascii", ""]
    documents = [{s: [s, {s: 1}] for s in strings}, strings, strings[0]]
    rows = [[s, Jsonb(d), [s, None]] for s in strings for d in documents]
    with cluster.connect("postgres") as conn:
        name = f"encoded_{encoding.lower()}"
        conn.execute(f"CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
    with cluster.connect(name) as conn:
        conn.execute("CREATE EXTENSION pg_idempotent; CREATE TABLE t (s text, j jsonb, a text[])")
        if encoding == "SQL_ASCII":
            conn.execute("SET client_encoding = SQL_ASCII")
        for s, j, a in rows:
            document = json.dumps(j.obj, ensure_ascii=False)
            sql = "INSERT INTO t VALUES ({}, {}, ARRAY[{}, NULL])".format(*(f"'{v}'" for v in (s, document, s)))
            conn.pgconn.exec_(sql.encode() if encoding == "SQL_ASCII" else sql.encode(conn.info.encoding))
        assert value(conn, "SELECT count(*) FROM t") == len(rows)
        if encoding == "SQL_ASCII":
            got = conn.pgconn.exec_(DIGEST.format("t").encode()).get_value(0, 0).decode()
        else:
            got = value(conn, DIGEST.format("t"))
    assert got == reference(rows)


def test_an_encoding_changes_no_sketch(cluster):
    """As text, char(n) and name, short, compressed and outside of its row, and inside an array."""
    sketch = (
        "SELECT idempotent.sketch(decode('01000106' || repeat('0123456789abcdef', 2) || '0000', 'hex'), i, s, s::char(9000), left(s, 30)::name, p, ARRAY[s])"
        " FROM t"
    )
    sketches = []
    for encoding in ("LATIN1", "UTF8"):
        name = f"sketched_{encoding.lower()}"
        with cluster.connect("postgres") as conn:
            conn.execute(f"CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
        with cluster.connect(name) as conn:
            conn.execute("CREATE EXTENSION pg_idempotent; CREATE TABLE t (i int, s text, p text); ALTER TABLE t ALTER p SET STORAGE EXTERNAL")
            for count in (0, 1, 40, 3000):
                text = "äöü é zz" * count
                conn.execute("INSERT INTO t VALUES (%s, %s, %s)", (count, text, text))
            sketches.append(value(conn, sketch))
    assert sketches[0] == sketches[1]


def extension(conn, name):
    if not value(conn, "SELECT count(*) FROM pg_available_extensions WHERE name = %s", name):
        pytest.skip(f"no {name} here")
    conn.execute(f"CREATE EXTENSION {name}")


# --- on foreign servers ---


@pytest.fixture
def mirror(db):
    """A connection to a database whose table `t` has the columns of the table `t` of another one, as a foreign table."""
    far = db.cluster.create_database()
    columns = "i int, t text, m numeric(12,3), at timestamptz, j jsonb, a text[], nothing bytea"
    with far.connect() as conn:
        conn.execute(f"CREATE TABLE t ({columns})")
        conn.execute(
            """INSERT INTO t SELECT i, md5(i::text), i / 7.0, to_timestamp(i), jsonb_build_object('i', i, 'x', 1.50), ARRAY['a', NULL]
               FROM generate_series(1, 1000) AS i"""
        )
    with db.connect() as conn:
        extension(conn, "postgres_fdw")
        host, port = value(conn, "SHOW unix_socket_directories").split(",")[0], value(conn, "SHOW port")
        conn.execute(
            f"""CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw
                    OPTIONS (host '{host}', port '{port}', dbname '{far.name}', extensions 'pg_idempotent');
                CREATE USER MAPPING FOR CURRENT_USER SERVER far;
                CREATE FOREIGN TABLE t ({columns}) SERVER far"""
        )
        yield conn


COLUMNS_DIGEST = "idempotent_digest(i, t, m, at, j, a, nothing)"


def remote_sql(conn, query):
    plan = "\n".join(line["QUERY PLAN"] for line in conn.execute(f"EXPLAIN (VERBOSE, COSTS OFF) {query}").fetchall())
    assert plan.count("Remote SQL:") == 1, plan
    return plan.split("Remote SQL:")[1].strip()


def test_a_foreign_server_computes_the_digest_of_columns(mirror):
    rows = mirror.execute("SELECT i, t, m, at, j, a, nothing FROM t").fetchall()
    assert len(rows) == 1000
    far = remote_sql(mirror, f"SELECT {COLUMNS_DIGEST} FROM t")
    assert far == "SELECT public.idempotent_digest(i, t, m, at, j, a, nothing) FROM public.t"
    digest = value(mirror, f"SELECT {COLUMNS_DIGEST} FROM t")
    assert digest.startswith("v2:1000:")
    # Whole rows come over, and are the same.
    assert "idempotent_digest" not in remote_sql(mirror, "SELECT idempotent_digest(t.*) FROM t")
    assert value(mirror, "SELECT idempotent_digest(t.*) FROM t") == digest
    # The remote session has other settings than this one.
    mirror.execute("SET timezone = 'Asia/Tokyo'; SET extra_float_digits = -5; SET datestyle = 'SQL, DMY'")
    assert value(mirror, f"SELECT {COLUMNS_DIGEST} FROM t") == digest


def test_a_foreign_server_computes_digests_of_groups_and_parts(mirror):
    near = "idempotent_digest(ROW(i, t))"
    for query in (
        "SELECT i % 10 AS part, {} AS digest FROM t GROUP BY 1 ORDER BY 1",
        "SELECT {} FROM t WHERE i BETWEEN 100 AND 199",
        "SELECT {} FILTER (WHERE i > 500) FROM t",
        "SELECT {} FROM t WHERE false AND i = 1",
    ):
        far = query.format("idempotent_digest(i, t)")
        if "false" not in query:
            assert "idempotent_digest(" in remote_sql(mirror, far)
        assert mirror.execute(far).fetchall() == mirror.execute(query.format(near)).fetchall()


def test_a_foreign_server_computes_the_digest_of_columns_with_collations(mirror):
    mirror.execute("ALTER FOREIGN TABLE t ALTER COLUMN t TYPE text COLLATE \"C\", ADD COLUMN same text OPTIONS (column_name 't') COLLATE \"POSIX\"")
    for columns in ("i, t", "t, same", "t, a, same"):
        query = f"SELECT idempotent_digest({columns}) FROM t"
        assert remote_sql(mirror, query).startswith("SELECT public.idempotent_digest("), columns
        assert value(mirror, query) == value(mirror, f"SELECT idempotent_digest(ROW({columns})) FROM t")


def test_a_foreign_server_without_the_option_sends_the_rows(mirror):
    digest = value(mirror, f"SELECT {COLUMNS_DIGEST} FROM t")
    mirror.execute("ALTER SERVER far OPTIONS (DROP extensions)")
    assert "idempotent_digest" not in remote_sql(mirror, f"SELECT {COLUMNS_DIGEST} FROM t")
    assert value(mirror, f"SELECT {COLUMNS_DIGEST} FROM t") == digest


def test_a_type_of_an_extension_is_its_text(conn):
    extension(conn, "hstore")
    conn.execute("CREATE TABLE t AS SELECT 'b=>2, a=>NULL'::hstore AS h")
    assert value(conn, DIGEST.format("t")) == reference([['"a"=>NULL, "b"=>"2"']])


def test_citext_is_text(conn):
    extension(conn, "citext")
    assert value(conn, "SELECT idempotent_digest(ROW('A'::citext))") == reference([["A"]])


def test_settings_change_no_value_of_a_contrib_type(conn):
    extension(conn, "cube")
    conn.execute("CREATE TABLE t AS SELECT cube(0.1::float8 + 0.2::float8) AS c")
    expected = value(conn, DIGEST.format("t"))
    conn.execute("SET extra_float_digits = -5")
    assert value(conn, DIGEST.format("t")) == expected
    # And they are as they were.
    assert value(conn, "SHOW extra_float_digits") == "-5"
    assert value(conn, "SELECT c::text FROM t") == "(0.3)"


def test_xml_is_its_text(conn):
    try:
        conn.execute("CREATE TABLE t AS SELECT '<?xml version=\"1.0\" encoding=\"UTF-8\"?><a b=\"1\"/>'::xml AS x")
    except psycopg.errors.FeatureNotSupported:
        pytest.skip("built without libxml")
    shown = value(conn, "SELECT format('%s', x) FROM t")
    assert value(conn, DIGEST.format("t")) == reference([[shown]])


# --- what may go wrong ---


def test_deep_documents_and_rows_end_with_an_error_of_the_server(conn):
    conn.execute("CREATE TABLE deep (j jsonb)")
    conn.execute("SET max_stack_depth = '6MB'")
    conn.execute("INSERT INTO deep SELECT (repeat('[', 1000) || repeat(']', 1000))::jsonb")
    assert value(conn, DIGEST.format("deep")).startswith("v2:1:")
    conn.execute("SET max_stack_depth = '100kB'")
    with pytest.raises(psycopg.errors.StatementTooComplex):
        conn.execute(DIGEST.format("deep"))
    conn.execute("RESET max_stack_depth")
    row = "1"
    for _ in range(200):
        row = f"ROW({row}, 2)"
    assert value(conn, f"SELECT idempotent_digest({row})").startswith("v2:1:")


def test_an_error_in_the_middle_leaves_the_settings_alone(conn):
    """The text of an object that is gone, of a type that needs the fixed settings, and an error behind it."""
    conn.execute("SET search_path = public, pg_temp; SET datestyle = 'SQL, DMY'")
    conn.execute("CREATE FUNCTION fails(int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN 1 / (3 - $1); END $$")
    conn.execute(
        """DO $$ BEGIN
               PERFORM idempotent_digest(ROW('pg_class'::regclass, fails(i))) FROM generate_series(1, 5) AS i;
           EXCEPTION WHEN division_by_zero THEN NULL;
           END $$"""
    )
    assert value(conn, "SHOW search_path") == "public, pg_temp"
    assert value(conn, "SHOW datestyle") == "SQL, DMY"
    assert value(conn, "SELECT idempotent_digest(ROW(4294967295::oid::regclass))") == reference([["4294967295"]])


@pytest.mark.once
def test_memory_stays_flat(conn):
    conn.execute("CREATE TABLE long AS SELECT i, repeat(md5(i::text), 200) AS t, ARRAY[i, i] AS a FROM generate_series(1, 2000) i")

    def act(n):
        conn.execute(DIGEST.format("long"))
        conn.execute(f"SELECT idempotent_digest(ROW(i, ROW(i, 'x'), 'pg_class'::regclass)) FROM generate_series(1, {ROWS}) i")
        conn.execute("SELECT count(*) FROM (SELECT idempotent_digest(long) OVER (ROWS 5 PRECEDING) FROM long) AS w")
        conn.execute(f"SELECT idempotent_digest(i, VARIADIC ARRAY[i, 1]), idempotent_digest(i, 'x', ROW(i)) FROM generate_series(1, {ROWS}) i")

    contexts, resident = grows(conn, act, rounds=5, warm=2)
    assert contexts < 1024 * 1024 and resident < 4 * 1024 * 1024


@pytest.mark.once
def test_a_long_query_holds_nothing_for_its_rows(conn):
    """While it runs: what is kept does not grow with the rows."""
    conn.execute("CREATE FUNCTION kept() RETURNS bigint LANGUAGE sql AS $$ SELECT sum(total_bytes)::bigint FROM pg_backend_memory_contexts $$")
    few, many = (
        value(
            conn,
            f"""SELECT max(CASE WHEN i = {rows} THEN kept() END) FROM (
                    SELECT i, idempotent_digest(ROW(i, 'pg_class'::regclass, repeat('x', 5000))) OVER (ROWS 1 PRECEDING)
                    FROM (SELECT generate_series(1, {rows}) AS i) AS made) AS s""",
        )
        for rows in (1000, 20_000)
    )
    assert many < few + 1024 * 1024
