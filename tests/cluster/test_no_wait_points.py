"""The build that people install has nothing of the wait points of tests/schedules: no name of one, no setting."""

from pathlib import Path

import psycopg
import pytest

from support.server import pg_config
from support.wait_points import wait_points


def test_the_library_has_no_wait_point():
    library = (Path(pg_config("pkglibdir")) / "pg_idempotent.so").read_bytes()
    names = wait_points()
    assert len(names) > 20
    assert not [name for name in names if name.encode() in library]
    assert b"schedule6driven" not in library


@pytest.mark.parametrize("name", ["schedule_driver", "leave_out", "expect_keys"])
def test_there_is_no_setting_for_schedules(conn, name):
    conn.execute("SELECT idempotent_purge()")
    with pytest.raises(psycopg.errors.InvalidName):
        conn.execute(f"SET pg_idempotent.{name} = 'x'")
