"""A cluster whose functions are those of the test build.

The library of the test build, pg_idempotent_schedules, lies beside the ordinary one, which other suites use meanwhile. In the
database of the schedules the functions of the extension are declared to be in it.
"""

import contextlib
import os

from support.cluster import running
from support.server import pg_config

LIBRARY = "pg_idempotent_schedules"

TABLES = """
CREATE TABLE guarded (k bigint PRIMARY KEY, v int CHECK (v >= 0));
CREATE TABLE plain (k bigint PRIMARY KEY, v int CHECK (v >= 0));
-- So that no update is a HOT one: each puts another entry under the key.
CREATE INDEX ON guarded (v);
CREATE INDEX ON plain (v);
SELECT idempotent_guard('guarded');
CREATE TABLE effects (k text);
"""


def is_built():
    return os.path.exists(f"{pg_config('pkglibdir')}/{LIBRARY}.so")


@contextlib.contextmanager
def schedule_database():
    """A database with the tables of the programs, and the functions of the test build."""
    assert is_built(), f"there is no {LIBRARY}.so: ONLY=schedules scripts/test builds it"
    # A deadlock is meant to be found at once, and a checkpoint to be nobody's business.
    settings = {"deadlock_timeout": "20ms", "max_wal_size": "4GB", "synchronous_commit": "off"}
    # Errors are what is looked for, in great number.
    settings["log_min_error_statement"] = "panic"
    with running(settings=settings) as cluster:
        db = cluster.create_database()
        with db.connect() as conn:
            conn.execute(
                f"UPDATE pg_proc SET probin = '$libdir/{LIBRARY}' WHERE probin = '$libdir/pg_idempotent'"
            )
        with db.connect() as conn:
            conn.execute(TABLES)
        yield db
