"""A guard and the functions never disagree on what a duplicate is.

Generated tables come in pairs: one for the functions, and a guarded twin for plain INSERT and COPY. The same payloads go
to both, and the outcomes, the differences and the errors are the same; they are also what the model of test_generated.py
predicts. The functions on the guarded twin itself agree as well, with what is remembered, too.

PGI_SEED, PGI_GUARD_CASES (default 1500)   seed and number of payloads

A failure prints what is needed to see it again, as in test_generated.py.
"""

import random

import psycopg
import pytest

from support.errors import FIELDS, fields
from support.generated_tables import Mismatch, Table, literal
from support.project import SEED, size
from support.queries import value

CASES = size("PGI_GUARD_CASES", 1500)
BLOCKS = 5
CASES_A_TABLE = 25

pytestmark = pytest.mark.timeout(max(120, CASES // 10))


class Pair:
    """A generated table and its guarded twin."""

    def __init__(self, conn, dice, number, remember=None):
        self.conn, self.dice = conn, dice
        self.table = Table(dice, number)
        plain = self.table.name[:-1]
        self.twin = f'{plain} twin"'
        self.ddl = self.table.ddl + ";\n" + self.table.ddl.replace(plain, plain + " twin")
        self.remember = remember
        if remember:
            self.ddl += f';\nALTER TABLE {self.twin} ADD "first arrived" {remember}'
        # With the same texts on both sides even the rendering of what differs must be the same.
        self.same_texts = dice.random() < 0.5
        self.options = self.table.comparison()
        if dice.random() < 0.5:
            self.options["key"] = dice.sample([c.name for c in self.table.key], len(self.table.key))
        self.guard("quarantine")

    def guard(self, on_conflict):
        self.on_conflict = on_conflict
        options = {**self.options, "on_conflict": on_conflict}
        if self.remember:
            options["remember"] = "first arrived"
        self.guard_call = options
        if on_conflict == "quarantine" and not hasattr(self, "made"):
            self.conn.execute(self.ddl)
            self.made = True
        self.call("SELECT * FROM idempotent_guard(%(target)s::regclass{})", self.twin, options)

    def call(self, sql, target, options, **parameters):
        casts = {"on_conflict": "text", "remember": "text"}
        named = "".join(f", {name} => %({name})s::{casts.get(name, 'text[]')}" for name in options)
        return self.conn.execute(sql.format(named), {"target": target, **options, **parameters})

    def predict(self, row):
        ((outcome, different),), stored = self.table.predict([row], self.options.get("compare"), self.options.get("ignore"))
        return outcome, different, stored

    # --- the ways to send a row; each gives (outcome, differences) or raises

    def function(self, target, text, on_conflict, options):
        found = self.call(
            "SELECT * FROM idempotent_insert(%(target)s::regclass, %(payload)s::jsonb{})",
            target,
            {**options, "on_conflict": on_conflict},
            payload=text,
        ).fetchone()
        return found["outcome"], found["differences"]

    def plain(self, row, text):
        columns = [c for c in self.table.columns]
        self.dice.shuffle(columns)
        names = ", ".join(c.quoted for c in columns)
        how = "record" if self.same_texts else self.dice.choice(["values", "record", "copy"])
        texts = [None if row[c.name] is None else c.pool[row[c.name]][0] for c in columns]
        if how == "values":
            values = ", ".join("NULL" if text is None else literal(text) for text in texts)
            count = self.conn.execute(f"INSERT INTO {self.twin} ({names}) VALUES ({values})").rowcount
        elif how == "record":
            sql = f"INSERT INTO {self.twin} ({names}) SELECT {names} FROM jsonb_populate_record(NULL::{self.twin}, %s::jsonb)"
            count = self.conn.execute(sql.replace("%", "%%").replace("%%s", "%s"), [text]).rowcount
        else:
            cursor = self.conn.cursor()
            with cursor.copy(f"COPY {self.twin} ({names}) FROM STDIN".encode()) as copy:
                copy.write_row(texts)
            count = cursor.rowcount
        self.how = how
        records = self.conn.execute(
            "DELETE FROM idempotent.conflict_records WHERE target::regclass = %s::regclass RETURNING differences", [self.twin]
        ).fetchall()
        if count:
            return ("inserted", None) if not records else ("inserted and recorded", records)
        if not records:
            return "duplicate", None
        return ("conflict", records[0]["differences"]) if len(records) == 1 else ("recorded twice", records)


# Those of a conflict that a function and a guard report alike.
NAMED = [name for name in FIELDS if name not in ("severity", "datatype_name")]


def attempt(send):
    """What came of it: an outcome with differences, or the fields of an error."""
    try:
        return send()
    except psycopg.Error as error:
        found = {name: (text or "").replace(" twin", "") for name, text in fields(error, NAMED).items()}
        # A long name of an index is cut, and the twin's elsewhere.
        if len((error.diag.constraint_name or "").encode()) > 56:
            del found["constraint_name"]
        return "error", found


def names(result):
    return result[0], set(result[1] or ())


def check(condition, what, *seen):
    if not condition:
        raise Mismatch("\n".join([what, *map(repr, seen)]))


def one_payload(pair):
    table, dice = pair.table, pair.dice
    row = pair.table.whole_payload()
    if not table.not_distinct and dice.random() < 0.03:
        row[dice.choice(table.key).name] = None
        text = table.json(row)
        # In a partitioned table a row with a NULL may find no partition, before any trigger.
        if not table.partitioned:
            results = [
                attempt(lambda: pair.function(table.name, text, "report", pair.options)),
                attempt(lambda: pair.plain(row, text)),
                attempt(lambda: pair.function(pair.twin, text, "report", {})),
            ]
            for result in results:
                check(result[0] == "error" and result[1]["sqlstate"] == "23502", "NULL in the key", row, results)
            check(len({result[1]["column_name"] for result in results}) == 1, "the column that is NULL", results)
        return "null in the key"
    text = table.json(row)
    outcome, different, stored = pair.predict(row)
    mode = "error" if pair.on_conflict == "error" else "report"
    by_function = attempt(lambda: pair.function(table.name, text, mode, pair.options))
    # Now and then the function is the first on the twin, too.
    first = pair.dice.random() < 0.3
    by_other = attempt(lambda: pair.function(pair.twin, text, mode, {})) if first else None
    by_insert = attempt(lambda: pair.plain(row, text))
    again = attempt(lambda: pair.function(pair.twin, text, mode, {}))
    seen = [("function", by_function), ("function on the twin", by_other), (getattr(pair, "how", ""), by_insert), ("again", again)]
    if outcome == "conflict" and mode == "error":
        for result in filter(None, (by_function, by_other, by_insert, again)):
            check(result[0] == "error" and result[1]["sqlstate"] == "23I01", "no conflict", text, seen)
        if pair.same_texts:
            check(by_insert == by_function and again == by_function, "the errors differ", text, seen)
        else:
            column = {result[1]["column_name"] for result in (by_function, by_insert, again)}
            check(len(column) == 1, "the errors name other columns", text, seen)
    else:
        check(names(by_function) == (outcome, different or set()), f"expected {outcome} {different}", text, seen)
        expected = (outcome, different or set())
        if by_other:
            check(names(by_other) == expected, f"expected {expected} of the function on the twin", text, seen)
        if by_other and outcome == "inserted":
            expected = ("duplicate", set())
        check(names(by_insert) == expected, f"expected {expected} of the plain INSERT", text, seen)
        if outcome == "conflict" and pair.same_texts:
            check(by_insert[1] == by_function[1] == again[1], "the differences differ", text, seen)
        expected = ("duplicate", set()) if outcome == "inserted" else expected
        check(names(again) == expected, f"expected {expected} of the function afterwards", text, seen)
    table.stored = stored
    return outcome


def run(generated, block, remember, case):
    """Each case gives what came of its payload; all that there is must have come about in the end."""
    seen = set()
    share = max(1, CASES // BLOCKS // CASES_A_TABLE)
    for number in range(block * share, (block + 1) * share):
        done = 0
        with generated.connect() as conn:
            conn.execute("SET client_min_messages = error")
            pair = None
            try:
                pair = Pair(conn, random.Random(f"{SEED}:guard:{remember}:{number}"), number, remember)
                for done in range(CASES_A_TABLE):
                    if done == CASES_A_TABLE * 3 // 4:
                        pair.guard("error")
                    seen.add((pair.on_conflict, case(pair)))
                for name in (pair.table.name,) if not remember else ():
                    held = value(conn, f"SELECT count(*) FROM {name}".replace("%", "%%"))
                    check(held == len(pair.table.stored), f"{name} holds {held} rows, the model {len(pair.table.stored)}")
                held = value(conn, f"SELECT count(*) FROM {pair.twin}".replace("%", "%%"))
                check(held == len(pair.table.stored), f"the twin holds {held} rows, the model {len(pair.table.stored)}")
                conn.execute(f"DROP TABLE {pair.table.name}, {pair.twin}".replace("%", "%%"))
            except (Mismatch, psycopg.Error) as problem:
                ddl = f"{pair.ddl};\n{pair.guard_call}" if pair else "no table was made"
                failed = f"PGI_SEED={SEED}, table {number}, case {done}\n{ddl}\n{problem}"
            else:
                continue
        pytest.fail(failed, pytrace=False)
    outcomes = {(mode, outcome) for mode in ("quarantine", "error") for outcome in ("inserted", "duplicate", "conflict")}
    assert outcomes <= seen, seen


@pytest.mark.parametrize("block", range(BLOCKS))
def test_plain_inserts_and_functions_come_to_the_same(generated, types, block):
    run(generated, block, None, one_payload)


def one_remembered_payload(pair):
    """The row may have been updated since: what counts is what first arrived."""
    table, dice = pair.table, pair.dice
    if table.stored and table.rest and dice.random() < 0.4:
        key = dice.choice(list(table.stored))
        column = dice.choice(table.rest)
        where = " AND ".join(
            f"{c.quoted} IS NULL"
            if number is None
            else f"{c.quoted} = {literal(c.pool[number][0])}::{c.type.split(' COLLATE')[0]}"
            for c, number in zip(table.key, key, strict=True)
        )
        new = "NULL" if dice.random() < 0.2 else literal(dice.choice(column.pool)[0])
        with pair.conn.transaction():
            # Where the operators of the types are; the guard needs no such help.
            pair.conn.execute("SET LOCAL search_path = public, gen")
            updated = pair.conn.execute(f"UPDATE {pair.twin} SET {column.quoted} = {new} WHERE {where}").rowcount
        check(updated == 1, "rows updated", where)
    row = pair.table.whole_payload()
    text = table.json(row)
    outcome, different, stored = pair.predict(row)
    mode = "error" if pair.on_conflict == "error" else "report"
    senders = [lambda: pair.plain(row, text), lambda: pair.function(pair.twin, text, mode, {})]
    dice.shuffle(senders)
    results = [attempt(sender) for sender in senders]
    table.stored = stored
    if outcome == "conflict" and mode == "error":
        for result in results:
            check(result[0] == "error" and result[1]["sqlstate"] == "23I01", "no conflict", text, results)
        if pair.same_texts:
            check(results[0] == results[1], "the errors differ", text, results)
        return outcome
    expected = [outcome, "duplicate" if outcome == "inserted" else outcome]
    check([result[0] for result in results] == expected, f"expected {expected}", text, results)
    if outcome == "conflict":
        if pair.remember == "jsonb":
            check(names(results[0]) == names(results[1]) == (outcome, different), f"expected {different}", text, results)
        if pair.same_texts:
            check(results[0] == results[1], "the differences differ", text, results)
    return outcome


@pytest.mark.parametrize("remember", ["jsonb", "bytea"])
def test_plain_inserts_and_functions_remember_the_same(generated, types, remember):
    run(generated, 0, remember, one_remembered_payload)


def equal_numbers_alike(document):
    """2 and 2.0 are one to the quarantine."""
    if isinstance(document, dict):
        return {name: equal_numbers_alike(value) for name, value in document.items()}
    if isinstance(document, list):
        return [equal_numbers_alike(value) for value in document]
    return int(document) if isinstance(document, float) and document.is_integer() else document


def test_batches_of_functions_and_plain_statements_come_to_the_same(generated, types):
    """Many rows at once: INSERT … SELECT and COPY on one twin, idempotent_insert_each and _from on others."""
    for number in range(max(3, CASES // 150)):
        dice = random.Random(f"{SEED}:guard batch:{number}")
        with generated.connect() as conn:
            conn.execute("SET client_min_messages = error")
            pair = Pair(conn, dice, 50_000 + number)
            table = pair.table
            for _ in range(3):
                rows = [pair.table.whole_payload() for _ in range(40)]
                for row in rows:
                    for column in table.key:
                        if row[column.name] is None and not table.not_distinct:
                            row[column.name] = 0
                outcomes, stored = table.predict(rows, pair.options.get("compare"), pair.options.get("ignore"))
                texts = [table.json(row) for row in rows]
                batch = f"[{', '.join(texts)}]"
                each = pair.call(
                    "SELECT * FROM idempotent_insert_each(%(target)s::regclass, %(payloads)s::jsonb{})",
                    table.name,
                    {**pair.options, "on_conflict": "report"},
                    payloads=batch,
                ).fetchall()
                names = ", ".join(c.quoted for c in table.columns)
                sql = f"INSERT INTO {pair.twin} ({names}) SELECT {names} FROM jsonb_populate_recordset(NULL::{pair.twin}, %s::jsonb)"
                inserted = conn.execute(sql.replace("%", "%%").replace("%%s", "%s"), [batch]).rowcount
                records = conn.execute(
                    "DELETE FROM idempotent.conflict_records WHERE target::regclass = %s::regclass RETURNING key, differences", [pair.twin]
                ).fetchall()
                context = f"PGI_SEED={SEED}, batch {number}\n{pair.ddl};\n{pair.guard_call}\n{batch}"
                assert [row["outcome"] for row in each] == [outcome for outcome, _ in outcomes], context
                assert inserted == sum(outcome == "inserted" for outcome, _ in outcomes), context
                # Records of the same conflict are one record.
                ours = {repr(equal_numbers_alike(r["differences"])) for r in each if r["outcome"] == "conflict"}
                theirs = {repr(equal_numbers_alike(r["differences"])) for r in records}
                assert ours == theirs, f"{context}\n{ours}\n{theirs}"
                counts = pair.call(
                    "SELECT * FROM idempotent_insert_many(%(target)s::regclass, %(payloads)s::jsonb{})",
                    pair.twin,
                    {"on_conflict": "report"},
                    payloads=batch,
                ).fetchone()
                wrong = sum(outcome == "conflict" for outcome, _ in outcomes)
                assert counts == {"received": 40, "inserted": 0, "duplicates": 40 - wrong, "conflicts": wrong, "rejected": 0}, context
                table.stored = stored
            conn.execute(f"DROP TABLE {table.name}, {pair.twin}".replace("%", "%%"))
