"""Random tables of the types in generated_values.py, and the model of what calls on them come to.

A type's values come in classes: each class is a value, its members the ways to write it down in JSON ("1.5", 1.50,
150e-2). Two payloads agree in a column if they took the same class there. That is all the model knows of equality.
"""

from dataclasses import dataclass, field

from support.generated_values import NAMES, NO_KEY, TYPES, quoted


class Mismatch(AssertionError):
    """The extension and the model do not agree."""


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

    def whole_payload(self):
        """One with all columns: guards and views cannot know which ones a statement named."""
        row = self.payload()
        for column in self.rest:
            if column.name not in row:
                row[column.name] = 0 if self.dice.random() < 0.7 else None
        return row

    def comparison(self):
        """Options that say which columns are compared, of a guard or a view."""
        dice, names = self.dice, [c.name for c in self.rest]
        pick = dice.random()
        if names and pick < 0.25:
            return {"compare": dice.sample(names, dice.randint(1, len(names)))}
        if names and pick < 0.5:
            return {"ignore": dice.sample(names, dice.randint(1, len(names)))}
        return {}

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
