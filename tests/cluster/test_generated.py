"""Random payloads over random tables, against a model that knows nothing of the implementation.

A type's values come in classes: each class is a value, its members the ways to write it down in JSON ("1.5", 1.50,
150e-2). Two payloads agree in a column if they took the same class there. That is all the model knows of equality, so
it shares no code and no idea with the extension; it keeps a dictionary from key classes to column classes, and
predicts every outcome and the names of all differences.

Between the well-formed calls come malformed ones, which are rolled back. They may succeed or fail, but never with a
panic, an internal error, or the loss of the connection.

A failure prints what is needed to see it again: PGI_SEED=<seed>, the table's number, its DDL and the call.
"""

import json
import random
import re
from dataclasses import dataclass, field
from decimal import Decimal

import psycopg
import pytest

from conftest import size, value

SEED = size("PGI_SEED", 20131103)
CASES = size("PGI_CASES", 4000)
BLOCKS = 10
CASES_A_TABLE = 25

# ---------------------------------------------------------------------------------------------------------------------
# Types: each generator returns (canonical form, text for an SQL literal, JSON fragments that all mean it)


def quoted(text):
    return json.dumps(text, ensure_ascii=False)


def integer(low, high):
    def generate(dice):
        n = dice.choice([low, high, 0, dice.randint(low, high), dice.randint(-9, 9)])
        return n, str(n), [str(n), f'"{n}"', f'"  {n} "']

    return generate


def fixed(scale, top):
    """numeric(p, scale): digits beyond the scale are rounded away before anything is compared."""

    def generate(dice):
        unit = dice.randint(-top, top)
        exact = Decimal(unit).scaleb(-scale)
        longer = [f"{exact:f}", f"{exact:f}0" if scale else f"{exact:f}.0", f"{unit}e-{scale}"]
        off = Decimal(dice.randint(0, 4)).scaleb(-scale - 1)
        longer.append(f"{exact + off if exact >= 0 else exact - off:f}")
        return unit, f"{exact:f}", longer + [f'"{text}"' for text in longer]

    return generate


def numeric(dice):
    if dice.random() < 0.1:
        return "NaN", "NaN", ['"NaN"', '"nan"', '" NaN "']
    n = Decimal(dice.randint(-10**6, 10**6)).scaleb(-dice.randint(0, 6)).normalize()
    text = f"{n:f}"
    more = f"{text}000" if "." in text else f"{text}.000"
    return n, text, [text, more, f'"{text}"', f'"{more}"', f"{text}e0"]


def float8(dice):
    pick = dice.random()
    if pick < 0.1:
        return "NaN", "NaN", ['"NaN"', '"nan"']
    if pick < 0.2:
        return "inf", "Infinity", ['"Infinity"', '"inf"', '"+Infinity"']
    if pick < 0.3:
        return "-inf", "-Infinity", ['"-Infinity"', '"-inf"']
    if pick < 0.4:
        return 0.0, "0", ["0", "-0", '"-0"', '"-0.0"', "0.000", "0e5"]
    x = dice.choice([dice.random() * 10 ** dice.randint(-200, 200), float(dice.randint(-99, 99) or 1)])
    return x, repr(x), [repr(x), f'"{x!r}"']


ALPHABET = "abcXYZ 0159_-'\"\\/%$;,.(){}[]äßéЖ中\u200b😀\t\n\r\x01\x7f"


def text_of(dice, most):
    return "".join(dice.choice(ALPHABET) for _ in range(dice.randint(0, most)))


def text(most):
    def generate(dice):
        if dice.random() < 0.2:
            n = str(dice.randint(0, 10 ** min(most, 6) - 1))
            return n, n, [n, f'"{n}"']
        s = text_of(dice, most)
        return s, s, [quoted(s), json.dumps(s)]

    return generate


def padded(dice):
    s = text_of(dice, 5).rstrip(" ")
    return s, s, [quoted(s)] + [quoted(s + " " * n) for n in range(1, 5 - len(s) + 1)] + [quoted(s.ljust(9) if len(s) == 5 else s)]


def boolean(dice):
    if dice.random() < 0.5:
        return True, "t", ["true", '"t"', '"true"', '"yes"', '"on"', '"1"', '" TRUE "']
    return False, "f", ["false", '"f"', '"false"', '"no"', '"off"', '"0"']


def date(dice):
    if dice.random() < 0.1:
        return "inf", "infinity", ['"infinity"', '" infinity"']
    y, m, d = dice.randint(1, 9999), dice.randint(1, 12), dice.randint(1, 28)
    iso = f"{y:04}-{m:02}-{d:02}"
    return iso, iso, [f'"{iso}"', f'"{y:04}{m:02}{d:02}"', f'"{iso} 00:00:00"', f'" {iso} "']


def instant(dice):
    minute = dice.randint(0, 1439)
    day = dice.randint(1, 28)
    forms = []
    for offset in (0, 0, 60, -60, 330, -345, 720):
        at = day * 1440 + minute + offset
        sign = "+" if offset >= 0 else "-"
        off = f"{sign}{abs(offset) // 60:02}:{abs(offset) % 60:02}"
        forms.append(f"2013-11-{at // 1440:02}T{at % 1440 // 60:02}:{at % 60:02}:00{off}")
    if not all(1 <= int(form[8:10]) <= 30 for form in forms):
        return instant(dice)
    return forms[0], forms[0], [quoted(form) for form in forms] + [quoted(forms[0].replace("T", " "))]


def seconds(dice):
    """timestamp(0): fractions are rounded."""
    s = dice.randint(1, 58)
    stamp = f"2013-11-{dice.randint(1, 28):02} 12:34:{s:02}"
    return stamp, stamp, [quoted(stamp), quoted(stamp + ".4"), quoted(stamp + ".000001"), quoted(stamp[:-2] + f"{s - 1:02}.7")]


def uuid(dice):
    h = f"{dice.getrandbits(128):032x}"
    dashed = f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"
    return h, h, [f'"{h}"', f'"{dashed}"', f'"{dashed.upper()}"', f'"{{{dashed}}}"']


def document(dice, depth=0):
    """(canonical, fragments) of a JSON value other than null at the top."""
    kind = dice.randrange(6 if depth < 3 else 4)
    if kind == 0:
        n = dice.randint(-99, 99)
        return n, [str(n), f"{n}.0", f"{n}.00", f"{n}e0"]
    if kind == 1:
        s = text_of(dice, 6)
        return ("s", s), [quoted(s), json.dumps(s)]
    if kind in (2, 3):
        return (("b", True), ["true"]) if dice.random() < 0.5 else (("b", False), ["false"])
    parts = [document(dice, depth + 1) for _ in range(dice.randint(0, 3))]
    if kind == 4:
        return ("a", tuple(c for c, _ in parts)), [
            f"[{glue.join(dice.choice(forms) for _, forms in parts)}]" for glue in (",", " , ", ",\n")
        ]
    named = list(zip("kji", parts))
    forms = []
    for _ in range(3):
        dice.shuffle(named)
        forms.append("{" + ",".join(f'"{name}": {dice.choice(fragments)}' for name, (_, fragments) in named) + "}")
    return ("o", tuple(sorted((name, canonical) for name, (canonical, _) in named))), forms


def json_document(dice):
    canonical, forms = document(dice)
    return repr(canonical), forms[0], forms


def integers(dice):
    items = [dice.randint(-9, 9) for _ in range(dice.randint(0, 4))]
    literal = "{" + ",".join(map(str, items)) + "}"
    spread = "{ " + " , ".join(map(str, items)) + " }"
    return tuple(items), literal, [json.dumps(items), quoted(literal), quoted(spread)]


def tenths(dice):
    items = [dice.randint(-99, 99) for _ in range(dice.randint(1, 3))]
    exact = [f"{Decimal(n).scaleb(-1):f}" for n in items]
    literal = "{" + ",".join(exact) + "}"
    return tuple(items), literal, [f"[{', '.join(exact)}]", quoted(literal), "[" + ",".join(e + "00" for e in exact) + "]"]


def enum(dice):
    label = dice.choice(["glad", "sad", "so so", 'quo"ted', "Ümlaut"])
    return label, label, [quoted(label)]


def interval(dice):
    hours = dice.randint(0, 99)
    forms = [f"{hours} hours", f"{hours}:00:00", f"{hours * 60} minutes", f"{hours // 24} days {hours % 24} hours", f"PT{hours}H"]
    return hours, forms[0], list(map(quoted, forms))


def binary(dice):
    raw = bytes(dice.randrange(256) for _ in range(dice.randint(0, 6)))
    return raw, "\\x" + raw.hex(), [quoted("\\x" + raw.hex()), quoted("\\x" + raw.hex().upper())]


def span(dice):
    low = dice.randint(-9, 9)
    high = low + dice.randint(1, 9)
    forms = [f"[{low},{high})", f"[{low},{high - 1}]", f"({low - 1},{high})", f"({low - 1},{high - 1}]"]
    return (low, high), forms[0], list(map(quoted, forms))


def composite(dice):
    x, y = dice.randint(0, 9), dice.randint(0, 99)
    exact = f"{Decimal(y).scaleb(-1):f}"
    return (x, y), f"({x},{exact})", [
        f'{{"x": {x}, "Y": {exact}}}',
        f'{{"Y": "{exact}0", "x": "{x}"}}',
        quoted(f"({x},{exact})"),
        quoted(f"({x},{exact}00)"),
    ]


def point(dice):
    x, y = dice.randint(1, 9), dice.randint(1, 9)
    return (x, y), f"({x},{y})", [quoted(f"({x},{y})"), quoted(f"{x}, {y}")]


def inet(dice):
    address = f"10.0.{dice.randint(0, 9)}.{dice.randint(0, 255)}"
    return address, address, [quoted(address), quoted(address + "/32")]


def words(dice):
    found = dice.sample(["fat", "cat", "rat", "sat"], dice.randint(0, 4))
    return tuple(sorted(found)), " ".join(found), [quoted(" ".join(found)), quoted(" ".join(reversed(found)))]


def bits(dice):
    s = f"{dice.getrandbits(6):06b}"
    return s, s, [quoted(s)]


TYPES = {
    "int4": integer(-(2**31), 2**31 - 1),
    "int8": integer(-(2**63), 2**63 - 1),
    "smallint": integer(-(2**15), 2**15 - 1),
    "numeric(12,2)": fixed(2, 10**9),
    "numeric(5,0)": fixed(0, 9_999),
    "numeric": numeric,
    "float8": float8,
    "text": text(12),
    'text COLLATE "C"': text(3),
    "varchar(8)": text(8),
    "char(5)": padded,
    "boolean": boolean,
    "date": date,
    "timestamptz": instant,
    "timestamp(0)": seconds,
    "uuid": uuid,
    "jsonb": json_document,
    "json": json_document,
    "int[]": integers,
    "numeric(6,1)[]": tenths,
    "gen.mood": enum,
    "gen.price": fixed(1, 9_999),
    "gen.named": text(6),
    "interval": interval,
    "bytea": binary,
    "int4range": span,
    "gen.pair": composite,
    "point": point,
    "inet": inet,
    "tsvector": words,
    "bit(6)": bits,
}
NO_KEY = {"json", "point"}

SETUP = """
CREATE SCHEMA gen;
CREATE TYPE gen.mood AS ENUM ('glad', 'sad', 'so so', 'quo"ted', 'Ümlaut');
CREATE DOMAIN gen.price AS numeric(7,1) CHECK (VALUE < 100000);
CREATE DOMAIN gen.named AS text COLLATE "C" CHECK (VALUE <> 'forbidden');
CREATE TYPE gen.pair AS (x int, "Y" numeric(4,1));
CREATE SEQUENCE gen.drawn;
CREATE FUNCTION gen.pass() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
"""

NAMES = ["id", "ID", "select", "order", "a b", 'quo"te', "größe", "stored", "payload", "ordinal", "t", "p", "s", "key",
         "target", "outcome", "x" * 63, "1st", "a.b", "$1", "%I", "{", "null", "excluded", "e", "v", "n", "i", "k", "old",
         "new", "table", "value", "differences", "o", "ctid2", "-- no", "'", "\\"]  # fmt: skip

# ---------------------------------------------------------------------------------------------------------------------
# Tables and the model


@dataclass
class Column:
    name: str
    type: str
    pool: list = field(default_factory=list)  # classes: (sql text, fragments)
    default: int | None = None  # the class that an omitted column takes, None for NULL
    given: bool = True  # payloads may name it

    @property
    def quoted(self):
        return '"' + self.name.replace('"', '""') + '"'


def literal(text):
    return "E'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


class Table:
    def __init__(self, dice, number):
        self.dice = dice
        self.name = f"gen.{dice.choice(['t', 'T', 'odd name', 'user', 'e'])!s}{number}"
        schema, name = self.name.split(".", 1)
        self.name = f'{schema}."{name}"'
        names = dice.sample(NAMES, dice.randint(2, 10))
        key_count = min(dice.choice([1, 1, 1, 2, 2, 3]), len(names))
        self.columns = []
        for position, name in enumerate(names):
            is_key = position < key_count
            candidates = [t for t in TYPES if not (is_key and t in NO_KEY)]
            self.columns.append(Column(name, dice.choice(candidates)))
        self.key = self.columns[:key_count]
        self.not_distinct = dice.random() < 0.15
        self.partitioned = not self.not_distinct and dice.random() < 0.3
        if self.partitioned:
            self.key[0].type = "int4"
        for column in self.columns:
            self.fill(column)
        self.rest = self.columns[key_count:]
        for column in self.rest:
            if dice.random() < 0.25:
                column.default = dice.randrange(len(column.pool))
        self.stored = {}
        self.ddl = self.make_ddl()

    def fill(self, column):
        seen = {}
        # Now and then a key of many values, so that long runs of new keys come about.
        size = self.dice.choice([1, 2, 3, 6] + ([200] if column in self.key else []))
        for _ in range(max(20, size)):
            canonical, sql, fragments = TYPES[column.type](self.dice)
            if isinstance(canonical, float) and canonical == 0:
                canonical = 0.0
            seen.setdefault(repr(canonical), (sql, fragments))
            if len(seen) == size:
                break
        column.pool = list(seen.values())

    def make_ddl(self):
        dice = self.dice
        lines = []
        for column in self.columns:
            line = f"{column.quoted} {column.type}"
            if column.default is not None:
                line += f" DEFAULT {literal(column.pool[column.default][0])}"
            lines.append(line)
        extras = []
        if dice.random() < 0.3:
            extras.append("gone int")
        if dice.random() < 0.3:
            extras.append("drawn bigint DEFAULT nextval('gen.drawn')")
        if dice.random() < 0.3:
            extras.append("at timestamptz DEFAULT clock_timestamp()")
        if dice.random() < 0.3 and not self.partitioned:
            extras.append("no int GENERATED ALWAYS AS IDENTITY")
        if dice.random() < 0.3:
            extras.append("made int GENERATED ALWAYS AS (1 + 1) STORED")
        for extra in extras:
            lines.insert(dice.randint(0, len(lines)), extra)
        dice_key = self.key[:]
        dice.shuffle(dice_key)
        keys = ", ".join(column.quoted for column in dice_key)
        kind = "PRIMARY KEY"
        if self.not_distinct:
            kind = "UNIQUE NULLS NOT DISTINCT"
        elif dice.random() < 0.3:
            kind = "UNIQUE"
        lines.insert(dice.randint(0, len(lines)), f"{kind} ({keys})")
        persistence = "UNLOGGED " if not self.partitioned and dice.random() < 0.1 else ""
        ddl = [f"CREATE {persistence}TABLE {self.name} ({', '.join(lines)})"]
        if self.partitioned:
            first = self.key[0].quoted
            plain = self.name[:-1]
            strategy = dice.choice(["HASH", "RANGE", "LIST"])
            ddl[0] += f" PARTITION BY {strategy} ({first})"
            if strategy == "HASH":
                for n in range(3):
                    ddl.append(f'CREATE TABLE {plain}_{n}" PARTITION OF {self.name} FOR VALUES WITH (MODULUS 3, REMAINDER {n})')
            elif strategy == "RANGE":
                ddl.append(f'CREATE TABLE {plain}_a" PARTITION OF {self.name} FOR VALUES FROM (0) TO (MAXVALUE)'
                           f" PARTITION BY HASH ({first})")  # fmt: skip
                ddl.append(f'CREATE TABLE {plain}_b" PARTITION OF {self.name} DEFAULT')
                for n in range(2):
                    ddl.append(f'CREATE TABLE {plain}_a{n}" PARTITION OF {plain}_a" FOR VALUES WITH (MODULUS 2, REMAINDER {n})')
            else:
                ddl.append(f'CREATE TABLE {plain}_a" PARTITION OF {self.name} FOR VALUES IN (0, 1, 2)')
                ddl.append(f'CREATE TABLE {plain}_b" PARTITION OF {self.name} DEFAULT')
        if "gone int" in extras:
            ddl.append(f"ALTER TABLE {self.name} DROP COLUMN gone")
        if dice.random() < 0.2:
            ddl.append(f"CREATE TRIGGER passes BEFORE INSERT ON {self.name} FOR EACH ROW EXECUTE FUNCTION gen.pass()")
        if dice.random() < 0.3:
            ddl.append(f"CREATE INDEX ON {self.name} ({self.key[0].quoted})")
        return ";\n".join(ddl)

    # A payload is {column: class or None}; the columns that are missing are left out.

    def payload(self):
        dice = self.dice
        row = {}
        for column in self.key:
            if self.not_distinct and dice.random() < 0.2:
                row[column.name] = None
            else:
                row[column.name] = dice.randrange(len(column.pool))
        for column in self.rest:
            pick = dice.random()
            if pick < 0.65:
                # Mostly the same class, so that duplicates are common.
                row[column.name] = 0 if dice.random() < 0.7 else dice.randrange(len(column.pool))
            elif pick < 0.75:
                row[column.name] = None
        return row

    def fragment(self, name, number):
        if number is None:
            return "null"
        column = next(c for c in self.columns if c.name == name)
        return self.dice.choice(column.pool[number][1])

    def json(self, row):
        names = list(row)
        self.dice.shuffle(names)
        return "{" + ", ".join(f"{quoted(name)}: {self.fragment(name, row[name])}" for name in names) + "}"

    def predict(self, rows, compare, ignore):
        """Outcomes and names of differences, and what would be stored, of the rows sent in this order."""
        stored = dict(self.stored)
        outcomes = []
        for row in rows:
            key = tuple(row[column.name] for column in self.key)
            if key not in stored:
                stored[key] = {c.name: row.get(c.name, c.default) for c in self.rest}
                outcomes.append(("inserted", None))
                continue
            compared = [c.name for c in self.rest if c.name in row]
            if compare is not None:
                compared = [name for name in compared if name in compare]
            if ignore is not None:
                compared = [name for name in compared if name not in ignore]
            different = {name for name in compared if row[name] != stored[key][name]}
            outcomes.append(("conflict", different) if different else ("duplicate", None))
        return outcomes, stored


class Mismatch(AssertionError):
    pass


def well_formed(conn, table):
    dice = table.dice
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
    casts = {"key": "text[]", "compare": "text[]", "ignore": "text[]", "on_conflict": "text"}
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


GARBAGE = [
    "null", "true", "0", "-1", "1e400", "-1e-400", "1e-20000", "123456789012345678901234567890", '""', '" "', '"x"',
    '"NULL"', '"{unclosed"', '"{}"', '"(,)"', '"\\\\x0"', "[]", "[[]]", "[[1],[1,2]]", '[null]', "{}", '{"x": {}}',
    '{"": 1}', '{"x": "\\ud83d\\ude00"}', '"\\ud83d\\ude00"', '"%s%n%p"', '"infinity"', '"-infinity"', '"NaN"', '"epoch"',
    '"now"', '"$$; DROP TABLE x; --"', '"' + "y" * 5000 + '"', "[" * 200 + "]" * 200, '"1 year -13 months"', '"24:00:60"',
    '"294277-01-01"', '"4714-01-01 BC"', '"[5,1)"', '"empty"', '"1/0"', '"\\u0001"', '{"x": 1, "Y": 1e9}', '[1, "a", null, {}]',
]  # fmt: skip
BAD_NAMES = ["", "ctid", "xmin", "tableoid", "no such", "........pg.dropped.1........", "gone", "made", "no", "*", "ID ",
             "x" * 64, "x" * 10_000, "drawn", "at", "\u00e9", "id\u0000x"[:2] + "?"]  # fmt: skip


PANIC = re.compile(r"panicked|unwrap\(\)|\w\.rs\b|backtrace|out of bounds|byte index|called `")


def malformed(conn, table):
    """One call that is wrong in some way, or in several, rolled back; returns its SQLSTATE or None."""
    dice = table.dice

    def payload():
        row = table.payload()
        members = {name: table.fragment(name, number) for name, number in row.items()}
        for _ in range(dice.choice([0, 1, 1, 2])):
            pick = dice.randrange(4)
            if pick == 0 and members:
                members[dice.choice(list(members))] = dice.choice(GARBAGE)
            elif pick == 1:
                members[dice.choice(BAD_NAMES)] = dice.choice(GARBAGE)
            elif pick == 2 and members:
                del members[dice.choice(list(members))]
            elif pick == 3:
                return dice.choice(GARBAGE)
        return "{" + ", ".join(f"{quoted(name)}: {fragment}" for name, fragment in members.items()) + "}"

    function = dice.choice(["insert", "each", "many"])
    batch = "[" + ", ".join(payload() for _ in range(dice.choice([0, 1, 3, 8]))) + "]"
    if dice.random() < 0.1:
        batch = dice.choice(GARBAGE)
    options = {}
    columns = [c.name for c in table.columns] + BAD_NAMES
    for name in ("key", "compare", "ignore"):
        if dice.random() < 0.2:
            options[name] = dice.choices(columns + [None], k=dice.randint(0, 4))
            if dice.random() < 0.3:
                options[name] = [c.name for c in table.key] * dice.choice([1, 2])
    if dice.random() < 0.1:
        options["on_conflict"] = dice.choice(["", "Error", "ignore", None, "x" * 3000])
    else:
        options["on_conflict"] = dice.choice(["error", "report", "quarantine"])
    casts = {"key": "text[]", "compare": "text[]", "ignore": "text[]", "on_conflict": "text"}
    named = "".join(f", {name} => %({name})s::{casts[name]}" for name in options)
    target = table.name
    if dice.random() < 0.05:
        target = dice.choice(["pg_class", "pg_am", "gen.drawn", "gen.pair", "pg_stat_activity", "idempotent.conflicts"])
    parameters = {"target": target, "source": payload() if function == "insert" else batch, **options}
    sql = f"SELECT * FROM idempotent_insert{'' if function == 'insert' else '_' + function}(%(target)s::regclass, %(source)s::jsonb{named})"
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


@pytest.fixture(scope="module")
def generated(cluster):
    database = cluster.create_database()
    with database.connect() as conn:
        conn.execute(SETUP)
    return database


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


def staged_case(conn, table):
    dice = table.dice
    if dice.random() < 0.7:
        table.stage(conn)
    names = {"target": table.target, "source": table.staging, "key": table.key if dice.random() < 0.3 else None}
    function = dice.choice(["from", "from", "merge", "load", "reconcile"])
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
