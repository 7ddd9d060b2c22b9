"""What psql sees beside the tags of its commands."""

import pytest

from calls import INSERT, Refused, psql
from orders import HALF, THE_DETAIL

SAME = f"{INSERT} ('o-4', 4.5, '2024-05-04 12:00+05:30', 'Nº 4')"
OTHER = f"{INSERT} ('o-4', 44.25, '2024-05-04 12:00+05:30', 'Nº 4')"


def test_variables(orders):
    orders.store(HALF)
    printed = psql(orders.address, text=rf"{SAME};" "\n" r"\echo :ROW_COUNT :ERROR :SQLSTATE" "\n")
    assert printed == "INSERT 0 0\n0 false 00000"
    printed = psql(orders.address, text=rf"{OTHER};" "\n" r"\echo :ROW_COUNT :ERROR :SQLSTATE" "\n")
    assert printed == "0 true 23I01"


def test_a_script_ends_at_the_conflict_and_leaves_nothing(orders):
    orders.store(HALF)
    new = SAME.replace("o-4", "o-9")
    with pytest.raises(Refused) as caught:
        psql(orders.address, "--single-transaction", "-v", "ON_ERROR_STOP=1", text=f"{new};\n{OTHER};\n{SAME};\n")
    assert (caught.value.type, caught.value.sqlstate) == ("exit status 3", "23I01")
    assert caught.value.detail == THE_DETAIL
    assert list(orders.ids()) == ["o-2", "o-4"]


def test_gset_has_nothing_to_set_after_a_skipped_row(orders):
    orders.store(HALF)
    with pytest.raises(Refused, match="no rows returned for"):
        psql(orders.address, "-v", "ON_ERROR_STOP=1", text=rf"{SAME} RETURNING id \gset" "\n")
    # The function has an answer always.
    text = r"""
        SELECT stored->>'id' AS id FROM idempotent_insert('orders', '{
            "order_id": "o-4", "amount": 4.5, "placed_at": "2024-05-04 12:00+05:30"}') \gset
        \echo :id
    """
    assert psql(orders.address, "-v", "ON_ERROR_STOP=1", text=text) == str(orders.ids()["o-4"])


def test_a_skipped_row_has_drawn_its_number(orders):
    orders.store(HALF)
    psql(orders.address, "-c", SAME)
    psql(orders.address, "-c", SAME.replace("o-4", "o-9"))
    assert orders.ids() == {"o-2": 1, "o-4": 2, "o-9": 4}
