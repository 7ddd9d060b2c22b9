"""The server that clients connect to over TCP."""

import secrets
import socket

from support.cluster import Cluster


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class TcpCluster(Cluster):
    """A cluster that listens to TCP on the loopback too: JDBC knows nothing else. Clients log in with a password, as a
    role that may do no more than INSERT into the table and SELECT from it."""

    def __init__(self, environment=None, settings=None):
        self.port = _free_port()
        self.password = secrets.token_hex(16)
        tcp = {"listen_addresses": "127.0.0.1", "port": str(self.port)}
        super().__init__(environment, {**tcp, **(settings or {})})
        with self.connect() as conn:
            conn.execute(f"CREATE ROLE app LOGIN PASSWORD '{self.password}'")
            conn.execute(f"ALTER ROLE postgres PASSWORD '{self.password}'")

    def start(self):
        # The loopback is open to every user of the machine, the socket's directory to the server's user and root.
        hba = "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
        (self.data / "pg_hba.conf").write_text(hba)
        super().start()

    def connect(self, *names, **options):
        return super().connect(*names, port=self.port, **options)
