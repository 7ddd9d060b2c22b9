"""Random values of many types, and the ways to write each of them in JSON.

Each generator returns (canonical form, text for an SQL literal, JSON fragments that all mean it).
"""

import json
from decimal import Decimal


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
