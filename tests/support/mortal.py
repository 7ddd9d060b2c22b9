"""The cluster that tests kill and restart, one after the other."""

import psycopg

from support.cluster import Cluster


class MortalCluster:
    """A cluster that is made when a test needs it, and serves the next test after it is tidied. If a test leaves it
    down, or in a state that cannot be tidied, the next test gets another one."""

    def __init__(self):
        self._cluster = None

    def cluster(self):
        if self._cluster is None:
            self._cluster = Cluster()
        return self._cluster

    def tidied(self):
        """Drop what the test has made for the whole cluster. Returns the forbidden lines that the test has caused."""
        try:
            with self._cluster.connect() as conn:
                for name in _names(conn, "SELECT datname FROM pg_database WHERE oid >= 16384"):
                    conn.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
                for name in _names(conn, "SELECT rolname FROM pg_roles WHERE oid >= 16384"):
                    conn.execute(f'DROP ROLE "{name}"')
        except psycopg.Error:
            return self.destroy()
        return self._cluster.forbidden_log_lines()

    def destroy(self):
        """Stop it if there is one. Returns the forbidden lines of its log that were not returned yet."""
        cluster, self._cluster = self._cluster, None
        return cluster.destroy() if cluster else []


def _names(conn, sql):
    return [name for row in conn.execute(sql).fetchall() for name in row.values()]
