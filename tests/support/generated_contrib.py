"""Random values of the types of contrib, as generated_values.py has those of core. They live in the schema gen."""

from support.generated_values import quoted


def citext(dice):
    word = "".join(dice.choice("abß-") for _ in range(dice.randint(1, 3)))
    return word.lower(), word, [quoted(word), quoted(word.upper().replace("SS", "ß"))]


def hstore(dice):
    pairs = [(name, dice.choice(["1", "x y", 'quo"te', None])) for name in dice.sample("abc", dice.randint(0, 3))]

    def written(pairs, glue):
        escaped = [(name, "NULL" if text is None else '"' + text.replace('"', '\\"') + '"') for name, text in pairs]
        return glue.join(f'"{name}"=>{text}' for name, text in escaped)

    forms = [written(pairs, ", "), written(pairs[::-1], ","), written(pairs + pairs[:1], " , ")]
    return tuple(sorted(pairs, key=repr)), forms[0], list(map(quoted, forms))


def ltree(dice):
    path = ".".join(dice.choice(["Top", "a", "b_1", "x9"]) for _ in range(dice.randint(1, 3)))
    return path, path, [quoted(path)]


def cube(dice):
    low, high = dice.randint(-9, 9), dice.randint(-9, 9)
    forms = [f"({low}, {high})", f"{low},{high}", f"({low}.0, {high}e0)", f" ( {low} , {high} ) "]
    return (low, high), forms[0], list(map(quoted, forms))


def seg(dice):
    low = dice.randint(-9, 9)
    high = low + dice.randint(1, 9)
    forms = [f"{low} .. {high}", f"{low}..{high}", f"{low} ... {high}"]
    return (low, high), forms[0], list(map(quoted, forms))


def isbn13(dice):
    """An ISBN of thirteen digits, or of ten where it begins with 978."""
    nine = f"{dice.randint(0, 99):09}"
    thirteen = f"978{nine}"
    thirteen += str(-sum(int(digit) * (3 if place % 2 else 1) for place, digit in enumerate(thirteen)) % 10)
    check = sum(int(digit) * (place + 1) for place, digit in enumerate(nine)) % 11
    ten = nine + ("X" if check == 10 else str(check))
    return nine, thirteen, [quoted(thirteen), quoted(f"{thirteen[:3]}-{thirteen[3:12]}-{thirteen[12]}"), quoted(ten)]


# By extension: the type, and how a value comes about.
CONTRIB = {
    "citext": ("gen.citext", citext),
    "hstore": ("gen.hstore", hstore),
    "ltree": ("gen.ltree", ltree),
    "cube": ("gen.cube", cube),
    "seg": ("gen.seg", seg),
    "isn": ("gen.isbn13", isbn13),
}


def install(conn):
    """Create the extensions that this server has. Returns their types, as generated_values.TYPES has them."""
    there = {row["name"] for row in conn.execute("SELECT name FROM pg_available_extensions")} & set(CONTRIB)
    for name in sorted(there):
        conn.execute(f"CREATE EXTENSION IF NOT EXISTS {name} SCHEMA gen")
    return dict(CONTRIB[name] for name in sorted(there))
