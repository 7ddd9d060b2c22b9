"""Daily jobs of a year, by workers that die.

Every flight of 2013 is delivered day by day, in shuffled order. Some days are sent again, some are corrected, once or
twice, and the old version of a corrected day may come after the new one. Four workers take the deliveries and run the
daily job on each: begin, load, merge, overwrite, publish. They die at every point of it: by themselves, by
pg_terminate_backend, by SIGKILL of a server process, which takes the whole server down; they fail; and they are so slow
that others take over. Whatever was not acknowledged is delivered again.

In the end the tables and aggregates must be those of one clean run, by their digests, and those that plain SQL makes of
the same rows; and idempotent.pipeline_run_records must account for every run that a worker knows of.

PGI_DAYS   how many days of the year (default 180)
PGI_SEED   what is corrected, sent again, in which order, and who dies where
"""

import heapq
import lzma
import random
import threading
import time
from collections import Counter

import psycopg
import pytest

from support.project import ROOT, SEED, size
from support.queries import value

DAYS = size("PGI_DAYS", 180)
WORKERS = 4
LEASE = 0.5
FILE = ROOT / "demo" / "data" / "flights_2013.csv.xz"

pytestmark = [pytest.mark.timeout(600), pytest.mark.once]

# What a client sees of a server process that is gone, or of a server that is coming up again.
GONE = {None, "57P01", "57P02", "57P03", "08006", "08001", "08003"}

SENT = """
CREATE TABLE file (
    time_hour timestamptz, carrier text, flight int, origin text, dest text, sched_dep_time int, dep_delay int, arr_delay int
);
CREATE TABLE sent (
    day date, version int, time_hour timestamptz, carrier text, flight int, origin text, dest text, sched_dep_time int,
    dep_delay int, arr_delay int
);
"""

# Version n of a day has other delays in one row of eight than version n - 1 has, and the first version lacks one flight
# in twenty of those that are corrected later.
VERSIONS = """
INSERT INTO sent
SELECT day, version, time_hour, carrier, flight, origin, dest, sched_dep_time,
       dep_delay + changes, CASE WHEN changes = 0 THEN arr_delay ELSE coalesce(arr_delay, 0) - changes END
  FROM (SELECT *, (time_hour AT TIME ZONE 'America/New_York')::date AS day FROM file) AS file
  JOIN unnest(%(days)s::date[], %(versions)s::int[]) AS versions (day, last) USING (day),
       generate_series(1, last) AS version,
       LATERAL (SELECT abs(hashtext(carrier || flight || time_hour)::bigint) AS lot) AS lots,
       LATERAL (SELECT count(*)::int FROM generate_series(2, version) AS earlier WHERE (lot + earlier) %% 8 = 0) AS changed (changes)
 WHERE NOT (version = 1 AND last > 1 AND lot %% 20 = 0);
CREATE INDEX ON sent (day, version);
ANALYZE sent;
"""

# Each run of the year has tables of its own, and one definition of the job.
TABLES = """
CREATE TABLE arrivals (LIKE sent, PRIMARY KEY (time_hour, carrier, flight, version));
CREATE TABLE flights (LIKE sent, PRIMARY KEY (time_hour, carrier, flight));
CREATE INDEX ON flights (day);
CREATE TABLE delays (
    day date, carrier text, flights int, cancelled int, mean_delay numeric, worst_delay int, PRIMARY KEY (day, carrier)
);
-- An effect that is no idempotent one: each publication is to add its row once.
CREATE TABLE publications (run_id bigint, rows bigint);
CREATE VIEW delivery AS
SELECT * FROM sent WHERE day = current_setting('job.day')::date AND version = current_setting('job.version')::int;
CREATE VIEW delays_of_day AS
SELECT day, carrier, count(*)::int AS flights, count(*) FILTER (WHERE dep_delay IS NULL)::int AS cancelled,
       round(avg(dep_delay), 3) AS mean_delay, max(dep_delay) AS worst_delay
  FROM flights WHERE day = current_setting('job.day')::date GROUP BY day, carrier;
"""


class Died(Exception):
    """A worker's own death, where its fate has it."""


class Job:
    """The daily job on one delivery, as `worker` would run it; `at` is called before each step with its name."""

    def __init__(self, conn, dataset, at=lambda step: None):
        self.conn, self.dataset, self.at = conn, dataset, at
        self.run_id = None

    def run(self, day, version):
        """'skip' or 'publish'."""
        conn = self.conn
        conn.execute("SELECT set_config('job.day', %s, false), set_config('job.version', %s, false)", [str(day), str(version)])
        begun = conn.execute(
            """
            SELECT * FROM idempotent_run_begin(%s, %s, (SELECT idempotent_digest(delivery) FROM delivery),
                lease => make_interval(secs => %s))
            """,
            [self.dataset, str(day), LEASE],
        ).fetchone()
        if begun["decision"] == "skip":
            return "skip"
        self.run_id = begun["run_id"]
        self.at("load")
        # A day is some five batches, each committed.
        conn.execute("CALL idempotent_load('arrivals', 'delivery', batch_size => 200)")
        self.at("heartbeat")
        conn.execute("SELECT idempotent_run_heartbeat(%s)", [self.run_id])
        self.at("transform")
        with conn.transaction():
            self.merged = conn.execute("SELECT * FROM idempotent_merge('flights', 'delivery', latest_by => '{version}')").fetchone()
            self.at("overwrite")
            conn.execute("SELECT idempotent_overwrite('delays', 'delays_of_day', jsonb_build_object('day', %s::text))", [str(day)])
            self.at("publish")
            made = conn.execute("SELECT count(*) AS rows, idempotent_digest(flights) AS digest FROM flights WHERE day = %s", [day])
            made = made.fetchone()
            conn.execute("INSERT INTO publications VALUES (%s, %s)", [self.run_id, made["rows"]])
            conn.execute("SELECT idempotent_run_publish(%s, %s, %s)", [self.run_id, made["rows"], made["digest"]])
            self.at("commit")
        self.at("acknowledge")
        return "publish"


class Broker:
    """Deliveries, at least once: one that was taken and not acknowledged comes again after a while."""

    def __init__(self, deliveries):
        self.lock = threading.Lock()
        self.waiting, self.later = deliveries[::-1], []
        self.total = self.open = len(deliveries)
        self.failures = []

    def take(self):
        with self.lock:
            if self.later and self.later[0][0] <= time.monotonic():
                return heapq.heappop(self.later)[1]
            return self.waiting.pop() if self.waiting else None

    def again(self, delivery, copy=False):
        with self.lock:
            heapq.heappush(self.later, (time.monotonic() + LEASE * 0.6, delivery))
            self.open += copy

    def acknowledge(self):
        with self.lock:
            self.open -= 1

    def over(self):
        return self.failures or not self.open


class Worker(threading.Thread):
    """Takes deliveries until all are done. Its fate is drawn for every job; `known` is what it knows of its runs."""

    def __init__(self, number, db, broker):
        super().__init__(daemon=True)
        self.random = random.Random(SEED * 10 + number)
        self.db, self.broker = db, broker
        self.conn = None
        self.known, self.met, self.stale = {}, Counter(), 0

    def run(self):
        try:
            while not self.broker.over():
                delivery = self.broker.take()
                if delivery is None:
                    time.sleep(0.02)
                else:
                    self.work(delivery)
        except BaseException as error:
            self.broker.failures.append(error)
        finally:
            self.leave()

    def leave(self):
        if self.conn:
            self.conn.close()
            self.conn = None

    def arrive(self):
        deadline = time.monotonic() + 60
        while self.conn is None:
            try:
                self.conn = self.db.connect(user="etl", application_name="worker", options="-c search_path=storm,public")
            except psycopg.OperationalError:
                # The server comes up again.
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def work(self, delivery):
        where = self.random.choice(["load", "heartbeat", "transform", "overwrite", "publish", "commit", "acknowledge"])
        fate = self.random.choices(["live", "die", "fail", "sleep"], [85, 8, 3, 4])[0]

        def at(step):
            if step != where or fate == "live":
                return
            if fate == "die":
                raise Died
            if fate == "sleep":
                # Nobody has heard of it for long: it is thought dead, and the delivery is given to another.
                self.broker.again(delivery, copy=True)
                time.sleep(LEASE * 2.5)
            if fate == "fail" and step != "acknowledge":
                self.conn.execute("SELECT 1 / 0")

        self.arrive()
        job = Job(self.conn, "flights", at)
        try:
            outcome = job.run(*delivery)
            if outcome == "publish":
                self.known[job.run_id] = "published"
                self.stale += job.merged["stale"]
            self.met[outcome] += 1
            self.broker.acknowledge()
            return
        except Died:
            self.met["died"] += 1
            if job.run_id and where == "acknowledge":
                self.known[job.run_id] = "published"
            self.leave()
        except psycopg.Error as error:
            self.after(error, job)
        if job.run_id:
            self.known.setdefault(job.run_id, "left")
        self.broker.again(delivery)

    def after(self, error, job):
        self.met[error.sqlstate] += 1
        if error.sqlstate == "55000":
            self.known[job.run_id] = "taken_over"
        elif error.sqlstate == "22012":
            try:
                self.conn.execute("SELECT idempotent_run_fail(%s, %s)", [job.run_id, str(error)])
                self.known[job.run_id] = "failed"
            except psycopg.Error as then:
                self.after(then, job)
        elif error.sqlstate in GONE and isinstance(error, psycopg.OperationalError):
            self.leave()
        elif error.sqlstate != "55I01":
            raise error


class Reaper(threading.Thread):
    """Ends workers' server processes at random, and kills one when a third of the work is done and when two thirds are."""

    def __init__(self, db, broker):
        super().__init__(daemon=True)
        self.random = random.Random(SEED)
        self.db, self.broker = db, broker
        self.ended, self.kills, self.loads = 0, 0, set()

    def run(self):
        try:
            while not self.broker.over():
                time.sleep(self.random.uniform(0.05, 0.4))
                try:
                    with self.db.connect() as conn:
                        self.reap(conn)
                except psycopg.OperationalError as error:
                    if error.sqlstate not in GONE:
                        raise
        except BaseException as error:
            self.broker.failures.append(error)

    def reap(self, conn):
        self.loads.update(row["status"] for row in conn.execute("SELECT status FROM idempotent.loads ORDER BY load_id DESC LIMIT 9"))
        pids = conn.execute("SELECT pid FROM pg_stat_activity WHERE application_name = 'worker' AND state <> 'idle'").fetchall()
        if not pids:
            return
        pid = self.random.choice(pids)["pid"]
        if self.kills < 2 and self.broker.open < self.broker.total * (2 - self.kills) / 3:
            try:
                self.db.cluster.kill_backend(pid)
                self.kills += 1
            except ProcessLookupError:
                pass
        else:
            self.ended += value(conn, "SELECT pg_terminate_backend(%s)::int", pid)


def deliveries(rng, days):
    """Which versions each day has, and what is delivered, in order: every version once, a quarter of them again, and the
    first version of each corrected day once more after its last."""
    versions = {day: rng.choices([1, 2, 3], [80, 14, 6])[0] for day in days}
    if len(days) > 1:
        versions.update({days[0]: 1, days[-1]: 3})
    first = [(day, version) for day in days for version in range(1, versions[day] + 1)]
    sent = rng.sample(first, len(first))
    again = rng.sample(first, len(first) // 4) + [(day, 1) for day in days if versions[day] > 1]
    for day, version in again:
        last = max(sent.index((day, other)) for other in range(1, versions[day] + 1))
        sent.insert(rng.randint(last + 1, len(sent)), (day, version))
    return versions, first, sent


def test_a_year_of_jobs_by_dying_workers_ends_as_one_clean_run_does(own_cluster):
    db = own_cluster.create_database()
    with db.connect() as conn:
        conn.execute("CREATE ROLE etl LOGIN; CREATE SCHEMA clean AUTHORIZATION etl; CREATE SCHEMA storm AUTHORIZATION etl")
        conn.execute("GRANT CREATE ON SCHEMA public TO etl; SET SESSION AUTHORIZATION etl")
        conn.execute(SENT)
        with conn.cursor().copy("COPY file FROM STDIN (FORMAT csv, HEADER, NULL 'NA')") as copy:
            copy.write(lzma.decompress(FILE.read_bytes()))
        assert value(conn, "SELECT count(*) FROM file") == 336_776
        days = conn.execute("SELECT DISTINCT (time_hour AT TIME ZONE 'America/New_York')::date AS day FROM file ORDER BY day").fetchall()
        days = [row["day"] for row in days]
        assert len(days) == 365
        rng = random.Random(SEED)
        days = sorted(rng.sample(days, DAYS))
        versions, in_order, sent = deliveries(rng, days)
        script = VERSIONS.split(";\n")
        conn.execute(script[0], {"days": list(versions), "versions": list(versions.values())})
        for statement in script[1:-1]:
            conn.execute(statement)
        for schema in ("clean", "storm"):
            conn.execute(f"SET search_path = {schema}, public; {TABLES}")
        conn.execute("SET search_path = clean, public")
        # One clean run: everything once, in order, by one session.
        for day, version in sorted(in_order, key=lambda delivery: delivery[::-1]):
            assert Job(conn, "clean").run(day, version) == "publish"

    broker = Broker(sent)
    workers = [Worker(number, db, broker) for number in range(WORKERS)]
    reaper = Reaper(db, broker)
    for thread in [*workers, reaper]:
        thread.start()
    for thread in [*workers, reaper]:
        thread.join(400)
        assert not thread.is_alive(), "still running"
    if broker.failures:
        raise broker.failures[0]
    met = sum((worker.met for worker in workers), Counter())
    told = f"{len(sent)} deliveries: {dict(met)}; {reaper.ended} server processes ended, {reaper.kills} killed"
    print(told)

    with db.connect() as conn:
        the_tables_are_those_of_the_clean_run(conn)
        the_tables_are_what_plain_sql_makes(conn)
        known = {run: outcome for worker in workers for run, outcome in worker.known.items()}
        the_runs_tell_the_whole_story(conn, known, versions)

    # And it was a storm.
    if DAYS >= 100:
        assert reaper.kills == 2 and reaper.ended >= 10, told
        assert all(met[what] >= 3 for what in ("skip", "died", "55I01", "55000", "22012")), told
        assert "running" in reaper.loads
        assert sum(worker.stale for worker in workers) > 1000
        assert set(known.values()) == {"published", "failed", "taken_over", "left"}


def the_tables_are_those_of_the_clean_run(conn):
    for table in ("arrivals", "flights", "delays"):
        clean, storm = (value(conn, f"SELECT idempotent_digest(t) FROM {schema}.{table} t") for schema in ("clean", "storm"))
        assert storm == clean, table
        assert not clean.startswith("0:")


def the_tables_are_what_plain_sql_makes(conn):
    flights = "SELECT DISTINCT ON (time_hour, carrier, flight) * FROM sent ORDER BY time_hour, carrier, flight, version DESC"
    delays = """
        SELECT day, carrier, count(*), count(*) - count(dep_delay), round(avg(dep_delay), 3), max(dep_delay) FROM storm.flights
        GROUP BY day, carrier
    """
    for table, query in (("arrivals", "TABLE sent"), ("flights", flights), ("delays", delays)):
        both = f"(({query}) EXCEPT ALL TABLE storm.{table}) UNION ALL (TABLE storm.{table} EXCEPT ALL ({query}))"
        assert value(conn, f"SELECT count(*) FROM ({both}) AS other") == 0, table


def the_runs_tell_the_whole_story(conn, known, versions):
    runs = conn.execute("SELECT * FROM idempotent.pipeline_run_records WHERE dataset = 'flights' ORDER BY partition, attempt").fetchall()
    by_id = {run["run_id"]: run for run in runs}
    # What a worker saw of its run is what is on record.
    assert set(known) <= set(by_id)
    for run, outcome in known.items():
        assert by_id[run]["status"] == outcome or outcome == "left", (outcome, by_id[run])
    # Nothing is open, and every run that nobody knows the end of was taken over, or published before the answer was lost.
    for run in runs:
        assert run["status"] in {"published", "failed", "taken_over"}, run
        assert run["status"] != "failed" or "division by zero" in run["error"]
        assert (run["row_count"] is not None) == (run["output_version"] is not None) == (run["status"] == "published")
    # Each published run had its effect once, no other had any.
    published = sorted((run["run_id"], run["row_count"]) for run in runs if run["status"] == "published")
    effects = conn.execute("SELECT run_id, rows FROM storm.publications ORDER BY run_id").fetchall()
    assert [tuple(row.values()) for row in effects] == published

    # The loads of runs that died did not finish, and none is taken for alive.
    statuses = {row["status"] for row in conn.execute("SELECT DISTINCT status FROM idempotent.loads").fetchall()}
    assert "finished" in statuses and statuses <= {"finished", "failed", "died"}

    partitions = {}
    for run in runs:
        partitions.setdefault(run["partition"], []).append(run)
    assert set(partitions) == {str(day) for day in versions}
    for day, last in versions.items():
        story = partitions[str(day)]
        assert [run["attempt"] for run in story] == list(range(1, len(story) + 1))
        for before, run in zip([None, *story], story):
            reason = {
                None: "first_run",
                "failed": "previous_failed",
                "taken_over": "lease_expired",
                "published": "input_changed",
            }[before and before["status"]]
            assert run["reason"] == reason
            if before is None:
                continue
            # One at a time: the next began when the one before had ended, and not before its lease was over.
            assert before["completed_at"] <= run["started_at"], (before, run)
            if before["status"] == "taken_over":
                assert before["lease_until"] <= run["started_at"]
            if before["status"] == "published":
                assert before["input_version"] != run["input_version"]
        # Every version of the day was published, and the table holds what the last publication said.
        assert len({run["input_version"] for run in story if run["status"] == "published"}) == last
        digest = value(conn, "SELECT idempotent_digest(flights) FROM storm.flights WHERE day = %s", day)
        assert (story[-1]["status"], story[-1]["output_version"]) == ("published", digest)
