"""Attempts with a lease: a live one is left alone, and one that was taken over changes nothing.

What is known of an attempt are times of the client, which lie around those of the server: an attempt was begun after its begin
was sent, and before that was answered. Both are on one machine. So what is called a violation here is one.
"""

import collections
import threading
import time
from dataclasses import dataclass, field

from storm.ledger import Violation


@dataclass
class Attempt:
    """One that was acknowledged to have begun."""

    number: int
    sent: float
    answered: float
    # It is alive until then at least.
    alive_until: float
    given_up: bool = field(default=False)


class Leases:
    """The attempts of one kind of thing, by its name."""

    def __init__(self, subject):
        self.subject = subject
        self._lock = threading.Lock()
        self._attempts = {}

    def begun(self, name, number, sent, answered, lease):
        """An attempt has begun. Violation if another one was alive all the time."""
        mine = Attempt(number, sent, answered, sent + lease)
        with self._lock:
            attempts = self._attempts.setdefault(name, collections.deque(maxlen=50))
            others = list(attempts)
            attempts.append(mine)
        for other in others:
            if other.number != number and not other.given_up and other.answered < sent and answered < other.alive_until:
                words = f"{number} began at {answered:.3f}, while {other.number} was alive until {other.alive_until:.3f}"
                raise Violation("a live lease is left alone", f"{self.subject} {name}: attempt {words}", self.subject, name)
        return mine

    def renewed(self, attempt, sent, lease):
        """Its lease was renewed by a call that was sent then."""
        attempt.alive_until = max(attempt.alive_until, sent + lease)

    def ended(self, name, attempt, sent):
        """Its work was committed, by a call that was sent then. Violation if another attempt had taken over by then."""
        with self._lock:
            others = list(self._attempts.get(name, ()))
        for other in others:
            if other.sent > attempt.answered and other.answered < sent:
                words = f"attempt {attempt.number} ended at {sent:.3f}; {other.number} had taken over at {other.answered:.3f}"
                raise Violation("who was taken over changes nothing", f"{self.subject} {name}: {words}", self.subject, name)

    def forget(self, name):
        """It is finished: nobody begins it any more."""
        with self._lock:
            self._attempts.pop(name, None)


def live_through(client, leases, attempt, lease, renew, give_up, end, gives_up):
    """What becomes of an attempt: some die, some are slow, some renew their lease, and the share `gives_up` gives up; the others
    end their work."""
    chance = client.dice.random()
    if chance < 0.15:
        return
    if chance < 0.4:
        time.sleep(lease * client.dice.uniform(0.3, 1.6))
    if client.dice.random() < 0.3:
        sent = client.ledger.now()
        renew()
        leases.renewed(attempt, sent, lease)
    if chance > 1 - gives_up:
        attempt.given_up = True
        give_up()
        return
    client.again(end)
