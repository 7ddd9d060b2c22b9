"""Random rows over random guarded tables with stable defaults, session keys and nullable keys, against an oracle in SQL.

The oracle keeps a ledger, a plain table without index, key or guard. What a statement sends is put into a second plain
table with the same defaults first, in the same transaction: so the server itself says what an INSERT would store. Then
IS NOT DISTINCT FROM decides. Which columns count is known from the statement, not from values: those that it names, and
those that it leaves to a default which is the same for ever. The guard cannot see what a statement names, and has to
come to the same answer.

A failure prints what is needed to see it again: PGI_SEED=<seed>, the table's number, its DDL and the statements.
"""

import json
import random

import psycopg
import pytest

from support.generated_tables import Mismatch
from support.project import SEED, size
from support.queries import value

CASES = size("PGI_CASES", 4000)
BLOCKS = 4
CASES_A_TABLE = 40

# name: (type, default, literals that no default gives)
STABLE = {
    "occurred_at": ("timestamptz", "now()", ["2020-01-01Z", "2020-01-01 01:00+01", "2021-05-05Z"]),
    "stamped": ("timestamptz(0)", "statement_timestamp()", ["2020-01-01Z", "2021-05-05Z"]),
    "made_on": ("date", "CURRENT_DATE", ["2020-01-01", "2021-05-05"]),
    "who": ("text", "current_user", ["ann", "bob"]),
    "site": ("varchar(8)", "current_setting('gen.site')", ["here", "there"]),
    "place": ("text", "gen_defaults.place()", ["p", "q"]),
    "hour": ("numeric(4,1)", "current_setting('gen.hour')::numeric", ["99.0", "98.04", "98"]),
}
OTHERS = {
    "v": ("int", None, ["1", "2", "3"]),
    "kind": ("text", "'usual'", ["usual", "odd"]),
    "price": ("numeric(6,2)", "1.5", ["1.50", "1.499", "2"]),
}
MADE = {"drawn": ("int", "nextval('gen_defaults.numbers')"), "ticked": ("timestamptz", "clock_timestamp()"), "dice": ("float8", "random()")}
SESSION_KEYS = {"tenant": ("int", "current_setting('gen.tenant')::int", ["1", "2"]), "owner": ("text", "gen_defaults.place()", ["p", "q"])}

SETUP = """
CREATE SCHEMA gen_defaults;
CREATE SEQUENCE gen_defaults.numbers;
CREATE FUNCTION gen_defaults.place() RETURNS text STABLE LANGUAGE plpgsql AS $$ BEGIN RETURN current_setting('gen.place'); END $$;
"""
SETTINGS = {"gen.tenant": ["1", "2"], "gen.site": ["s1", "s2"], "gen.place": ["p1", "p2"], "gen.hour": ["1", "2.5"]}


class Table:
    def __init__(self, dice, number):
        self.dice = dice
        self.name = f"gen_defaults.t{number}"
        self.columns = {}
        self.key = ["ref"]
        self.columns["ref"] = ("int", None, ["1", "2", "3", "4"])
        for name in dice.sample(list(SESSION_KEYS), dice.randint(0, 2)):
            self.columns[name] = SESSION_KEYS[name]
            self.key.append(name)
        if dice.random() < 0.4:
            self.columns["line"] = ("int", None, ["1", "2"])
            self.key.append("line")
        self.session = [name for name in self.key if name in SESSION_KEYS]
        self.stable = dice.sample(list(STABLE), dice.randint(1, 4))
        self.others = dice.sample(list(OTHERS), dice.randint(1, 3))
        for name in self.stable:
            self.columns[name] = STABLE[name]
        for name in self.others:
            self.columns[name] = OTHERS[name]
        self.nullable = dice.random() < 0.5
        self.nulls_equal = self.nullable and dice.random() < 0.2
        self.null_key = dice.choice(["error", "pass"])
        self.remember = dice.choice([None, None, "jsonb", "bytea"])
        self.partitioned = dice.random() < 0.25 and not self.nulls_equal
        self.ddl = self.make_ddl()

    def make_ddl(self):
        dice = self.dice
        lines = []
        for name, (kind, default, _) in self.columns.items():
            lines.append(f"{name} {kind}" + (f" DEFAULT {default}" if default else ""))
        dice.shuffle(lines)
        plain = ", ".join(lines)
        for name in dice.sample(list(MADE), dice.randint(0, 2)):
            kind, default = MADE[name]
            lines.insert(dice.randint(0, len(lines)), f"{name} {kind} DEFAULT {default}")
        if self.remember:
            lines.append(f"seen {self.remember}")
        key = ", ".join(dice.sample(self.key, len(self.key)))
        kind = "UNIQUE NULLS NOT DISTINCT" if self.nulls_equal else "UNIQUE" if self.nullable else "PRIMARY KEY"
        ddl = [f"CREATE TABLE {self.name} ({', '.join(lines)}, {kind} ({key}))"]
        if self.partitioned:
            ddl[0] += " PARTITION BY LIST (ref)"
            ddl.append(f"CREATE TABLE {self.name}_1 PARTITION OF {self.name} FOR VALUES IN (1, 2)")
            ddl.append(f"CREATE TABLE {self.name}_2 PARTITION OF {self.name} DEFAULT")
        ddl.append(f"CREATE TABLE {self.name}_sent ({plain})")
        ddl.append(f"CREATE TABLE {self.name}_ledger ({plain})")
        remember = ", remember => 'seen'" if self.remember else ""
        ddl.append(f"SELECT idempotent_guard('{self.name}', null_key => '{self.null_key}'{remember})")
        return ddl

    def rows(self):
        """Rows that name the same columns: {column: literal or None}."""
        dice = self.dice
        named = [n for n in self.key if n not in self.session or dice.random() < 0.3]
        named += [n for n in self.others if dice.random() < 0.7]
        named += [n for n in self.stable if dice.random() < 0.25]
        dice.shuffle(named)
        rows = []
        for _ in range(dice.choice([1, 1, 1, 2, 3])):
            row = {}
            for name in named:
                literals = self.columns[name][2]
                row[name] = literals[0] if dice.random() < 0.6 and name not in self.key else dice.choice(literals)
                may_be_null = self.nullable if name in self.key else True
                if may_be_null and dice.random() < (0.15 if name in self.key else 0.05):
                    row[name] = None
            rows.append(row)
        return named, rows


def quoted(literal):
    return "NULL" if literal is None else f"'{literal}'"


def insert(table, named, rows):
    values = ", ".join("(" + ", ".join(quoted(row[name]) for name in named) + ")" for row in rows)
    return f"INSERT INTO {table} ({', '.join(named)}) VALUES {values}"


class Oracle:
    """What the statement should come to: «inserted» and so on for each row, until one is refused."""

    def __init__(self, conn, table):
        self.conn = conn
        self.table = table

    def predict(self, named, rows, by_function):
        """Outcomes; the ledger holds what it would then. A conflict comes with the columns that differ."""
        table, conn = self.table, self.conn
        outcomes = []
        for row in rows:
            sent = f"{table.name}_sent"
            conn.execute(f"TRUNCATE {sent}")
            conn.execute(insert(sent, named, [row]))
            nulls = " OR ".join(f"{name} IS NULL" for name in table.key)
            if not table.nulls_equal and value(conn, f"SELECT {nulls} FROM {sent}"):
                if by_function or table.null_key == "error":
                    return outcomes + [("refused", None)]
                outcomes.append(("passed", None))
                continue
            if by_function and table.remember != "bytea":
                compared = [name for name in named if name not in table.key]
            else:
                # What the statement leaves out has a default that is the same for ever, or does not count. To a digest
                # it has that default for functions, too.
                compared = table.others + [name for name in table.stable if name in named]
            same = " AND ".join(f"l.{name} IS NOT DISTINCT FROM s.{name}" for name in table.key)
            differs = ", ".join(f"l.{name} IS DISTINCT FROM s.{name} AS {name}" for name in compared) or "1 AS nothing"
            found = conn.execute(f"SELECT {differs} FROM {table.name}_ledger AS l, {sent} AS s WHERE {same}").fetchall()
            if not found:
                conn.execute(f"INSERT INTO {table.name}_ledger SELECT * FROM {sent}")
                outcomes.append(("inserted", None))
                continue
            different = {name for name, differ in found[0].items() if differ is True}
            outcomes.append(("conflict", different) if different else ("duplicate", None))
            if different:
                return outcomes
        return outcomes


def one_case(conn, table):
    dice = table.dice
    for setting, choices in SETTINGS.items():
        if dice.random() < 0.3:
            conn.execute("SELECT set_config(%s, %s, false)", [setting, dice.choice(choices)])
    by_function = dice.random() < 0.35
    named, rows = table.rows()
    if by_function and not table.nullable and dice.random() < 0.2:
        dice.shuffle(named)
    if by_function:
        rows = rows[:1]
        document = json.dumps({name: rows[0][name] for name in named})
        statement, parameters = f"SELECT outcome FROM idempotent_insert('{table.name}', %s)", [document]
    else:
        target = table.name
        if table.partitioned and len({row["ref"] in ("1", "2") for row in rows}) == 1 and dice.random() < 0.3:
            target += "_1" if rows[0]["ref"] in ("1", "2") else "_2"
        statement, parameters = insert(target, named, rows), None
    said = f"{statement}; {parameters or ''}"
    with conn.transaction():
        # In one transaction, so that now() is one time; a savepoint keeps the ledger apart from what fails.
        expected = Oracle(conn, table).predict(named, rows, by_function)
        fails = expected[-1][0] in ("refused", "conflict")
        try:
            with conn.transaction():
                cursor = conn.execute(statement, parameters)
                found = cursor.fetchone()["outcome"] if by_function else cursor.rowcount
        except psycopg.Error as error:
            want = {"refused": "23502", "conflict": "23I01"}.get(expected[-1][0])
            if error.sqlstate != want:
                raise Mismatch(f"{error.sqlstate} {error} {error.diag.message_detail}\nexpected {expected}\n{said}") from None
            if want == "23I01" and len(expected[-1][1]) == 1 and table.remember != "bytea":
                if {error.diag.column_name} != expected[-1][1]:
                    raise Mismatch(f"{error.diag.column_name} differs\nexpected {expected}\n{said}") from None
            raise psycopg.Rollback() from None
        if fails:
            raise Mismatch(f"no error: {found}\nexpected {expected}\n{said}")
        went_in = sum(outcome in ("inserted", "passed") for outcome, _ in expected)
        if found != (expected[0][0] if by_function else went_in):
            raise Mismatch(f"{found}\nexpected {expected}\n{said}")
    return expected[-1][0]


@pytest.fixture(scope="module")
def database(cluster):
    return cluster.create_database(SETUP)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("block", range(BLOCKS))
def test_stable_defaults_session_keys_and_nullable_keys_are_judged_as_plain_sql_does(database, block):
    tables = max(1, CASES // 4 // BLOCKS // CASES_A_TABLE)
    outcomes = set()
    for number in range(block * tables, (block + 1) * tables):
        table = Table(random.Random(f"{SEED}:defaults:{number}"), number)
        with database.connect() as conn:
            conn.execute("SET client_min_messages = error")
            for setting, choices in SETTINGS.items():
                conn.execute("SELECT set_config(%s, %s, false)", [setting, choices[0]])
            for statement in table.ddl:
                conn.execute(statement)
            try:
                for case in range(CASES_A_TABLE):
                    outcomes.add(one_case(conn, table))
                    if table.dice.random() < 0.1:
                        update(conn, table)
                held = value(conn, f"SELECT count(*) FROM {table.name} WHERE NOT ({nulls(table)})")
                told = value(conn, f"SELECT count(*) FROM {table.name}_ledger")
                if held != told:
                    raise Mismatch(f"the table holds {held} rows, the ledger {told}")
            except Mismatch as mismatch:
                ddl = ";\n".join(table.ddl)
                pytest.fail(f"PGI_SEED={SEED}, table {number}, case {case}\n{ddl};\n{mismatch}", pytrace=False)
            conn.execute(f"DROP TABLE {table.name}, {table.name}_sent, {table.name}_ledger")
    assert {"inserted", "duplicate", "conflict"} <= outcomes, outcomes


def nulls(table):
    if table.nulls_equal:
        return "false"
    return " OR ".join(f"{name} IS NULL" for name in table.key)


def update(conn, table):
    """Changes stored rows: with a column that remembers what first arrived, retries do not notice."""
    column = table.dice.choice(table.others)
    literal = table.dice.choice(table.columns[column][2])
    conn.execute(f"UPDATE {table.name} SET {column} = '{literal}'")
    if not table.remember:
        conn.execute(f"UPDATE {table.name}_ledger SET {column} = '{literal}'")
