"""Random payloads over random tables, against a model that knows nothing of the implementation.

A type's values come in classes: each class is a value, its members the ways to write it down in JSON ("1.5", 1.50,
150e-2). Two payloads agree in a column if they took the same class there. That is all the model knows of equality, so
it shares no code and no idea with the extension; it keeps a dictionary from key classes to column classes, and
predicts every outcome and the names of all differences.

Between the well-formed calls come malformed ones, which are rolled back. They may succeed or fail, but never with a
panic, an internal error, or the loss of the connection.

A failure prints what is needed to see it again: PGI_SEED=<seed>, the table's number, its DDL and the call.
"""

import random
import re

import psycopg
import pytest

from support.generated_calls import malformed_call
from support.generated_tables import Mismatch, Table
from support.project import SEED, size
from support.queries import value

CASES = size("PGI_CASES", 4000)
BLOCKS = 10
CASES_A_TABLE = 25


def well_formed(conn, table):
    dice = table.dice
    conn.execute(f"SET pg_idempotent.use_distributed_form = {dice.choice(['on', 'off'])}")
    conn.execute(f"SET pg_idempotent.direct_insertion = {dice.choice(['on', 'on', 'off'])}")
    rows = [table.payload() for _ in range(dice.choice([1, 1, 2, 5, 12, 12, 150]))]
    function = dice.choice(["insert", "insert", "each", "each", "many", "from"])
    if function == "insert":
        rows = rows[:1]
    options = {}
    if dice.random() < 0.4:
        options["key"] = dice.sample([c.name for c in table.key], len(table.key))
    names = [c.name for c in table.rest]
    pick = dice.random()
    if names and pick < 0.2:
        options["compare"] = dice.sample(names, dice.randint(1, len(names)))
    elif names and pick < 0.4:
        options["ignore"] = dice.sample(names, dice.randint(1, len(names)))
    options["on_conflict"] = dice.choice(["error", "report", "report", "quarantine"])
    # No row is refused, and none of the columns that rows name is an identity column.
    if function != "insert":
        options["on_error"] = dice.choice(["error", "report", "quarantine"])
    if dice.random() < 0.2:
        options["overriding"] = dice.choice(["system", "user"])
    if function == "from":
        shape = set(rows[0]) | {c.name for c in table.key}
        for row in rows:
            for name in list(row):
                if name not in shape:
                    del row[name]
            for name in shape:
                row.setdefault(name, None)
        for row in rows:
            for column in table.key:
                if row[column.name] is None and not table.not_distinct:
                    row[column.name] = 0
    texts = [table.json(row) for row in rows]
    outcomes, stored = table.predict(rows, options.get("compare"), options.get("ignore"))
    conflicts = sum(outcome == "conflict" for outcome, _ in outcomes)
    casts = {"key": "text[]", "compare": "text[]", "ignore": "text[]", "on_conflict": "text", "on_error": "text", "overriding": "text"}
    named = "".join(f", {name} => %({name})s::{casts[name]}" for name in options)
    parameters = {"target": table.name, **options}
    if function == "insert":
        parameters["payload"] = texts[0]
        sql = f"SELECT * FROM idempotent_insert(%(target)s::regclass, %(payload)s::jsonb{named})"
    elif function == "from":
        columns = ", ".join(c.quoted for c in table.columns if c.name in rows[0])
        conn.execute("DROP TABLE IF EXISTS pg_temp.source")
        conn.execute(f"CREATE TEMP TABLE source AS SELECT {columns} FROM {table.name} WITH NO DATA")
        conn.execute(
            "INSERT INTO source SELECT * FROM jsonb_populate_recordset(null::source, %s::jsonb)", [f"[{', '.join(texts)}]"]
        )
        # A token changes nothing the first time.
        named += ", token => gen_random_uuid()::text" if dice.random() < 0.3 else ""
        sql = f"SELECT * FROM idempotent_insert_from(%(target)s::regclass, 'source'::regclass{named})"
        parameters["source rows"] = texts
    else:
        parameters["payloads"] = f"[{', '.join(texts)}]"
        sql = f"SELECT * FROM idempotent_insert_{function}(%(target)s::regclass, %(payloads)s::jsonb{named})"

    try:
        found = conn.execute(sql, parameters).fetchall()
    except psycopg.Error as error:
        if error.sqlstate == "23I01" and options["on_conflict"] == "error" and conflicts:
            first = next(n for n, (outcome, _) in enumerate(outcomes, 1) if outcome == "conflict")
            expected = "payload conflicts with the stored row" if conflicts == 1 else f"{conflicts} payloads conflict"
            if not error.diag.message_primary.startswith(expected):
                raise Mismatch(f"{error.diag.message_primary!r} for {conflicts} conflicts, the first at {first}\n{sql}\n{parameters}")
            return
        raise Mismatch(f"{error.sqlstate} {error} {error.diag.message_detail}\nexpected {outcomes}\n{sql}\n{parameters}") from None
    if options["on_conflict"] == "error" and conflicts:
        raise Mismatch(f"no error for {conflicts} conflicts: {found}\nexpected {outcomes}\n{sql}\n{parameters}")
    table.stored = stored

    def check(condition, what):
        if not condition:
            raise Mismatch(f"{what}\nfound {found}\nexpected {outcomes}\n{sql}\n{parameters}")

    if function in ("many", "from"):
        counts = {
            "received": len(rows),
            "inserted": sum(outcome == "inserted" for outcome, _ in outcomes),
            "duplicates": sum(outcome == "duplicate" for outcome, _ in outcomes),
            "conflicts": conflicts,
            "rejected": 0,
            **({"replayed": False} if function == "from" else {}),
        }
        check(found == [counts], f"expected {counts}")
        return
    if function == "each":
        check([row["ordinal"] for row in found] == list(range(1, len(rows) + 1)), "ordinals")
    check([row["outcome"] for row in found] == [outcome for outcome, _ in outcomes], "outcomes")
    for row, (outcome, different) in zip(found, outcomes, strict=True):
        if outcome == "conflict":
            check(set(row["differences"]) == different, f"differences {set(row['differences'])}, not {different}")
            for name, pair in row["differences"].items():
                check(set(pair) == {"stored", "payload"}, f"members of the difference in {name}")
                check(pair["stored"] == row["stored"][name] or pair["stored"] != pair["stored"], f"stored value of {name}")
        else:
            check(row["differences"] is None, "differences of no conflict")
    sample = dice.choice(found)
    matching = conn.execute(
        f"SELECT count(*) AS n FROM {table.name} AS whole_row WHERE to_jsonb(whole_row.*) = %s::jsonb",
        [psycopg.types.json.Jsonb(sample["stored"])],
    ).fetchone()["n"]
    # A float travels through the client's own floats; everything else must be found exactly.
    if not any(c.type in ("float8", "jsonb", "json", "numeric") for c in table.columns):
        check(matching == 1, f"stored {sample['stored']} is no row of the table")


PANIC = re.compile(r"panicked|unwrap\(\)|\w\.rs\b|backtrace|out of bounds|byte index|called `")


def malformed(conn, table):
    """One call that is wrong in some way, or in several, rolled back; returns its SQLSTATE or None."""
    sql, parameters = malformed_call(table)
    try:
        with conn.transaction(force_rollback=True):
            conn.execute(sql, parameters)
        return None
    except psycopg.Error as error:
        said = f"{error} {error.diag.message_detail} {error.diag.message_hint} {error.diag.context}"
        ugly = PANIC.search(said)
        if error.sqlstate is None or error.sqlstate.startswith("XX") or error.sqlstate.startswith("57P") or ugly:
            raise Mismatch(f"{error.sqlstate} {said}\n{sql}\n{parameters}") from None
        return error.sqlstate


@pytest.mark.timeout(300)
@pytest.mark.parametrize("block", range(BLOCKS))
def test_random_payloads_over_random_tables_get_what_the_model_predicts_and_never_a_panic(generated, block):
    tables = max(1, CASES // BLOCKS // CASES_A_TABLE)
    states = set()
    for number in range(block * tables, (block + 1) * tables):
        table = Table(random.Random(f"{SEED}:{number}"), number)
        with generated.connect() as conn:
            conn.execute("SET client_min_messages = warning")
            conn.execute(table.ddl)
            try:
                for case in range(CASES_A_TABLE):
                    if table.dice.random() < 0.4:
                        states.add(malformed(conn, table))
                    else:
                        well_formed(conn, table)
                held = value(conn, f"SELECT count(*) FROM {table.name}")
                if held != len(table.stored):
                    raise Mismatch(f"the table holds {held} rows, the model {len(table.stored)}")
                conn.execute(f"DROP TABLE {table.name}")
            except Mismatch as mismatch:
                failed = f"PGI_SEED={SEED}, table {number}, case {case}\n{table.ddl};\n{mismatch}"
            else:
                continue
        pytest.fail(failed, pytrace=False)
    # The malformed calls were not all turned away at the same door.
    assert len(states) > 3, states


# ---------------------------------------------------------------------------------------------------------------------
# Staging tables LIKE the target, against an oracle in plain SQL: a table of the same columns that INSERT … ON CONFLICT
# brings to where the extension's functions are to bring the target. Numbers that the staging table draws, and what
# it reads off the clock, are other ones with every row that is staged: they are neither key nor reason for a conflict.

SURROGATES = {
    "bigserial": "bigserial",
    "identity": "bigint GENERATED BY DEFAULT AS IDENTITY",
    "random": "uuid DEFAULT gen_random_uuid()",
    "volatile": "float8 DEFAULT random()",
}


class Staged:
    """A target, its staging table and its oracle, with a business key of one or two columns."""

    def __init__(self, dice, number):
        self.dice = dice
        self.target, self.staging, self.oracle = (f"gen.{name}_{number}" for name in ("target", "staging", "oracle"))
        self.key = ["ref", "part"][: dice.choice([1, 1, 2])]
        self.made = ["id"] + [f"made_{i}" for i in range(dice.choice([0, 0, 1]))]
        self.data = {f"d{i}": dice.choice(["int", "numeric", "text", "int[]"]) for i in range(dice.randint(1, 3))}
        columns = [f"ref {dice.choice(['text', 'int', 'numeric(8,2)'])}", "part int"]
        columns += [f"{name} {SURROGATES[dice.choice(list(SURROGATES))]}" for name in self.made]
        columns += [f"{name} {typ}" for name, typ in self.data.items()]
        columns += ["created timestamptz DEFAULT clock_timestamp()", "twice int GENERATED ALWAYS AS (part * 2) STORED"]
        dice.shuffle(columns)
        self.ddl = (
            f"CREATE TABLE {self.target} ({', '.join(columns)}, PRIMARY KEY (id), UNIQUE ({', '.join(self.key)}));"
            f"CREATE TABLE {self.staging} (LIKE {self.target} INCLUDING ALL EXCLUDING INDEXES);"
            f"CREATE TABLE {self.oracle} (LIKE {self.target} INCLUDING INDEXES)"
        )

    def stage(self, conn):
        """Other rows, or some of the same ones once more, each key at most once; the sequences go on."""
        rows = {(self.dice.randint(1, 12), self.dice.randint(1, 2) if len(self.key) == 2 else 1) for _ in range(self.dice.randint(1, 9))}
        conn.execute(f"DELETE FROM {self.staging}")
        for ref, part in rows:
            values = ", ".join(self.dice.choice(["'{1}'", "'{2,3}'", "NULL"] if typ == "int[]" else ["'1'", "'2'", "NULL"]) for typ in self.data.values())
            conn.execute(f"INSERT INTO {self.staging} (ref, part, {', '.join(self.data)}) VALUES ('{ref}', {part}, {values})")

    def expect(self, conn, compared):
        """How many of the staged rows are new, agree, and differ, by the oracle."""
        same = " AND ".join(f"s.{c} IS NOT DISTINCT FROM o.{c}" for c in compared)
        row = conn.execute(
            f"SELECT count(*) FILTER (WHERE o.ref IS NULL) AS new, count(*) FILTER (WHERE o.ref IS NOT NULL AND {same}) AS equal,"
            f" count(*) FILTER (WHERE o.ref IS NOT NULL AND NOT ({same})) AS different"
            f" FROM {self.staging} s LEFT JOIN {self.oracle} o USING ({', '.join(self.key)})"
        ).fetchone()
        return row["new"], row["equal"], row["different"]

    def follow(self, conn, merged):
        columns = ", ".join(["ref", "part", *self.made, *self.data, "created", "twice"])
        action = f"UPDATE SET {', '.join(f'{c} = EXCLUDED.{c}' for c in merged)}" if merged else "NOTHING"
        conn.execute(f"INSERT INTO {self.oracle} ({columns}) SELECT {columns} FROM {self.staging} ON CONFLICT ({', '.join(self.key)}) DO {action}")


def merged_log(conn, table):
    """A merge of a log, or of its rows as JSON, some of which leave a column out. Each key comes twice; a number that is not stored
    says which row is the later, and some rows delete."""
    dice = table.dice
    key, name = ", ".join(table.key), next(iter(table.data))
    conn.execute("SELECT setseed(%s)", [dice.random()])
    conn.execute(f"DROP TABLE IF EXISTS gen.log; CREATE TABLE gen.log AS SELECT *, false AS gone, 0 AS seq FROM {table.staging} UNION ALL SELECT *, false, 0 FROM {table.staging}")
    conn.execute("UPDATE gen.log l SET seq = n, gone = random() < 0.3 FROM (SELECT ctid AS place, row_number() OVER (ORDER BY random()) AS n FROM gen.log) r WHERE l.ctid = place")
    conn.execute(f"UPDATE gen.log SET {name} = NULL WHERE seq % 3 = 0; UPDATE gen.log SET gone = NULL WHERE NOT gone AND seq % 2 = 0")
    latest = f"(SELECT DISTINCT ON ({key}) * FROM gen.log ORDER BY {key}, seq DESC)"
    same_key = " AND ".join(f"l.{c} = o.{c}" for c in table.key)
    merged = [*table.data, "created", *(["part", "twice"] if len(table.key) == 1 else [])]
    columns = ["ref", "part", *table.made, *table.data, "created"]
    gone = conn.execute(f"DELETE FROM {table.oracle} o USING {latest} l WHERE {same_key} AND gone").rowcount
    function, source, halves = "idempotent_merge", "'gen.log'", [("", [])]
    if dice.random() < 0.5:
        # The payloads of odd keys leave a column out.
        function = "idempotent_merge_many"
        payload = f"CASE WHEN mod(hashtext(ref::text), 2) = 0 THEN to_jsonb(l) ELSE to_jsonb(l) - '{name}' END"
        source = f"(SELECT coalesce(jsonb_agg({payload} ORDER BY random()), '[]') FROM gen.log l)"
        halves = [(" AND mod(hashtext(ref::text), 2) = 0", []), (" AND mod(hashtext(ref::text), 2) <> 0", [name])]
    for condition, left_out in halves:
        some = ", ".join(c for c in columns if c not in left_out)
        sets = ", ".join(f"{c} = EXCLUDED.{c}" for c in merged if c not in [*left_out, "twice"])
        action = f"UPDATE SET {sets}" if sets else "NOTHING"
        conn.execute(f"INSERT INTO {table.oracle} ({some}, twice) SELECT {some}, twice FROM {latest} l WHERE gone IS NOT TRUE{condition} ON CONFLICT ({key}) DO {action}")
    if "twice" in merged:
        conn.execute(f"UPDATE {table.oracle} SET twice = part * 2")
    found = conn.execute(
        f"SELECT received, deleted, superseded, inserted + updated + deleted + unchanged + stale + superseded AS sum"
        f" FROM {function}(%s, {source}, %s::text[], latest_by => '{{seq}}', delete_when => 'gone')",
        [table.target, table.key],
    ).fetchone()
    rows, keys = conn.execute(f"SELECT count(*) AS rows, count(DISTINCT ({key})) AS keys FROM gen.log").fetchone().values()
    assert tuple(found.values()) == (rows, gone, rows - keys, rows), (found, rows, keys, gone)


def staged_case(conn, table):
    dice = table.dice
    conn.execute(f"SET pg_idempotent.use_distributed_form = {dice.choice(['on', 'off'])}")
    if dice.random() < 0.7:
        table.stage(conn)
    names = {"target": table.target, "source": table.staging, "key": table.key if dice.random() < 0.3 else None}
    function = dice.choice(["from", "from", "merge", "log", "log", "load", "reconcile"])
    if function == "log":
        return merged_log(conn, table)
    by_part = ["part", "twice"] if len(table.key) == 1 else []
    if function == "merge":
        insert_only = dice.choice([["created"], ["created", next(iter(table.data))]])
        merged = [c for c in [*table.data, *(["part"] if by_part else [])] if c not in insert_only]
        new, equal, different = table.expect(conn, merged) if merged else (*table.expect(conn, table.key)[:2], 0)
        found = conn.execute(
            "SELECT inserted, unchanged, updated FROM idempotent_merge(%(target)s, %(source)s, %(key)s::text[], insert_only => %(only)s::text[])",
            {**names, "only": insert_only},
        ).fetchone()
        assert tuple(found.values()) == (new, equal, different), (found, new, equal, different)
        # What the server makes, and what insert_only names, stays as it was.
        table.follow(conn, [*merged, "twice"] if merged else [])
        return
    # The clock of the staging table is no key, but compared: another time is another time.
    ignore = ["created"]
    new, equal, different = table.expect(conn, [*table.data, *by_part[:1]])
    if function == "load":
        conn.execute("CALL idempotent_load(%(target)s, %(source)s, %(key)s::text[], ignore => %(ignore)s::text[], on_conflict => 'report')", {**names, "ignore": ignore})
        table.follow(conn, [])
        return
    if function == "reconcile":
        found = conn.execute(
            "SELECT status, count(*) AS n FROM idempotent_reconcile(%(target)s, %(source)s, %(key)s::text[], ignore => %(ignore)s::text[]) GROUP BY 1",
            {**names, "ignore": ignore},
        ).fetchall()
        counts = {row["status"]: row["n"] for row in found}
        assert (counts.get("missing", 0), counts.get("different", 0)) == (new, different), (counts, new, different)
        return
    found = conn.execute(
        "SELECT inserted, duplicates, conflicts FROM idempotent_insert_from(%(target)s, %(source)s, %(key)s::text[], ignore => %(ignore)s::text[], on_conflict => 'report')",
        {**names, "ignore": ignore},
    ).fetchone()
    assert tuple(found.values()) == (new, equal, different), (found, new, equal, different)
    table.follow(conn, [])


@pytest.mark.parametrize("block", range(4))
def test_random_staging_tables_like_the_target_are_brought_in_as_an_oracle_in_plain_sql_has_it(generated, block):
    for number in range(block * 6, (block + 1) * 6):
        table = Staged(random.Random(f"{SEED}:staged:{number}"), number)
        with generated.connect() as conn:
            conn.execute("SET client_min_messages = warning")
            conn.execute(table.ddl)
            for case in range(12):
                try:
                    staged_case(conn, table)
                    columns = ", ".join(["ref", "part", *table.made, *table.data, "created", "twice"])
                    differ = f"(SELECT {columns} FROM {{}} EXCEPT SELECT {columns} FROM {{}})"
                    both = f"{differ.format(table.target, table.oracle)} UNION ALL {differ.format(table.oracle, table.target)}"
                    assert conn.execute(both).fetchall() == []
                except (AssertionError, psycopg.Error) as error:
                    pytest.fail(f"PGI_SEED={SEED}, staged table {number}, case {case}\n{table.ddl};\n{error}", pytrace=False)


# ---------------------------------------------------------------------------------------------------------------------
# What a bytea remembers of nested values, against the = of their types


def some_json(dice, depth=0):
    """Few values, so that many are alike but for their shape."""
    kind = dice.randrange(7 if depth < 3 else 5)
    if kind == 5:
        return "[" + ", ".join(some_json(dice, depth + 1) for _ in range(dice.randint(0, 3))) + "]"
    if kind == 6:
        return "{" + ", ".join(f'"{name}": {some_json(dice, depth + 1)}' for name in dice.sample("abc", dice.randint(0, 3))) + "}"
    return dice.choice(["1", "1.0", "2", '"1"', "null", "true"])


def some_array(dice):
    """Of one or two dimensions, with bounds."""
    item = lambda: dice.choice(["1", "2", "3", "NULL"])
    if dice.random() < 0.5:
        n, low = dice.randint(0, 4), dice.choice([0, 1, 1])
        return "{}" if n == 0 else f"[{low}:{low + n - 1}]={{{','.join(item() for _ in range(n))}}}"
    rows, columns = dice.choice([(1, 2), (2, 1), (2, 2), (1, 4)])
    return "{" + ",".join("{" + ",".join(item() for _ in range(columns)) + "}" for _ in range(rows)) + "}"


def some_line(dice):
    document = dice.choice(["NULL", f"'{some_json(dice)}'"])
    amount = dice.choice(["1", "1.0", "2", "NULL"])
    mood = dice.choice(["NULL", "'{glad}'", "'{sad}'", "'{glad,sad}'", "'{}'"])
    return f"ROW({amount}, {document}, {mood})::gen.nested"


NESTED = {
    "jsonb": lambda dice: f"'{some_json(dice)}'::jsonb",
    "int[]": lambda dice: f"'{some_array(dice)}'::int[]",
    "numeric[]": lambda dice: f"'{some_array(dice).replace('1,', '1.0,')}'::numeric[]" if dice.random() < 0.5 else f"'{some_array(dice)}'::numeric[]",
    "gen.nested": some_line,
    "gen.nested[]": lambda dice: f"ARRAY[{', '.join(some_line(dice) for _ in range(dice.randint(0, 2)))}]::gen.nested[]",
    "numrange": lambda dice: f"'{dice.choice(['[1,2)', '[1.0,2)', '[1,2]', '(1,2)', 'empty', '[1,)', '(,2)'])}'::numrange",
}


def told(conn, dice):
    conn.execute("CREATE TYPE gen.nested AS (amount numeric, document jsonb, moods gen.mood[])")
    seen = {True: 0, False: 0}
    for typ, some in NESTED.items():
        conn.execute("DROP TABLE IF EXISTS gen.told; CREATE TABLE gen.told (id int PRIMARY KEY, v " + typ + ", first bytea)")
        conn.execute("SELECT FROM idempotent_guard('gen.told', remember => 'first')")
        for number in range(CASES // 40):
            a, b = some(dice), some(dice)
            conn.execute(f"INSERT INTO gen.told VALUES ({number}, {a})")
            conn.execute("UPDATE gen.told SET v = NULL")
            assert conn.execute(f"INSERT INTO gen.told VALUES ({number}, {a})").rowcount == 0, a
            equal = value(conn, f"SELECT {a} IS NOT DISTINCT FROM {b}")
            seen[equal] += 1
            try:
                same = conn.execute(f"INSERT INTO gen.told VALUES ({number}, {b})").rowcount == 0
            except psycopg.Error as error:
                assert error.sqlstate == "23I01", (a, b)
                same = False
            assert same == equal, (typ, a, b, f"PGI_SEED={SEED}")
    assert min(seen.values()) > CASES // 200


@pytest.mark.timeout(300)
def test_what_a_bytea_remembers_of_nested_values_agrees_with_their_equality(generated):
    dice = random.Random(SEED + 7)
    with generated.connect() as conn:
        told(conn, dice)
