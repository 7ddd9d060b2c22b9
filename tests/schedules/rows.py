"""Programs of the guard and of the set path, and what they may be told.

A value under a key is the column v of the row, None if there is none. What is tried: `insert` by the guard, `call` (one
payload) and `each` (several) by a function; and beside these UPDATE and DELETE, which are the server's own and are
not judged.
"""

import json

from schedules.history import Violation

SETUPS = {
    "absent": ("", None),
    "stored": ("INSERT INTO {table} VALUES ({k}, 1);", 1),
    "deleted": ("INSERT INTO {table} VALUES ({k}, 1); COMMIT; DELETE FROM {table} WHERE k = {k};", None),
    "updated": ("INSERT INTO {table} VALUES ({k}, 2); COMMIT; UPDATE {table} SET v = 1 WHERE k = {k};", 1),
}


def setup(start, table, k):
    """Statements that put a key into a state, and what is stored under it then."""
    statements, value = SETUPS[start]
    return statements.format(table=table, k=k), value


def final(table, keys):
    """The query for what is stored in the end."""
    return f"SELECT k, v FROM {table} WHERE k IN ({', '.join(map(str, keys))}) ORDER BY k"


def judge_final(answer, history):
    stored = {}
    for k, v in answer.tables[0]:
        if int(k) in stored:
            raise Violation(f"two rows under key {k}")
        stored[int(k)] = int(v)
    for key in history.keys():
        if stored.get(key) != history.now(key):
            raise Violation(f"key {key} is stored with {stored.get(key)}, and {history.now(key)} was acknowledged")


class Row:
    """What is done to one row, or several."""

    # Whether it writes, whatever its outcome.
    may_write = False

    def __init__(self, table, payloads):
        self.table = table
        self.payloads = payloads
        self.keys = [k for k, _ in payloads]

    def effect(self, statement, key, payload, outcome):
        """Judges the outcome of one payload, and notes what it did."""
        seen = statement.seen(key)
        if outcome == "inserted":
            latest = statement.latest(key)
            statement.demand(latest is None, f"inserted, and {latest} is stored under key {key}")
            statement.demand(payload >= 0, "a row that breaks a CHECK went in")
            statement.transaction.note(key, payload)
        elif outcome == "duplicate":
            statement.demand(payload in seen, f"duplicate of {payload}, and stored under key {key} was only {seen}")
        elif outcome == "conflict":
            self.judge_conflict(statement, {key: payload})
        else:
            raise Violation(f"outcome {outcome}")

    def judge_conflict(self, statement, payloads):
        differs = any(
            stored not in (None, payload) for key, payload in payloads.items() for stored in statement.seen(key)
        )
        statement.demand(differs, f"conflict of {payloads}, and no other row was stored")

    def judge_error(self, statement, answer):
        if statement.judge_error(answer, self.keys):
            return
        payloads = dict(self.payloads)
        if answer.state == "23I01":
            self.judge_conflict(statement, payloads)
        elif answer.state == "23514":
            broken = [key for key, payload in payloads.items() if payload < 0]
            free = any(None in statement.seen(key) + statement.committed(key) for key in broken)
            statement.demand(free, "a row was checked that a stored one should have kept out")
        else:
            raise Violation(f"error {answer}")

    def judge_id(self, statement, answer, outcomes):
        """A statement that only met duplicates, which were there all the time, has written nothing. One that met another
        session may have written, and taken that back."""
        pure = set(outcomes) == {"duplicate"} and all(statement.seen(k) == [v] for k, v in self.payloads)
        [[without_id]] = answer.tables[-1]
        if pure and not statement.transaction.wrote:
            statement.demand(without_id == "t", "a duplicate has made the transaction write")
        statement.transaction.wrote |= not pure


NO_ID = "; SELECT pg_current_xact_id_if_assigned() IS NULL"


class Insert(Row):
    """INSERT into a guarded table."""

    def sql(self, _session):
        values = ", ".join(f"({k}, {v})" for k, v in self.payloads)
        return f"INSERT INTO {self.table} VALUES {values} RETURNING k{NO_ID}"

    def judge(self, statement, answer, _session):
        if answer.state:
            return self.judge_error(statement, answer)
        went_in = {int(row[0]) for row in answer.tables[0]}
        outcomes = ["inserted" if k in went_in else "duplicate" for k, _ in self.payloads]
        self.judge_id(statement, answer, outcomes)
        for (key, payload), outcome in zip(self.payloads, outcomes):
            self.effect(statement, key, payload, outcome)


class Call(Row):
    """idempotent_insert for one payload, idempotent_insert_each for several."""

    def __init__(self, table, payloads, each=False):
        super().__init__(table, payloads)
        self.each = each or len(payloads) > 1

    def sql(self, _session):
        payloads = [{"k": k, "v": v} for k, v in self.payloads]
        function = "idempotent_insert_each" if self.each else "idempotent_insert"
        text = json.dumps(payloads if self.each else payloads[0])
        return f"SELECT outcome FROM {function}('{self.table}', '{text}', on_conflict => 'report'){NO_ID}"

    def judge(self, statement, answer, _session):
        if answer.state:
            return self.judge_error(statement, answer)
        outcomes = [row[0] for row in answer.tables[0]]
        self.judge_id(statement, answer, outcomes)
        for (key, payload), outcome in zip(self.payloads, outcomes):
            self.effect(statement, key, payload, outcome)


class Update(Row):
    """UPDATE of the row under a key."""

    may_write = True

    def sql(self, _session):
        [(k, v)] = self.payloads
        return f"UPDATE {self.table} SET v = {v} WHERE k = {k}"

    def judge(self, statement, answer, _session):
        [(k, v)] = self.payloads
        if answer.state:
            if not statement.judge_error(answer, self.keys):
                raise Violation(f"error {answer}")
        elif answer.tags[-1] == "UPDATE 1":
            statement.transaction.note(k, v)


class Delete(Row):
    """DELETE of the row under a key."""

    may_write = True

    def sql(self, _session):
        [k] = self.keys
        return f"DELETE FROM {self.table} WHERE k = {k}"

    def judge(self, statement, answer, _session):
        if answer.state:
            if not statement.judge_error(answer, self.keys):
                raise Violation(f"error {answer}")
        elif answer.tags[-1] == "DELETE 1":
            statement.transaction.note(self.keys[0], None)
