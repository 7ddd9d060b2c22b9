"""Random rows over random tables, by any way in, mixed on one table: functions, a guard, a view, COPY into both.

Each table has a guard and a view with the same options. A batch goes in by a way that the dice choose; what comes of it
is what the model of support/generated_tables.py predicts, whichever way the rows before it took. In the end plain SQL finds every row
that the model has, and no other.

PGI_SEED, PGI_WAYS_CASES (default 800)   seed and number of batches

A failure prints what is needed to see it again: PGI_SEED=<seed>, the table's number, its DDL, and the batch.
"""

import json
import random

import psycopg
import pytest

from support.generated_tables import Mismatch, Table, literal
from support.generated_values import NO_KEY
from support.project import SEED, size
from support.queries import value

CASES = size("PGI_WAYS_CASES", 800)
BLOCKS = 4
CASES_A_TABLE = 20

pytestmark = pytest.mark.timeout(max(120, CASES // 5))

CASTS = {"on_conflict": "text"}


class Ways:
    """A generated table with a guard and a view, and the ways that rows go into it."""

    def __init__(self, conn, dice, number):
        self.conn, self.dice = conn, dice
        self.table = Table(dice, number)
        self.view = f'gen."ways in {number}"'
        key = dice.sample([c.name for c in self.table.key], len(self.table.key))
        self.options = {"key": key, **self.table.comparison()}
        self.conn.execute(self.table.ddl)
        self.on("quarantine")

    def on(self, on_conflict):
        """What guard and view, and the functions from now on, do with a conflict."""
        self.on_conflict = on_conflict
        options = {**self.options, "on_conflict": on_conflict}
        self.call("SELECT idempotent_guard(%(target)s::regclass{})", options)
        self.call("SELECT idempotent_view(%(target)s::regclass, %(view)s{})", options, view=self.view)

    def call(self, sql, options, **parameters):
        named = "".join(f", {name} => %({name})s::{CASTS.get(name, 'text[]')}" for name in options)
        return self.conn.execute(sql.format(named), {"target": self.table.name, **options, **parameters})

    # --- the ways; each gives how many rows the client is told of

    def function(self, rows, texts):
        """The functions take the guard's options."""
        options = {"on_conflict": self.on_conflict}
        batch = f"[{', '.join(texts)}]"
        which = self.dice.choice(["each", "many"] + ["one"] * (len(rows) == 1))
        if which == "one":
            found = self.call("SELECT outcome FROM idempotent_insert(%(target)s::regclass, %(payload)s::jsonb{})", options, payload=texts[0])
            return [row["outcome"] for row in found]
        if which == "each":
            sql = "SELECT outcome FROM idempotent_insert_each(%(target)s::regclass, %(payloads)s::jsonb{}) ORDER BY ordinal"
            return [row["outcome"] for row in self.call(sql, options, payloads=batch)]
        counts = self.call("SELECT * FROM idempotent_insert_many(%(target)s::regclass, %(payloads)s::jsonb{})", options, payloads=batch).fetchone()
        return {"inserted": counts["inserted"], "duplicate": counts["duplicates"], "conflict": counts["conflicts"]}

    def statement(self, into, rows, texts):
        columns = list(self.table.columns)
        self.dice.shuffle(columns)
        names = ", ".join(c.quoted for c in columns)
        values = [[None if row[c.name] is None else c.pool[row[c.name]][0] for c in columns] for row in rows]
        how = self.how = self.dice.choice(["values", "records", "copy"])
        if how == "values":
            lists = ", ".join("(" + ", ".join("NULL" if text is None else literal(text) for text in row) + ")" for row in values)
            return self.conn.execute(f"INSERT INTO {into} ({names}) VALUES {lists}").rowcount
        if how == "records":
            sql = f"INSERT INTO {into} ({names}) SELECT {names} FROM jsonb_populate_recordset(NULL::{self.table.name}, %s::jsonb)"
            return self.conn.execute(sql.replace("%", "%%").replace("%%s", "%s"), [f"[{', '.join(texts)}]"]).rowcount
        cursor = self.conn.cursor()
        with cursor.copy(f"COPY {into} ({names}) FROM STDIN".encode()) as copy:
            for row in values:
                copy.write_row(row)
        return cursor.rowcount

    # --- and what comes of them

    def send(self):
        dice, table = self.dice, self.table
        rows = [table.whole_payload() for _ in range(dice.choice([1, 1, 2, 5, 30]))]
        texts = [table.json(row) for row in rows]
        outcomes, stored = table.predict(rows, self.options.get("compare"), self.options.get("ignore"))
        counts = {kind: sum(outcome == kind for outcome, _ in outcomes) for kind in ("inserted", "duplicate", "conflict")}
        way = dice.choice(["function", "guard", "view"])
        seen = f"{way}, on_conflict {self.on_conflict}: {json.dumps(texts)}\nexpected {outcomes}"

        def check(found, expected, what):
            if found != expected:
                raise Mismatch(f"{what}: {found}, not {expected}\n{seen}")

        self.conn.execute(f"SET pg_idempotent.use_distributed_form = {dice.choice(['on', 'off', 'off'])}")
        self.conn.execute(f"SET pg_idempotent.direct_insertion = {dice.choice(['on', 'on', 'off'])}")
        try:
            if way == "function":
                found = self.function(rows, texts)
            else:
                found = self.statement(self.view if way == "view" else table.name, rows, texts)
        except psycopg.Error as error:
            if error.sqlstate == "23I01" and self.on_conflict == "error" and counts["conflict"]:
                return "conflict"
            raise Mismatch(f"{error.sqlstate} {error} {error.diag.message_detail}\n{seen}") from None
        if self.on_conflict == "error":
            check(counts["conflict"], 0, "conflicts without an error")
        if way == "function":
            check(found, counts if isinstance(found, dict) else [outcome for outcome, _ in outcomes], "outcomes")
        else:
            told = counts["inserted"] + (counts["duplicate"] if way == "view" else 0)
            # COPY counts every row that a view's trigger has seen.
            told = len(rows) if way == "view" and self.how == "copy" else told
            check(found, told, "rows that the client is told of")
        records = self.conn.execute(
            "DELETE FROM idempotent.conflict_records WHERE target::regclass = %s::regclass RETURNING differences", [table.name]
        ).fetchall()
        # Records of the same conflict are one record.
        check({frozenset(record["differences"]) for record in records}, {frozenset(names) for outcome, names in outcomes if outcome == "conflict"},
              "columns that differ")  # fmt: skip
        table.stored = stored
        return f"{way} {'conflict' if counts['conflict'] else 'inserted' if counts['inserted'] else 'duplicate'}"

    def check_rows(self):
        """Plain SQL finds what the model has, and nothing else."""
        table = self.table
        with self.conn.transaction():
            # Where the operators of the types are.
            self.conn.execute("SET LOCAL search_path = public, gen")
            held = value(self.conn, f"SELECT count(*) FROM {table.name}")
            if held != len(table.stored):
                raise Mismatch(f"the table holds {held} rows, the model {len(table.stored)}")
            for key, rest in table.stored.items():
                classes = [*zip(table.key, key, strict=True), *((c, rest[c.name]) for c in table.rest if c.type not in NO_KEY)]
                where = " AND ".join(
                    f"{c.quoted} IS NULL" if number is None else f"{c.quoted} = {literal(c.pool[number][0])}::{c.type.split(' COLLATE')[0]}"
                    for c, number in classes
                )
                if value(self.conn, f"SELECT count(*) FROM {table.name} WHERE {where}") != 1:
                    raise Mismatch(f"no row, or more than one, is {where}")


@pytest.mark.parametrize("block", range(BLOCKS))
def test_rows_that_take_any_way_in_become_what_the_model_predicts(generated, types, block):
    seen = set()
    share = max(1, CASES // BLOCKS // CASES_A_TABLE)
    for number in range(block * share, (block + 1) * share):
        ways = failed = None
        done = 0
        with generated.connect() as conn:
            conn.execute("SET client_min_messages = error")
            try:
                ways = Ways(conn, random.Random(f"{SEED}:ways:{number}"), number)
                for done in range(CASES_A_TABLE):
                    if done == CASES_A_TABLE * 3 // 4:
                        ways.on("error")
                    seen.add(ways.send())
                ways.check_rows()
                conn.execute(f"DROP TABLE {ways.table.name} CASCADE")
            except (Mismatch, psycopg.Error) as problem:
                what = f"{ways.table.ddl};\n{ways.options}" if ways else "no table was made"
                failed = f"PGI_SEED={SEED}, table {number}, batch {done}\n{what}\n{problem}"
        if failed:
            pytest.fail(failed, pytrace=False)
    assert seen >= {f"{way} {outcome}" for way in ("function", "guard", "view") for outcome in ("inserted", "duplicate", "conflict")} | {"conflict"}, seen
