"""Waiting for a condition instead of a time."""

import time

from support.queries import value


def until(condition, seconds=30, words="not in time", pause=0.01):
    """Wait until `condition()` is true, and return what it returned. AssertionError with `words` (a text, or a
    function that makes one) if that takes longer than so many seconds."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(words() if callable(words) else words)
        time.sleep(pause)


def until_sql(conn, sql, *parameters, seconds=30):
    """Wait until a query returns a true value."""
    until(lambda: value(conn, sql, *parameters), seconds, sql)


def until_alone(conn, seconds=20):
    """Wait until no other session is connected to the database of `conn`."""
    until_sql(conn, "SELECT count(*) = 1 FROM pg_stat_activity WHERE datname = current_database()", seconds=seconds)


def waits_for_a_lock(db, waiting, event=None):
    """True once the session of the connection `waiting` waits for a lock, of this kind if one is named; False if that
    takes longer than ten seconds. Asks in a session of its own."""
    asked = "SELECT wait_event_type = 'Lock' AND wait_event = coalesce(%s, wait_event) FROM pg_stat_activity WHERE pid = %s"
    with db.connect() as conn:
        try:
            until_sql(conn, asked, event, waiting.info.backend_pid, seconds=10)
        except AssertionError:
            return False
    return True
