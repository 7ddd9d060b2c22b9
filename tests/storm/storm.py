"""The storm itself: who takes part, when the server is looked at, and what is reported."""

import collections
import contextlib
import random
import re
import tempfile
import threading
import time

import psycopg

from storm import batches, checks, faults, masonry, requests, rows, runs, standby, versions
from storm.clients import DETACHED, told_by
from storm.gate import Gate
from storm.leases import Leases
from storm.ledger import Counter, Keys, Ledger, Violation
from storm.tables import statements
from support.cluster import Cluster
from support.logs import Log
from support.server import SERVER_MAJOR

CLIENTS = {kind.kind: kind for module in (rows, batches, requests, runs, versions) for kind in module.KINDS}
TORMENTORS = {"killer": (faults.Killer, 0.35), "mason": (masonry.Mason, 0.15), "janitor": (masonry.Janitor, 0.5)}
# So many clients of each kind; of those that meet most, one more.
TWICE = ("insert", "many", "guard", "copy", "execute", "worker", "run", "overwrite", "merge")
# While clients are at work, so many seconds between two looks.
LOOK = 3.0
SETTINGS = {
    "max_prepared_transactions": "50",
    "max_locks_per_transaction": "256",
    "wal_keep_size": "4GB",
    # A recovery replays so much at most, and compares all pages of it.
    "max_wal_size": "512MB",
    "wal_retrieve_retry_interval": "100ms",
    "deadlock_timeout": "100ms",
    "log_checkpoints": "off",
}
# The functions are those of the test build, in which parts of protocols can be left out.
TEST_BUILD = "UPDATE pg_proc SET probin = '$libdir/pg_idempotent_schedules' WHERE probin = '$libdir/pg_idempotent'"
BAD = re.compile(rf"^\S+ \S+ \S+ \[\d+\] (?:{'|'.join(checks.NEVER_LOGGED)}) ", re.M)


def clients_of(kinds):
    """The clients of these kinds, or of all: a list of classes."""
    wanted = kinds.replace(",", " ").split() or list(CLIENTS)
    unknown = [kind for kind in wanted if kind not in CLIENTS]
    if unknown:
        raise SystemExit(f"no client is called {unknown[0]}; there are: race {' '.join(CLIENTS)}")
    return [CLIENTS[kind] for kind in wanted for _ in range(1 + (kind in TWICE))]


class Storm:
    """What all who take part share."""

    def __init__(self, options):
        self.options = options
        self.seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1_000_000)
        self.gate = Gate()
        self.prepared = 0
        self.tokens, self.requests, self.works, self.versions = Counter(), Counter(), Counter(), Counter(3, 0.05)
        self.work_leases, self.run_leases = Leases("work"), Leases("run")
        self.slices = versions.Slices()
        self.merged, self.merge_version = Keys(), Counter()
        self._merges, self._merges_lock = {}, threading.Lock()
        self.cluster = self.copy = self.ledger = self.conn = None
        self._log = None

    # --- what clients ask of it

    def connect(self, who, options):
        return psycopg.connect(
            host=str(self.cluster.root), dbname=self.database, user="postgres", autocommit=True, connect_timeout=20,
            row_factory=psycopg.rows.dict_row, application_name=f"storm {who}", options=options,
        )

    def violation(self, found):
        self.ledger.violation(found, self.options.violations)

    def acknowledge_merge(self, keys, version):
        with self._merges_lock:
            for key in keys:
                self._merges[key] = max(version, self._merges.get(key, 0))

    def latest_merge(self):
        with self._merges_lock:
            return dict(self._merges)

    # --- the whole of it

    def run(self):
        """The storm, from the server's start to the report. 0, or 1 if something was found."""
        with contextlib.ExitStack() as stack:
            file = stack.enter_context(tempfile.NamedTemporaryFile("w", prefix="pgi_storm_", suffix=".jsonl"))
            self.ledger = Ledger(self.seed, file)
            print(f"seed {self.seed}, PostgreSQL {SERVER_MAJOR}", flush=True)
            self.start_servers(stack)
            self.ledger.started = time.time()
            threads = self.start_clients()
            try:
                self.watch()
            finally:
                self.ledger.ended.set()
                self.join(threads)
            self.end()
            self.report()
        return 1 if self.ledger.violations else 0

    def start_servers(self, stack):
        settings = dict(SETTINGS)
        if self.options.standby:
            settings["wal_consistency_checking"] = "all"
            # Without it, a page that a record only marks as all-visible has no image. If its table is dropped before the server
            # crashes, recovery finds zeros in its place, and the comparison ends the server: invalid page pd_lower 0.
            settings["wal_log_hints"] = "on"
        if self.options.leave_out:
            settings["pg_idempotent.leave_out"] = self.options.leave_out
        self.cluster = Cluster(settings=settings)
        stack.callback(lambda: self.cluster.destroy())
        db = self.cluster.create_database()
        self.database = db.name
        with db.connect() as conn:
            if self.options.leave_out:
                conn.execute(TEST_BUILD)
        with db.connect() as conn:
            conn.execute(statements(self.ledger.salt))
        if self.options.standby:
            self.copy = stack.enter_context(quiet(self.cluster.standby()))
        self._log = Log(self.cluster)

    def start_clients(self):
        numbers = collections.Counter()
        everybody = []
        for kind in clients_of(self.options.kinds):
            numbers[kind] += 1
            everybody.append(kind(self, numbers[kind]))
        for name in self.options.faults.split():
            if name != "none":
                kind, pause = TORMENTORS[name]
                everybody.append(kind(self, pause))
        for one in everybody:
            one.thread.start()
        return [one.thread for one in everybody]

    def join(self, threads):
        """Wait for all of them, who may wait for what is prepared. Who does not end is a violation at the last look."""
        for thread in threads:
            for _ in range(200):
                thread.join(0.5)
                if not thread.is_alive():
                    break
                self.end_prepared()

    def watch(self):
        """Looks at the server, at work and at rest, until the time is over."""
        end = self.ledger.started + self.options.seconds
        rest = time.time() + self.options.pause
        while time.time() < end and not self.ledger.ended.wait(min(LOOK, max(0.1, end - time.time()))):
            if time.time() < rest:
                self.look(checks.at_any_time, patient=False)
            else:
                self.rest()
                rest = time.time() + self.options.pause
                print(f"  {self.ledger.now():.0f} s: {sum(self.ledger.counts.values())} operations, {sum(self.ledger.faults.values())} faults", flush=True)

    def look(self, check, patient=True):
        """One look. The faults of the storm may cut it short; with patience, it is begun again then."""
        for _ in range(20):
            try:
                with self.connect("watch", "-c statement_timeout=120s") as conn:
                    check(conn, self)
                return
            except Violation as found:
                self.violation(found)
                return
            except psycopg.Error as error:
                if error.sqlstate not in faults.ALWAYS or not isinstance(error, psycopg.OperationalError):
                    self.violation(Violation("errors", f"a look at the server: {told_by(error)}"))
                    return
                if not patient:
                    return
                time.sleep(0.5)
        self.violation(Violation("the server answers", "not for a look at it"))

    def rest(self):
        """Nobody is at work: all invariants, the log, and the standby."""
        try:
            with self.gate.closed(self.end_prepared):
                self.end_prepared(all_of_them=True)
                self.look(checks.at_rest)
                self.look(lambda conn, storm: self.must_follow(conn))
                self.look(lambda conn, storm: checks.log_is_clean(storm))
        except TimeoutError as late:
            self.violation(Violation("nobody waits for ever", f"{late} did not end; {self.activity()}"))
            self.ledger.ended.set()

    def must_follow(self, conn):
        if self.copy:
            standby.must_be_equal(conn, self.copy, self.database)

    def end_prepared(self, all_of_them=False):
        """Clients may wait for what is prepared."""
        with contextlib.suppress(psycopg.Error), self.connect("watch", "-c statement_timeout=5s") as conn:
            if all_of_them:
                time.sleep(0.3)
            rows.wait_for_prepared(conn, random.Random(0))

    def activity(self):
        with contextlib.suppress(psycopg.Error), self.connect("watch", "") as conn:
            sql = "SELECT pid, application_name, state, wait_event, pg_blocking_pids(pid) AS behind, left(query, 80) AS query FROM pg_stat_activity WHERE state <> 'idle'"
            return "\n  ".join(str(row) for row in conn.execute(sql).fetchall())
        return "the server does not answer"

    def bad_log_lines(self):
        """The errors in the log that are never right, but for those of partitions: of these the clients are judged."""
        bad = [line for line in self._log.news().splitlines() if BAD.match(line) and " ERROR: " in line]
        return [line for line in bad if not DETACHED.search(line)]

    def end(self):
        """The last looks."""
        self.rest()
        self.look(lambda conn, storm: setattr(storm, "checked_structure", checks.structure(conn)))
        if self.copy:
            lines = self.copy.forbidden_log_lines()
            if lines:
                self.violation(Violation("the standby's log is clean", "\n  ".join(lines[:8])))

    def report(self):
        ledger = self.ledger
        kinds = sorted({kind for kind, _ in ledger.counts})
        print(f"\n{sum(ledger.counts.values())} operations in {ledger.now():.0f} s, by kind and outcome:")
        for kind in kinds:
            outcomes = sorted(((n, state) for (k, state), n in ledger.counts.items() if k == kind), reverse=True)
            print(f"  {kind:<13} " + ", ".join(f"{state} {n}" for n, state in outcomes))
        print(f"{sum(ledger.faults.values())} faults: " + ", ".join(f"{name} {n}" for name, n in sorted(ledger.faults.items())))
        sent = {table: len(keys.sent) for table, keys in ledger.keys.items()}
        print(f"keys: {', '.join(f'{table} {n}' for table, n in sent.items())}")
        print(f"amcheck: {'yes' if getattr(self, 'checked_structure', False) else 'no'}; standby: {'yes' if self.copy else 'no'}")
        for found in ledger.violations:
            print(f"\n✗ {found.invariant}, after {found.seconds:.1f} s: {found.words}")
            self.tell_history(found)
        print(f"\n{len(ledger.violations)} violations (SEED={self.seed})")

    def tell_history(self, found):
        print(f"  what was sent of {found.subject} {found.key}, and the faults just before (sent, answered, who, what, answer, xid):")
        for sent, answered, who, what, _, _, answer, xid in self.ledger.history(found):
            print(f"    {sent:8.3f} {answered:8.3f}  {who:<12} {what:<24} {answer}  {xid or ''}")
        if found.subject in rows.STORED_IN and found.key is not None:
            with contextlib.suppress(psycopg.Error), self.connect("watch", "") as conn:
                sql = f"SELECT * FROM ({checks.rows_of(found.subject, 'ctid::text, xmin::text, xmax::text, k, a, b, touched')}) AS t WHERE k = %s"
                print(f"    stored: {conn.execute(sql, [found.key]).fetchall()}")


@contextlib.contextmanager
def quiet(context):
    """The block; what its end would raise was looked at before."""
    entered = context.__enter__()
    try:
        yield entered
    finally:
        with contextlib.suppress(AssertionError):
            context.__exit__(None, None, None)
