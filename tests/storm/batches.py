"""Sources that are inserted from and loaded, with tokens and without."""

from storm.clients import Refused, set_batch
from storm.ledger import Violation
from storm.rows import CHANGED, CONFLICT, NO_PARTITION, Answer, From

# The rows of tokens have keys of their own, so many for each.
FIRST_KEY = 1_000_000_000
ROWS = 16
TABLES = ("plain", "guarded", "viewed", "parted")


class Load(From):
    """Committed batches: what is in when the load is cut short stays, and is a duplicate for the next one."""

    kind = "load"

    def step(self):
        self.rush()
        table, keys, lie = self.choose()

        def load(conn):
            set_batch(conn, first=keys[0], last=keys[-1], lie=-1 if lie is None else lie)
            conn.execute("CALL idempotent_load(%s, 'batch', batch_size => %s)", [table, self.dice.choice((5, 50, 10_000))])

        # A column or an index of the table has come or gone meanwhile.
        may = {CHANGED} | ({NO_PARTITION} if table == "parted" else set()) | ({CONFLICT} if lie is not None else set())

        def call():
            self.send(f"load, altered {lie}", table, keys, self.once(load), may)
            if lie is not None:
                raise Violation("an altered payload is a conflict", f"load of {table} {keys}, altered {lie}", table, lie)
            self.ledger.keys[table].acknowledge(keys)

        self.again(call)


class Token(From):
    """Batches with a token: one call does the work, and all others are told what that came to."""

    kind = "token"

    def step(self):
        self.rush()
        number = self.storm.tokens.choose(self.dice)
        table = TABLES[number % len(TABLES)]
        first = FIRST_KEY + number * ROWS
        keys = list(range(first, first + ROWS))
        self.ledger.keys[table].send(keys)
        self.again(lambda: self.call_once(number, table, keys))

    def call_once(self, number, table, keys):
        loads = number % 3 == 0
        arguments = f"'{table}', 'batch', token => 'token {number}', digest => 'digest {number}'"
        level = "read committed" if loads else self.level()

        def call(conn):
            set_batch(conn, first=keys[0], last=keys[-1], lie=-1)
            if loads:
                conn.execute(f"CALL idempotent_load({arguments}, batch_size => 5)")
                return None
            return conn.execute(f"SELECT * FROM idempotent_insert_from({arguments})").fetchone()

        run = self.once(call) if loads else self.transaction(call, level)
        may = ({CHANGED} if loads else set()) | ({NO_PARTITION} if table == "parted" else set())
        # A load commits before its last batch has a record of the token.
        told = self.send(f"token {number}, {level}", table, keys, run, may, level)
        self.ledger.keys[table].acknowledge(keys)
        if told:
            if not told["replayed"]:
                self.ledger.must_agree("a token's batch is done once", "token", number, self.name + f" {self.ledger.now()}")
            counts = Answer.of_counts(told)
            if counts.inserted + counts.duplicates != ROWS or counts.conflicts:
                raise Violation("a token's batch is done whole", f"token {number}: {counts}", table, keys[0])
            self.ledger.must_agree("a token is told what was told first", "counts of token", number, str(counts))


class Reused(Token):
    """A token with another digest."""

    kind = "reused"

    def step(self):
        number = self.storm.tokens.choose(self.dice)
        if ("counts of token", number) not in self.ledger.first:
            return
        table = TABLES[number % len(TABLES)]
        first = FIRST_KEY + number * ROWS

        def call(conn):
            set_batch(conn, first=first, last=first + ROWS - 1, lie=first)
            sql = f"SELECT * FROM idempotent_insert_from('{table}', 'batch', token => 'token {number}', digest => 'another')"
            return conn.execute(sql).fetchone()

        try:
            told = self.send(f"token {number} reused", table, [first], self.once(call), {"23I02"})
        except Refused:
            return
        raise Violation("a token names one batch", f"token {number} with another digest: {told}", table, first)


KINDS = (Load, Token, Reused)
