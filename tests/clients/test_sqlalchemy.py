"""What SQLAlchemy's ORM makes of skipped rows, and the ways out of it that the documentation recommends."""

import pytest
import sqlalchemy
from sqlalchemy import orm

import models
import recipes
from calls import engine
from orders import BATCH, HALF


def add_all(orders, model, rows=BATCH):
    """The id that the ORM has for each order after one flush of all."""
    with orm.Session(engine(orders.address)) as session:
        added = [model(**row._asdict()) for row in rows]
        session.add_all(added)
        session.flush()
        ids = {order.order_id: order.id for order in added}
        session.commit()
    return ids


def test_the_usual_mapping_inserts_new_rows(orders):
    assert add_all(orders, models.Order) == orders.ids()


@pytest.mark.parametrize("before", [HALF, BATCH], ids=["half", "all"])
def test_the_usual_mapping_cannot_do_with_a_skipped_row(orders, before):
    orders.store(before)
    with pytest.raises(orm.exc.FlushError, match="did not produce the correct number of INSERTed rows"):
        add_all(orders, models.Order)
    with pytest.raises(orm.exc.FlushError, match="did not produce a new primary key"):
        add_all(orders, models.Order, rows=[BATCH[1]])
    # It fails in words; no order has got another one's id, and nothing has gone in.
    assert orders.stored() == before


def test_the_session_goes_on_after_a_rollback(orders):
    orders.store(HALF)
    with orm.Session(engine(orders.address)) as session:
        session.add_all([models.Order(**row._asdict()) for row in BATCH])
        with pytest.raises(orm.exc.FlushError):
            session.flush()
        session.rollback()
        session.execute(sqlalchemy.insert(models.Order), [row._asdict() for row in BATCH])
        session.commit()
    assert orders.stored() == BATCH


@pytest.mark.parametrize("before", [[], HALF, BATCH], ids=["new", "half", "all"])
def test_the_key_mapped_as_primary_key(orders, before):
    orders.store(before)
    assert add_all(orders, models.KeyedOrder) == orders.ids()
    assert orders.stored() == BATCH


@pytest.mark.parametrize("before", [[], HALF, BATCH], ids=["new", "half", "all"])
def test_rows_that_refer_to_the_id(orders, before):
    orders.run("CREATE TABLE items (item_id text PRIMARY KEY, order_ref bigint NOT NULL REFERENCES orders (id))")
    orders.run("SELECT idempotent_guard('items')")
    orders.run("GRANT SELECT, INSERT ON items TO app")
    orders.store(before)
    for _ in range(2):
        with orm.Session(engine(orders.address)) as session:
            for row in BATCH:
                item = models.Item(item_id=f"{row.order_id}/1")
                session.add(models.KeyedOrder(**row._asdict(), items=[item]))
            session.commit()
        found = orders.query("SELECT item_id, order_id FROM items JOIN orders ON id = order_ref ORDER BY 1")
        assert found == [(f"{row.order_id}/1", row.order_id) for row in BATCH]


@pytest.mark.parametrize("before", [[], HALF, BATCH], ids=["new", "half", "all"])
def test_insert_and_look_up(orders, before):
    orders.store(before)
    with orm.Session(engine(orders.address)) as session, session.begin():
        rows = [row._asdict() for row in BATCH]
        found = recipes.sqlalchemy_insert_and_look_up(session, models.Order, rows)
        found = {order_id: order.id for order_id, order in found.items()}
    assert found == orders.ids()
    assert orders.stored() == BATCH


def test_the_view_and_a_mapping_with_an_identity_give_wrong_ids(viewed):
    """The ORM takes the ids for increasing in the order of its rows, and sorts by them."""
    viewed.store(reversed(HALF))
    ids = add_all(viewed, models.ViewedOrder)
    assert viewed.stored() == BATCH
    assert sorted(ids.values()) == sorted(viewed.ids().values())
    assert ids != viewed.ids()


def test_no_row_count_without_asking_for_it(orders):
    orders.store(HALF)
    insert = sqlalchemy.insert(models.Order.__table__)
    with engine(orders.address).begin() as conn:
        assert conn.execute(insert, [row._asdict() for row in BATCH]).rowcount == -1
