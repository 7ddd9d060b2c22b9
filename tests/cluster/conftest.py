"""Throwaway clusters for the whole-cluster tests.

PG_CONFIG   the pg_config of the server under test, the extension installed in it (default: the one in PATH)
PGI_RUN_AS  the user that clusters run as when the tests run as root (default: postgres)
PGI_SEED, PGI_CASES, PGI_ROUNDS, PGI_CALLS, PGI_ROWS   seed and sizes of the longer tests

One cluster serves the session; every test gets a database of its own in it. Tests that kill, restart or need another
environment start clusters of their own. When a cluster goes, its log is read: a panic, a crash that no test asked
for, a leaked resource or an XX000 fails the run, whatever the test itself saw.
"""

import grp
import itertools
import json
import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import psycopg
import pytest
from psycopg.rows import dict_row

PG_CONFIG = os.environ.get("PG_CONFIG", "pg_config")
RUN_AS = os.environ.get("PGI_RUN_AS", "postgres")

# A line of the server's log that no test may cause.
FORBIDDEN = re.compile(
    r"XX000|XX001|XX002|panicked|RUST_BACKTRACE|PANIC:|terminated by signal|reference leak|leaked|not closed"
    r"|still referenced|you don't own a lock|AbortSubTransaction|TRAP:|stack backtrace"
)


def pg_config(what):
    return subprocess.run([PG_CONFIG, f"--{what}"], check=True, capture_output=True, text=True).stdout.strip()


BINDIR = Path(pg_config("bindir"))
SERVER_MAJOR = int(re.search(r"\d+", pg_config("version")).group())


def _identity():
    """Keyword arguments that make subprocess run something as the unprivileged user, if we are root."""
    if os.geteuid() != 0:
        return {}
    user = pwd.getpwnam(RUN_AS)
    groups = [g.gr_gid for g in grp.getgrall() if RUN_AS in g.gr_mem]
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": groups}


class Cluster:
    """A server on a unix socket in a directory of its own, gone when the test is."""

    def __init__(self, environment=None, settings=None):
        self.root = Path(tempfile.mkdtemp(prefix="pgi_"))
        self.identity = _identity()
        if self.identity:
            os.chown(self.root, self.identity["user"], self.identity["group"])
        self.data = self.root / "data"
        self.log = self.root / "log"
        self.expected_crashes = 0
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("PG") and name not in ("RUST_BACKTRACE", "RUST_LIB_BACKTRACE")
        }
        self.environment.update(LC_ALL="C", TZ="UTC", HOME=str(self.root))
        self.environment.update(environment or {})
        self._databases = itertools.count(1)
        try:
            self._run(BINDIR / "initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N")
            conf = {
                "listen_addresses": "",
                "unix_socket_directories": str(self.root),
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
            conf.update(settings or {})
            with (self.data / "postgresql.conf").open("a") as file:
                for name, value in conf.items():
                    file.write(f"{name} = '{value}'\n")
            self.start()
            with self.connect("template1") as conn:
                conn.execute("CREATE EXTENSION pg_idempotent")
        except BaseException:
            self.destroy()
            raise

    def tool(self, *command, check=True):
        """Run a client program against this server, as the user that it runs as."""
        return self._run(*command, check=check, environment={"PGHOST": str(self.root), "PGUSER": "postgres"})

    def restore(self, dump, dbname):
        """Run a dump in SQL. Not every server comes with a psql that starts."""
        psql = BINDIR / "psql"
        try:
            self.tool(psql, "--version")
        except RuntimeError:
            psql = "psql"
        self.tool(psql, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", dbname, "-f", dump)

    def _run(self, *command, check=True, environment=None):
        done = subprocess.run(
            [str(part) for part in command],
            env={**self.environment, **(environment or {})},
            cwd=self.root,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            **self.identity,
        )
        if check and done.returncode != 0:
            tail = self.log.read_text(errors="replace")[-2000:] if self.log.exists() else ""
            raise RuntimeError(f"{command[0]} failed:\n{done.stdout}\n{tail}")
        return done

    def start(self):
        self._run(BINDIR / "pg_ctl", "-D", self.data, "-l", self.log, "-w", "-t", "60", "start")

    def stop(self, mode="fast", check=True):
        self._run(BINDIR / "pg_ctl", "-D", self.data, "-m", mode, "-w", "-t", "60", "stop", check=check)

    def kill_backend(self, pid):
        """SIGKILL, as the kernel does when memory runs out; the postmaster then restarts everything."""
        self.expected_crashes += 1
        os.kill(pid, signal.SIGKILL)

    def wait_until_up(self, seconds=60):
        deadline = time.monotonic() + seconds
        while True:
            try:
                self.connect("postgres").close()
                return
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def connect(self, dbname="postgres", autocommit=True, user="postgres", **options):
        return psycopg.connect(
            host=str(self.root), dbname=dbname, user=user, autocommit=autocommit, row_factory=dict_row, **options
        )

    def create_database(self):
        name = f"t{next(self._databases)}"
        with self.connect("postgres") as conn:
            conn.execute(f"CREATE DATABASE {name}")
        return Database(self, name)

    def forbidden_log_lines(self):
        lines = [line for line in self.log.read_text(errors="replace").splitlines() if FORBIDDEN.search(line)]
        crashes = [line for line in lines if "terminated by signal" in line]
        if len(crashes) <= self.expected_crashes:
            lines = [line for line in lines if line not in crashes]
        return lines

    def destroy(self):
        if (self.data / "postmaster.pid").exists():
            self.stop("immediate", check=False)
        found = self.forbidden_log_lines() if self.log.exists() else []
        shutil.rmtree(self.root, ignore_errors=True)
        return found


class Database:
    """A database in a cluster, and the calls under test."""

    def __init__(self, cluster, name):
        self.cluster = cluster
        self.name = name

    def connect(self, **options):
        return self.cluster.connect(self.name, **options)


OPTIONS = {"key": "text[]", "compare": "text[]", "ignore": "text[]", "on_conflict": "text"}


def _call(function, source_type, target, source, options):
    named = "".join(f", {name} => %({name})s::{OPTIONS[name]}" for name in options)
    if source_type == "jsonb" and not isinstance(source, str):
        source = json.dumps(source)
    sql = f"SELECT * FROM idempotent_{function}(%(_target)s::regclass, %(_source)s::{source_type}{named})"
    return sql, {"_target": target, "_source": source, **options}


def insert(conn, target, payload, **options):
    return conn.execute(*_call("insert", "jsonb", target, payload, options)).fetchone()


def insert_many(conn, target, payloads, **options):
    return conn.execute(*_call("insert_many", "jsonb", target, payloads, options)).fetchone()


def insert_each(conn, target, payloads, **options):
    return conn.execute(*_call("insert_each", "jsonb", target, payloads, options)).fetchall()


def insert_from(conn, target, source, **options):
    return conn.execute(*_call("insert_from", "regclass", target, source, options)).fetchone()


def in_background(act):
    """Start `act` in a thread; the returned function joins it and gives its exception, or None."""
    caught = []

    def run():
        try:
            act()
        except psycopg.Error as error:
            caught.append(error)

    thread = threading.Thread(target=run)
    thread.start()

    def join(seconds=60):
        thread.join(seconds)
        assert not thread.is_alive(), "still running"
        return caught[0] if caught else None

    return join


def waits_for_a_lock(db, pid, event=None):
    """True once the backend waits for a lock, of this kind if one is named."""
    with db.connect() as conn:
        for _ in range(200):
            row = conn.execute("SELECT wait_event_type, wait_event FROM pg_stat_activity WHERE pid = %s", [pid]).fetchone()
            if row["wait_event_type"] == "Lock" and row["wait_event"] == (event or row["wait_event"]):
                return True
            time.sleep(0.02)
    return False


def value(conn, sql, *parameters):
    """The one value that a query returns."""
    (only,) = conn.execute(sql, parameters or None).fetchone().values()
    return only


def size(name, default):
    return int(os.environ.get(name, default))


def _session_cluster(environment=None, settings=None):
    cluster = Cluster(environment, settings)
    yield cluster
    found = cluster.destroy()
    assert not found, "the server's log has:\n" + "\n".join(found[:20])


@pytest.fixture(scope="session")
def cluster():
    yield from _session_cluster()


@pytest.fixture(scope="session")
def backtrace_cluster():
    """A server whose environment asks Rust for backtraces, as an administrator may have set it for all services."""
    yield from _session_cluster({"RUST_BACKTRACE": "1"})


@pytest.fixture
def own_cluster():
    """A cluster that the test may kill and restart."""
    yield from _session_cluster()


@pytest.fixture(scope="module")
def servers():
    """A publisher and a subscriber."""
    publisher = Cluster(settings={"wal_level": "logical"})
    try:
        subscriber = Cluster(settings={"wal_retrieve_retry_interval": "100ms"})
        try:
            yield publisher, subscriber
        finally:
            found = subscriber.destroy()
            assert not found, found[:20]
    finally:
        found = publisher.destroy()
        assert not found, found[:20]


@pytest.fixture
def db(cluster):
    return cluster.create_database()


@pytest.fixture
def conn(db):
    with db.connect() as conn:
        yield conn


def pytest_report_header(config):
    return f"server: PostgreSQL {SERVER_MAJOR} in {BINDIR}, seed {size('PGI_SEED', 20131103)}"
