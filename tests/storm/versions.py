"""Overwrites and merges, where a later version takes the place of an earlier one."""

import threading
from dataclasses import dataclass

from psycopg.types.json import Jsonb

from storm.clients import Client, Refused, set_batch
from storm.ledger import Violation
from storm.tables import SLICED, SLICES

# A transaction whose COMMIT was not answered has ended so many seconds later.
GRACE = 5.0


@dataclass
class Written:
    """One overwrite: when it was sent, and when it was over; None while it runs."""

    sent: float
    over: float | None = None
    committed: bool | None = None


class Slices:
    """What was sent of the slices, by table, slice and version."""

    def __init__(self):
        self._lock = threading.Lock()
        self._version = 0
        self._written = {}

    def send(self, table, slices, now):
        """These will be overwritten by a version, which is returned."""
        with self._lock:
            self._version += 1
            for number in slices:
                self._written.setdefault((table, number), {})[self._version] = Written(now)
            return self._version

    def over(self, table, slices, version, now, committed):
        """It is over; `committed` is None if nobody knows."""
        with self._lock:
            for number in slices:
                written = self._written[table, number]
                written[version].over = now if committed is not None else now + GRACE
                written[version].committed = committed
                if committed:
                    # What was over before this was sent can never be seen again.
                    sent = written[version].sent
                    for old in [v for v, w in written.items() if w.over is not None and w.over < sent]:
                        del written[old]

    def snapshot(self):
        """What is known now, to be held against what is read later."""
        with self._lock:
            return {name: {v: Written(w.sent, w.over, w.committed) for v, w in written.items()} for name, written in self._written.items()}


class Overwrite(Client):
    """idempotent_overwrite of a value or of a range, and idempotent_overwrite_each."""

    kind = "overwrite"

    def step(self):
        self.rush()
        table = self.dice.choice(SLICED)
        first = self.dice.randrange(SLICES)
        last = first if self.dice.random() < 0.7 else self.dice.randrange(first, SLICES)
        self.again(lambda: self.overwrite(table, first, last))

    def overwrite(self, table, first, last):
        slices, level = range(first, last + 1), self.level()
        version = self.storm.slices.send(table, slices, self.ledger.now())

        def act(conn):
            set_batch(conn, first=first, last=last, version=version)
            if first == last and version % 3:
                sql, argument = "SELECT * FROM idempotent_overwrite(%s, 'slices_in', %s)", Jsonb({"slice": first})
            elif version % 2:
                sql, argument = "SELECT * FROM idempotent_overwrite(%s, 'slices_in', %s)", Jsonb({"slice": {"from": first, "to": last + 1}})
            else:
                sql, argument = "SELECT slice::text, deleted FROM idempotent_overwrite_each(%s, 'slices_in', %s)", ["slice"]
            return conn.execute(sql, [table, argument]).fetchall()

        end = self.dice.choices(("COMMIT", "ROLLBACK"), (5, 1))[0]
        committed = False
        try:
            run = self.transaction(act, level, end)
            self.send(f"overwrite by {version}, {level}, {end}", table, list(slices), run, (), level)
            committed = end == "COMMIT"
        except Refused as refused:
            committed = None if refused.lost else False
            raise
        finally:
            self.storm.slices.over(table, slices, version, self.ledger.now(), committed)


class Merge(Client):
    """idempotent_merge and idempotent_merge_many, by a version."""

    kind = "merge"

    def step(self):
        self.rush()
        count = self.dice.randint(1, 20)
        first, last = self.storm.merged.choose_range(self.dice, count)
        self.again(lambda: self.merge(first, last))

    def merge(self, first, last):
        version = self.dice.randint(max(1, self.storm.merge_version.top - 20), self.storm.merge_version.next())
        level, keys = self.level(), range(first, last + 1)

        def act(conn):
            set_batch(conn, first=first, last=last, version=version)
            if version % 3:
                return conn.execute("SELECT * FROM idempotent_merge('merged', 'changes', latest_by => '{version}')").fetchone()
            rows = "(SELECT jsonb_agg(to_jsonb(changes)) FROM changes)"
            return conn.execute(f"SELECT * FROM idempotent_merge_many('merged', {rows}, latest_by => '{{version}}')").fetchone()

        run = self.once(act) if level == "read committed" else self.transaction(act, level)
        told = self.send(f"merge of {version}, {level}", "merged", list(keys), run, (), level)
        if sum(told[name] for name in ("inserted", "updated", "unchanged", "stale")) != len(keys):
            raise Violation("each row of a merge has an outcome", f"merge of {version} {first} to {last}: {told}", "merged", first)
        self.storm.acknowledge_merge(keys, version)


KINDS = (Overwrite, Merge)


def must_be_one_version(conn, storm):
    """Each slice is one version whole, and none that was overwritten since."""
    for table in SLICED:
        known = storm.slices.snapshot()
        read = f"SELECT slice, version, count(*), count(DISTINCT n) AS numbers, max(size_of(version)) AS size FROM {table} GROUP BY 1, 2"
        rows = conn.execute(read).fetchall()
        if len({row["slice"] for row in rows}) < SLICES:
            # Who reads a partition by a snapshot from before a TRUNCATE finds it empty: docs/overwrite.md.
            known = storm.slices.snapshot()
            rows = conn.execute(read).fetchall()
        for number in range(SLICES):
            here = [row for row in rows if row["slice"] == number]
            judge_slice(table, number, here, known.get((table, number), {}))


def judge_slice(table, number, here, known):
    """What is stored of a slice, against what was known before it was read."""

    def violation(invariant, words):
        return Violation(invariant, f"slice {number} of {table} {words}", table, number)

    if len(here) > 1:
        raise violation("a slice is one version", f"has {here}")
    newest = max((written.sent for written in known.values() if written.committed), default=None)
    if not here:
        if newest is not None:
            raise violation("nothing acknowledged is lost", "is empty")
        return
    (row,) = here
    version, written = row["version"], known.get(row["version"])
    if not row["count"] == row["numbers"] == row["size"]:
        raise violation("a slice is one version", f"has {row}")
    if written is None:
        # It was sent after what is known here; or it was forgotten, because a later one was committed.
        if known and version < max(known):
            raise violation("nothing acknowledged is lost", f"has version {version} again")
    elif written.committed is False:
        raise violation("what failed is not stored", f"has version {version}")
    elif written.over is not None and newest is not None and written.over < newest:
        raise violation("nothing acknowledged is lost", f"has version {version} again")
