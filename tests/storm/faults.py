"""Who kills, cancels and stops."""

import contextlib
import os
import random
import signal
import threading
import time
import traceback

import psycopg

from storm.clients import ALWAYS, told_by
from storm.ledger import Violation


class Tormentor:
    """Maltreats something again and again, until the storm ends. `faults` are (weight, name of a method).

    The mean pause between two faults is given in seconds."""

    name = ""
    faults = ()

    def __init__(self, storm, pause):
        self.storm, self.ledger, self.cluster = storm, storm.ledger, storm.cluster
        self.pause = pause
        self.dice = random.Random(f"{storm.seed} {self.name}")
        self.conn = None
        self.thread = threading.Thread(target=self.run, name=self.name, daemon=True)

    def run(self):
        weights, names = zip(*self.faults)
        try:
            while not self.ledger.ended.wait(self.dice.expovariate(1 / self.pause)):
                with self.storm.gate.step(self.name):
                    self.fault(self.dice.choices(names, weights)[0])
        except BaseException as error:
            traceback.print_exc()
            self.storm.violation(Violation("the storm itself", f"{self.name}: {error!r}"))
            self.ledger.ended.set()
        finally:
            if self.conn:
                self.conn.close()

    def fault(self, name):
        """One fault. It may itself meet the faults of others."""
        sent = self.ledger.now()
        try:
            if getattr(self, name)() is not False:
                self.ledger.fault(name.replace("_", " "))
                self.ledger.record(self.name, name, "fault", [], sent, "done")
        except psycopg.Error as error:
            state = error.sqlstate
            expected = state in ALWAYS and isinstance(error, psycopg.OperationalError)
            if not expected and not self.may_fail(name, error):
                self.storm.violation(Violation("errors", f"{self.name}: {name}: {told_by(error)}"))
            self.ledger.fault(f"{name.replace('_', ' ')}, cut short")

    def may_fail(self, name, error):
        return False

    def do(self, sql):
        """A statement that changes something, for the history."""
        sent, told = self.ledger.now(), "cut short"
        try:
            self.session().execute(sql)
            told = "done"
        finally:
            self.ledger.record(self.name, sql, "fault", [], sent, told)

    def session(self):
        while self.conn is None or self.conn.closed:
            try:
                self.conn = self.storm.connect(self.name, "-c lock_timeout=3s -c statement_timeout=30s")
            except psycopg.Error as error:
                if error.sqlstate not in ALWAYS:
                    raise
                time.sleep(0.05)
        return self.conn


class Killer(Tormentor):
    """Ends backends and the server."""

    name = "killer"
    faults = (
        (30, "pg_terminate_backend"),
        (10, "SIGTERM"),
        (60, "pg_cancel_backend"),
        (3, "SIGKILL"),
        (3, "immediate_stop"),
    )

    def victim(self):
        """A backend that is at work, the builder's among them. None if there is none."""
        sql = "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'storm%%' AND pid <> pg_backend_pid() AND state <> 'idle'"
        pids = [row["pid"] for row in self.session().execute(sql).fetchall()]
        return self.dice.choice(sorted(pids)) if pids else None

    def pg_terminate_backend(self):
        return self.signal_by_sql("pg_terminate_backend")

    def pg_cancel_backend(self):
        return self.signal_by_sql("pg_cancel_backend")

    def signal_by_sql(self, function):
        pid = self.victim()
        return pid is not None and self.session().execute(f"SELECT {function}(%s)", [pid]) and None

    def SIGTERM(self):  # noqa: N802
        pid = self.victim()
        if pid is None:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)

    def SIGKILL(self):  # noqa: N802
        """As the kernel does when memory runs out: the server restarts and recovers."""
        pid = self.victim()
        if pid is None:
            return False
        try:
            self.cluster.kill_backend(pid)
        except ProcessLookupError:
            return False
        self.cluster.wait_until_up()

    def immediate_stop(self):
        self.cluster.crash()
