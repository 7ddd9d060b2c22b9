"""Programs of runs, and what they may be told.

The value under a key, the name of a partition, is its latest run: its number, status and input, and whether it may be
taken over (its lease is so short that it has run out whenever anybody looks).
"""

from typing import NamedTuple

from schedules.history import Violation
from schedules.lease import LONG, SHORT, Step


class Run(NamedTuple):
    number: int | None
    status: str
    input: int
    short: bool = False


def begin_sql(key, version, lease):
    return f"SELECT * FROM idempotent_run_begin('set', '{key}', '{version}', lease => '{lease}')"


def setup(start, key):
    """Statements that put a partition into a state, the last of which shows the run; and its latest run as that is known."""
    if start == "absent":
        return "", None
    text = begin_sql(key, 1, LONG if start == "held" else SHORT) + "; COMMIT;"
    mine = f"FROM idempotent.pipeline_runs WHERE dataset = 'set' AND partition = '{key}';"
    if start == "published":
        text += f"SELECT idempotent_run_publish(run_id) {mine}"
    if start == "failed":
        text += f"SELECT idempotent_run_fail(run_id, 'x') {mine}"
    text += f"SELECT run_id {mine}"
    status = start if start in ("published", "failed") else "running"
    return text, Run(None, status, 1, start != "held")


def with_number(run, number):
    return run._replace(number=number)


def final(keys):
    listed = ", ".join(f"'{key}'" for key in keys)
    return (
        "SELECT DISTINCT ON (partition) partition, run_id, status, input_version FROM idempotent.pipeline_runs"
        f" WHERE dataset = 'set' AND partition IN ({listed}) ORDER BY partition, attempt DESC"
    )


def judge_final(answer, history):
    stored = {key: (int(number), status, int(version)) for key, number, status, version in answer.tables[0]}
    for key in history.keys():
        known = history.now(key)
        known = known and (known.number, known.status, known.input)
        if stored.get(key) != known:
            raise Violation(f"the latest run of {key} is {stored.get(key)}, and {known} was acknowledged")


class RunStep(Step):
    """What is done to one partition."""

    number = "run"

    def judge_error(self, statement, answer):
        if statement.judge_error(answer, self.keys):
            return
        if answer.state != "55I01":
            raise Violation(f"error {answer}")
        held = any(run and run.status == "running" and not run.short for run in statement.seen(self.key))
        busy = any(other.touches(self.key) for other in statement.others)
        statement.demand(held or busy, "55I01, and nobody works on the partition")


class Begin(RunStep):
    """idempotent_run_begin"""

    def __init__(self, key, version, lease):
        super().__init__(key)
        self.version = version
        self.lease = lease

    def sql(self, _session):
        return begin_sql(self.key, self.version, self.lease)

    def judge(self, statement, answer, session):
        if answer.state:
            return self.judge_error(statement, answer)
        [(number, decision, reason)] = answer.tables[0]
        number = int(number)
        if decision == "skip":
            published = any(
                run and (run.number, run.status, run.input) == (number, "published", self.version)
                for run in statement.seen(self.key)
            )
            return statement.demand(published, f"skip for run {number}, and it had not published that input")
        latest = statement.latest(self.key)
        expected = {
            "first_run": latest is None,
            "lease_expired": latest and latest.status == "running" and latest.short,
            "previous_failed": latest and latest.status == "failed",
            "input_changed": latest and latest.status == "published" and latest.input != self.version,
        }
        statement.demand(expected.get(reason), f"a run begins because of {reason}, and the latest one was {latest}")
        statement.transaction.note(self.key, Run(number, "running", self.version, self.lease == SHORT))
        statement.transaction.note(self.name(session), number)


class End(RunStep):
    """idempotent_run_publish, _fail or _heartbeat for the session's own run, if it has one."""

    def __init__(self, key, how):
        super().__init__(key)
        self.how = how

    def sql(self, session):
        number = self.mine(session)
        if number is None:
            return None
        if self.how == "fail":
            return f"SELECT idempotent_run_fail({number}, 'x')"
        return f"SELECT idempotent_run_{self.how}({number})"

    def judge(self, statement, answer, session):
        number = self.mine(session)
        word = {"publish": "published", "fail": "failed"}.get(self.how)
        runs = lambda run: run is not None and (run.number, run.status) == (number, "running")  # noqa: E731
        if answer.state == "55000":
            ended = any(not runs(run) for run in statement.seen(self.key))
            return statement.demand(ended, f"run {number} was refused, and was running all the time")
        if answer.state:
            return self.judge_error(statement, answer)
        latest = statement.latest(self.key)
        if not runs(latest):
            # A run of before that has ended so may be told to once more.
            again = any(run and (run.number, run.status) == (number, word) for _, run in statement.history.values[self.key])
            again |= statement.transaction.has(self.key) and (latest.number, latest.status) == (number, word)
            return statement.demand(again, f"{self.how} of run {number} was taken, and the latest one was {latest}")
        # A heartbeat writes the row as well.
        statement.transaction.note(self.key, latest._replace(status=word) if word else latest)
