"""All schedules of a case up to a bound, or random ones by seed.

A session that could go on and is not let is preempted. Most races need one or two preemptions: a small case is explored
whole up to so many, and larger ones at random. What fails is named as scripts/schedules takes it in SEEDS.
"""

import argparse
import random
import signal
import sys
import time

from schedules.history import Violation
from schedules.programs import Maker, random_case, small_cases
from schedules.schedule import Schedule
from schedules.server import schedule_database
from schedules.sessions import Driver, Stuck

# The small cases that are explored where time counts.
CORE = ", read committed, expects new"


class Failure(Exception):
    """A schedule that broke the contract: its name, by which it is run again, what was done, and what is wrong."""

    def __init__(self, name, schedule, wrong):
        super().__init__(f"SEEDS='{name}'\n{schedule.told()}\n{wrong}")
        self.name = name
        self.wrong = str(wrong)


class Explorer:
    """Runs schedules in a database, and counts them."""

    def __init__(self, db, leave_out=""):
        self.driver = Driver(db)
        self.maker = Maker(self.driver.control)
        self.cases = small_cases()
        self.leave_out = leave_out
        self.count = 0
        self.steps = 0
        self.diverged = 0

    def run(self, case, choose, name):
        """Runs one schedule. Failure if it breaks the contract."""
        case.settings["leave_out"] = self.leave_out
        schedule = Schedule(self.driver, case)
        try:
            schedule.run(choose)
        except (Violation, Stuck) as wrong:
            choices = "".join(str(chosen) for _, _, chosen in schedule.decisions)
            raise Failure(name(choices), schedule, wrong) from wrong
        self.count += 1
        self.steps += len(schedule.decisions)
        return schedule

    def random(self, seed):
        """One schedule that the seed decides: its case, and the order of steps."""
        case = random_case(self.maker, seed)
        dice = random.Random(f"order {seed}")
        likely = dice.choice((0.1, 0.3, 0.6))

        def choose(enabled, current):
            stays = current in enabled and dice.random() > likely
            return current if stays else dice.choice(enabled)

        return self.run(case, choose, lambda _: str(seed))

    def whole(self, name, bound):
        """All schedules of a small case with at most so many preemptions."""
        make = self.cases[name]
        pending = [[]]
        while pending:
            prefix = pending.pop()
            decisions = self.repeat(name, make, prefix).decisions
            used = 0
            for i, (enabled, current, chosen) in enumerate(decisions):
                preempts = current in enabled
                if i >= len(prefix) and used + preempts <= bound:
                    before = [c for _, _, c in decisions[:i]]
                    pending += [[*before, other] for other in enabled if other != chosen]
                used += preempts and chosen != current

    def small(self, bound, within=""):
        """All schedules of the small cases with these words in their names."""
        for name in self.cases:
            if within in name:
                self.whole(name, bound)

    def repeat(self, name, make, prefix):
        """As `follow`, once more if the steps are others than before: where a page of the table is full, the server removes
        dead rows that a session would have come by."""
        for _ in range(3):
            before = self.diverged
            schedule = self.follow(name, make, prefix)
            if self.diverged == before:
                break
        return schedule

    def follow(self, name, make, prefix):
        """One schedule of a small case that begins with these choices, and then goes on without preemption."""
        left = list(prefix)

        def choose(enabled, current):
            if left:
                chosen = left.pop(0)
                if chosen in enabled:
                    return chosen
                self.diverged += 1
                left.clear()
            return current if current in enabled else enabled[0]

        return self.run(make(self.maker), choose, lambda choices: f"{name}:{choices}")

    def again(self, name):
        """The schedule that a failure names."""
        if ":" not in name:
            return self.random(int(name))
        case, choices = name.split(":")
        return self.follow(case, self.cases[case], [int(choice) for choice in choices])

    def check_locks(self):
        """No session keeps a lock when its transaction has ended."""
        [[(locks,)]] = self.driver.control.run("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'").tables
        if locks != "0":
            raise Violation(f"{locks} locks were left behind")

    def reached(self):
        """The wait points that sessions came to."""
        return set().union(*(session.reached for session in self.driver.sessions))

    def close(self):
        self.driver.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __str__(self):
        driver, server = self.driver.processor_time()
        return (
            f"{self.count} schedules, {self.steps} steps; processor time: {driver:.1f} s of the driver,"
            f" {server:.1f} s of the server; {self.diverged} did not repeat"
        )


def seeds_of(text):
    for part in text.replace(",", " ").split():
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--seeds", default="")
    options.add_argument("--count", type=int, default=5000)
    options.add_argument("--bound", type=int, default=1)
    options.add_argument("--within", default=CORE)
    options.add_argument("--leave-out", default="")
    options = options.parse_args()
    # The server goes with who is ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    started = time.monotonic()
    status = 0
    with schedule_database() as db, Explorer(db, options.leave_out) as explorer:
        try:
            if ":" in options.seeds or options.seeds.isdigit():
                print(explorer.again(options.seeds).told())
            elif options.seeds:
                for seed in seeds_of(options.seeds):
                    explorer.random(seed)
            else:
                explorer.small(options.bound, options.within)
                print(f"small cases: {explorer}, after {time.monotonic() - started:.0f} s")
                for seed in range(1, options.count + 1):
                    explorer.random(seed)
            explorer.check_locks()
        except (Failure, Violation) as failure:
            print(f"✗ {failure}")
            status = 1
        finally:
            print(f"{explorer}, after {time.monotonic() - started:.0f} s")
    sys.exit(status)


if __name__ == "__main__":
    main()
