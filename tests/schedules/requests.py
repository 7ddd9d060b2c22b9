"""Programs of requests, and what they may be told.

The value under a key is its row: status, attempt, request, response, and whether an attempt may be taken over (its lease is
so short that it has run out whenever anybody looks). What an attempt of the session's is called is remembered with the
transaction that began it, and forgotten if that is rolled back.
"""

import json
from typing import NamedTuple

from schedules.history import Violation
from schedules.lease import LONG, SHORT, Step

# The number of the attempt that idempotent_execute makes is not told.
EXECUTED = 0


class Request(NamedTuple):
    status: str
    attempt: int | None
    request: int | str
    response: int | None = None
    short: bool = False

    def is_held(self):
        return self.status == "started" and not self.short

    def is_free(self):
        return self.status == "abandoned"


def begin_sql(key, request, lease):
    return f"""SELECT * FROM idempotent_request_begin('{key}', '{{"r": {request}}}', lease => '{lease}')"""


def finish_sql(key, attempt, response):
    return f"SELECT idempotent_request_finish('{key}', {attempt}, '{response}')"


def setup(start, key):
    """Statements that put a key into a state, the last of which shows the attempt; and its row as that is known."""
    if start == "absent":
        return "", None
    text = begin_sql(key, 1, LONG if start == "held" else SHORT) + "; COMMIT;"
    mine = f"FROM idempotent.requests WHERE key = '{key}';"
    if start == "finished":
        text += f"SELECT idempotent_request_finish(key, attempt, '7') {mine}"
    if start == "abandoned":
        text += f"SELECT idempotent_request_abandon(key, attempt) {mine}"
    text += f"SELECT attempt {mine}"
    if start == "finished":
        return text, Request("finished", None, 1, 7)
    if start == "abandoned":
        return text, Request("abandoned", None, 1)
    return text, Request("started", None, 1, None, start != "held")


def with_number(request, number):
    return request._replace(attempt=number)


def final(keys):
    listed = ", ".join(f"'{key}'" for key in keys)
    return (
        f"SELECT key, status, attempt, response FROM idempotent.requests WHERE key IN ({listed});"
        f"SELECT k, count(*) FROM effects WHERE k IN ({listed}) GROUP BY k"
    )


def judge_final(answer, history):
    stored = {key: (status, int(attempt), response) for key, status, attempt, response in answer.tables[0]}
    done = {key: int(count) for key, count in answer.tables[1]}
    for key in history.keys():
        known, there = history.now(key), stored.get(key)
        if known and known.attempt == EXECUTED:
            known = there and ("finished", *there[1:])
        elif known:
            known = (known.status, known.attempt, json.dumps(known.response) if known.status == "finished" else None)
        if there != known:
            raise Violation(f"request {key} is stored as {there}, and {known} was acknowledged")
        effects = history.now(("effects", key))
        if done.get(key, 0) != effects:
            raise Violation(f"the command of request {key} has {done.get(key, 0)} effects, and {effects} were acknowledged")


class RequestStep(Step):
    """What is done to one request."""

    number = "attempt"

    def judge_error(self, statement, answer, request=None):
        if statement.judge_error(answer, self.keys):
            return
        seen = [row for row in statement.seen(self.key) if row]
        busy = [other for other in statement.others if other.touches(self.key)]
        if answer.state == "55I01":
            statement.demand(busy or any(row.is_held() for row in seen), "55I01, and nobody holds the request")
        elif answer.state == "23I02":
            other = any(row.request != request and not row.is_free() for row in seen)
            other |= any(other.requested(self.key, request) for other in busy)
            statement.demand(other, f"23I02 for request {request}, and none but {seen} was stored")
        else:
            raise Violation(f"error {answer}")


class Begin(RequestStep):
    """idempotent_request_begin"""

    def __init__(self, key, request, lease):
        super().__init__(key)
        self.request = self.tag = request
        self.lease = lease

    def sql(self, _session):
        return begin_sql(self.key, self.request, self.lease)

    def judge(self, statement, answer, session):
        if answer.state:
            return self.judge_error(statement, answer, self.request)
        [(status, attempt, _, response)] = answer.tables[0]
        attempt = int(attempt)
        if status == "finished":
            given = [
                row
                for row in statement.seen(self.key)
                if row and (row.status, row.attempt, row.request) == ("finished", attempt, self.request)
            ]
            same = any(row.response is None or json.dumps(row.response) == response for row in given)
            return statement.demand(same, f"finished with {response}, and that was not stored")
        latest = statement.latest(self.key)
        if status == "started":
            statement.demand(latest is None or latest.is_free(), f"started, and {latest} was stored")
        else:
            fits = latest and latest.status == "started" and latest.short and latest.request == self.request
            statement.demand(fits, f"resumed, and {latest} was stored")
        newer = latest is None or attempt > latest.attempt
        statement.demand(newer, f"attempt {attempt} has no greater number than that of {latest}")
        statement.transaction.note(self.key, Request("started", attempt, self.request, None, self.lease == SHORT))
        statement.transaction.note(self.name(session), attempt)


class End(RequestStep):
    """idempotent_request_finish, _abandon or _advance for the session's own attempt, if it has one."""

    def __init__(self, key, how, response=None):
        super().__init__(key)
        self.how = how
        self.response = response

    def sql(self, session):
        attempt = self.mine(session)
        if attempt is None:
            return None
        if self.how == "finish":
            return finish_sql(self.key, attempt, self.response)
        if self.how == "abandon":
            return f"SELECT idempotent_request_abandon('{self.key}', {attempt})"
        return f"SELECT idempotent_request_advance('{self.key}', {attempt}, 'half')"

    def judge(self, statement, answer, session):
        attempt = self.mine(session)
        holds = lambda row: row is not None and row.status == "started" and row.attempt == attempt  # noqa: E731
        if answer.state == "55000":
            free = [row for row in statement.seen(self.key) if not holds(row)]
            return statement.demand(free, f"attempt {attempt} was refused, and held the request all the time")
        if answer.state:
            return self.judge_error(statement, answer)
        latest = statement.latest(self.key)
        if not holds(latest):
            word = {"finish": "finished", "abandon": "abandoned"}.get(self.how)
            again = [
                row
                for row in statement.seen(self.key)
                if row and (row.status, row.attempt, row.response) == (word, attempt, self.response)
            ]
            return statement.demand(again, f"{self.how} by attempt {attempt} was taken, and {latest} was stored")
        changes = {"finish": {"status": "finished"}, "abandon": {"status": "abandoned"}, "advance": {}}[self.how]
        statement.transaction.note(self.key, latest._replace(response=self.response, **changes))


class Execute(RequestStep):
    """idempotent_execute, with a command that leaves an effect"""

    def __init__(self, key, request):
        super().__init__(key)
        self.request = request
        self.tag = f"execute {request}"

    def sql(self, _session):
        # The arguments are what tells the requests of one key apart; `begin` sends none like these.
        return (
            f"SELECT * FROM idempotent_execute('{self.key}', 'INSERT INTO effects VALUES ($1::text) RETURNING {self.request} AS r',"
            f""" '["{self.key}"]')"""
        )

    def judge(self, statement, answer, _session):
        request = self.tag
        if answer.state:
            return self.judge_error(statement, answer, request)
        [(response, replayed)] = answer.tables[0]
        if replayed == "t":
            given = any(row and row.status == "finished" and row.request == request for row in statement.seen(self.key))
            return statement.demand(given, f"{response} was given again, and never before")
        latest = statement.latest(self.key)
        statement.demand(latest is None or latest.is_free(), f"executed, and {latest} was stored")
        statement.transaction.note(self.key, Request("finished", EXECUTED, request))
        effects = ("effects", self.key)
        statement.transaction.note(effects, statement.latest(effects) + 1)
