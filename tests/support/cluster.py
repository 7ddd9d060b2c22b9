"""A temporary cluster, and databases in it."""

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import psycopg
from psycopg.rows import dict_row

from support.logs import FORBIDDEN, Log
from support.server import BINDIR, unprivileged
from support.waiting import until

SETTINGS = {
    "listen_addresses": "",
    "max_connections": "100",
    "max_prepared_transactions": "10",
    "fsync": "off",
    "full_page_writes": "on",
    "autovacuum": "off",
    "deadlock_timeout": "200ms",
    "log_line_prefix": "%m [%p] %e ",
    "log_min_messages": "warning",
    "restart_after_crash": "on",
    "timezone": "UTC",
    "datestyle": "ISO, MDY",
}


class Cluster:
    """A server on a unix socket in a directory of its own, which `destroy` removes."""

    # The programs of the server.
    bindir = BINDIR

    def __init__(self, environment=None, settings=None):
        self.root = Path(tempfile.mkdtemp(prefix="pgi_"))
        self.identity = unprivileged()
        if self.identity:
            os.chown(self.root, self.identity["user"], self.identity["group"])
        self.data = self.root / "data"
        self.log = self.root / "log"
        self.killed_backends = 0
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("PG") and name not in ("RUST_BACKTRACE", "RUST_LIB_BACKTRACE")
        }
        self.environment.update(LC_ALL="C", TZ="UTC", HOME=str(self.root))
        self.environment.update(environment or {})
        self._databases = itertools.count(1)
        try:
            self.init()
            with (self.data / "postgresql.conf").open("a") as file:
                for name, value in {**SETTINGS, "unix_socket_directories": self.root, **(settings or {})}.items():
                    file.write(f"{name} = '{value}'\n")
            self._checked = Log(self)
            self.begin()
        except BaseException:
            self.destroy()
            raise

    def init(self, *options):
        """Make its data directory."""
        made = (self.bindir / "initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N")
        self._run(*made, *options)

    def begin(self):
        """Start it for the first time, and put the extension where new databases have it from."""
        self.start()
        with self.connect("template1") as conn:
            conn.execute("CREATE EXTENSION pg_idempotent")

    def tool(self, *command, check=True, options="", timeout=None):
        """Run a client program against this server, as the user that it runs as. `options` are settings of its
        sessions, as PGOPTIONS has them. The result's `stdout` holds all that it printed."""
        environment = {"PGHOST": str(self.root), "PGUSER": "postgres"}
        if options:
            environment["PGOPTIONS"] = options
        return self._run(*command, check=check, environment=environment, timeout=timeout)

    def _run(self, *command, check=True, environment=None, timeout=None):
        done = subprocess.run(
            [str(part) for part in command],
            env={**self.environment, **(environment or {})},
            cwd=self.root,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            **self.identity,
        )
        if check and done.returncode != 0:
            raise RuntimeError(f"{command[0]} failed:\n{done.stdout}\n{self.log_tail()}")
        return done

    def start(self):
        self._run(self.bindir / "pg_ctl", "-D", self.data, "-l", self.log, "-w", "-t", "180", "start")

    def stop(self, mode="fast", check=True):
        self._run(self.bindir / "pg_ctl", "-D", self.data, "-m", mode, "-w", "-t", "60", "stop", check=check)

    def crash(self):
        """End the server at once, without a checkpoint, and start it again: it recovers from its WAL."""
        self.stop("immediate")
        self.start()

    def kill_backend(self, pid):
        """SIGKILL, as the kernel does when memory runs out. Returns when the postmaster has seen it; from then on it
        restarts everything, and `wait_until_up` tells when that is done. ProcessLookupError if the backend had ended."""
        log = Log(self)
        os.kill(pid, signal.SIGKILL)
        try:
            until(lambda: f"(PID {pid}) was terminated" in log.peek())
        except AssertionError:
            raise ProcessLookupError(f"{pid} has ended by itself") from None
        self.killed_backends += 1

    def wait_until_up(self, seconds=180):
        def accepts_connections():
            with contextlib.suppress(psycopg.OperationalError):
                self.connect("postgres").close()
                return True

        until(accepts_connections, seconds, lambda: f"the server is not up; its log ends in\n{self.log_tail()}")

    def log_tail(self):
        return self.log.read_text(errors="replace")[-2000:] if self.log.exists() else ""

    def connect(self, dbname="postgres", autocommit=True, user="postgres", **options):
        return psycopg.connect(
            host=str(self.root), dbname=dbname, user=user, autocommit=autocommit, row_factory=dict_row, **options
        )

    def create_database(self, sql=None):
        """A database with the extension in it, and with what these statements make."""
        name = f"t{next(self._databases)}"
        with self.connect("postgres") as conn:
            conn.execute(f"CREATE DATABASE {name}")
        if sql:
            with self.connect(name) as conn:
                conn.execute(sql)
        return Database(self, name)

    @contextlib.contextmanager
    def standby(self):
        """A hot standby that streams from this server, until the end of the block."""
        copy = object.__new__(Cluster)
        copy.__dict__.update(self.__dict__)
        copy.root = self.root / "copy"
        copy.data = copy.root / "data"
        copy.log = copy.root / "log"
        copy._checked = Log(copy)
        self.tool("mkdir", copy.root)
        self.tool(self.bindir / "pg_basebackup", "-D", copy.data, "-R", "-X", "stream", "-c", "fast")
        with (copy.data / "postgresql.auto.conf").open("a") as conf:
            conf.write(f"unix_socket_directories = '{copy.root}'\n")
        copy.start()
        try:
            yield copy
        finally:
            copy.stop("immediate", check=False)
            assert_clean(copy.forbidden_log_lines())

    def forbidden_log_lines(self):
        """The lines that no test may cause, among those that were written since the last call. As many backends may
        have crashed as were killed by `kill_backend`."""
        lines = [line for line in self._checked.news().splitlines() if FORBIDDEN.search(line)]
        crashes = [line for line in lines if "terminated by signal" in line]
        if len(crashes) <= self.killed_backends:
            lines = [line for line in lines if line not in crashes]
        self.killed_backends = 0
        return lines

    def destroy(self):
        """Stop the server and remove its files. Returns the forbidden lines of its log."""
        if (self.data / "postmaster.pid").exists():
            self.stop("immediate", check=False)
        found = self.forbidden_log_lines() if self.log.exists() else []
        shutil.rmtree(self.root, ignore_errors=True)
        return found


class Database:
    """A database in a cluster."""

    def __init__(self, cluster, name):
        self.cluster = cluster
        self.name = name

    def connect(self, **options):
        return self.cluster.connect(self.name, **options)

    def at_level(self, level, **options):
        """A connection all transactions of which are at this isolation level, also those of single statements."""
        return self.connect(options=at_level(level), **options)


def at_level(level):
    """The option of a session that sets the isolation level of its transactions."""
    return f"-c default_transaction_isolation={level.replace(' ', chr(92) + ' ')}"


def assert_clean(found):
    assert not found, "the server's log has:\n" + "\n".join(found[:20])


@contextlib.contextmanager
def running(environment=None, settings=None, kind=Cluster):
    """A cluster until the end of the block, which fails if the server's log has a forbidden line."""
    cluster = kind(environment, settings)
    try:
        yield cluster
    except BaseException:
        cluster.destroy()
        raise
    assert_clean(cluster.destroy())
