"""What sessions do: small cases that are explored whole, and random ones.

A case is made anew for each schedule, with keys that no other has had.
"""

import itertools
import random

from schedules import requests, rows, runs
from schedules.history import READ_COMMITTED, REPEATABLE_READ, SERIALIZABLE
from schedules.schedule import ROLL_BACK_TO, SAVEPOINT, Block, Cancel, Case

LEVELS = (READ_COMMITTED, REPEATABLE_READ, SERIALIZABLE)


NUMBERS = itertools.count(1)


class Maker:
    """Makes cases, on a connection that sets them up."""

    def __init__(self, control):
        self.control = control

    def rows(self, table, starts, program, settings):
        """`program` gives the sessions' blocks for the keys."""
        keys = [next(NUMBERS) for _ in starts]
        initial = {}
        text = ""
        for key, start in zip(keys, starts):
            statements, initial[key] = rows.setup(start, table, key)
            text += statements
        if text:
            self.control.run(text)
        final = rows.final(table, keys)
        return Case(rows, keys, initial, program(keys), settings, final)

    def states(self, family, starts, program, settings, sessions=3):
        keys = [f"k{next(NUMBERS)}" for _ in starts]
        initial = {}
        for key, start in zip(keys, starts):
            statements, initial[key] = family.setup(start, key)
            if statements:
                number = self.control.run(statements).tables[-1][0][0]
                initial[key] = family.with_number(initial[key], int(number))
            if family is requests:
                initial["effects", key] = 0
            for number in range(sessions):
                initial["attempt" if family is requests else "run", number, key] = None
        return Case(family, keys, initial, program(keys), settings, family.final(keys))


# --- cases that are explored whole ------------------------------------------------------------------------------------------


def _guard(k, v, **block):
    return Block([rows.Insert("guarded", [(k, v)])], **block)


def _call(k, v, table="plain", each=False, **block):
    return Block([rows.Call(table, [(k, v)], each)], **block)


def _change(table, k, v, **block):
    step = rows.Delete(table, [(k, None)]) if v is None else rows.Update(table, [(k, v)])
    return Block([step], **block)


def _row_pairs(mine, table):
    """Pairs of programs about one key, by name: `mine` is what is tested."""
    yield "twice", lambda k: [[mine(k, 1)], [mine(k, 1)]]
    yield "differing", lambda k: [[mine(k, 1)], [mine(k, 2)]]
    yield "rolled back", lambda k: [[mine(k, 1, end="ROLLBACK")], [mine(k, 2)]]
    yield "by itself", lambda k: [[mine(k, 1, level=None)], [mine(k, 1, level=None)]]
    yield "updated", lambda k: [[_change(table, k, 3)], [mine(k, 1)]]
    yield "updated by itself", lambda k: [[_change(table, k, 1)], [mine(k, 1, level=None)]]
    yield "deleted", lambda k: [[_change(table, k, None)], [mine(k, 2)]]
    yield "three times", lambda k: [[mine(k, 1)], [mine(k, 1)], [mine(k, 2)]]
    yield "cancelled", lambda k: [[mine(k, 1)], [Block([*mine(k, 1).steps, Cancel(0)])]]
    yield "savepoint", lambda k: [[Block([SAVEPOINT, *mine(k, 2).steps, ROLL_BACK_TO, *mine(k, 1).steps])], [mine(k, 1)]]


def _at(level, programs):
    for block in itertools.chain(*programs):
        if block.level:
            block.level = level
    return programs


def small_cases():
    """Cases of two sessions and one key or request, by name; each is a function of a Maker."""
    ways = {
        "guard": (_guard, "guarded", {}),
        "call": (_call, "plain", {"direct_insertion": "on"}),
        "each": (lambda k, v, **b: _call(k, v, each=True, **b), "plain", {"direct_insertion": "off"}),
        "call on guarded": (lambda k, v, **b: _call(k, v, "guarded", **b), "guarded", {"direct_insertion": "on"}),
    }
    cases = {}
    for (way, (mine, table, settings)), level, start, expect in itertools.product(
        ways.items(), LEVELS, rows.SETUPS, ("new", "stored")
    ):
        for name, pair in _row_pairs(mine, table):
            def case(maker, table=table, start=start, level=level, pair=pair, settings={**settings, "expect_keys": expect}):
                return maker.rows(table, [start], lambda keys: _at(level, pair(keys[0])), settings)

            cases[f"{way}, {name}, {start}, {level}, expects {expect}"] = case
    for family, level, expect in itertools.product((requests, runs), LEVELS, ("new", "stored")):
        if family is runs and expect == "stored":
            continue
        for start, (name, pair) in itertools.product(_starts(family), _state_pairs(family)):
            def case(maker, family=family, start=start, level=level, pair=pair, expect=expect):
                return maker.states(family, [start], lambda keys: _at(level, pair(keys[0])), {"expect_keys": expect})

            cases[f"{family.__name__.split('.')[-1]}, {name}, {start}, {level}, expects {expect}"] = case
    return cases


def _starts(family):
    if family is requests:
        return ("absent", "short", "held", "finished", "abandoned")
    return ("absent", "short", "held", "published", "failed")


def _state_pairs(family):
    short, long = family.SHORT, family.LONG
    begin = family.Begin
    if family is requests:
        execute = requests.Execute
        yield "execute twice", lambda k: [[Block([execute(k, 1)])], [Block([execute(k, 1)])]]
        yield "execute others", lambda k: [[Block([execute(k, 1)], end="ROLLBACK")], [Block([execute(k, 2)])]]
        end = requests.End
        last = [lambda k: end(k, "finish", 8), lambda k: end(k, "abandon"), lambda k: end(k, "advance")]
        for i, done in enumerate(last):
            yield f"goes on {i}", lambda k, done=done: [
                [Block([begin(k, 1, short)]), Block([done(k), begin(k, 1, short)])],
                [Block([begin(k, 1, short)])],
            ]
    else:
        last = [lambda k, how=how: runs.End(k, how) for how in ("publish", "fail", "heartbeat")]
    yield "begin twice", lambda k: [[Block([begin(k, 1, long)])], [Block([begin(k, 1, long)])]]
    yield "begin others", lambda k: [[Block([begin(k, 1, long)], end="ROLLBACK")], [Block([begin(k, 2, short)])]]
    for i, done in enumerate(last):
        yield f"taken over {i}", lambda k, done=done: [
            [Block([begin(k, 1, short)]), Block([done(k)])],
            [Block([begin(k, 1, short)]), Block([last[0](k)])],
        ]


# --- random ones ---------------------------------------------------------------------------------------------------------------


def random_case(maker, seed):
    """A case that the seed alone decides."""
    dice = random.Random(seed)
    sessions = dice.choice((2, 2, 2, 3))
    # To set them takes as long as some steps: many seeds in turn have the same.
    some = random.Random(seed // 100)
    settings = {"expect_keys": some.choice(("new", "stored")), "direct_insertion": some.choice(("on", "off"))}
    family = dice.choices((rows, requests, runs), (6, 3, 2))[0]
    if family is rows:
        table = dice.choice(("guarded", "guarded", "plain"))
        starts = [dice.choice(list(rows.SETUPS)) for _ in range(dice.choice((1, 1, 1, 2)))]
        step = _random_row_step(dice, table)
    else:
        starts = [dice.choice(_starts(family)) for _ in range(dice.choice((1, 1, 1, 2)))]
        step = _random_state_step(dice, family)

    # What has a state is worked on in several transactions, most of one statement.
    counts, alone = ((1, 1, 2), 0.25) if family is rows else ((2, 3, 3), 0.5)

    def program(keys):
        return [_random_program(dice, step, keys, i, sessions, counts, alone) for i in range(sessions)]

    if family is rows:
        return maker.rows(table, starts, program, settings)
    return maker.states(family, starts, program, settings)


def _random_program(dice, step, keys, number, sessions, counts, alone):
    blocks = []
    level = dice.choices(LEVELS, (3, 1, 1))[0]
    for _ in range(dice.choice(counts)):
        steps = []
        if dice.random() < alone:
            made = step(keys, False)
            blocks.append(Block([made], level=None))
            continue
        read_only = dice.random() < 0.05
        for _ in range(dice.choice((1, 1, 2, 3))):
            if dice.random() < 0.2:
                steps.append(SAVEPOINT)
                steps.append(step(keys, read_only))
                if dice.random() < 0.6:
                    steps.append(ROLL_BACK_TO)
                continue
            if dice.random() < 0.1:
                steps.append(Cancel(dice.choice([i for i in range(sessions) if i != number])))
            steps.append(step(keys, read_only))
        blocks.append(Block(steps, level, read_only, dice.choices(("COMMIT", "ROLLBACK"), (3, 1))[0]))
    return blocks


def _random_row_step(dice, table):
    def step(keys, read_only):
        value = lambda: dice.choices((1, 2, -1), (6, 3, 1))[0]  # noqa: E731
        chosen = dice.sample(keys, dice.randint(1, len(keys)))
        kind = dice.choices(("insert", "call", "update", "delete"), (5, 4, 2, 2))[0]
        if read_only or (kind == "insert" and table == "plain"):
            kind = "call"
        if kind == "insert":
            return rows.Insert(table, [(k, value()) for k in chosen])
        if kind == "call":
            return rows.Call(table, [(k, value()) for k in chosen], dice.random() < 0.4)
        if kind == "update":
            return rows.Update(table, [(chosen[0], dice.choice((1, 2, 3)))])
        return rows.Delete(table, [(chosen[0], None)])

    return step


def _random_state_step(dice, family):
    def step(keys, _read_only):
        key = dice.choice(keys)
        kinds = ("begin", "end", "execute") if family is requests else ("begin", "end")
        kind = dice.choices(kinds, (4, 4, 3)[: len(kinds)])[0]
        if kind == "execute":
            return requests.Execute(key, dice.choice((1, 1, 2)))
        if kind == "begin":
            return family.Begin(key, dice.choice((1, 1, 2)), dice.choice((family.LONG, family.SHORT, family.SHORT)))
        if family is requests:
            how = dice.choices(("finish", "abandon", "advance"), (4, 1, 1))[0]
            return requests.End(key, how, dice.choice((7, 8)) if how == "finish" else None)
        return runs.End(key, dice.choices(("publish", "fail", "heartbeat"), (3, 1, 1))[0])

    return step
