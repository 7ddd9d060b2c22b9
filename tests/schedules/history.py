"""What is committed under each key, and what each transaction has done to it.

Steps are counted. One session takes a step at a time, so that commits have an order; what a step wakes is taken to
happen in that step. A statement that ran from step a to step b may have seen what was committed under its key at a, and
whatever came later up to b. That is all the freedom that a checker leaves.
"""

READ_COMMITTED, REPEATABLE_READ, SERIALIZABLE = "read committed", "repeatable read", "serializable"


class Violation(Exception):
    """A session was told what the contract does not allow."""


class History:
    """The committed values of keys, each with the step from which on it holds."""

    def __init__(self, initial):
        self.step = 0
        self.values = {key: [(0, value)] for key, value in initial.items()}

    def now(self, key):
        return self.values[key][-1][1]

    def keys(self):
        """Those that programs name, and not what is kept beside them."""
        return [key for key in self.values if not isinstance(key, tuple)]

    def during(self, key, first):
        """All values from a step until now, that before its commits included."""
        values = self.values[key]
        i = len(values) - 1
        while i > 0 and values[i][0] >= first:
            i -= 1
        return [value for _, value in values[i:]]

    def changed_since(self, key, first):
        return self.values[key][-1][0] >= first

    def commit(self, changes):
        for key, value in changes.items():
            if key in self.values:
                self.values[key].append((self.step, value))


class Transaction:
    """One transaction: its level, its snapshot, and what it has done so far, by savepoints."""

    def __init__(self, level=READ_COMMITTED, read_only=False):
        self.level = level
        self.read_only = read_only
        self.snapshot = None
        self.levels = [{}]
        # The step in which it ended.
        self.ended = None
        # The keys that its statements were about, with the request that each came with.
        self.tried = []
        # Whether it has written, or tried to: then it may have an id.
        self.wrote = False

    def touches(self, key):
        return any(tried == key for tried, _ in self.tried)

    def requested(self, key, but):
        """Whether it came with another request for a key."""
        return any(tried == key and request != but for tried, request in self.tried)

    def savepoint(self):
        self.levels.append({})

    def release(self):
        inner = self.levels.pop()
        self.levels[-1].update(inner)

    def roll_back_to_savepoint(self):
        self.levels[-1] = {}

    def has(self, key):
        return any(key in level for level in self.levels)

    def own(self, key):
        return next(level[key] for level in reversed(self.levels) if key in level)

    def note(self, key, value):
        self.levels[-1][key] = value
        self.wrote = True

    def changes(self):
        all_of_them = {}
        for level in self.levels:
            all_of_them.update(level)
        return all_of_them


class Statement:
    """One statement that has been answered, as a checker sees it."""

    def __init__(self, history, transaction, others, first, cancelled):
        self.history = history
        self.transaction = transaction
        # The transactions of the other sessions that are open, or were while the statement ran.
        self.others = others
        self.first = first
        self.cancelled = cancelled

    def seen(self, key):
        """What it may have judged by: what its own transaction has made, else what was committed while it ran; for a
        transaction with one snapshot what that shows."""
        transaction = self.transaction
        if transaction.has(key):
            # Where another session has deleted a row that the snapshot shows, the transaction sees that one beside its own.
            gone = [] if transaction.level == READ_COMMITTED or self.history.now(key) else self.in_snapshot(key)
            return [transaction.own(key), *gone]
        if transaction.level != READ_COMMITTED:
            return self.in_snapshot(key)
        return self.committed(key)

    def committed(self, key):
        """What was committed while it ran."""
        return self.history.during(key, self.first)

    def in_snapshot(self, key):
        """What was committed when the transaction's snapshot was taken, in that step."""
        values = self.history.values[key]
        before = [i for i, (step, _) in enumerate(values) if step < self.transaction.snapshot or step == 0]
        at = [i for i, (step, _) in enumerate(values) if step == self.transaction.snapshot and step > 0]
        return [values[i][1] for i in before[-1:] + at]

    def latest(self, key):
        """What is there now, for who has just written it, and keeps others from it."""
        transaction = self.transaction
        return transaction.own(key) if transaction.has(key) else self.history.now(key)

    def demand(self, condition, what):
        if not condition:
            raise Violation(what)

    def judge_error(self, answer, keys):
        """True if the error is one that any statement may meet."""
        state, transaction = answer.state, self.transaction
        if state == "57014":
            self.demand(self.cancelled, "57014 although nobody has cancelled")
            return True
        if state == "40001":
            moved = any(self.history.changed_since(key, transaction.snapshot or 0) for key in keys)
            self.demand(
                transaction.level == SERIALIZABLE or (transaction.level == REPEATABLE_READ and moved),
                "40001 although nothing was committed under the key since the snapshot",
            )
            return True
        if state == "40P01":
            self.demand(len(self.history.keys()) > 1, "40P01 with one key")
            return True
        if state == "25006":
            self.demand(transaction.read_only, "25006 in a transaction that may write")
            return True
        return False
