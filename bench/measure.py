"""Runs the contests: every round gives each side the same fresh data, one after the other in the same session, and
the next round begins with the next side. PGHOST, PGPORT and PGUSER lead to a server that is ours alone."""

import argparse
import time
from pathlib import Path

import psycopg
from psycopg.pq import ExecStatus

import report
from contests import Calls, Loop, contests

HERE = Path(__file__).resolve().parent
WARM_UP = 8
"""Calls before the timed ones: plans are made, and PostgreSQL has settled on a generic one."""


class Session:
    """The one session that all sides use."""

    def __init__(self):
        with psycopg.connect(dbname="postgres", autocommit=True) as maintenance:
            maintenance.execute("CREATE DATABASE bench")
        self.connection = psycopg.connect(dbname="bench", autocommit=True)
        self.wire = self.connection.pgconn
        self.prepared = {}
        self.execute((HERE / "setup.sql").read_text())

    def execute(self, sql, *values):
        return self.connection.execute(sql, values or None)

    def value(self, sql, *values):
        return self.execute(sql, *values).fetchone()[0]

    def name_of(self, sql):
        """The prepared statement's name. Prepared on first use."""
        if sql not in self.prepared:
            name = b"bench_%d" % len(self.prepared)
            self.check(self.wire.prepare(name, sql.encode()))
            self.prepared[sql] = name
        return self.prepared[sql]

    def check(self, result):
        if result.status not in (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK):
            raise RuntimeError(result.error_message.decode())

    def spent(self):
        """Seconds, seconds of the server's process on a processor (if the system tells), bytes of WAL; all so far."""
        wal = float(self.value("SELECT pg_current_wal_insert_lsn() - '0/0'"))
        schedule = Path(f"/proc/{self.wire.backend_pid}/schedstat")
        cpu = int(schedule.read_text().split()[0]) / 1e9 if schedule.exists() else 0
        return time.perf_counter(), cpu, wal

    def call_each(self, sql, payloads):
        """Straight to libpq, to add as little as can be to a round trip."""
        name, call, check = self.name_of(sql), self.wire.exec_prepared, self.check
        for payload in payloads:
            check(call(name, [payload]))


class Arrivals:
    """What one round of a contest gives to each side."""

    def __init__(self, session, contest, number):
        self.session, self.contest = session, contest
        self.rows = contest.rows + (WARM_UP * contest.batch if isinstance(contest.ours, Calls) else 0)
        self.numbers = (
            "arriving(%s, %s, greatest(%s, 1), %s)", (self.rows, contest.percent, contest.stored, number)
        )
        if isinstance(contest.ours, Calls):
            self.payloads = self.make_payloads()
        elif isinstance(contest.ours, Loop):
            self.fill("feed", "to_jsonb(event)")
        else:
            self.fill("staging", "event.*")

    def make_payloads(self):
        numbers, values = self.numbers
        if (batch := self.contest.batch) == 1:
            select = f"SELECT to_json(event)::text FROM {numbers}, event(n) ORDER BY i"
        else:
            select = (
                f"SELECT json_agg(event ORDER BY i)::text FROM {numbers}, event(n)"
                f" GROUP BY i / {batch} ORDER BY i / {batch}"
            )
        return [text.encode() for (text,) in self.session.execute(select, *values)]

    def fill(self, table, what):
        numbers, values = self.numbers
        self.session.execute(f"TRUNCATE {table}")
        self.session.execute(f"INSERT INTO {table} SELECT {what} FROM {numbers}, event(n) ORDER BY i", *values)
        self.session.execute(f"VACUUM ANALYZE {table}")

    def send(self, side):
        """Gives all of it to one side, and returns what was measured."""
        session = self.session
        if isinstance(side, Calls):
            session.call_each(side.sql, self.payloads[:WARM_UP])
            return self.timed(lambda: session.call_each(side.sql, self.payloads[WARM_UP:]))
        if isinstance(side, Loop):
            block = (
                "DO $$ DECLARE arrived record; answer record; BEGIN "
                f"FOR arrived IN SELECT payload FROM feed LOOP {side.sql}; END LOOP; END $$"
            )
            return self.timed(lambda: session.execute(block))
        return self.timed(lambda: session.execute(side.sql))

    def timed(self, run):
        """For each row: seconds, seconds on a processor in the server's process, and bytes of WAL."""
        before = self.session.spent()
        run()
        return [(now - then) / self.contest.rows for then, now in zip(before, self.session.spent())]


def make_table(session, stored):
    """The target with the first rows of the base in it and a new index over them, nothing dirty in memory."""
    session.execute("TRUNCATE events")
    session.execute("ALTER TABLE events DROP CONSTRAINT events_pkey")
    session.execute("INSERT INTO events SELECT * FROM base LIMIT %s", stored)
    session.execute("ALTER TABLE events ADD PRIMARY KEY (id)")
    session.execute("VACUUM ANALYZE events")


def hold(session, contest, rounds, progress):
    """The contest's figures: for each side, by round, rows a second, seconds on a processor and bytes of WAL a row."""
    sides = {report.OURS: contest.ours, **contest.rivals}
    figures = {name: {"rate": [], "cpu": [], "wal": [], "wal_again": []} for name in sides}
    session.execute(f"SET synchronous_commit = {'on' if contest.flush else 'off'}")
    made = False
    for number in range(rounds):
        arrivals = Arrivals(session, contest, number)
        first = number % len(sides)
        names = list(sides)
        for name in names[first:] + names[:first]:
            progress(f"{contest.name}: round {number + 1} of {rounds}, {name}")
            if contest.writes or not made:
                make_table(session, contest.stored)
                made = True
            session.execute("CHECKPOINT")
            seconds, cpu, wal = arrivals.send(sides[name])
            figures[name]["rate"].append(1 / seconds)
            figures[name]["cpu"].append(cpu)
            figures[name]["wal"].append(wal)
            if contest.show_wal:
                # Once more, now all duplicates, and after the first touch of each page since the checkpoint.
                figures[name]["wal_again"].append(arrivals.send(sides[name])[2])
            expected = contest.stored + arrivals.rows * (100 - contest.percent) // 100
            if (count := session.value("SELECT count(*) FROM events")) != expected:
                raise RuntimeError(f"{contest.name}: {name} left {count} rows in the table, not {expected}")
    return figures


def main():
    parser = argparse.ArgumentParser(prog="bench/run")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--pairs", type=int)
    options = parser.parse_args()
    rounds = options.pairs or (3 if options.quick else 7)
    chosen = [c for c in contests(options.quick) if not options.only or c.name.startswith(tuple(options.only))]
    if not chosen:
        parser.error("there is no such comparison; there are " + " ".join(c.name for c in contests(False)))

    session = Session()
    output = report.Report(session, rounds, HERE / "results")
    output.begin()
    output.progress("filling the table")
    session.execute("INSERT INTO base SELECT event.* FROM generate_series(1, %s) n, event(n)", max(c.stored for c in chosen))
    session.execute("VACUUM ANALYZE base")
    for contest in chosen:
        output.add(contest, hold(session, contest, rounds, output.progress))
    output.end()


if __name__ == "__main__":
    main()
