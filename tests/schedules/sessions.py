"""Sessions that are held at wait points, and the driver that lets them go one at a time.

A session of the test build that comes to a wait point writes its name to the driver's socket, and waits for a byte. Of
the sessions of a schedule one is let go, until it comes to its next point, has the answer to its statement, or waits for
a lock. Only for the last the server is asked: a session that has told nothing for a moment, and for whose lock
pg_blocking_pids names a holder, is blocked. It may have been woken whenever another session has taken a step, so
it is asked for then again.
"""

import itertools
import os
import select
import socket
import time

from psycopg import pq

RUNNING, IDLE, POINT, BLOCKED = "runs", "is idle", "stands at", "waits for"

# After so many seconds of silence the server is asked what a session waits for, if the session sleeps.
SILENCE = 0.0002
# After so many, something hangs that should not.
HANGS = 20

NUMBERS = itertools.count(1)

OK = (pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK)


class Stuck(Exception):
    """No session can take a step, and the server ends no wait."""


class Answer:
    """The answer to a statement, or to several: rows and command tags, or an error."""

    def __init__(self, results):
        last = results[-1]
        self.state = None
        self.message = ""
        if last.status not in OK:
            self.state = (last.error_field(pq.DiagnosticField.SQLSTATE) or b"?").decode()
            message = last.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or last.error_message
            detail = last.error_field(pq.DiagnosticField.MESSAGE_DETAIL) or b""
            self.message = f"{message.decode()} {detail.decode()}".strip()
        self.tags = [(r.command_status or b"").decode() for r in results if r.status in OK]
        self.tables = [
            [tuple(_text(r.get_value(i, j)) for j in range(r.nfields)) for i in range(r.ntuples)]
            for r in results
            if r.status == pq.ExecStatus.TUPLES_OK
        ]

    def __str__(self):
        if self.state:
            return f"{self.state} {self.message}"
        return ", ".join(self.tags) + "".join(f" {table}" for table in self.tables)


def _text(value):
    return None if value is None else value.decode()


class Connection:
    """A connection whose answers come as raw texts."""

    def __init__(self, db):
        parameters = f"host={db.cluster.root} dbname={db.name} user=postgres"
        self.raw = pq.PGconn.connect(parameters.encode())
        assert self.raw.status == pq.ConnStatus.OK, self.raw.error_message
        self.raw.notice_handler = None
        self.pid = self.raw.backend_pid
        self.stream = None
        self._stat = os.open(f"/proc/{self.pid}/stat", os.O_RDONLY)

    def close(self):
        os.close(self._stat)
        if self.stream:
            self.stream.close()
        self.raw.finish()

    def _process(self):
        """What the kernel says of the backend, from its state on."""
        return os.pread(self._stat, 500, 0).rsplit(b")", 1)[1].split()

    def processor_time(self):
        """The seconds that the backend has used."""
        return sum(map(int, self._process()[11:13])) / os.sysconf("SC_CLK_TCK")

    def sleeps(self):
        """Whether the backend waits for anything."""
        return self._process()[0] != b"R"

    def run(self, sql):
        """The answer to statements of which none fails."""
        self.raw.send_query(sql.encode())
        answer = Answer(self.results())
        assert answer.state is None, (sql, str(answer))
        return answer

    def results(self):
        results = []
        while (result := self.raw.get_result()) is not None:
            results.append(result)
        return results


class Session(Connection):
    """A session that the driver steps."""

    def __init__(self, db, number):
        super().__init__(db)
        self.number = number
        self.state = IDLE
        self.point = ""
        self.reached = set()
        self.answer = None
        self.settings = {}
        # A cancel was sent: an answer must come.
        self.must_answer = False
        self._pending = []

    def set(self, **settings):
        changed = {name: value for name, value in settings.items() if self.settings.get(name) != value}
        if changed:
            self.run("; ".join(f"SET pg_idempotent.{name} = '{value}'" for name, value in changed.items()))
            self.settings.update(changed)

    def start(self, sql):
        self.answer = None
        self.state = RUNNING
        self.raw.send_query(sql.encode())

    def let_go(self):
        self.state = RUNNING
        self.stream.send(b"g")

    def read_answer(self):
        self.raw.consume_input()
        while not self.raw.is_busy():
            result = self.raw.get_result()
            if result is None:
                self.answer = Answer(self._pending)
                self._pending = []
                self.state = IDLE
                self.must_answer = False
                return
            self._pending.append(result)

    def read_point(self):
        text = self.stream.recv(200)
        assert text.endswith(b"\n"), text
        self.point = text.decode().strip()
        self.state = POINT
        self.reached.add(self.point)


class Driver:
    """Sessions, and one connection that asks the server about them."""

    def __init__(self, db, count=3):
        self.started = time.process_time()
        self.path = f"{db.cluster.root}/schedules{next(NUMBERS)}"
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(self.path)
        os.chmod(self.path, 0o777)
        self.listener.listen(16)
        self.control = Connection(db)
        self.sessions = [Session(db, i) for i in range(count)]
        for session in self.sessions:
            session.set(schedule_driver=self.path)
            self._accept(session)

    def _accept(self, session):
        """Has the session come to its first point, which connects it."""
        session.raw.send_query(b"SELECT idempotent_insert('plain', '{\"k\": 0, \"v\": 0}')")
        stream, _ = self.listener.accept()
        text = b""
        while text.count(b"\n") < 2:
            text += stream.recv(200)
        assert text.split(b"\n")[0] == str(session.pid).encode(), text
        session.stream = stream
        session.state = POINT
        while session.state != IDLE:
            if session.state == POINT:
                session.let_go()
            self._wait([session], 1)

    def close(self):
        for connection in (self.control, *self.sessions):
            connection.close()
        self.listener.close()

    def processor_time(self):
        """The seconds that this process has used, and the backends."""
        return time.process_time() - self.started, sum(c.processor_time() for c in (self.control, *self.sessions))

    def cancel(self, session):
        session.must_answer = True
        self.control.run(f"SELECT pg_cancel_backend({session.pid})")
        session.state = RUNNING

    def settle(self, acting):
        """Wait until no session runs. Sessions that were blocked may have been woken by the step."""
        unsettled = [s for s in self.sessions if s.state in (RUNNING, BLOCKED)]
        for session in unsettled:
            session.state = RUNNING
        limit = None
        while True:
            unsettled = [s for s in unsettled if s.state == RUNNING]
            if not unsettled:
                return
            # Nobody who was blocked before is likely to tell anything.
            silence = SILENCE if acting in unsettled else 0
            if self._wait(unsettled, silence):
                continue
            if self._are_blocked(unsettled):
                for session in unsettled:
                    session.state = BLOCKED
                return
            limit = limit or time.monotonic() + HANGS
            if time.monotonic() > limit:
                raise Stuck(f"sessions {[s.number for s in unsettled]} neither run nor wait for a lock")
            self._wait(unsettled, SILENCE)

    def _wait(self, sessions, seconds):
        """Reads what these sessions tell. False if they tell nothing for so long."""
        streams = [s.stream for s in sessions]
        sockets = [s.raw.socket for s in sessions]
        ready, _, _ = select.select(streams + sockets, [], [], seconds)
        for session, stream, number in zip(sessions, streams, sockets):
            if stream in ready:
                session.read_point()
            if number in ready:
                session.read_answer()
        return bool(ready)

    def _are_blocked(self, sessions):
        """Whether each of these waits for a lock of another, and nothing but another's step ends that."""
        if any(s.must_answer or not s.sleeps() for s in sessions):
            return False
        blockers = self._blockers(sessions)
        if not all(blockers.values()):
            return False
        # One may have gone on while the server looked at the other.
        if len(sessions) > 1 and self._blockers(sessions) != blockers:
            return False
        # A deadlock is the server's to end.
        return not self._is_cycle(blockers)

    def _blockers(self, sessions):
        pids = [s.pid for s in sessions]
        sql = "SELECT " + ", ".join(f"pg_blocking_pids({pid})" for pid in pids)
        return dict(zip(pids, (set(ids.strip("{}").split(",")) - {""} for ids in self.control.run(sql).tables[0][0])))

    @staticmethod
    def _is_cycle(blockers):
        reached = {str(pid): set(by) for pid, by in blockers.items()}
        for _ in reached:
            for by in reached.values():
                by.update(*(reached.get(pid, ()) for pid in list(by)))
        return any(pid in by for pid, by in reached.items())
