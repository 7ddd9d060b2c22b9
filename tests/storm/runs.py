"""Runs: a job is done once for its input, by one run at a time."""

from storm.clients import Client
from storm.leases import live_through
from storm.ledger import Violation

IN_PROGRESS, NOT_RUNNING = "55I01", "55000"
# The end of a run waits for the partition, as long as lock_timeout lets it.
REFUSED = {NOT_RUNNING, IN_PROGRESS}
PARTITIONS = 6


class Run(Client):
    """idempotent_run_begin, the work, and idempotent_run_publish; some runs die, some are slow, some fail."""

    kind = "run"
    subject = "run"

    def step(self):
        self.rush()
        partition = f"p{self.dice.randrange(PARTITIONS)}"
        version = f"v{self.storm.versions.choose(self.dice)}"
        lease = self.dice.choice((0.1, 0.4))
        sql = "SELECT * FROM idempotent_run_begin('storm', %s, %s, %s, %s::interval)"
        arguments = [partition, version, self.dice.random() < 0.1, f"{lease} seconds"]
        sent = self.ledger.now()
        run = self.once(lambda conn: conn.execute(sql, arguments).fetchone())
        told = self.send(f"begin {version}", self.subject, [partition], run, {IN_PROGRESS})
        if told["decision"] == "skip":
            self.judge_skip(partition, version, told)
            return
        attempt = self.storm.run_leases.begun(partition, told["run_id"], sent, self.ledger.now(), lease)
        self.work(partition, version, attempt, lease)

    def judge_skip(self, partition, version, told):
        """What is skipped was published, of that input."""
        self.ledger.must_agree("a skipped input was published", "published run", told["run_id"], f"{partition} {version}")

    def work(self, partition, version, attempt, lease):
        live_through(
            self, self.storm.run_leases, attempt, lease,
            renew=lambda: self.told(partition, "SELECT idempotent_run_heartbeat(%s)", attempt.number),
            give_up=lambda: self.told(partition, "SELECT idempotent_run_fail(%s, 'bad weather')", attempt.number),
            end=lambda: self.publish(partition, version, attempt),
            gives_up=0.1,
        )

    def told(self, partition, sql, number):
        run = self.once(lambda conn: conn.execute(sql, [number]) and number)
        return self.send(sql.split("_")[2].split("(")[0], self.subject, [partition], run, REFUSED)

    def publish(self, partition, version, attempt):
        """The work is in the transaction that publishes it. A retry finds it done."""

        def act(conn):
            found = conn.execute("SELECT 1 FROM published WHERE run_id = %s", [attempt.number]).fetchone()
            if not found:
                conn.execute("INSERT INTO published VALUES (%s, %s, %s)", [attempt.number, partition, version])
            conn.execute("SELECT idempotent_run_publish(%s, 1, %s)", [attempt.number, version])
            return bool(found)

        # One that is given up or published leaves the partition to the next at once.
        attempt.given_up = True
        sent = self.ledger.now()
        found = self.send(f"publish {attempt.number}", self.subject, [partition], self.transaction(act), REFUSED)
        if not found:
            self.storm.run_leases.ended(partition, attempt, sent)
            self.ledger.must_agree("a run publishes once", "publication", attempt.number, sent)
        self.ledger.must_agree("a skipped input was published", "published run", attempt.number, f"{partition} {version}")


KINDS = (Run,)


def must_agree(conn):
    """What runs have published is what their records say, each once."""
    wrong = conn.execute(
        """SELECT run_id, r.status, p.count FROM idempotent.pipeline_runs AS r
           FULL JOIN (SELECT run_id, count(*) FROM published GROUP BY run_id) AS p USING (run_id)
           WHERE (r.status = 'published') IS DISTINCT FROM (p.count IS NOT NULL) OR p.count > 1 LIMIT 5"""
    ).fetchall()
    if wrong:
        raise Violation("a run publishes once", str(wrong), "run", None)
