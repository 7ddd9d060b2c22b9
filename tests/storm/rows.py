"""Payloads that are inserted or verified: by functions, guard, COPY and view, in transactions, prepared ones too."""

import contextlib
from dataclasses import dataclass

import psycopg
from psycopg.types.json import Jsonb

from storm.clients import READ_COMMITTED, Client, Refused, set_batch
from storm.ledger import Violation
from storm.tables import GUARDED, STORED_IN, payload, stays

CONFLICT = "23I01"
# A partition is detached.
NO_PARTITION = "23514"
CHANGED = "55000"


@dataclass
class Answer:
    """What became of payloads."""

    inserted: int = 0
    duplicates: int = 0
    conflicts: int = 0
    # (key, outcome) of each, where that is told
    each: tuple = ()
    # (key, id) of each, where the row is told
    ids: tuple = ()

    @staticmethod
    def of_outcomes(keys, outcomes):
        return Answer(outcomes.count("inserted"), outcomes.count("duplicate"), outcomes.count("conflict"), tuple(zip(keys, outcomes)))

    @staticmethod
    def of_counts(row):
        return Answer(row["inserted"], row["duplicates"], row["conflicts"])

    def __str__(self):
        told = f"{self.inserted} inserted, {self.duplicates} duplicates, {self.conflicts} conflicts"
        return f"{told} {[outcome for _, outcome in self.each]}" if self.each else told


class Sender(Client):
    """A client that sends payloads of keys. `way` says how: the names of methods, of which it chooses one."""

    tables = tuple(STORED_IN)
    most = 8

    def way(self, conn, table, rows, on_conflict):
        raise NotImplementedError

    def choose(self):
        """A table, keys, and sometimes one among them that is sent with an altered payload: one that is stored already."""
        table = self.dice.choice(self.tables)
        keys = self.ledger.keys[table].choose(self.dice, self.dice.randint(1, self.most))
        return table, keys, self.choose_lie(table, keys)

    def choose_lie(self, table, keys):
        known = sorted(self.ledger.keys[table].known(keys))
        return self.dice.choice(known) if known and self.dice.random() < 0.06 else None

    def step(self):
        self.rush()
        table, keys, lie = self.choose()
        if self.dice.random() < 0.25:
            self.in_transaction(table, keys, lie)
        else:
            self.again(lambda: self.alone(table, keys, lie))

    def alone(self, table, keys, lie):
        """One statement."""
        known = self.ledger.keys[table].known(keys)
        act, mode = self.act(table, keys, lie)
        answer = self.answered(table, keys, lie, self.once(act), READ_COMMITTED)
        self.judge(table, keys, lie, mode, known, answer)
        if answer is not None:
            self.ledger.keys[table].acknowledge(keys)
        return answer

    def in_transaction(self, table, keys, lie):
        """Several statements, savepoints among them, and then COMMIT, ROLLBACK, or PREPARE TRANSACTION."""
        level = self.level()
        parts = [(table, keys, lie)] + [self.choose() for _ in range(self.dice.randint(0, 2))]
        known = [self.ledger.keys[t].known(k) for t, k, _ in parts]
        done = []
        end = self.dice.choices(("COMMIT", "ROLLBACK"), (5, 1))[0]

        def work(conn):
            done.clear()
            for place, (t, k, bad) in enumerate(parts):
                act, mode = self.act(t, k, bad)
                undone = self.dice.random() < 0.2
                if undone:
                    conn.execute("SAVEPOINT s")
                answer = self.caught(act, conn, t, k, bad)
                self.judge(t, k, bad, mode, known[place], answer)
                if undone:
                    conn.execute("ROLLBACK TO SAVEPOINT s")
                elif answer is not None:
                    done.append((t, k))
            return [str(answer)]

        keys_of_all = [key for _, k, _ in parts for key in k]
        tables = {t for t, _, _ in parts}
        subject = table if len(tables) == 1 else "several"
        may = {NO_PARTITION} if "parted" in tables else set()
        may |= {CONFLICT} if any(bad is not None for _, _, bad in parts) else set()
        self.send(f"{self.kind}, {level}, {end}", subject, keys_of_all, self.transaction(work, level, end), may, level)
        if end == "COMMIT":
            for t, k in done:
                self.ledger.keys[t].acknowledge(k)

    def caught(self, act, conn, table, keys, lie):
        """An altered payload that is an error: the savepoint before it goes on."""
        if lie is None:
            return act(conn)
        conn.execute("SAVEPOINT altered")
        try:
            return act(conn)
        except psycopg.Error as error:
            if error.sqlstate != CONFLICT:
                raise
            conn.execute("ROLLBACK TO SAVEPOINT altered")
            return None

    def answered(self, table, keys, lie, run, level):
        """What the server answers; None for the conflict of an altered payload."""
        may = ({NO_PARTITION} if table == "parted" else set()) | ({CONFLICT} if lie is not None else set())
        try:
            return self.send(f"{self.kind}, altered {lie}" if lie is not None else self.kind, table, keys, run, may, level)
        except Refused as refused:
            if refused.state == CONFLICT:
                return None
            raise

    def act(self, table, keys, lie):
        rows = [payload(self.ledger.salt, key, key == lie) for key in keys]
        mode = self.dice.choice(("error", "report", "quarantine"))
        return (lambda conn: self.way(conn, table, rows, mode)), mode

    def judge(self, table, keys, lie, mode, known, answer):
        """What was told is what the contract promises."""
        if answer is None:
            return
        told = f"{self.kind} of {table} {keys}, altered {lie}: {answer}"
        if lie is not None and (answer.conflicts < 1 or mode == "error"):
            raise Violation("an altered payload is a conflict", told, table, lie)
        if lie is None and answer.conflicts:
            raise Violation("no conflict that was not sent", told, table, keys[0])
        if answer.inserted + answer.duplicates + answer.conflicts != len(keys):
            raise Violation("each payload has an outcome", told, table, keys[0])
        again = [key for key, outcome in answer.each if outcome == "inserted" and key in known]
        if again or (len(known) == len(keys) and answer.inserted):
            raise Violation("nothing acknowledged is lost", f"inserted again: {told}", table, (again or keys)[0])
        for key, number in answer.ids:
            if stays(key) and key in known:
                self.ledger.must_agree("a row keeps its id", table + " id", key, number)


class Insert(Sender):
    kind = "insert"
    most = 1

    def way(self, conn, table, rows, on_conflict):
        row = conn.execute(
            "SELECT outcome FROM idempotent_insert(%s, %s, on_conflict => %s)", [table, Jsonb(rows[0]), on_conflict]
        ).fetchone()
        return Answer.of_outcomes([rows[0]["k"]], [row["outcome"]])


class Many(Sender):
    kind = "many"
    most = 20

    def way(self, conn, table, rows, on_conflict):
        sql = "SELECT inserted, duplicates, conflicts FROM idempotent_insert_many(%s, %s, on_conflict => %s)"
        return Answer.of_counts(conn.execute(sql, [table, Jsonb(rows), on_conflict]).fetchone())


class Each(Sender):
    kind = "each"

    def way(self, conn, table, rows, on_conflict):
        sql = "SELECT outcome FROM idempotent_insert_each(%s, %s, on_conflict => %s) ORDER BY ordinal"
        told = conn.execute(sql, [table, Jsonb(rows), on_conflict]).fetchall()
        return Answer.of_outcomes([row["k"] for row in rows], [row["outcome"] for row in told])


class From(Sender):
    """The rows of a view, many of them now and then."""

    kind = "from"

    def choose(self):
        table = self.dice.choice(self.tables)
        count = 400 if self.dice.random() < 0.05 else self.dice.randint(1, 30)
        first, last = self.ledger.keys[table].choose_range(self.dice, count)
        keys = list(range(first, last + 1))
        return table, keys, self.choose_lie(table, keys)

    def act(self, table, keys, lie):
        mode = self.dice.choice(("error", "report", "quarantine"))

        def run(conn):
            set_batch(conn, first=keys[0], last=keys[-1], lie=-1 if lie is None else lie)
            return self.call(conn, table, mode)

        return run, mode

    def call(self, conn, table, mode):
        sql = "SELECT inserted, duplicates, conflicts FROM idempotent_insert_from(%s, 'batch', on_conflict => %s)"
        return Answer.of_counts(conn.execute(sql, [table, mode]).fetchone())


class Guard(Sender):
    """Plain INSERT into guarded tables."""

    kind = "guard"
    tables = GUARDED

    def act(self, table, keys, lie):
        rows = [payload(self.ledger.salt, key, key == lie) for key in keys]
        return (lambda conn: self.way(conn, table, rows, "error")), "error"

    def way(self, conn, table, rows, on_conflict):
        values = ", ".join(["(%s::bigint, %s::numeric, %s)"] * len(rows))
        sql = f"INSERT INTO {table} (k, a, b) VALUES {values}"
        inserted = conn.execute(sql, [value for row in rows for value in row.values()]).rowcount
        return Answer(inserted, len(rows) - inserted)


class Copy(Guard):
    kind = "copy"
    most = 40

    def way(self, conn, table, rows, on_conflict):
        cursor = conn.cursor()
        with cursor.copy(f"COPY {table} (k, a, b) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(tuple(row.values()))
        return Answer(cursor.rowcount, len(rows) - cursor.rowcount)


class View(Guard):
    kind = "view"
    tables = ("viewed",)

    def way(self, conn, table, rows, on_conflict):
        values = ", ".join(["(%s::bigint, %s::numeric, %s)"] * len(rows))
        sql = f"INSERT INTO viewed_in (k, a, b) VALUES {values} RETURNING id, k"
        told = conn.execute(sql, [value for row in rows for value in row.values()]).fetchall()
        return Answer(0, len(told), ids=tuple((row["k"], row["id"]) for row in told))


class Prepared(Many):
    """Transactions that are prepared; some are left to others (masonry.py)."""

    kind = "prepared"
    most = 4

    def step(self):
        self.rush()
        table, keys, _ = self.choose()
        known = self.ledger.keys[table].known(keys)
        act, mode = self.act(table, keys, None)
        self.storm.prepared += 1
        name = f"storm {self.name} {self.storm.prepared}"
        level = self.level()
        run = self.transaction(act, level, f"PREPARE TRANSACTION '{name}'")
        answer = self.send(f"prepare, {level}", table, keys, run, {NO_PARTITION} if table == "parted" else (), level)
        self.judge(table, keys, None, mode, known, answer)
        if self.dice.random() < 0.2:
            return
        end = self.dice.choices(("COMMIT", "ROLLBACK"), (4, 1))[0]
        # Another may have ended it already.
        run = self.once(lambda conn: conn.execute(f"{end} PREPARED '{name}'") and end)
        self.send(f"{end} PREPARED", table, keys, run, {"42704", CHANGED})
        if end == "COMMIT":
            self.ledger.keys[table].acknowledge(keys)


class Touch(Sender):
    """Updates of what is not compared, and deletes of rows that may go."""

    kind = "touch"

    def step(self):
        table, keys, _ = self.choose()
        self.rush()
        gone = [key for key in keys if not stays(key)]
        changed = "touched = touched + 1" + (", a = a + 1" if table == "remembering" else "")

        def work(conn):
            if gone and self.dice.random() < 0.5:
                conn.execute(f"DELETE FROM {table} WHERE k = ANY(%s)", [gone])
                return "deleted"
            for key in keys:
                conn.execute(f"UPDATE {table} SET {changed} WHERE k = %s", [key])
            return "updated"

        end = self.dice.choices(("COMMIT", "ROLLBACK"), (4, 1))[0]
        self.send(f"touch, {end}", table, keys, self.transaction(work, end=end))


KINDS = (Insert, Many, Each, From, Guard, Copy, View, Prepared, Touch)


def wait_for_prepared(conn, dice):
    """End the prepared transactions that nobody ends. How many."""
    rows = conn.execute("SELECT gid FROM pg_prepared_xacts WHERE prepared < clock_timestamp() - interval '300 ms'").fetchall()
    for row in rows:
        with contextlib.suppress(psycopg.errors.UndefinedObject, psycopg.errors.ObjectNotInPrerequisiteState):
            conn.execute(f"{dice.choice(('COMMIT', 'ROLLBACK'))} PREPARED '{row['gid']}'")
    return len(rows)
