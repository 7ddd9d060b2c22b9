"""What to_sql does to a guarded table beside what it returns."""

import pandas
import psycopg
import pytest

from calls import engine
from orders import ALTERED, BATCH, COLUMNS, HALF
from recipes import copy_into_table


def frame(rows):
    return pandas.DataFrame(rows, columns=COLUMNS).astype({"amount": float})


def test_replace_takes_the_guard_away(orders):
    orders.store(HALF)
    assert orders.query("SELECT count(*) FROM idempotent.guards") == [(1,)]
    frame(BATCH).to_sql("orders", engine(orders.owner), if_exists="replace", index=False)
    assert orders.query("SELECT count(*) FROM idempotent.guards") == [(0,)]


@pytest.mark.parametrize("method", [None, "multi"])
def test_a_conflict_in_a_late_chunk_leaves_nothing(orders, method):
    orders.store(HALF)
    with pytest.raises(pandas.errors.DatabaseError):
        frame(ALTERED).to_sql(
            "orders", engine(orders.address), if_exists="append", index=False, chunksize=1, method=method
        )
    assert orders.stored() == HALF
    frame(BATCH).to_sql("orders", engine(orders.address), if_exists="append", index=False, chunksize=1, method=method)
    assert orders.stored() == BATCH


def test_missing_values_and_binary_fractions(orders):
    """A number that went through floating point is compared after the column has rounded it."""
    orders.run("INSERT INTO orders (order_id, amount, placed_at) VALUES ('f', 0.30, '2024-05-01')")
    placed_at = pandas.Timestamp("2024-05-01", tz="UTC")
    sent = pandas.DataFrame({"order_id": ["f"], "amount": [0.1 + 0.2], "placed_at": [placed_at], "note": [None]})
    sent.to_sql("orders", engine(orders.address), if_exists="append", index=False)
    sent["note"] = float("nan")
    sent.astype({"note": object}).to_sql("orders", engine(orders.address), if_exists="append", index=False)
    assert orders.query("SELECT order_id, amount::text, note FROM orders") == [("f", "0.30", None)]


def test_binary_fractions_in_a_column_without_a_scale(orders):
    """INSERT sends fifteen digits, COPY all of them."""
    orders.run("CREATE TABLE weights (name text PRIMARY KEY, weight numeric)")
    orders.run("SELECT idempotent_guard('weights')")
    orders.run("GRANT SELECT, INSERT ON weights TO app")
    sent = pandas.DataFrame({"name": ["w"], "weight": [0.1 + 0.2]})
    for _ in range(2):
        sent.to_sql("weights", engine(orders.address), if_exists="append", index=False)
    assert orders.query("SELECT weight::text FROM weights") == [("0.3",)]
    with pytest.raises(psycopg.IntegrityError) as caught:
        sent.to_sql("weights", engine(orders.address), if_exists="append", index=False, method=copy_into_table)
    assert caught.value.sqlstate == "23I01"
