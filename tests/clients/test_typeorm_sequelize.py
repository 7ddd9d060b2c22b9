"""TypeORM and Sequelize: what goes wrong on a guarded table with the calls that are usual, and what works."""

import pytest
from calls import Refused, orm
from orders import BATCH, HALF


def test_save_gives_objects_ids_that_are_not_theirs(orders):
    orders.store(HALF)
    held = orm(orders.address, BATCH, "typeormSave")
    assert orders.stored() == BATCH
    wrong = {key for key, id in held.items() if id is not None and id != orders.ids()[key]}
    assert wrong, "TypeORM has learned to tell skipped rows: docs/clients.md says otherwise"


def test_bulk_create_turns_objects_into_others(orders):
    orders.store(HALF)
    held = orm(orders.address, BATCH, "sequelizeBulkCreate")
    assert orders.stored() == BATCH
    assert set(held) != {order.order_id for order in BATCH}, "Sequelize has learned to tell skipped rows"


def test_create_raises_for_a_duplicate(orders):
    orders.store(HALF)
    with pytest.raises(Refused) as caught:
        orm(orders.address, BATCH, "sequelizeCreate")
    assert caught.value.type == "SequelizeEmptyResultError"
    assert orders.stored() == HALF


@pytest.mark.parametrize("way", ["typeormSave", "sequelizeBulkCreate", "sequelizeCreate"])
@pytest.mark.parametrize("before", [[], HALF, BATCH], ids=["new", "half", "again"])
def test_the_view_gives_each_object_its_id(viewed, way, before):
    viewed.store(before)
    held = orm(viewed.address, BATCH, way, table="orders_in")
    assert viewed.stored() == BATCH
    assert held == viewed.ids()
