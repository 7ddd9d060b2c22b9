"""Runs the comparisons. In every round each side gets the same new data, in a table of its own that holds the same rows.
The sides take turns in one session. A turn takes some milliseconds, or one whole load. The first side changes with every
turn, so that other load on the machine affects all sides alike. PGHOST, PGPORT and PGUSER name a server that runs nothing
else."""

import argparse
import time
from pathlib import Path

import psycopg
from psycopg.pq import ExecStatus

import report
from contests import Calls, Loop, RequestLoop, Requests, Together, contests

HERE = Path(__file__).resolve().parent
SIDES = 3
"""The greatest number of sides in a comparison."""
SESSIONS = 8
"""The greatest number of sessions that load at the same time."""
WARM_UP = 8
"""The number of untimed turns at the beginning, in which PostgreSQL switches to generic plans."""


class Session:
    """The session that all sides use, and more of them for comparisons that need several."""

    def __init__(self):
        with psycopg.connect(dbname="postgres", autocommit=True) as maintenance:
            maintenance.execute("CREATE DATABASE bench")
        # Only name_of prepares statements, because psycopg would deallocate all of them after an ALTER TABLE.
        self.connections = [psycopg.connect(dbname="bench", autocommit=True, prepare_threshold=None) for _ in range(SESSIONS)]
        self.connection = self.connections[0]
        self.wires = [connection.pgconn for connection in self.connections]
        self.wire = self.wires[0]
        self.prepared = {}
        self.execute((HERE / "setup.sql").read_text())
        for number in range(SIDES):
            self.execute((HERE / "side.sql").read_text().replace("{s}", f"side_{number}"))

    def execute(self, sql, *values):
        return self.connection.execute(sql, values or None)

    def value(self, sql, *values):
        return self.execute(sql, *values).fetchone()[0]

    def name_of(self, sql):
        """Returns the name of the prepared statement, and prepares it on first use."""
        if sql not in self.prepared:
            name = b"bench_%d" % len(self.prepared)
            self.check(self.wire.prepare(name, sql.encode()))
            self.prepared[sql] = name
        return self.prepared[sql]

    def check(self, result):
        if result.status not in (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK):
            raise RuntimeError(result.error_message.decode())

    def call_each(self, name, payloads):
        """Calls libpq directly, to add as little as possible to a round trip."""
        call, check = self.wire.exec_prepared, self.check
        for payload in payloads:
            check(call(name, [payload]))

    def run(self, *commands):
        """Runs all commands at the same time, each in a session of its own."""
        busy = self.wires[: len(commands)]
        for wire, command in zip(busy, commands):
            wire.send_query(command.encode())
        for wire in busy:
            while result := wire.get_result():
                self.check(result)

    def written(self):
        return int(self.value("SELECT pg_current_wal_insert_lsn() - '0/0'"))

    def computed(self):
        """Returns the processor time of the server's processes in seconds, or 0 if the system does not tell it. The processes
        are idle now."""
        schedules = [Path(f"/proc/{wire.backend_pid}/schedstat") for wire in self.wires]
        return sum(int(schedule.read_text().split()[0]) / 1e9 for schedule in schedules if schedule.exists())


class Arrivals:
    """The data of one round, the same for each side, in a portion for each turn."""

    def __init__(self, session, contest, number):
        self.session = session
        kind = type(contest.ours)
        portion = 50 if kind in (Calls, Requests) and contest.batch == 1 else 1000
        in_turns = kind in (Calls, Loop, Requests, RequestLoop)
        self.rows = contest.rows + WARM_UP * portion if in_turns else contest.rows
        source = "arriving(%s, %s, greatest(%s, 1), %s), event(n)"
        values = (self.rows, contest.percent, contest.stored, number)
        if kind in (Calls, Requests):
            payloads = self.payloads(contest.ours.payload, contest.batch, source, values)
            if kind is Requests:
                payloads = [payload.split(b" ", 1) for payload in payloads]
            calls = portion // contest.batch
            self.portions = [payloads[i : i + calls] for i in range(0, len(payloads), calls)]
        elif kind in (Loop, RequestLoop):
            self.fill("feed", f"SELECT i, to_jsonb(event) FROM {source}", values)
            self.portions = [(i, i + portion - 1) for i in range(0, self.rows, portion)]
        else:
            # The same rows in every round, because generating half a million takes longer than the measurement.
            if number == 0:
                self.fill("staging", f"SELECT event.* FROM {source} ORDER BY i", values)
                if contest.prepare:
                    session.execute(contest.prepare.replace("{stored}", str(contest.stored)))
                    session.execute("VACUUM ANALYZE staging")
                if kind is Together:
                    session.execute(f"CALL write_batches({contest.batch}, {contest.sessions})")
                else:
                    file = f"{session.value('SHOW data_directory')}/staging"
                    session.execute(f"COPY staging TO '{file}'")
                    session.execute(f"COPY staging TO '{file}.binary' (FORMAT binary)")
            self.portions = [None]
        self.warm_up = WARM_UP if in_turns else 0

    def payloads(self, payload, batch, source, values):
        if batch == 1:
            select = f"SELECT {payload}::text FROM {source} ORDER BY i"
        else:
            group = f"GROUP BY i / {batch} ORDER BY i / {batch}"
            select = f"SELECT json_agg({payload} ORDER BY i)::text FROM {source} {group}"
        return [text.encode() for (text,) in self.session.execute(select, *values)]

    def fill(self, table, select, values):
        self.session.execute(f"TRUNCATE {table}")
        self.session.execute(f"INSERT INTO {table} {select}", *values)
        self.session.execute(f"VACUUM ANALYZE {table}")


class Side:
    """One side of a comparison, with the time and WAL that it has used in this round."""

    def __init__(self, session, name, schema, statement, contest):
        self.session, self.name, self.schema, self.stored = session, name, schema, contest.stored
        self.guard = contest.guard and name == report.OURS
        self.numbers = range(1, contest.sessions + 1) if type(statement) is Together else (1,)
        self.statement = statement
        self.kind = type(statement)
        if self.kind not in (Requests, RequestLoop):
            self.sql = statement.sql.replace("{s}", schema)
        if self.kind is Loop:
            session.execute(
                f"CREATE OR REPLACE FUNCTION {schema}.run_loop(first int, last int) RETURNS void LANGUAGE plpgsql AS"
                " $$ DECLARE arrived record; answer record; BEGIN"
                " FOR arrived IN SELECT payload FROM feed WHERE i BETWEEN first AND last ORDER BY i"
                f" LOOP {self.sql}; END LOOP; END $$"
            )
            self.sql = f"SELECT {schema}.run_loop($1, $2)"
        if self.kind is RequestLoop:
            commit = "COMMIT;" if statement.commits else ""
            begin, finish = (text.replace("{s}", schema) for text in (statement.begin, statement.finish))
            session.execute(
                f"CREATE OR REPLACE PROCEDURE {schema}.run_requests(first int, last int) LANGUAGE plpgsql AS"
                " $$ DECLARE arrived record; begun record; BEGIN"
                " FOR arrived IN SELECT payload ->> 'id' AS key, payload FROM feed WHERE i BETWEEN first AND last ORDER BY i"
                f" LOOP {begin}; {commit} {finish}; {commit} END LOOP; END $$"
            )
            self.sql = f"CALL {schema}.run_requests($1, $2)"
        self.figures = {kind: [] for kind in ("rate", "cpu", "wal", "wal_again")}
        self.forget()

    def forget(self):
        self.seconds = self.cpu = self.wal = 0

    def make_table(self):
        """Fills the table with its first rows and builds a new index."""
        self.session.execute(f"SELECT idempotent_unguard('{self.schema}.events')")
        self.session.execute(f"TRUNCATE {self.schema}.events")
        self.session.execute(f"ALTER TABLE {self.schema}.events DROP CONSTRAINT events_pkey")
        self.session.execute(
            f"INSERT INTO {self.schema}.events SELECT id, amount, status, customer, note, at"
            " FROM base WHERE number <= %s ORDER BY number",
            self.stored,
        )
        self.session.execute(f"ALTER TABLE {self.schema}.events ADD PRIMARY KEY (id)")
        self.session.execute(f"VACUUM ANALYZE {self.schema}.events")
        if self.guard:
            self.session.execute(f"SELECT idempotent_guard('{self.schema}.events')")

    def take_turn(self, portion):
        session = self.session
        if self.kind in (Calls, Loop, RequestLoop):
            name = session.name_of(self.sql)
        else:
            commands = [self.sql.replace("{session}", str(number)) for number in self.numbers]
        written, computed, started = session.written(), session.computed(), time.perf_counter()
        if self.kind is Calls:
            session.call_each(name, portion)
        elif self.kind in (Loop, RequestLoop):
            session.check(session.wire.exec_prepared(name, [b"%d" % bound for bound in portion]))
        else:
            session.run(*commands)
        self.seconds += time.perf_counter() - started
        self.cpu += session.computed() - computed
        self.wal += session.written() - written

    def count(self):
        return self.session.value(f"SELECT count(*) FROM {self.schema}.events")


class RequestSide(Side):
    """A side that stores requests: the extension in its own table, with the side as the scope; a rival in a table of the
    side. The rows of earlier rounds stay, and every round uses other keys."""

    def make_table(self):
        ours = self.name == report.OURS
        self.table = "idempotent.request_records" if ours else f"{self.schema}.requests"
        more = (", purge_after", ", now() + '1 day'") if ours else ("", "")
        role = "idempotent.kept_role" if ours else "regrole"
        self.session.execute(f"TRUNCATE {self.table}")
        self.session.execute(
            f"INSERT INTO {self.table} (role, scope, key, status, attempt, fingerprint, request, response, ttl, lease,"
            f" started_at, completed_at, expires_at{more[0]})"
            f" SELECT quote_ident(current_user)::{role}, %s, event.id, 'finished', number, sha256(convert_to(request::text, 'UTF8')), request,"
            " jsonb_build_object('status', 201, 'number', number), '1 day', '1 minute', now(), now(), now() + '1 day'"
            f"{more[1]}"
            " FROM base, LATERAL (SELECT base.id, base.amount, base.status, base.customer, base.note, base.at) event,"
            " to_jsonb(event) request WHERE number <= %s ORDER BY number",
            self.schema if ours else "",
            self.stored,
        )
        self.session.execute(f"VACUUM ANALYZE {self.table}")
        self.before = 0

    def take_turn(self, portion):
        if self.kind is RequestLoop:
            return super().take_turn(portion)
        session, wire, check = self.session, self.session.wire, self.session.check
        begin = session.name_of(self.statement.begin.replace("{s}", self.schema))
        finish = self.statement.finish and session.name_of(self.statement.finish.replace("{s}", self.schema))
        written, computed, started = session.written(), session.computed(), time.perf_counter()
        for key, request in portion:
            begun = wire.exec_prepared(begin, [key, request])
            check(begun)
            if finish:
                check(wire.exec_prepared(finish, [key, begun.get_value(0, 0), b'{"status": 201}']))
        self.seconds += time.perf_counter() - started
        self.cpu += session.computed() - computed
        self.wal += session.written() - written

    def count(self):
        count = self.session.value(f"SELECT count(*) FROM {self.table} WHERE status = 'finished'")
        added, self.before = count - self.stored - self.before, count - self.stored
        return self.stored + added


def take_turns(sides, arrivals, offset):
    for turn, portion in enumerate(arrivals.portions):
        if turn == arrivals.warm_up:
            for side in sides:
                side.forget()
        first = (turn + offset) % len(sides)
        for side in sides[first:] + sides[:first]:
            side.take_turn(portion)


def hold(session, contest, rounds, progress):
    """Returns the sides with their figures for each round: rows per second, and processor seconds and bytes of WAL per row."""
    statements = {report.OURS: contest.ours, **contest.rivals}
    requests = type(contest.ours) in (Requests, RequestLoop)
    kind = RequestSide if requests else Side
    sides = [
        kind(session, name, f"side_{number}", statement, contest)
        for number, (name, statement) in enumerate(statements.items())
    ]
    for connection in session.connections:
        connection.execute(f"SET synchronous_commit = {'on' if contest.flush else 'off'}")
    stored = contest.stored
    for number in range(rounds):
        progress(f"{contest.name}: round {number + 1} of {rounds}")
        arrivals = Arrivals(session, contest, number)
        if contest.writes and not contest.grows and not requests or number == 0:
            for side in sides:
                side.make_table()
        session.execute("CHECKPOINT")
        take_turns(sides, arrivals, number)
        for side in sides:
            side.figures["rate"].append(contest.rows / side.seconds)
            side.figures["cpu"].append(side.cpu / contest.rows)
            side.figures["wal"].append(side.wal / contest.rows)
        if contest.show_wal:
            # A second time: now all rows are duplicates, and each page was already written since the checkpoint.
            take_turns(sides, arrivals, number)
            for side in sides:
                side.figures["wal_again"].append(side.wal / contest.rows)
        accepted = arrivals.rows - arrivals.rows * contest.refused // 1000
        expected = stored + accepted * (100 - contest.percent) // 100
        if contest.grows:
            stored = expected
        for side in sides:
            if (count := side.count()) != expected:
                raise RuntimeError(f"{contest.name}: {side.name} left {count} rows in the table, not {expected}")
            side.forget()
    return sides


def main():
    parser = argparse.ArgumentParser(prog="bench/run")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--pairs", type=int)
    options = parser.parse_args()
    rounds = options.pairs or (3 if options.quick else 7)
    chosen = [c for c in contests(options.quick) if not options.only or c.name.startswith(tuple(options.only))]
    if not chosen:
        parser.error("no comparison has this name; the names are " + " ".join(c.name for c in contests(False)))

    session = Session()
    output = report.Report(session, rounds, HERE / "results")
    output.begin()
    output.progress("generating rows")
    most = max(contest.stored for contest in chosen)
    session.execute("INSERT INTO base SELECT n, event.* FROM generate_series(1, %s) n, event(n)", most)
    session.execute("VACUUM ANALYZE base")
    for contest in chosen:
        sides = hold(session, contest, rounds, output.progress)
        output.add(contest, {side.name: side.figures for side in sides})
    output.end()


if __name__ == "__main__":
    main()
