"""Statements that are cut short by the death of their backend."""

import time

import psycopg

from support.sessions import in_background


def kill_in_the_middle(cluster, db, statement, delays, stays=lambda conn: None):
    """Run `statement(conn)` in a session, kill its backend so many seconds later, and wait until the server is up again;
    once for each of the delays, until one is so long that the statement has come to its end.

    After each death `stays(conn)` checks that nothing of the statement is left. One death at least is required."""
    killed = 0
    for delay in delays:
        conn = db.connect()
        join = in_background(lambda: statement(conn))
        time.sleep(delay)
        cluster.kill_backend(conn.info.backend_pid)
        error = join()
        killed += isinstance(error, psycopg.OperationalError)
        conn.close()
        cluster.wait_until_up()
        if error is None:
            break
        with db.connect() as check:
            stays(check)
    assert killed, "the statement was done before the first kill"
