"""The models of the ORMs under test."""

import contextlib
import datetime
from decimal import Decimal

import django
import sqlalchemy
from django.conf import settings
from sqlalchemy import orm
from sqlalchemy.orm import Mapped, mapped_column

# --- SQLAlchemy --------------------------------------------------------------------------------------------------

Instant = sqlalchemy.DateTime(timezone=True)


class Base(orm.DeclarativeBase):
    type_annotation_map = {datetime.datetime: Instant, int: sqlalchemy.BigInteger}


class Order(Base):
    """As it is usually written: the server makes the primary key, and the ORM asks for it."""

    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(sqlalchemy.Identity(), primary_key=True)
    order_id: Mapped[str] = mapped_column(unique=True)
    amount: Mapped[Decimal]
    placed_at: Mapped[datetime.datetime]
    note: Mapped[str | None]
    received_at: Mapped[datetime.datetime] = mapped_column(server_default=sqlalchemy.func.now())


class ViewedBase(orm.DeclarativeBase):
    type_annotation_map = Base.type_annotation_map


class ViewedOrder(ViewedBase):
    """The usual mapping, of the view that answers with the stored rows."""

    __tablename__ = "orders_in"
    id: Mapped[int] = mapped_column(sqlalchemy.Identity(), primary_key=True)
    order_id: Mapped[str] = mapped_column(unique=True)
    amount: Mapped[Decimal]
    placed_at: Mapped[datetime.datetime]
    note: Mapped[str | None]


class KeyedBase(orm.DeclarativeBase):
    type_annotation_map = Base.type_annotation_map


class KeyedOrder(KeyedBase):
    """The same table. The business key is the primary key of the mapping, and what the server makes is read later."""

    __tablename__ = "orders"
    __mapper_args__ = {"eager_defaults": False}
    order_id: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[int] = mapped_column(server_default=sqlalchemy.FetchedValue(), unique=True)
    amount: Mapped[Decimal]
    placed_at: Mapped[datetime.datetime]
    note: Mapped[str | None]
    received_at: Mapped[datetime.datetime] = mapped_column(server_default=sqlalchemy.FetchedValue())
    items: Mapped[list["Item"]] = orm.relationship(back_populates="order")


class Item(KeyedBase):
    """A table beside it that refers to the id that the server makes."""

    __tablename__ = "items"
    item_id: Mapped[str] = mapped_column(primary_key=True)
    order_ref: Mapped[int] = mapped_column(sqlalchemy.ForeignKey("orders.id"))
    order: Mapped[KeyedOrder] = orm.relationship(back_populates="items")


# --- Django ------------------------------------------------------------------------------------------------------

settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.postgresql"}},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    USE_TZ=True,
)
django.setup()

from django.db import IntegrityError as django_integrity_error  # noqa: E402
from django.db import connections, models  # noqa: E402
from django.db.models.functions import Now  # noqa: E402


class Fields(models.Model):
    amount = models.DecimalField(max_digits=12, decimal_places=2)
    placed_at = models.DateTimeField()
    note = models.TextField(null=True)

    class Meta:
        abstract = True
        app_label = "shop"
        db_table = "orders"
        managed = False


class DjangoOrder(Fields):
    """As it is usually written, with a primary key that the server makes."""

    order_id = models.TextField(unique=True)


class DjangoKeyedOrder(Fields):
    """The same table, the business key as the primary key."""

    order_id = models.TextField(primary_key=True)


class DjangoStampedOrder(Fields):
    """With the business key as the primary key, and a column whose value the server makes."""

    order_id = models.TextField(primary_key=True)
    received_at = models.DateTimeField(db_default=Now())


class DjangoViewedOrder(Fields):
    """The usual model, of the view that answers with the stored rows."""

    order_id = models.TextField(unique=True)

    class Meta(Fields.Meta):
        abstract = False
        db_table = "orders_in"


@contextlib.contextmanager
def django_database(address):
    """An alias of the database in Django's settings, while it is needed."""
    connections.databases[address.dbname] = connections.databases["default"] | {
        "NAME": address.dbname,
        "HOST": address.host,
        "PORT": address.port,
        "USER": address.user,
        "PASSWORD": address.password,
    }
    try:
        yield address.dbname
    finally:
        connections[address.dbname].close()
        del connections[address.dbname], connections.databases[address.dbname]
