"""What all Python tests have: a cluster for the session, and for each test a database of its own in it.

tests/support/ has what they are made of. PG_CONFIG and PGI_RUN_AS say which server is tested (support/server.py);
PGI_SEED, PGI_CASES, PGI_ROUNDS, PGI_CALLS and PGI_ROWS are the seed and the sizes of the longer tests.

When a cluster goes, its log is read: a panic, a crash that no test asked for, a leaked resource or an XX000 fails the
run, whatever the test itself saw.
"""

import pytest

pytest.register_assert_rewrite("support")

from support.cluster import running  # noqa: E402
from support.project import SEED  # noqa: E402
from support.server import BINDIR, SERVER_MAJOR  # noqa: E402


def pytest_report_header(config):
    return f"server: PostgreSQL {SERVER_MAJOR} in {BINDIR}, seed {SEED}"


@pytest.fixture(scope="session")
def cluster():
    with running() as cluster:
        yield cluster


@pytest.fixture
def db(cluster):
    return cluster.create_database()


@pytest.fixture
def conn(db):
    with db.connect() as conn:
        yield conn
