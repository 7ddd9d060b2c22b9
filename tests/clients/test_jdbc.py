"""What JDBC sees beside the update counts of a batch that went in."""

from decimal import Decimal

import pytest

from calls import Refused, java
from orders import ALTERED, BATCH, HALF, Order

EXECUTE_FAILED = -3
REWRITE = {"reWriteBatchedInserts": "true"}

# More than the driver sends at once.
LONG = [Order(f"b-{n:04}", Decimal(n), BATCH[0].placed_at, "x" * 100) for n in range(1, 2001)]
LONG_ALTERED = [*LONG[:-1], LONG[-1]._replace(amount=Decimal(-1))]


@pytest.mark.parametrize("how", ["batch", "autocommit"])
@pytest.mark.parametrize("options", [{}, REWRITE], ids=["plain", "rewritten"])
def test_a_failed_batch_counts_no_row(orders, how, options):
    orders.store(HALF)
    with pytest.raises(Refused) as caught:
        java(orders.address, ALTERED, how, **options)
    assert caught.value.more["counts"] == [EXECUTE_FAILED] * len(ALTERED)
    assert (caught.value.sqlstate, caught.value.constraint) == ("23I01", "orders_order_id_key")
    assert orders.stored() == HALF


@pytest.mark.parametrize("options", [{}, REWRITE], ids=["plain", "rewritten"])
def test_a_long_batch(orders, options):
    orders.store(LONG[::2])
    counts = java(orders.address, LONG, "batch", **options)
    if options:
        # No count is of a row.
        assert len(counts) == len(LONG) and set(counts) == {-2}
    else:
        assert counts == [0, 1] * (len(LONG) // 2)
    assert orders.stored() == LONG


@pytest.mark.parametrize("options", [{}, REWRITE], ids=["plain", "rewritten"])
def test_a_long_batch_in_a_transaction_leaves_nothing(orders, options):
    orders.store(LONG[-1:])
    with pytest.raises(Refused) as caught:
        java(orders.address, LONG_ALTERED, "batch", **options)
    assert caught.value.sqlstate == "23I01"
    assert set(caught.value.more["counts"]) == {EXECUTE_FAILED}
    assert orders.stored() == LONG[-1:]


def test_a_long_batch_with_autocommit_is_several_transactions(orders):
    """The driver commits what it sends at once. The counts say what has gone in."""
    orders.store(LONG[-1:])
    with pytest.raises(Refused) as caught:
        java(orders.address, LONG_ALTERED, "autocommit")
    counts = caught.value.more["counts"]
    assert set(counts) == {1, EXECUTE_FAILED}
    assert orders.stored() == [row for row, count in zip(LONG, counts) if count == 1] + LONG[-1:]
    # Sent again, what has gone in is a duplicate.
    counts = java(orders.address, LONG, "autocommit")
    assert 0 < counts.count(0) < len(LONG)
    assert orders.stored() == LONG


@pytest.mark.parametrize("options", [{}, REWRITE], ids=["plain", "rewritten"])
def test_generated_keys_say_whose_they_are_by_the_counts(orders, options):
    """The driver rewrites no batch whose keys are asked for."""
    orders.store(HALF)
    seen = java(orders.address, BATCH, "keys", **options)
    assert seen["counts"] == [1, 0, 1, 0, 1]
    ids = orders.ids()
    assert seen["ids"] == [ids[row.order_id] for row in BATCH[::2]]


@pytest.mark.parametrize("before", [[], HALF, list(reversed(HALF)), BATCH], ids=["new", "half", "reversed", "all"])
def test_through_the_view_every_row_is_counted_and_has_its_id(viewed, before):
    """What a persistence framework needs that takes a count of 0 for a failure."""
    viewed.store(before)
    seen = java(viewed.address, BATCH, "keys", table="orders_in")
    ids = viewed.ids()
    assert seen == {"counts": [1] * len(BATCH), "ids": [ids[row.order_id] for row in BATCH]}
    assert java(viewed.address, BATCH, "batch", table="orders_in") == [1] * len(BATCH)
    with pytest.raises(Refused) as caught:
        java(viewed.address, ALTERED, "keys", table="orders_in")
    assert caught.value.sqlstate == "23I01"
    assert viewed.stored() == BATCH
    assert viewed.ids() == ids
