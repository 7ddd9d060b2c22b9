"""A guard that only observes changes no outcome, and what it says it would have done is what the functions do."""

import random
import re

import psycopg
import pytest

from support.project import SEED, size

CASES = size("PGI_CASES", 200)

COLUMNS = "a int, b int, what text, n numeric(6,1), PRIMARY KEY (a, b)"


@pytest.fixture(params=["plain", "partitioned"])
def tables(conn, request):
    """Two tables alike: without a guard, and with one that observes."""
    for name in ("bare", "observed"):
        if request.param == "plain":
            conn.execute(f"CREATE TABLE {name} ({COLUMNS})")
        else:
            conn.execute(f"CREATE TABLE {name} ({COLUMNS}) PARTITION BY LIST (a)")
            for a in range(3):
                conn.execute(f"CREATE TABLE {name}_{a} PARTITION OF {name} FOR VALUES IN ({a})")
    conn.execute("SELECT idempotent_guard('observed', on_conflict => 'observe')")
    return conn


def rows(r, n):
    some = [(r.randrange(3), r.randrange(4), r.choice("xy"), r.choice(["1", "1.0", "2", "NULL"])) for _ in range(n)]
    return ", ".join(f"({a}, {b}, '{what}', {number})" for a, b, what, number in some)


def statement(r):
    """A statement on the table {0}."""
    return r.choice(
        [
            lambda: f"INSERT INTO {{0}} VALUES {rows(r, 1)} RETURNING *",
            lambda: f"INSERT INTO {{0}} VALUES {rows(r, 3)}",
            lambda: f"INSERT INTO {{0}} VALUES {rows(r, 4)} ON CONFLICT DO NOTHING RETURNING a",
            lambda: f"INSERT INTO {{0}} VALUES {rows(r, 2)} ON CONFLICT (a, b) DO UPDATE SET n = excluded.n RETURNING *",
            lambda: f"UPDATE {{0}} SET a = {r.randrange(3)} WHERE b = {r.randrange(4)} AND what = 'x'",
            lambda: f"DELETE FROM {{0}} WHERE b = {r.randrange(4)} RETURNING *",
            lambda: f"""MERGE INTO {{0}} AS t USING (VALUES {rows(r, 2)}) AS s(a, b, what, n) ON t.a = s.a AND t.b = s.b
                        WHEN MATCHED THEN UPDATE SET n = s.n WHEN NOT MATCHED THEN INSERT VALUES (s.a, s.b, s.what, s.n)""",
        ]
    )()


def outcome(conn, sql):
    try:
        cursor = conn.execute(sql)
    except psycopg.Error as error:
        return error.sqlstate, re.sub(r"\b(bare|observed)", "table", str(error))
    returned = cursor.fetchall() if cursor.description else None
    return cursor.statusmessage, returned and sorted(map(str, returned))


def content(conn, table):
    return conn.execute(f"SELECT * FROM {table} ORDER BY a, b").fetchall()


def test_no_statement_has_another_outcome(tables):
    r = random.Random(SEED)
    seen = set()
    for _ in range(CASES):
        sql = statement(r)
        bare, observed = (outcome(tables, sql.format(name)) for name in ("bare", "observed"))
        assert observed == bare, sql
        assert content(tables, "observed") == content(tables, "bare"), sql
        seen.add(bare[0])
    assert "23505" in seen


def some_of(number, deed, one):
    return [f"{deed} {number} {one}{'s' * (number > 1)}"] * (number > 0)


def test_it_would_do_what_the_functions_do(tables):
    r = random.Random(SEED + 1)
    told, lines = [], 0
    tables.add_notice_handler(lambda notice: told.append(notice.message_primary))
    for _ in range(CASES):
        if r.random() < 0.2:
            tables.execute("DELETE FROM bare WHERE b = 1; DELETE FROM observed WHERE b = 1")
        values = rows(r, r.randrange(1, 5))
        told.clear()
        tables.execute("SET client_min_messages = log")
        tables.execute(f"INSERT INTO observed VALUES {values} ON CONFLICT DO NOTHING")
        tables.execute("RESET client_min_messages")
        found = tables.execute(
            f"""SELECT outcome FROM (SELECT jsonb_agg(v) AS all FROM (VALUES {values}) AS v(a, b, what, n)) AS payloads,
                       idempotent_insert_each('bare', payloads.all, on_conflict => 'report')"""
        ).fetchall()
        outcomes = [row["outcome"] for row in found]
        deeds = some_of(outcomes.count("duplicate"), "skipped", "duplicate") + some_of(outcomes.count("conflict"), "refused", "conflict")
        wanted = [f'guard of table "observed" would have {" and ".join(deeds)}'] * bool(deeds)
        assert told == wanted, values
        assert content(tables, "observed") == content(tables, "bare")
        lines += len(wanted)
    assert lines > CASES // 4
