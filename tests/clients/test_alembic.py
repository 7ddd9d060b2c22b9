"""Alembic's autogenerate beside a guard that remembers."""

import sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

import models
import recipe_alembic


def proposals(orders, **options):
    """What autogenerate would put into a revision, in short."""
    engine = sqlalchemy.create_engine(orders.owner.url("postgresql+psycopg"))
    try:
        with engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"include_schemas": True, **options})
            found = compare_metadata(context, models.Base.metadata)
    finally:
        engine.dispose()
    return [(step[0], getattr(step[-1], "name", None)) for step in found if isinstance(step, tuple)]


def test_the_recipe_leaves_alone_what_belongs_to_the_guard(orders):
    orders.run("ALTER TABLE orders ADD first_arrived jsonb")
    orders.run("SELECT idempotent_guard('orders', remember => 'first_arrived')")
    usual = proposals(orders)
    assert ("remove_column", "first_arrived") in usual
    assert ("remove_table", "request_records") in usual
    kept = proposals(
        orders, include_name=recipe_alembic.include_name, include_object=recipe_alembic.include_object
    )
    assert kept == [step for step in usual if not step[0].startswith("remove_")]
