"""Each way to send a batch, each fate of the batch before: the table is right afterwards, and the client sees what the
page of the documentation says."""

import pytest

from calls import ALL_IDS, INSERTED_IDS, UNFIT, WAYS
from orders import ALTERED, BATCH, HALF, REPEATED, THE_CONFLICT, THE_DETAIL


def check_report(way, orders, rows, before, reported, expected):
    ids = orders.ids()
    if expected == ALL_IDS:
        expected = [ids[row.order_id] for row in rows]
    elif expected == INSERTED_IDS:
        new = dict.fromkeys(row.order_id for row in rows if row not in before)
        expected = [ids[order_id] for order_id in new]
    assert reported == expected


def refused(way, orders, rows):
    """The client must raise its own kind of integrity error, with all that the server said."""
    try:
        reported = way.send(orders.address, rows)
    except Exception as error:
        expected = way.raises
        if isinstance(expected, str):
            assert error.type == expected
        else:
            assert type(error) is expected
        assert way.sqlstate(error) == "23I01"
        assert way.detail(error) == THE_DETAIL
        return error
    pytest.fail(f"nothing was raised; reported was {reported!r}")


every_way = pytest.mark.parametrize("way", WAYS, ids=str)


@every_way
def test_a_batch_that_was_committed_before(way, orders):
    reported = way.send(orders.address, BATCH)
    check_report(way, orders, BATCH, [], reported, way.new)
    stored, ids = orders.stored(), orders.ids()
    assert stored == BATCH

    reported = way.send(orders.address, BATCH)
    check_report(way, orders, BATCH, BATCH, reported, way.again)
    assert orders.stored() == stored
    assert orders.ids() == ids


@every_way
def test_a_batch_of_which_half_was_committed_before(way, orders):
    orders.store(HALF)
    ids = orders.ids()
    reported = way.send(orders.address, BATCH)
    check_report(way, orders, BATCH, HALF, reported, way.half)
    assert orders.stored() == BATCH
    assert orders.ids().items() >= ids.items()


@every_way
def test_a_batch_that_was_altered(way, orders):
    orders.store(HALF)
    ids = orders.ids()
    refused(way, orders, ALTERED)
    # Neither the row that differs nor those before and after it.
    assert orders.stored() == HALF
    assert orders.ids() == ids
    assert orders.conflicts() == []

    # The right batch still goes in.
    reported = way.send(orders.address, BATCH)
    check_report(way, orders, BATCH, HALF, reported, way.half)
    assert orders.stored() == BATCH


@every_way
def test_a_batch_that_was_altered_with_quarantine(way, quarantine):
    quarantine.store(HALF)
    # To the client the row that differs looks like the duplicate beside it.
    reported = way.send(quarantine.address, ALTERED)
    check_report(way, quarantine, ALTERED, [HALF[0], ALTERED[3]], reported, way.half)
    assert quarantine.stored() == BATCH
    assert [(key, {name: {side: float(value) for side, value in sides.items()} for name, sides in found.items()})
            for key, found in quarantine.conflicts()] == [THE_CONFLICT]

    reported = way.send(quarantine.address, ALTERED)
    check_report(way, quarantine, ALTERED, ALTERED, reported, way.again)
    assert len(quarantine.conflicts()) == 1


@pytest.mark.parametrize("way", [way for way in WAYS if way.repeated != UNFIT], ids=str)
def test_a_batch_with_one_row_twice(way, orders):
    reported = way.send(orders.address, REPEATED)
    check_report(way, orders, REPEATED, [], reported, way.repeated)
    assert orders.stored() == BATCH[:2]


@every_way
def test_the_view_in_the_table_s_place_answers_a_retry_as_the_first_time(way, orders):
    orders.run("ALTER TABLE orders RENAME TO orders_stored")
    orders.run("SELECT idempotent_view('orders_stored', 'orders')")
    orders.run("GRANT SELECT, INSERT ON orders TO app")
    orders.store(HALF)
    for _ in range(2):
        reported = way.send(orders.address, BATCH)
        check_report(way, orders, BATCH, [], reported, way.new)
        assert orders.stored() == BATCH
    refused(way, orders, ALTERED)
    assert orders.stored() == BATCH
