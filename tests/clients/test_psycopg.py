"""What psycopg sees when another session stores the same row at the same time, and without rights to read."""

import threading

import psycopg
import pytest

from calls import INSERT, psycopg_executemany
from orders import ALTERED, BATCH, HALF

RETURNING = f"{INSERT} (%s, %s, %s, %s) RETURNING id"
LOOK = "SELECT id FROM orders WHERE order_id = %s"


@pytest.mark.parametrize(
    "sql",
    [RETURNING, f"WITH new AS ({RETURNING}) TABLE new UNION ALL {LOOK}"],
    ids=["alone", "with a look beside it"],
)
def test_a_row_that_another_session_is_storing_is_seen_by_the_next_statement(orders, sql):
    row = BATCH[0]
    parameters = row if LOOK not in sql else (*row, row.order_id)
    with (
        psycopg.connect(**orders.address.keywords) as other,
        psycopg.connect(**orders.address.keywords) as conn,
    ):
        id = other.execute(RETURNING, row).fetchone()
        found = []
        thread = threading.Thread(target=lambda: found.append(conn.execute(sql, parameters).fetchall()))
        thread.start()
        waits = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s AND wait_event_type = 'Lock'"
        while orders.query(waits, conn.info.backend_pid) != [(1,)]:
            assert thread.is_alive(), "it does not wait"
        other.commit()
        thread.join()
        assert found == [[]]
        assert conn.execute(LOOK, [row.order_id]).fetchone() == id


def test_without_the_right_to_read(orders):
    """The right to INSERT is enough. What is stored stays hidden."""
    orders.run("REVOKE SELECT ON orders FROM app")
    orders.store(HALF)
    assert psycopg_executemany(orders.address, BATCH) == 3
    assert psycopg_executemany(orders.address, BATCH) == 0
    with pytest.raises(psycopg.IntegrityError) as caught:
        psycopg_executemany(orders.address, ALTERED)
    assert caught.value.sqlstate == "23I01"
    assert "4.50" not in str(caught.value)
    assert "amount" in caught.value.diag.message_detail
    assert orders.stored() == BATCH


def test_the_error_names_what_it_is_about(orders):
    orders.store(HALF)
    with pytest.raises(psycopg.IntegrityError) as caught:
        psycopg_executemany(orders.address, ALTERED)
    diag = caught.value.diag
    assert (diag.schema_name, diag.table_name, diag.column_name) == ("public", "orders", "amount")
    assert diag.constraint_name == "orders_order_id_key"
    assert "payload conflicts with the stored row" in diag.message_primary
    assert diag.message_hint


def test_a_pipeline(orders):
    """Statements that are sent without waiting for each other's answers."""
    orders.store(HALF)
    with psycopg.connect(**orders.address.keywords) as conn:
        with conn.pipeline():
            cursors = [conn.execute(f"{INSERT} (%s, %s, %s, %s)", row) for row in BATCH]
        assert [cursor.rowcount for cursor in cursors] == [1, 0, 1, 0, 1]
    assert orders.stored() == BATCH
    with pytest.raises(psycopg.IntegrityError), psycopg.connect(**orders.address.keywords) as conn:
        with conn.pipeline():
            for row in [BATCH[0]._replace(order_id="o-9"), *ALTERED]:
                conn.execute(f"{INSERT} (%s, %s, %s, %s)", row)
    assert orders.stored() == BATCH


def test_repeatable_read(orders):
    """A row that the transaction's snapshot cannot see is no duplicate: the transaction has to be tried again."""
    with psycopg.connect(**orders.address.keywords) as conn:
        conn.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        assert conn.execute("SELECT count(*) FROM orders").fetchone() == (0,)
        orders.store(BATCH[:1])
        with pytest.raises(psycopg.errors.SerializationFailure):
            conn.execute(f"{INSERT} (%s, %s, %s, %s)", BATCH[0])
        conn.rollback()
        assert conn.execute(f"{INSERT} (%s, %s, %s, %s)", BATCH[0]).rowcount == 0
    assert orders.stored() == BATCH[:1]
