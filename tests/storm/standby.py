"""The standby that follows: with wal_consistency_checking, it compares every page that it has changed with the primary's."""

import psycopg

from storm.checks import digests
from storm.ledger import Violation
from support.queries import value
from support.waiting import until


def must_be_equal(primary, copy, database, seconds=120):
    """While nobody writes: the standby lives, has replayed all of it, and has the same rows. Violation otherwise."""
    lsn = value(primary, "SELECT pg_current_wal_lsn()::text")
    with connected(copy, database) as conn:
        try:
            until(lambda: value(conn, "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", lsn), seconds, pause=0.1)
        except (AssertionError, psycopg.Error) as error:
            raise Violation("the standby follows", f"up to {lsn}: {error}") from error
        here, there = digests(primary), digests(conn)
    differ = [table for table in here if here[table] != there[table]]
    if differ:
        raise Violation("the standby is equal", ", ".join(differ))


def connected(copy, database):
    def connect():
        try:
            return copy.connect(database)
        except psycopg.OperationalError:
            return None

    try:
        return until(connect, 60, pause=0.2)
    except AssertionError:
        tail = copy.log.read_text(errors="replace")[-1500:]
        raise Violation("the standby is alive", f"no connection; its log ends in:\n{tail}") from None
