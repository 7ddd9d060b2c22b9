"""Waiting for a subscription."""

from support.queries import value
from support.waiting import until


def catch_up(publisher, subscriber):
    """Wait until the initial copy into one database is done, and what the other has committed is applied."""
    with publisher.connect() as there, subscriber.connect() as here:
        lsn = value(there, "SELECT pg_current_wal_lsn()::text")
        slots = "SELECT bool_and(confirmed_flush_lsn >= %s::pg_lsn) FROM pg_replication_slots WHERE database = current_database()"

        def caught_up():
            copied = value(here, "SELECT bool_and(srsubstate IN ('r', 's')) FROM pg_subscription_rel")
            return copied and value(there, slots, lsn)

        until(caught_up, words=lambda: subscriber.cluster.log.read_text()[-3000:])
