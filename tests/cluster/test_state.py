"""Indexes that come and go on idempotent.request_records while sessions use it.

Every row is in every index that is there (amcheck, where the server has it, else a count by index and without), and no session is the victim of a deadlock.

PGI_SECONDS_STATE   how long it lasts (default 6)
"""

import threading
import time

import psycopg
import pytest

from support.project import size
from support.queries import value

SECONDS = size("PGI_SECONDS_STATE", 6)
CLIENTS = 6

MAKERS = {
    "plain": ["CREATE INDEX made ON idempotent.request_records (key, status)", "DROP INDEX idempotent.made"],
    "concurrently": [
        "CREATE INDEX CONCURRENTLY made ON idempotent.request_records (key, status)",
        "DROP INDEX CONCURRENTLY idempotent.made",
    ],
    "reindex": ["REINDEX INDEX idempotent.request_records_pkey", "REINDEX TABLE idempotent.request_records"],
    "reindex concurrently": ["REINDEX TABLE CONCURRENTLY idempotent.request_records"],
}


def checker(conn):
    """What says whether every row is in an index."""
    if value(conn, "SELECT count(*) FROM pg_available_extensions WHERE name = 'amcheck'"):
        conn.execute("CREATE EXTENSION amcheck")
        return lambda index: conn.execute("SELECT bt_index_check(%s::regclass, true)", [f"idempotent.{index}"])
    count = "SELECT count(*) FROM idempotent.request_records WHERE key > '' AND purge_after > '-infinity'"

    def by_index(_):
        with conn.transaction():
            conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            conn.execute("SET LOCAL enable_seqscan = off")
            found = value(conn, count)
            conn.execute("SET LOCAL enable_seqscan = on; SET LOCAL enable_indexscan = off; SET LOCAL enable_bitmapscan = off")
            conn.execute("SET LOCAL enable_indexonlyscan = off")
            assert found == value(conn, count)

    return by_index


@pytest.mark.parametrize("maker", MAKERS)
def test_every_row_is_in_every_index(db, maker):
    end = time.monotonic() + SECONDS
    errors = []

    def use(client):
        with db.connect() as conn:
            n = 0
            while time.monotonic() < end and not errors:
                n += 1
                try:
                    with conn.transaction():
                        conn.execute("SELECT idempotent_execute(%s, 'SELECT 1')", [f"{client} {max(n - 3, 1)}"])
                        conn.execute("SELECT idempotent_execute(%s, 'SELECT 1')", [f"{client} {n}"])
                except psycopg.Error as error:
                    errors.append(error)

    users = [threading.Thread(target=use, args=(client,)) for client in range(CLIENTS)]
    for user in users:
        user.start()
    with db.connect() as conn:
        check = checker(conn)
        while time.monotonic() < end:
            for command in MAKERS[maker]:
                conn.execute(command)
                if "CREATE" in command:
                    check("made")
        for user in users:
            user.join()
        assert not errors
        # The indexes as they are left: the primary key's, and what was being made last.
        for index in ("request_records_pkey", "request_records_purge_after"):
            check(index)
        assert value(conn, "SELECT count(*) FROM idempotent.request_records") > CLIENTS
