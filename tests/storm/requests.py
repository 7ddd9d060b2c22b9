"""Requests: an operation runs once, and all its retries get the first answer."""

from psycopg.types.json import Jsonb

from storm.clients import Client, Refused
from storm.leases import live_through
from storm.ledger import Violation

IN_PROGRESS, REUSED, NOT_HELD = "55I01", "23I02", "55000"
EFFECT = "INSERT INTO effects (request) VALUES ($1) RETURNING id"


class Execute(Client):
    """idempotent_execute: key, effect and answer in one transaction."""

    kind = "execute"
    subject = "request"

    def step(self):
        self.rush()
        number = self.storm.requests.choose(self.dice)
        if (self.subject, number) in self.ledger.first and self.dice.random() < 0.05:
            self.reuse(number)
        else:
            self.again(lambda: self.execute(number))

    def call(self, number, argument, wait):
        sql = "SELECT response, replayed FROM idempotent_execute(%s, %s, %s, scope => 'storm', wait => %s::interval)"
        return lambda conn: conn.execute(sql, [f"execute {number}", EFFECT, Jsonb([argument]), wait]).fetchone()

    def execute(self, number):
        level = self.level()
        act = self.call(number, number, self.dice.choice((None, "0", "100 ms")))
        end = "COMMIT"
        if level == "read committed" and self.dice.random() < 0.7:
            run = self.once(act)
        else:
            end = self.dice.choices(("COMMIT", "ROLLBACK"), (4, 1))[0]
            run = self.transaction(act, level, end)
        told = self.send(f"execute, {level}, {end}", self.subject, [number], run, {IN_PROGRESS}, level)
        if end == "COMMIT" or told["replayed"]:
            self.ledger.must_agree("a request's retries get its first answer", self.subject, number, str(told["response"]))

    def reuse(self, number):
        try:
            told = self.send("execute, altered", self.subject, [number], self.once(self.call(number, -1, None)), {REUSED})
        except Refused:
            return
        raise Violation("a key names one request", f"request {number} with another argument was told {told}", self.subject, number)


class Worker(Client):
    """idempotent_request_begin, the work, and idempotent_request_finish; some workers die, and some are slow."""

    kind = "worker"
    subject = "work"

    def step(self):
        self.rush()
        number = self.storm.works.choose(self.dice)
        lease = self.dice.choice((0.1, 0.4))
        told, sent = self.begin(number, lease)
        if told["status"] == "finished":
            self.storm.work_leases.forget(number)
            self.ledger.must_agree("a request's retries get its first answer", self.subject, number, told["response"]["attempt"])
            return
        attempt = self.storm.work_leases.begun(number, told["attempt"], sent, self.ledger.now(), lease)
        self.work(number, attempt, lease)

    def begin(self, number, lease):
        sql = """SELECT * FROM idempotent_request_begin(%s, %s, scope => 'storm', lease => %s::interval, wait => %s::interval)"""
        wait = self.dice.choice((None, None, "200 ms"))
        arguments = [f"work {number}", Jsonb({"n": number}), f"{lease} seconds", wait]
        sent = self.ledger.now()
        run = self.once(lambda conn: conn.execute(sql, arguments).fetchone())
        return self.send("begin", self.subject, [number], run, {IN_PROGRESS}), sent

    def work(self, number, attempt, lease):
        live_through(
            self, self.storm.work_leases, attempt, lease,
            renew=lambda: self.told(number, attempt, "SELECT idempotent_request_advance(%s, %s, 'half', 'storm')"),
            give_up=lambda: self.told(number, attempt, "SELECT idempotent_request_abandon(%s, %s, 'storm')"),
            end=lambda: self.finish(number, attempt),
            gives_up=0.05,
        )

    def told(self, number, attempt, sql, *more):
        run = self.once(lambda conn: conn.execute(sql, [f"work {number}", attempt.number, *more]) and attempt.number)
        return self.send(sql.split("_")[2].split("(")[0], self.subject, [number], run, {NOT_HELD})

    def finish(self, number, attempt):
        """The work is in the transaction that finishes it. A retry finds it done."""
        key = f"work {number}"

        def act(conn):
            if not conn.execute("SELECT 1 FROM work WHERE (request, attempt) = (%s, %s)", [key, attempt.number]).fetchone():
                conn.execute("INSERT INTO work VALUES (%s, %s)", [key, attempt.number])
            sql = "SELECT idempotent_request_finish(%s, %s, %s, 'storm')"
            conn.execute(sql, [key, attempt.number, Jsonb({"attempt": attempt.number})])
            return attempt.number

        sent = self.ledger.now()
        self.send("finish", self.subject, [number], self.transaction(act), {NOT_HELD})
        self.storm.work_leases.ended(number, attempt, sent)
        self.ledger.must_agree("a request's retries get its first answer", self.subject, number, attempt.number)


KINDS = (Execute, Worker)
