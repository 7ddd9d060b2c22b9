"""What the server's log may not have in it, and what it has since a moment."""

import re

# A line of the server's log that no test may cause. A backend that is told to quit while it exits has closed its socket: that the
# server cannot tell its client is no fault.
FORBIDDEN = re.compile(
    r"XX000(?! LOG:  could not send data to client: Bad file descriptor)|XX001|XX002|panicked|RUST_BACKTRACE|PANIC:|terminated by signal|reference leak|leaked|not closed"
    r"|still referenced|you don't own a lock|AbortSubTransaction|TRAP:|stack backtrace"
)


class Log:
    """The log of a cluster, read from where the last reading ended."""

    def __init__(self, cluster):
        self.path = cluster.log
        self.read_up_to = self.path.stat().st_size if self.path.exists() else 0

    def peek(self):
        """What the server has written since this object was made, or since the last call of `news`."""
        return self._unread().decode(errors="replace")

    def news(self):
        """The same, which is then read."""
        unread = self._unread()
        self.read_up_to += len(unread)
        return unread.decode(errors="replace")

    def _unread(self):
        if not self.path.exists():
            return b""
        with self.path.open("rb") as log:
            log.seek(self.read_up_to)
            return log.read()

    def new_states(self):
        """The SQLSTATEs of the errors among the news, one for each."""
        return re.findall(r"^\S+ \S+ \S+ \[\d+\] (\w{5}) ERROR:", self.news(), re.M)
