"""Sessions beside the test's own: one in the background, or many at once."""

import threading

import psycopg
import pytest

LEVELS = pytest.mark.parametrize("level", ["read committed", "repeatable read", "serializable"])


def in_background(act):
    """Start `act` in a thread; the returned function joins it and gives its psycopg.Error, or None."""
    caught = []

    def run():
        try:
            act()
        except psycopg.Error as error:
            caught.append(error)

    thread = threading.Thread(target=run)
    thread.start()

    def join(seconds=60):
        thread.join(seconds)
        assert not thread.is_alive(), "still running"
        return caught[0] if caught else None

    return join


def until_it_succeeds(call, states):
    """What `call()` gives when it is repeated until it succeeds. The SQLSTATE of each failure is added to `states`."""
    while True:
        try:
            return call()
        except psycopg.Error as error:
            states.append(error.sqlstate)


class Sessions:
    """`count` sessions at once. Each opens a connection by `connect()` and runs `work(number, conn)` in it.

    barrier  where they wait for each other: if one fails, the others do not wait for it any more
    """

    def __init__(self, count, connect, work, barrier=None):
        self.connect, self.work, self.barrier = connect, work, barrier
        self.failures = []
        self.results = [None] * count
        self.threads = [threading.Thread(target=self._session, args=(number,)) for number in range(count)]
        for thread in self.threads:
            thread.start()

    def _session(self, number):
        try:
            with self.connect() as conn:
                self.results[number] = self.work(number, conn)
        except threading.BrokenBarrierError:
            # Another session has failed, and says why.
            pass
        except BaseException as error:
            self.failures.append(error)
            if self.barrier:
                self.barrier.abort()

    def join(self):
        """Wait for their end. Returns what `work` returned, by number; raises the first exception of any of them."""
        for thread in self.threads:
            thread.join()
        if self.failures:
            raise self.failures[0]
        return self.results


def together(db, work, count, level="read committed", barrier=None):
    """Run `work(number, conn)` in as many sessions at once, to their end. What it returned, by number; the first
    exception of any of them is raised."""
    return Sessions(count, lambda: db.at_level(level), work, barrier).join()


def beside(db, work):
    """A session that runs `work(conn)`; it is to be joined."""
    return Sessions(1, db.connect, lambda _number, conn: work(conn))
