"""Where everybody waits while the server is looked at."""

import contextlib
import threading
import time


class Gate:
    """Clients take their steps while it is open. `closed` waits until none is in a step, and keeps them out."""

    def __init__(self):
        self._changed = threading.Condition()
        self._closed = False
        self._inside = set()

    @contextlib.contextmanager
    def step(self, who):
        with self._changed:
            self._changed.wait_for(lambda: not self._closed)
            self._inside.add(who)
        try:
            yield
        finally:
            with self._changed:
                self._inside.discard(who)
                self._changed.notify_all()

    @contextlib.contextmanager
    def closed(self, meanwhile, seconds=90):
        """Nobody is in a step until the end of the block. While some still are, `meanwhile()` is called again and again.
        TimeoutError with their names if that takes too long."""
        deadline = time.monotonic() + seconds
        with self._changed:
            self._closed = True
        try:
            while True:
                with self._changed:
                    if self._changed.wait_for(lambda: not self._inside, 0.2):
                        break
                    names = sorted(self._inside)
                if time.monotonic() > deadline:
                    raise TimeoutError(", ".join(names))
                meanwhile()
            yield
        finally:
            with self._changed:
                self._closed = False
                self._changed.notify_all()
