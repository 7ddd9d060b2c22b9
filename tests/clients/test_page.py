"""docs/clients.md says what the tests know. PGI_DOCS_WRITE=1 puts the table of what clients report into it.

Its SQL is run by tests/docs.
"""

import importlib.metadata
import json
import os
import re
import textwrap

from calls import ALL_IDS, INSERTED_IDS, WAYS
from page import PAGE
from programs import HERE

HEAD = (
    "| client | call | all new | sent again | two of five sent again | a conflict raises |\n"
    "| --- | --- | --- | --- | --- | --- |\n"
)


def cell(report):
    if report is None:
        return "nothing"
    if report == []:
        return "no ids"
    return {ALL_IDS: "all ids", INSERTED_IDS: "the ids of new rows"}.get(str(report), str(report))


def raised(way):
    if isinstance(way.raises, str):
        name = way.raises
    else:
        name = way.shown or f"{way.raises.__module__}.{way.raises.__name__}"
    return name if name.startswith("exit") else f"`{name}`"


def table():
    lines = []
    for way in WAYS:
        cells = (way.client, way.call, cell(way.new), cell(way.again), cell(way.half), raised(way))
        lines.append("| " + " | ".join(cells) + " |\n")
    return HEAD + "".join(lines)


def test_the_table_of_reports():
    page = PAGE.read_text(encoding="utf-8")
    shown = re.search(re.escape(HEAD) + r"(\|.*\n)*", page)
    assert shown, "the table is not there"
    if os.environ.get("PGI_DOCS_WRITE"):
        PAGE.write_text(page.replace(shown[0], table()), encoding="utf-8")
    else:
        assert shown[0] == table()


def test_every_class_that_is_shown_can_be_named_so():
    for way in WAYS:
        if way.shown:
            module, _, name = way.shown.rpartition(".")
            assert getattr(importlib.import_module(module), name) is way.raises


def test_the_versions_that_are_shown():
    page = " ".join(PAGE.read_text(encoding="utf-8").split())
    pinned = json.loads((HERE / "package.json").read_text())["dependencies"]
    version = importlib.metadata.version
    for shown in (
        f"psycopg {version('psycopg')} and {version('psycopg2-binary')},",
        *(f"{name} {version(name)}" for name in ("asyncpg", "SQLAlchemy", "Django", "pandas")),
        f"node-postgres {pinned['pg']},",
        f"pg-copy-streams {pinned['pg-copy-streams']},",
        f"TypeORM {pinned['typeorm']},",
        f"Sequelize {pinned['sequelize']},",
    ):
        assert shown in page


def plain(code):
    """Lines without their indentation, blank lines, and what only says what the code is."""
    code = re.sub(r'^ *""".*?"""\n', "", textwrap.dedent(code), flags=re.MULTILINE | re.DOTALL)
    return "\n".join(line.strip() for line in code.splitlines() if line.strip())


def test_the_recipes_are_those_that_the_tests_run():
    tested = [plain(file.read_text(encoding="utf-8")) for file in HERE.glob("*.py")]
    recipes = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert recipes
    for recipe in recipes:
        assert any(plain(recipe) in file for file in tested), recipe
