"""The reference leaves nothing out: rights of every function and view, every SQLSTATE of the extension's own reports, and
every room of the source."""

import re

import pytest

from support.project import ROOT


@pytest.fixture(scope="module")
def objects(cluster):
    """The functions, procedures and views that people call, by kind. Those in the state's schema that only the views
    call are left out."""
    db = cluster.create_database()
    with db.connect() as conn:
        functions = conn.execute(
            """SELECT DISTINCT proname AS name FROM pg_proc
                 JOIN pg_depend ON objid = pg_proc.oid AND classid = 'pg_proc'::regclass AND deptype = 'e'
                 JOIN pg_extension ON refobjid = pg_extension.oid AND extname = 'pg_idempotent'
                WHERE pronamespace <> 'idempotent'::regnamespace"""
        ).fetchall()
        views = conn.execute(
            "SELECT 'idempotent.' || relname AS name FROM pg_class WHERE relnamespace = 'idempotent'::regnamespace AND relkind = 'v'"
        ).fetchall()
    return {row["name"] for row in functions} | {row["name"] for row in views}


def rows(page):
    """The rows of all tables of a page, as their cells."""
    lines = (ROOT / "docs" / page).read_text(encoding="utf-8").splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]


def test_privileges_has_a_row_for_every_function_and_view(objects):
    # The row is about what its first cell names: others may mention it.
    about = "\n".join(row[0] for row in rows("privileges.md"))
    missing = {name for name in objects if not re.search(rf"(?<![\w.]){re.escape(name)}(?!\w)", about)}
    assert not missing


def test_errors_has_every_sqlstate():
    source = (ROOT / "src" / "error" / "report.rs").read_text(encoding="utf-8")
    raised = set(re.findall(r'=> b"(\w{5})"', source)) - {"01000"}
    assert raised
    # Rows of four cells list an error: its code (in the first row of a code, with the name of its condition), its message,
    # when it is raised, and its fields. Other tables say what to do about some of them.
    codes = (re.match(r"`(\w{5})`", row[0]) for row in rows("errors.md") if len(row) == 4)
    listed = {code[1] for code in codes if code}
    assert not raised - listed


def test_architecture_has_every_room():
    rooms = set(re.findall(r"^(?:pub )?mod (\w+);", (ROOT / "src" / "lib.rs").read_text(encoding="utf-8"), re.MULTILINE))
    assert rooms
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))
    assert rooms - {"unit_tests"} == named
