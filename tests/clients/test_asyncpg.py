"""What asyncpg sees beside what its calls return."""

import asyncio
import runpy

import asyncpg
import pytest
import sqlalchemy
from sqlalchemy.ext.asyncio import create_async_engine

import models
from calls import INSERT, asyncpg_executemany, asyncpg_session
from orders import ALTERED, BATCH, HALF, THE_DETAIL
from programs import HERE

CODES = asyncpg.exceptions._base.PostgresMessageMeta._message_map


@pytest.fixture
def registered():
    """The class of the documentation's recipe, which asyncpg knows until the test is over."""
    yield runpy.run_path(str(HERE / "recipe_asyncpg.py"))["IdempotencyConflict"]
    del CODES["23I01"]


def test_single_rows(orders):
    orders.store(HALF)

    async def work(conn):
        insert = f"{INSERT} ($1, $2, $3, $4)"
        assert await conn.execute(insert, *BATCH[0]) == "INSERT 0 1"
        assert await conn.execute(insert, *BATCH[1]) == "INSERT 0 0"
        assert await conn.fetchrow(f"{insert} RETURNING id", *BATCH[1]) is None
        assert await conn.fetchval(f"{insert} RETURNING id", *BATCH[2]) is not None
        assert await conn.fetchval(f"{insert} RETURNING id", *BATCH[2]) is None

    asyncpg_session(orders.address, work)
    assert orders.stored() == BATCH[:4]


def test_a_conflict_is_no_integrity_error_until_its_class_is_registered(orders):
    orders.store(HALF)
    with pytest.raises(asyncpg.PostgresError) as caught:
        asyncpg_executemany(orders.address, ALTERED)
    assert not isinstance(caught.value, asyncpg.IntegrityConstraintViolationError)


def test_a_registered_class_is_raised(orders, registered):
    orders.store(HALF)
    with pytest.raises(asyncpg.IntegrityConstraintViolationError) as caught:
        asyncpg_executemany(orders.address, ALTERED)
    assert type(caught.value) is registered
    assert (caught.value.sqlstate, caught.value.detail) == ("23I01", THE_DETAIL)
    assert (caught.value.table_name, caught.value.column_name) == ("orders", "amount")
    assert caught.value.constraint_name == "orders_order_id_key"
    assert orders.stored() == HALF


def below_sqlalchemy(orders, rows):
    async def work():
        engine = create_async_engine(orders.address.url("postgresql+asyncpg"), poolclass=sqlalchemy.pool.NullPool)
        async with engine.begin() as conn:
            table = models.Order.__table__
            await conn.execute(sqlalchemy.insert(table), [row._asdict() for row in rows])

    return asyncio.run(work())


def test_below_sqlalchemy(orders):
    orders.store(HALF)
    with pytest.raises(sqlalchemy.exc.DBAPIError) as caught:
        below_sqlalchemy(orders, ALTERED)
    assert type(caught.value) is sqlalchemy.exc.DBAPIError
    assert caught.value.orig.sqlstate == "23I01"
    assert orders.stored() == HALF
    below_sqlalchemy(orders, BATCH)
    assert orders.stored() == BATCH


def test_a_registered_class_below_sqlalchemy(orders, registered):
    orders.store(HALF)
    with pytest.raises(sqlalchemy.exc.IntegrityError) as caught:
        below_sqlalchemy(orders, ALTERED)
    assert caught.value.orig.sqlstate == "23I01"
    assert orders.stored() == HALF
