"""A client: its session, its retries, and which errors it may be told."""

import contextlib
import random
import re
import threading
import time
import traceback

import psycopg

from storm.ledger import Violation

READ_COMMITTED, REPEATABLE_READ, SERIALIZABLE = "read committed", "repeatable read", "serializable"
# What the faults of the storm, and sessions that meet, may end any statement with.
ALWAYS = {
    "57014": "cancelled or timed out",
    "57P01": "terminated",
    "57P02": "crash of another backend",
    "57P03": "cannot connect now",
    "55P03": "lock_timeout",
    "40P01": "deadlock",
    None: "connection lost",
}
SERIALIZATION = "40001"
# The unique index of a partition that comes and goes (tables.py).
DETACHED = re.compile(r"parted_\d_pkey")
# The server tells the client nothing more: whether a COMMIT was done is not known.
LOST = {"57P01", "57P02", "57P03", None}


class Refused(Exception):
    """What a client sent was answered with an error that it may be told."""

    def __init__(self, state):
        super().__init__(state or "lost")
        self.state = state
        self.lost = state in LOST or state.startswith("08")


class Client:
    """A client of one kind. A subclass says what a step is."""

    kind = ""

    def __init__(self, storm, number):
        self.storm, self.ledger = storm, storm.ledger
        self.name = f"{self.kind} {number}"
        self.dice = random.Random(f"{storm.seed} {self.name}")
        self.conn = None
        self.settings = {}
        self.thread = threading.Thread(target=self.run, name=self.name, daemon=True)

    def step(self):
        raise NotImplementedError

    def run(self):
        """Steps until the storm ends. Whatever goes wrong in the client itself ends the storm, too."""
        try:
            while not self.ledger.ended.is_set():
                with self.storm.gate.step(self.name):
                    try:
                        self.step()
                    except Refused:
                        pass
                    except Violation as found:
                        self.storm.violation(found)
                    self.leave_transaction()
        except BaseException as error:
            traceback.print_exc()
            self.storm.violation(Violation("the storm itself", f"{self.name}: {error!r}"))
            self.ledger.ended.set()
        finally:
            self.drop()

    # --- the session

    def session(self):
        """The session, a new one if the last has ended. Refused once the storm has ended."""
        while self.conn is None or self.conn.closed:
            if self.ledger.ended.is_set():
                raise Refused(None)
            try:
                self.conn = self.storm.connect(self.name, self.options())
                self.settings = {}
            except psycopg.Error as error:
                if error.sqlstate not in ALWAYS:
                    raise
                time.sleep(0.05)
        return self.conn

    def options(self):
        """Half of the sessions insert by statements."""
        return "-c statement_timeout=60s" + self.dice.choice(("", " -c pg_idempotent.direct_insertion=off"))

    def drop(self):
        if self.conn:
            self.conn.close()
        self.conn = None

    def leave_transaction(self):
        if self.conn is None or self.conn.closed:
            return
        if self.conn.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
            with contextlib.suppress(psycopg.Error):
                self.conn.execute("ROLLBACK")

    def rush(self):
        """Sometimes, a limit to the time that the next statements may take."""
        for setting, longest in (("statement_timeout", 60), ("lock_timeout", 40)):
            chosen = f"{self.dice.randint(1, longest)}ms" if self.dice.random() < 0.08 else ""
            if self.settings.get(setting, "") != chosen:
                default = "60s" if setting == "statement_timeout" else "0"
                try:
                    self.session().execute(f"SET {setting} = '{chosen or default}'")
                except psycopg.OperationalError as error:
                    raise Refused(self.lost_or(error)) from None
                self.settings[setting] = chosen

    # --- what it sends

    def send(self, what, subject, keys, act, may=(), level=READ_COMMITTED):
        """What `act(session)` returns, a transaction's work. Refused for an error that it may be told: one of ALWAYS or of
        `may`, or 40001 where the level has one snapshot. Violation for any other."""
        sent, xid, state = self.ledger.now(), None, "done"
        answer = None
        try:
            answer, xid = act(self.session())
            return answer
        except psycopg.Error as error:
            state = self.lost_or(error)
            answer = told_by(error)
            self.leave_transaction()
            allowed = state in ALWAYS or state in may or state.startswith("08") or meets_a_rebuilt_index(error)
            with_one_snapshot = level != READ_COMMITTED and (state == SERIALIZATION or is_detached(error))
            if not allowed and not with_one_snapshot:
                raise Violation("errors", f"{what} of {subject} {keys} at {level}: {answer}", subject, one_of(keys, error)) from error
            raise Refused(state) from None
        except Refused:
            answer = state = "lost"
            raise
        except Violation:
            state = "violation"
            raise
        finally:
            self.ledger.count(self.kind, state if isinstance(state, str) else "lost")
            self.ledger.record(self.name, what, subject, keys, sent, answer, xid)

    def lost_or(self, error):
        """The SQLSTATE of an error; None if the connection is lost."""
        if self.conn is None or self.conn.closed or self.conn.broken:
            return error.sqlstate if error.sqlstate in LOST else None
        # One without a state comes from the client's own library.
        return error.sqlstate or type(error).__name__

    def once(self, act):
        """`act` in a transaction of the statement's own."""
        return lambda conn: (act(conn), None)

    def transaction(self, act, level=READ_COMMITTED, end="COMMIT"):
        """`act` in a transaction that ends so; the answer comes with the transaction's id."""

        def run(conn):
            conn.execute(f"BEGIN ISOLATION LEVEL {level}")
            answer = act(conn)
            xid = conn.execute("SELECT pg_current_xact_id_if_assigned()::text AS xid").fetchone()["xid"]
            conn.execute(end)
            return answer, xid

        return run

    def level(self):
        return self.dice.choices((READ_COMMITTED, REPEATABLE_READ, SERIALIZABLE), (6, 1, 1))[0]

    def again(self, act, most=4):
        """`act()`, and again: mostly until it is answered, and sometimes after that. Returns the last answer."""
        for _ in range(most):
            try:
                answer = act()
            except Refused:
                if self.dice.random() < 0.3 or self.ledger.ended.is_set():
                    raise
                continue
            if self.dice.random() < 0.7:
                return answer
        return act()


def is_detached(error):
    """The server has put a row into a partition that was detached meanwhile, and is not guarded any more. It does so where a
    transaction with one snapshot meets DETACH PARTITION CONCURRENTLY: tests/isolation/specs/detach-concurrently-meets-calls."""
    return error.sqlstate == "23505" and DETACHED.fullmatch(error.diag.constraint_name or "")


def meets_a_rebuilt_index(error):
    """The index of a partition was replaced at that very moment: docs/errors.md."""
    return error.sqlstate == SERIALIZATION and error.diag.message_primary == "could not serialize access due to a concurrent REINDEX"


def told_by(error):
    """What an error says, in a line."""
    told = error.diag
    if told.message_primary is None:
        return str(error).strip().splitlines()[0]
    parts = (told.message_primary, told.constraint_name, (told.message_detail or "").partition("\n")[0])
    return " | ".join([error.sqlstate or "", *(part for part in parts if part)])


def one_of(keys, error):
    """A key for the history: the one that the error names, if it does."""
    named = re.match(r"Key \(k\)=\((\d+)\)", error.diag.message_detail or "")
    if named and int(named[1]) in keys:
        return int(named[1])
    return keys[0] if keys else None


def set_batch(conn, **settings):
    """What the views of sources show to this session."""
    names = ", ".join(f"set_config('storm.{name}', %s, false)" for name in settings)
    conn.execute(f"SELECT {names}", [str(chosen) for chosen in settings.values()])
