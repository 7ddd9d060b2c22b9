"""Installing over a running server: a session that has the library in use keeps the old one, whole."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from support.functions import insert
from support.project import ROOT
from support.queries import value
from support.server import PG_CONFIG, pg_config

LIBRARY = Path(pg_config("pkglibdir")) / "pg_idempotent.so"


def put_in_place(package, *by):
    """What scripts/install and `make install` do with the files of a package."""
    script = 'source "$0"; put_in_place "$@"'
    command = ["bash", "-c", script, str(ROOT / "scripts/lib.sh"), str(package), *by]
    environment = {**os.environ, "PG_CONFIG": PG_CONFIG}
    subprocess.run(command, check=True, env=environment, stdin=subprocess.DEVNULL)


def package_of(library, directory):
    """A package with this library, laid out as cargo pgrx does it."""
    place = directory / LIBRARY.relative_to("/")
    place.parent.mkdir(parents=True)
    place.write_bytes(library)
    return directory


@pytest.mark.parametrize("by", [(), ("sudo",)], ids=["as-owner", "by-sudo"])
def test_a_session_goes_on_with_the_library_that_it_has(db, tmp_path, by):
    if by and not shutil.which("sudo"):
        pytest.skip("there is no sudo")
    if by and os.geteuid() != 0:
        pytest.skip("sudo may ask for a password")
    if not os.access(LIBRARY.parent, os.W_OK):
        pytest.skip("the server's files are not ours to replace")
    library = LIBRARY.read_bytes()
    # Another library of the same length, none of whose code is where it was.
    other = library[:4096] + library[4096:][::-1]
    with db.connect() as conn:
        conn.execute("CREATE TABLE orders (id int PRIMARY KEY, amount int)")
        assert insert(conn, "orders", {"id": 1, "amount": 10})["outcome"] == "inserted"
        try:
            put_in_place(package_of(other, tmp_path / "other"), *by)
            assert LIBRARY.read_bytes() == other
            # Also what it has not called before, and so has not read from the file yet.
            assert insert(conn, "orders", {"id": 1, "amount": 10})["outcome"] == "duplicate"
            conn.execute("SELECT idempotent_guard('orders')")
            assert conn.execute("INSERT INTO orders VALUES (1, 10)").rowcount == 0
            assert value(conn, "SELECT count(*) FROM idempotent_lint('orders')") >= 0
            assert value(conn, "SELECT idempotent_digest(orders) FROM orders")
        finally:
            put_in_place(package_of(library, tmp_path / "library"))
    assert LIBRARY.read_bytes() == library
    assert not list(LIBRARY.parent.glob("pg_idempotent*.new"))
    with db.connect() as conn:
        assert conn.execute("INSERT INTO orders VALUES (1, 10)").rowcount == 0
