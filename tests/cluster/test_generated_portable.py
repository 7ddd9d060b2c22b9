"""The portable edition against the extension: the same random calls on the same random tables, each on a database of its own, have
the same outcomes, differences and errors, and leave the same rows.

PGI_CASES=10000 makes it as many. A failure prints PGI_SEED=<seed>, the table's number, its DDL and the call."""

import random
import re
import subprocess

import psycopg
import pytest

from support.generated_calls import malformed_call, well_formed_call
from support.generated_tables import Mismatch, Table
from support.generated_values import SETUP
from support.project import ROOT, SEED, size
from support.server import program

CASES = size("PGI_CASES", 200)
CASES_A_TABLE = 25
NAME = "portable_generated"

# What docs/managed.md says is different: a number that is out of range has the error of its type's input.
SAME_ERROR = {"22P02": "22003"}


# Of several arguments that are wrong, each edition tells of the one that it comes to first, as docs/managed.md says.
WRONG_ARGUMENT = re.compile("22|42")


@pytest.fixture(scope="module")
def editions(cluster):
    """Connections to a database with the extension, and to one with the portable edition."""
    path = ROOT / subprocess.run([ROOT / "scripts" / "portable"], check=True, stdout=subprocess.PIPE, encoding="utf-8").stdout.strip()
    with cluster.connect() as conn:
        conn.execute(f"CREATE DATABASE {NAME} TEMPLATE template0")
    command = [program("psql"), "--no-psqlrc", "--quiet", f"--host={cluster.root}", "--username=postgres", "--set=ON_ERROR_STOP=1", "--file", path, NAME]
    subprocess.run(command, env=cluster.environment, check=True)
    with cluster.connect(NAME) as portable, cluster.create_database(SETUP).connect() as compiled:
        portable.execute(SETUP)
        for conn in (compiled, portable):
            conn.execute("SET client_min_messages = warning")
        yield compiled, portable
    with cluster.connect() as conn:
        conn.execute(f"DROP DATABASE {NAME} WITH (FORCE)")


# Numbers, times and random values that a column gets by itself.
MADE = {"drawn", "at", "no"}


def told(conn, sql, parameters):
    """What a call says: its rows without what each table makes anew, or its SQLSTATE, message and detail."""
    try:
        with conn.transaction():
            rows = conn.execute(sql, parameters).fetchall()
    except psycopg.Error as error:
        if error.sqlstate == "23I01":
            return error.sqlstate, error.diag.message_primary, error.diag.message_detail, error.diag.column_name or None
        return (SAME_ERROR.get(error.sqlstate, error.sqlstate),)
    for row in rows:
        if row.get("stored"):
            row["stored"] = {name: shown for name, shown in row["stored"].items() if name not in MADE}
        if row.get("error"):
            row["error"] = SAME_ERROR.get(row["error"]["sqlstate"], row["error"]["sqlstate"])
    # Floats that are no number are equal to nothing.
    return repr(rows)


def held(conn, table):
    columns = ", ".join(column.quoted for column in table.columns)
    return conn.execute(f"SELECT to_jsonb(r)::text AS row FROM (SELECT {columns} FROM {table.name}) AS r ORDER BY 1").fetchall()


def compare(editions, call, may_differ):
    said = [told(conn, *call) for conn in editions]
    if may_differ and all(type(one) is tuple and WRONG_ARGUMENT.match(one[0]) for one in said):
        return
    if said[0] != said[1]:
        raise Mismatch(f"the extension says {said[0]}\nthe portable edition says {said[1]}\n{call[0]}\n{call[1]}")


@pytest.mark.once
@pytest.mark.timeout(3600)
def test_random_calls_have_the_same_outcomes_as_with_the_extension(editions):
    for number in range(max(1, CASES // CASES_A_TABLE)):
        table = Table(random.Random(f"{SEED}:editions:{number}"), number)
        for conn in editions:
            conn.execute(table.ddl)
        try:
            for case in range(CASES_A_TABLE):
                malformed = table.dice.random() < 0.3
                call = malformed_call if malformed else well_formed_call
                compare(editions, call(table), may_differ=malformed)
            if len({repr(held(conn, table)) for conn in editions}) > 1:
                raise Mismatch("the tables hold other rows")
        except Mismatch as mismatch:
            pytest.fail(f"PGI_SEED={SEED}, table {number}, case {case}\n{table.ddl};\n{mismatch}", pytrace=False)
        for conn in editions:
            conn.execute(f"DROP TABLE {table.name}")
