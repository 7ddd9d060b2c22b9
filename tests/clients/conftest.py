"""What the tests of clients share: the server, and the guarded table in a database of each test's own.

NODE_PATH    the node_modules that hold node-postgres
PGI_JDBC     the JDBC driver (default: where Debian puts it)
"""

import pytest

from orders import Orders
from support.cluster import running
from tcp_cluster import TcpCluster


@pytest.fixture(scope="session")
def cluster():
    with running(kind=TcpCluster) as cluster:
        yield cluster


@pytest.fixture
def orders(cluster):
    return Orders(cluster.create_database(), "error")


@pytest.fixture
def quarantine(cluster):
    return Orders(cluster.create_database(), "quarantine")


@pytest.fixture
def viewed(orders):
    """The guarded table with the view beside it that answers with the stored rows."""
    orders.run("SELECT idempotent_view('orders', 'orders_in')")
    orders.run("GRANT SELECT, INSERT ON orders_in TO app")
    return orders
