"""What was sent, answered and acknowledged; violations, and the history of a key."""

import collections
import json
import random
import threading
import time

from storm.tables import STORED_IN, stays

# Keys are chosen among so many of the newest, so that clients meet.
WINDOW = 48
# How often a key that is chosen makes room for a new one, and how often an old one is chosen.
NEW_KEYS = 0.06
OLD_KEYS = 0.1


class Violation(Exception):
    """What the contract rules out: the invariant, what is wrong, and about which key of what."""

    def __init__(self, invariant, words, subject="", key=None):
        super().__init__(f"{invariant}: {words}")
        self.invariant, self.words, self.subject, self.key = invariant, words, subject, key
        self.seconds = 0.0


class Keys:
    """The keys of one table: what was sent of them, and what was acknowledged as stored."""

    def __init__(self):
        self._lock = threading.Lock()
        self.top = WINDOW
        self.sent = set()
        self.acknowledged = set()

    def choose(self, dice, count):
        """So many keys, ascending; some are new."""
        with self._lock:
            self.top += sum(dice.random() < NEW_KEYS for _ in range(count))
            low = 0 if dice.random() < OLD_KEYS else max(0, self.top - WINDOW)
            chosen = dice.sample(range(low, self.top), min(count, self.top - low))
            self.sent.update(chosen)
        return sorted(chosen)

    def choose_range(self, dice, count):
        """So many keys that follow each other; some are new. The first and the last."""
        with self._lock:
            self.top += sum(dice.random() < NEW_KEYS for _ in range(count))
            low = 0 if dice.random() < OLD_KEYS else max(0, self.top - WINDOW)
            first = dice.randrange(low, max(low + 1, self.top - count))
            last = min(first + count, self.top) - 1
            self.sent.update(range(first, last + 1))
        return first, last

    def send(self, keys):
        """These will be sent."""
        with self._lock:
            self.sent.update(keys)

    def known(self, keys):
        """Those of the keys that are acknowledged as stored, and stay."""
        with self._lock:
            return {key for key in keys if key in self.acknowledged}

    def acknowledge(self, keys):
        """A transaction that found these stored, or stored them, was answered to have committed."""
        with self._lock:
            self.acknowledged.update(key for key in keys if stays(key))

    def copy(self):
        """What was sent and what was acknowledged so far."""
        with self._lock:
            return set(self.sent), set(self.acknowledged)


class Counter:
    """New numbers, and old ones again."""

    def __init__(self, window=12, new=0.1):
        self._lock = threading.Lock()
        self._window, self._new = window, new
        self.top = 1

    def choose(self, dice):
        with self._lock:
            self.top += dice.random() < self._new
            low = 0 if dice.random() < OLD_KEYS else max(0, self.top - self._window)
            return dice.randrange(low, self.top)

    def next(self):
        with self._lock:
            self.top += 1
            return self.top


class Ledger:
    """All of it, for all clients."""

    def __init__(self, seed, file):
        self.seed = seed
        self.salt = random.Random(f"salt {seed}").randrange(1_000_000)
        self.started = time.time()
        self.keys = {table: Keys() for table in STORED_IN}
        # What was told first of a subject: a request's answer, a view's id, a token's counts.
        self.first = {}
        self.counts = collections.Counter()
        self.faults = collections.Counter()
        self.violations = []
        self.ended = threading.Event()
        self._file = file
        self._lock = threading.Lock()

    def now(self):
        """Seconds since the beginning."""
        return time.time() - self.started

    def count(self, kind, outcome):
        with self._lock:
            self.counts[kind, outcome] += 1

    def fault(self, name):
        with self._lock:
            self.faults[name] += 1

    def record(self, who, what, subject, keys, sent, answer, xid=None):
        """A line of history."""
        line = json.dumps([round(sent, 4), round(self.now(), 4), who, what, subject, keys, str(answer)[:300], xid])
        with self._lock:
            self._file.write(line + "\n")

    def must_agree(self, invariant, subject, key, answer):
        """All that is told of a subject is what was told first."""
        with self._lock:
            first = self.first.setdefault((subject, key), answer)
        if first != answer:
            raise Violation(invariant, f"{subject} {key} was told {first} at first, and {answer} now", subject, key)

    def told(self, subject):
        """What was told of subjects of this kind, by key."""
        with self._lock:
            return {key: answer for (kind, key), answer in self.first.items() if kind == subject}

    def violation(self, found, limit):
        found.seconds = self.now()
        with self._lock:
            self.violations.append(found)
            print(f"✗ after {found.seconds:.1f} s: {found}", flush=True)
            if len(self.violations) >= limit:
                self.ended.set()

    def history(self, found, most=60, before=4.0):
        """The last lines that name the key of a violation, and the faults of the seconds before it:
        (sent, answered, who, what, subject, keys, answer, xid), by the time when they were sent."""
        with self._lock:
            self._file.flush()
        told = collections.deque(maxlen=most)
        with open(self._file.name, encoding="utf-8") as lines:
            for entry in map(json.loads, lines):
                sent, answered, _, _, subject, keys = entry[:6]
                if subject == "fault":
                    if answered > found.seconds - before and sent < found.seconds:
                        told.append(entry)
                elif sent < found.seconds + 1 and found.key in keys and subject in (found.subject, "several"):
                    told.append(entry)
        return sorted(told, key=lambda entry: entry[0])
