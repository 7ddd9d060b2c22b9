"""The SQL in README.md and docs/*.md does what the page shows.

docs/index.md lists every page; PROSE are the pages that show no SQL.

A block fenced as ```sql must be followed directly by a block fenced as ```text (or ```console) that shows what psql
prints for it. The blocks of a file run in their order, in one session of a superuser, in a database of the file's own
that has nothing in it (for the pages in PORTABLE, nothing but the portable edition). What psql prints must be what is shown, but for blanks at the ends of lines.

After a change that is meant, PGI_DOCS_WRITE=1 puts what psql prints into the files; git diff then shows what changed.

tests/conftest.py says which environment variables matter.
"""

import difflib
import os
import re
import subprocess
from dataclasses import dataclass

import picture
import pytest

from support.cluster import running
from support.project import ROOT
from support.server import program

FILES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PROSE = {"architecture.md", "benchmarks.md", "index.md", "install.md"}
PORTABLE = {"managed.md"}
SQL = [file for file in FILES if file.name not in PROSE]
LINKING = [*FILES, *(ROOT / name for name in ("CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "tests/README.md"))]
MARK = "-- end of block --"


@dataclass
class Fence:
    """A fenced block: `lines` are those between the fences; `first` is the index of the opening fence in its file."""

    language: str
    first: int
    lines: list

    @property
    def end(self):
        return self.first + len(self.lines) + 2


@dataclass
class Block:
    """An sql block and what is shown for it (None: nothing is)."""

    sql: Fence
    shown: Fence | None


def fences(lines):
    found, opened = [], None
    for number, line in enumerate(lines):
        fence = re.fullmatch(r"```(\w*)\s*", line)
        if fence and opened is None:
            opened = Fence(fence.group(1), number, [])
        elif fence:
            found.append(opened)
            opened = None
        elif opened:
            opened.lines.append(line)
    assert opened is None, f"the block that begins in line {opened.first + 1} has no end"
    return found


def blocks(lines):
    found = fences(lines)
    result = []
    for block, following in zip(found, [*found[1:], None]):
        if block.language != "sql":
            continue
        between = lines[block.end : following.first] if following else ["end of file"]
        follows = following and following.language in ("text", "console") and not "".join(between).strip()
        result.append(Block(block, following if follows else None))
    return result


def tidy(lines):
    lines = [line.rstrip() for line in lines]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def run(cluster, database, found):
    """What psql prints for each block."""
    script = "".join("\n".join(block.sql.lines) + f"\n\\echo '{MARK}'\n" for block in found)
    environment = {name: text for name, text in cluster.environment.items() if name != "PGOPTIONS"}
    printed = subprocess.run(
        [program("psql"), "--no-psqlrc", "--pset=pager=off", f"--host={cluster.root}", "--username=postgres", database],
        input=script,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=100,
    ).stdout
    parts = printed.split(MARK + "\n")
    assert len(parts) == len(found) + 1, f"psql did not come to the end; it printed:\n{printed}"
    return [tidy(part.split("\n")) for part in parts[:-1]]


def install_portable(cluster, database):
    path = subprocess.run([ROOT / "scripts" / "portable"], check=True, stdout=subprocess.PIPE, encoding="utf-8").stdout.strip()
    command = [program("psql"), "--no-psqlrc", "--quiet", f"--host={cluster.root}", "--username=postgres", "--file", ROOT / path, database]
    subprocess.run([*command, "--set=ON_ERROR_STOP=1"], env=cluster.environment, check=True)


@pytest.fixture(scope="module")
def server():
    # PostgreSQL 15 and 16 need that to count, as the page Monitoring says.
    with running(settings={"shared_preload_libraries": "pg_idempotent"}) as cluster:
        yield cluster


@pytest.fixture
def database(server):
    """An empty database; it goes with the roles that the page creates, which all databases share."""
    roles = "SELECT rolname FROM pg_roles WHERE oid >= 16384"
    with server.connect() as conn:
        conn.execute("CREATE DATABASE page TEMPLATE template0")
        yield "page"
        conn.execute("DROP DATABASE page")
        for role in conn.execute(roles).fetchall():
            conn.execute(f'DROP ROLE "{role["rolname"]}"')


@pytest.mark.parametrize("file", SQL, ids=lambda file: file.name)
def test_the_sql_of_a_page_prints_what_the_page_shows(file, server, database):
    lines = file.read_text(encoding="utf-8").split("\n")
    found = blocks(lines)
    assert found, f"{file.name} has no sql block"
    for block in found:
        assert block.shown, f"{file.name}:{block.sql.first + 1}: the sql block has no shown output"

    if file.name in PORTABLE:
        install_portable(server, database)
    printed = run(server, database, found)

    if os.environ.get("PGI_DOCS_WRITE"):
        for block, new in reversed(list(zip(found, printed))):
            lines[block.shown.first + 1 : block.shown.end - 1] = new
        file.write_text("\n".join(lines), encoding="utf-8")
        return
    wrong = []
    for block, new in zip(found, printed):
        shown = tidy(block.shown.lines)
        if not shown:
            wrong.append(f"{file.name}:{block.shown.first + 1}: nothing is shown")
        if shown != new:
            wrong.append(f"{file.name}:{block.shown.first + 1}: psql prints something else (+) than is shown (-)")
            wrong.extend(list(difflib.unified_diff(shown, new, lineterm=""))[2:])
    assert not wrong, "\n" + "\n".join(wrong)


def test_pages_of_prose_have_no_sql_that_is_not_run():
    assert not [file.name for file in FILES if file.name in PROSE and blocks(file.read_text(encoding="utf-8").split("\n"))]


def test_the_index_lists_every_page():
    index = ROOT / "docs" / "index.md"
    text = index.read_text(encoding="utf-8")
    assert "(docs/index.md)" in FILES[0].read_text(encoding="utf-8")
    missing = [file.name for file in FILES[1:] if f"]({file.name})" not in text and file != index]
    assert not missing


def test_the_readme_is_short():
    assert len(FILES[0].read_text(encoding="utf-8").splitlines()) <= 200


def test_the_pictures_show_what_the_tables_say():
    assert len(picture.rows(FILES[0].read_text(encoding="utf-8"))) == 6
    drawn = picture.pictures()
    assert len(drawn) == 3
    for file, picture_of_it in drawn.items():
        assert file.read_text(encoding="utf-8") == picture_of_it, "run bench/picture.py"


@pytest.mark.parametrize("file", LINKING, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_links_inside_the_project_lead_somewhere(file):
    def anchors(page):
        titles = re.findall(r"^#+ +(.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
        return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}

    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", file.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        page = (file.parent / path).resolve() if path else file
        if not page.exists() or (anchor and anchor not in anchors(page)):
            broken.append(link)
    assert not broken


@pytest.mark.parametrize("after", ["", "It prints:\n```text\n1\n```\n", "\n```sh\n1\n```\n", "```sql\n```\n```text\n```\n"])
def test_an_sql_block_without_output_is_noticed(after):
    page = "```sql\nSELECT 1;\n```\n" + after
    assert blocks(page.split("\n"))[0].shown is None
