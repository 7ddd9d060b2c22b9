"""The reference leaves nothing out: rights of every function and view, every SQLSTATE of the extension's own reports, and
every room of the source."""

import re

import pytest
from test_docs import ROOT, clusters

cluster = clusters.cluster


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


def test_privileges_has_a_row_for_every_function_and_view(objects):
    page = (ROOT / "docs" / "privileges.md").read_text(encoding="utf-8")
    rows = "\n".join(line for line in page.splitlines() if line.startswith("|"))
    missing = {name for name in objects if not re.search(rf"(?<![\w.]){re.escape(name)}(?!\w)", rows)}
    assert not missing


def test_errors_has_every_sqlstate():
    source = (ROOT / "src" / "error" / "report.rs").read_text(encoding="utf-8")
    raised = set(re.findall(r'=> b"(\w{5})"', source)) - {"01000"}
    assert raised
    page = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    assert not {code for code in raised if f"`{code}`" not in page and f"| {code} |" not in page}


def test_architecture_has_every_room():
    rooms = set(re.findall(r"^(?:pub )?mod (\w+);", (ROOT / "src" / "lib.rs").read_text(encoding="utf-8"), re.MULTILINE))
    assert rooms
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))
    assert rooms - {"unit_tests"} == named
