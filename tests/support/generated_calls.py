"""Random calls of the insert functions on a random table (generated_tables.py): well-formed ones, and such as are wrong in some
way. Each is a statement and its parameters."""

from support.generated_values import quoted

CASTS = {"key": "text[]", "compare": "text[]", "ignore": "text[]", "on_conflict": "text", "on_error": "text", "overriding": "text"}

GARBAGE = [
    "null", "true", "0", "-1", "1e400", "-1e-400", "1e-20000", "123456789012345678901234567890", '""', '" "', '"x"',
    '"NULL"', '"{unclosed"', '"{}"', '"(,)"', '"\\\\x0"', "[]", "[[]]", "[[1],[1,2]]", '[null]', "{}", '{"x": {}}',
    '{"": 1}', '{"x": "\\ud83d\\ude00"}', '"\\ud83d\\ude00"', '"%s%n%p"', '"infinity"', '"-infinity"', '"NaN"', '"epoch"',
    '"now"', '"$$; DROP TABLE x; --"', '"' + "y" * 5000 + '"', "[" * 200 + "]" * 200, '"1 year -13 months"', '"24:00:60"',
    '"294277-01-01"', '"4714-01-01 BC"', '"[5,1)"', '"empty"', '"1/0"', '"\\u0001"', '{"x": 1, "Y": 1e9}', '[1, "a", null, {}]',
]  # fmt: skip
BAD_NAMES = ["", "ctid", "xmin", "tableoid", "no such", "........pg.dropped.1........", "gone", "made", "no", "*", "ID ",
             "x" * 64, "x" * 10_000, "drawn", "at", "\u00e9", "id\u0000x"[:2] + "?"]  # fmt: skip


def named(options):
    return "".join(f", {name} => %({name})s::{CASTS[name]}" for name in options)


def well_formed_call(table):
    """A call whose payloads can be read, and whose options fit the table."""
    dice = table.dice
    function = dice.choice(["insert", "each", "each", "many"])
    rows = [table.payload() for _ in range(1 if function == "insert" else dice.choice([1, 2, 5, 12]))]
    options = {"on_conflict": dice.choice(["error", "report", "report", "quarantine"])}
    if dice.random() < 0.4:
        options["key"] = dice.sample([c.name for c in table.key], len(table.key))
    names = [c.name for c in table.rest]
    if names and dice.random() < 0.4:
        options[dice.choice(["compare", "ignore"])] = dice.sample(names, dice.randint(1, len(names)))
    if function != "insert":
        options["on_error"] = dice.choice(["error", "report", "quarantine"])
    texts = [table.json(row) for row in rows]
    parameters = {"target": table.name, "source": texts[0] if function == "insert" else f"[{', '.join(texts)}]", **options}
    suffix = "" if function == "insert" else f"_{function}"
    return f"SELECT * FROM idempotent_insert{suffix}(%(target)s::regclass, %(source)s::jsonb{named(options)})", parameters


def malformed_call(table):
    """A call that is wrong in some way, or in several, and its parameters."""
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
    if dice.random() < 0.1:
        options["overriding"] = dice.choice(["system", "user", "", "x" * 3000])
    if function != "insert" and dice.random() < 0.5:
        options["on_error"] = dice.choice(["report", "quarantine", None, ""])
    target = table.name
    if dice.random() < 0.05:
        target = dice.choice(["pg_class", "pg_am", "gen.drawn", "gen.pair", "pg_stat_activity", "idempotent.conflicts"])
    parameters = {"target": target, "source": payload() if function == "insert" else batch, **options}
    sql = f"SELECT * FROM idempotent_insert{'' if function == 'insert' else '_' + function}(%(target)s::regclass, %(source)s::jsonb{named(options)})"
    return sql, parameters
