"""One schedule: a program a session, and in which order they take their steps."""

import copy
import itertools
from dataclasses import dataclass, field

from schedules.history import READ_COMMITTED, History, Statement, Transaction, Violation
from schedules.sessions import BLOCKED, IDLE, POINT

SAVEPOINT, ROLL_BACK_TO = "SAVEPOINT s", "ROLLBACK TO SAVEPOINT s"


@dataclass
class Cancel:
    """Cancels what another session is doing, if it does anything."""

    target: int


@dataclass
class Block:
    """A transaction of a program; without a level it is one statement by itself."""

    steps: list
    level: str | None = READ_COMMITTED
    read_only: bool = False
    end: str = "COMMIT"


@dataclass
class Case:
    """What is run: what is set up, a program a session, and the query that shows what is left."""

    family: object
    keys: list
    initial: dict
    programs: list
    settings: dict = field(default_factory=dict)
    final: str = ""


class Player:
    """A session with its program."""

    def __init__(self, number, program, schedule):
        self.number = number
        self.session = schedule.driver.sessions[number]
        self.history = schedule.history
        self.schedule = schedule
        self.queue = list(program)
        self.block = None
        self.steps = []
        self.transaction = None
        self.begun = False
        self.step = None
        self.busy = False
        self.first = 0
        self.cancelled = False

    def prepare(self):
        """Makes what comes next the first of `steps`; False if nothing comes. Steps that have nothing to do are left out."""
        while not self.busy:
            if self.block is None:
                if not self.queue:
                    return False
                self.block = self.queue.pop(0)
                self.steps = list(self.block.steps) + ([self.block.end] if self.block.level else [])
                self.begun = False
            while self.steps and not self._has_work(self.steps[0]):
                self.steps.pop(0)
            if self.steps:
                return True
            self.block = None
        return True

    def _has_work(self, step):
        if isinstance(step, Cancel):
            return True
        if isinstance(step, str):
            return self.begun or step == SAVEPOINT
        return step.sql(self) is not None

    def can_step(self):
        return self.session.state == POINT or (self.session.state == IDLE and self.prepare())

    def take_step(self):
        """Takes a step; gives what it is, in words."""
        session = self.session
        if session.state == POINT:
            session.let_go()
            return f"goes on from {session.point}"
        texts = []
        if self.block.level and not self.begun:
            mode = " READ ONLY" if self.block.read_only else ""
            texts.append(f"BEGIN ISOLATION LEVEL {self.block.level}{mode}")
        step = self.steps.pop(0)
        if isinstance(step, Cancel):
            return self.schedule.cancel(step.target)
        if not self.begun:
            self.transaction = Transaction(self.block.level or READ_COMMITTED, self.block.read_only)
            self.schedule.transactions.append((self.number, self.transaction))
            self.begun = True
        if step == SAVEPOINT:
            self.transaction.savepoint()
            # What comes next may come with it.
            if self.steps and not isinstance(self.steps[0], (str, Cancel)) and self._has_work(self.steps[0]):
                texts.append(step)
                step = self.steps.pop(0)
        texts.append(step if isinstance(step, str) else step.sql(self))
        if not isinstance(step, str):
            for key in step.keys:
                self.transaction.tried.append((key, getattr(step, "tag", None)))
            if self.transaction.snapshot is None:
                self.transaction.snapshot = self.history.step
        self.step, self.first, self.busy, self.cancelled = step, self.history.step, True, False
        text = "; ".join(texts)
        session.start(text)
        return text

    def take_answer(self, answer):
        """Judges the answer to the statement, and does to the history what it has done."""
        transaction, history = self.transaction, self.history
        self.busy = False
        if isinstance(self.step, str):
            return self._end_of(self.step, answer)
        others = [
            other
            for number, other in self.schedule.transactions
            if number != self.number and (other.ended is None or other.ended >= self.first)
        ]
        statement = Statement(history, transaction, others, self.first, self.cancelled)
        self.step.judge(statement, answer, self)
        # Whoever updates, or fails, may have got an id.
        transaction.wrote |= self.step.may_write or answer.state is not None
        if answer.state and self.block.level:
            # What comes next repairs it.
            if len(transaction.levels) > 1:
                self.steps.insert(0, ROLL_BACK_TO)
            else:
                self.steps = ["ROLLBACK"]
        elif not self.block.level:
            self._close(commits=not answer.state)

    def _end_of(self, step, answer):
        if step in (SAVEPOINT, ROLL_BACK_TO):
            self._demand_no_error(answer)
            if step == ROLL_BACK_TO:
                self.transaction.roll_back_to_savepoint()
            return
        commits = step == "COMMIT" and answer.state is None
        if answer.state:
            serializable = answer.state == "40001" and self.transaction.level == "serializable"
            if not serializable:
                self._demand_no_error(answer)
        elif step == "COMMIT" and answer.tags[-1] != "COMMIT":
            raise Violation("COMMIT has rolled back")
        self._close(commits)

    def _demand_no_error(self, answer):
        if answer.state:
            raise Violation(f"{self.step} has met {answer}")

    def _close(self, commits):
        if commits:
            self.history.commit(self.transaction.changes())
        self.transaction.ended = self.history.step
        self.transaction = None


class Schedule:
    """A case on its way."""

    def __init__(self, driver, case):
        self.driver = driver
        self.case = case
        self.history = History(case.initial)
        self.transactions = []
        self.players = [Player(i, program, self) for i, program in enumerate(case.programs)]
        self.trace = []
        # Of each decision: who could take a step, who took the one before, and who was chosen.
        self.decisions = []

    def run(self, choose):
        """Takes steps until all programs have ended, and judges what is left. `choose` is given who can take a step, and who
        took the one before.

        Violation if a session was told what the contract does not allow."""
        for player in self.players:
            player.session.set(**self.case.settings)
        current = None
        while enabled := [player.number for player in self.players if player.can_step()]:
            chosen = choose(enabled, current)
            self.decisions.append((enabled, current, chosen))
            self.history.step += 1
            current = chosen
            player = self.players[chosen]
            words = player.take_step()
            self.driver.settle(player.session)
            self.trace.append((chosen, words, [self._state(p) for p in self.players]))
            self._take_answers(player)
        if any(player.busy for player in self.players):
            raise Violation("sessions wait for each other, and nobody ends that")
        answer = self.driver.control.run(self.case.final)
        self.case.family.judge_final(answer, self.history)

    def cancel(self, target):
        player = self.players[target]
        if player.busy and player.session.state in (POINT, BLOCKED):
            player.cancelled = True
            self.driver.cancel(player.session)
        return f"cancels session {target}"

    def _take_answers(self, acting):
        """What was answered in one step has happened in some order: one of them must be right."""
        answered = [p for p in self.players if p.busy and p.session.state == IDLE]
        answered.sort(key=lambda player: player is not acting)
        if len(answered) < 2:
            return self._take_in(answered)
        *orders, last = itertools.permutations(answered)
        for order in orders:
            before = self._judged()
            try:
                return self._take_in(order)
            except Violation:
                self._go_back_to(before)
        self._take_in(last)

    @staticmethod
    def _take_in(order):
        for player in order:
            player.take_answer(player.session.answer)

    def _judged(self):
        """A copy of what answers change."""
        open_ones = [(p.transaction, p.steps, p.busy) for p in self.players]
        return copy.deepcopy((self.transactions, self.history.values, open_ones))

    def _go_back_to(self, before):
        self.transactions, self.history.values, open_ones = before
        for player, (transaction, steps, busy) in zip(self.players, open_ones):
            player.transaction, player.steps, player.busy = transaction, steps, busy

    @staticmethod
    def _state(player):
        session = player.session
        if session.state == POINT:
            return f"at {session.point}"
        if session.state == BLOCKED:
            return "blocked"
        return str(session.answer) if player.busy else ""

    def told(self):
        """The schedule, step by step."""
        lines = []
        for number, (chosen, words, states) in enumerate(self.trace, 1):
            lines.append(f"{number:3} session {chosen} {words}")
            lines += [f"        {i}: {state}" for i, state in enumerate(states) if state]
        return "\n".join(lines)
