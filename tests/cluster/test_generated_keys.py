"""Random keys of expressions and of some rows only, against an oracle in plain SQL.

The oracle is a table of the same columns without any index. For each row it is asked in SQL whether the row meets the
condition, and whether one with the same expressions is there that meets it, too. Functions, guard and merge have to come to
the same outcomes, and to the same rows.

A failure prints what is needed to see it again: PGI_SEED=<seed>, the table's number, its DDL and the call.
"""

import json
import random

import psycopg
import pytest

from support.generated_tables import Mismatch
from support.project import SEED, size

TABLES = size("PGI_CASES", 4000) // 80
CALLS = 12

SETUP = """
CREATE SCHEMA gen;
CREATE FUNCTION gen.norm(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN pg_catalog.lower($1); END $$;
CREATE FUNCTION gen.is_live(boolean) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1 IS NOT TRUE';
"""
PARTS = ["code", "n", "lower(code)", "gen.norm(code)", "coalesce(n, 0)", "mod(n, 3)", "code || '!'", "doc ->> 'id'", "lower(code || coalesce(n, 0)::text)"]
CONDITIONS = ["", "", "gone IS NULL", "NOT gone", "gen.is_live(gone)", "n > 1", "code IS NOT NULL", "n > 1 AND gone IS NOT TRUE", "lower(code) <> 'b'"]
COLUMNS = {"code": "text", "n": "int", "gone": "boolean", "doc": "jsonb", "v": "int"}


class Keyed:
    """A target and its oracle."""

    def __init__(self, dice, number):
        self.dice = dice
        self.target, self.oracle = f"gen.target_{number}", f"gen.oracle_{number}"
        self.parts = dice.sample(PARTS, dice.choice([1, 1, 2, 3]))
        self.condition = dice.choice(CONDITIONS)
        self.not_distinct = dice.random() < 0.3
        self.partitioned = "n" in self.parts and dice.random() < 0.5
        names = list(COLUMNS)
        dice.shuffle(names)
        columns = ", ".join(f"{name} {COLUMNS[name]}" for name in names)
        parts = ", ".join(part if part in COLUMNS else f"({part})" for part in self.parts)
        self.ddl = f"CREATE TABLE {self.target} (dropped int, {columns}){' PARTITION BY LIST (n)' if self.partitioned else ''};"
        self.ddl += f"ALTER TABLE {self.target} DROP COLUMN dropped; CREATE TABLE {self.oracle} ({columns});"
        if self.partitioned:
            self.ddl += f"CREATE TABLE {self.target}_odd (v int, gone boolean, code text, doc jsonb, n int);"
            self.ddl += f"ALTER TABLE {self.target} ATTACH PARTITION {self.target}_odd FOR VALUES IN (1, 3);"
            self.ddl += f"CREATE TABLE {self.target}_rest PARTITION OF {self.target} DEFAULT;"
        where = f" WHERE {self.condition}" if self.condition else ""
        distinct = " NULLS NOT DISTINCT" if self.not_distinct else ""
        self.ddl += f"CREATE UNIQUE INDEX ON {self.target} ({parts}){distinct}{where}"

    def rows(self, conn, count):
        """Random payloads, less those inside the condition that have a NULL in the key."""
        dice, rows = self.dice, []
        for _ in range(count):
            row = {
                "code": dice.choice(["a", "A", "b", "B", "c", None]),
                "n": dice.choice([0, 1, 2, 3, 4, None]),
                "gone": dice.choice([None, None, False, True]),
                "doc": dice.choice([{"id": "x"}, {"id": "x", "m": 1}, {"id": "y"}, None]),
                "v": dice.choice([1, 1, 2]),
            }
            inside, key = self.place(conn, row)
            if not inside or self.not_distinct or None not in key:
                rows.append(row)
        return rows

    def place(self, conn, row):
        parts = ", ".join(f"({part})::text" for part in self.parts)
        sql = f"SELECT ({self.condition or 'true'}) IS TRUE AS inside, ARRAY[{parts}] AS key FROM jsonb_populate_record(NULL::{self.oracle}, %s::jsonb)"
        found = conn.execute(sql, [json.dumps(row)]).fetchone()
        return found["inside"], tuple(found["key"])

    def send(self, conn, row, merge=False):
        """What becomes of a row, by the oracle, which follows."""
        inside, key = self.place(conn, row)
        if inside:
            same = " AND ".join(f"(t.{part})::text IS NOT DISTINCT FROM %s" if part in COLUMNS else f"({part})::text IS NOT DISTINCT FROM %s" for part in self.parts)
            names = ", ".join(COLUMNS)
            stored = conn.execute(
                f"SELECT t.ctid::text AS place, ({names}) IS NOT DISTINCT FROM (SELECT ROW({names}) FROM jsonb_populate_record(NULL::{self.oracle}, %s::jsonb)) AS same"
                f" FROM {self.oracle} AS t WHERE ({self.condition or 'true'}) AND {same}",
                [json.dumps(row), *key],
            ).fetchall()
            assert len(stored) < 2
            if stored:
                if stored[0]["same"]:
                    return "duplicate"
                if merge:
                    conn.execute(f"DELETE FROM {self.oracle} WHERE ctid = %s::tid", [stored[0]["place"]])
                    conn.execute(f"INSERT INTO {self.oracle} SELECT * FROM jsonb_populate_record(NULL::{self.oracle}, %s::jsonb)", [json.dumps(row)])
                return "conflict"
        conn.execute(f"INSERT INTO {self.oracle} SELECT * FROM jsonb_populate_record(NULL::{self.oracle}, %s::jsonb)", [json.dumps(row)])
        return "inserted"


def one_per_key(conn, table, rows):
    """Rows of which no two are under one key, as a merge without latest_by wants them."""
    kept, met = [], set()
    for row in rows:
        inside, key = table.place(conn, row)
        if not inside or key not in met:
            kept.append(row)
        if inside:
            met.add(key)
    return kept


def call(conn, table):
    dice = table.dice
    path = dice.choice(["insert", "each", "each", "many", "from", "guard", "merge"])
    rows = table.rows(conn, 1 if path == "insert" else dice.choice([1, 3, 12, 40]))
    if not rows:
        return
    if path == "merge":
        rows = one_per_key(conn, table, rows)
    key = dice.sample(table.parts, len(table.parts))
    conn.execute(f"DROP TABLE IF EXISTS pg_temp.source; CREATE TEMP TABLE source AS TABLE {table.oracle} WITH NO DATA")
    conn.execute("INSERT INTO source SELECT * FROM jsonb_populate_recordset(NULL::source, %s::jsonb)", [json.dumps(rows)])
    expected = [table.send(conn, row, path == "merge") for row in rows]
    counts = [expected.count(outcome) for outcome in ("inserted", "duplicate", "conflict")]
    names = {"target": table.target, "key": key, "payloads": json.dumps(rows), "payload": json.dumps(rows[0])}
    options = "%(key)s::text[], on_conflict => 'report'"
    if path == "insert":
        found = [row["outcome"] for row in conn.execute(f"SELECT outcome FROM idempotent_insert(%(target)s, %(payload)s::jsonb, {options})", names)]
    elif path == "each":
        found = [row["outcome"] for row in conn.execute(f"SELECT outcome FROM idempotent_insert_each(%(target)s, %(payloads)s::jsonb, {options})", names)]
    elif path in ("many", "from"):
        source = "%(payloads)s::jsonb" if path == "many" else "'source'"
        sql = f"SELECT inserted, duplicates, conflicts FROM idempotent_insert_{path}(%(target)s, {source}, {options})"
        expected, found = counts, list(conn.execute(sql, names).fetchone().values())
    elif path == "guard":
        conn.execute("SELECT idempotent_guard(%(target)s, %(key)s::text[], on_conflict => 'quarantine', compare => %(compare)s::text[])", {**names, "compare": compared(table)})
        columns = ", ".join(COLUMNS)
        expected, found = counts[0], conn.execute(f"INSERT INTO {table.target} ({columns}) SELECT {columns} FROM source").rowcount
        conn.execute("SELECT idempotent_unguard(%(target)s)", names)
    else:
        sql = "SELECT inserted, unchanged, updated FROM idempotent_merge(%(target)s, 'source', %(key)s::text[])"
        expected, found = counts, list(conn.execute(sql, names).fetchone().values())
    if found != expected:
        raise Mismatch(f"{path} with key {key}: {found}, not {expected}\n{json.dumps(rows)}")


def compared(table):
    """All columns that the guard may compare: the functions compare those as well, but for the key's."""
    return [name for name in COLUMNS if name not in table.parts]


def check_rows(conn, table):
    columns = ", ".join(COLUMNS)
    both = [f"(SELECT {columns} FROM {a} EXCEPT ALL SELECT {columns} FROM {b})" for a, b in ((table.target, table.oracle), (table.oracle, table.target))]
    differ = conn.execute(" UNION ALL ".join(both)).fetchall()
    deviations = conn.execute("SELECT * FROM idempotent_reconcile(%s, %s, %s::text[])", [table.target, table.oracle, table.parts]).fetchall()
    if differ or deviations:
        raise Mismatch(f"{differ}\n{deviations}")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("block", range(5))
def test_random_keys_of_expressions_and_of_some_rows_decide_as_an_oracle_in_plain_sql(cluster, block):
    database = cluster.create_database(SETUP)
    for number in range(block * TABLES // 5, (block + 1) * TABLES // 5):
        table = Keyed(random.Random(f"{SEED}:keyed:{number}"), number)
        with database.connect() as conn:
            conn.execute("SET client_min_messages = warning")
            conn.execute(table.ddl)
            for case in range(CALLS):
                try:
                    call(conn, table)
                    check_rows(conn, table)
                except (AssertionError, Mismatch, psycopg.Error) as error:
                    pytest.fail(f"PGI_SEED={SEED}, keyed table {number}, call {case}\n{table.ddl};\n{error}", pytrace=False)
