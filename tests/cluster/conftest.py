"""Clusters besides that of the session."""

import pytest

from support.cluster import assert_clean, running
from support.generated_contrib import install
from support.generated_values import SETUP, TYPES
from support.mortal import MortalCluster


@pytest.fixture(scope="session")
def backtrace_cluster():
    """A server whose environment asks Rust for backtraces, as an administrator may have set it for all services."""
    with running({"RUST_BACKTRACE": "1"}) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def mortal():
    mortal = MortalCluster()
    yield mortal
    assert_clean(mortal.destroy())


@pytest.fixture
def own_cluster(mortal):
    """A cluster that the test may kill and restart, without databases and roles of other tests."""
    yield mortal.cluster()
    assert_clean(mortal.tidied())


@pytest.fixture(scope="module")
def servers():
    """A publisher and a subscriber."""
    with running(settings={"wal_level": "logical"}) as publisher:
        with running(settings={"wal_retrieve_retry_interval": "100ms"}) as subscriber:
            yield publisher, subscriber


@pytest.fixture(scope="module")
def generated(cluster):
    """A database for generated tables."""
    return cluster.create_database(SETUP)


@pytest.fixture
def types(generated, monkeypatch):
    """The types of the generator, and those of contrib that this server has."""
    with generated.connect() as conn:
        for name, values in install(conn).items():
            monkeypatch.setitem(TYPES, name, values)
