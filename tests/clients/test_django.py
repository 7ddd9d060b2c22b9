"""What Django makes of skipped rows, and the ways out of it that the documentation recommends."""

import subprocess
import sys

import pytest
from django.db import IntegrityError, ProgrammingError, transaction
from django.db.models import signals

import recipes
from orders import ALTERED, BATCH, HALF, THE_CONFLICT
from programs import HERE
from models import DjangoKeyedOrder, DjangoOrder, DjangoStampedOrder, DjangoViewedOrder, django_database


def instances(model, rows=BATCH):
    return [model(**row._asdict()) for row in rows]


def keys(objects):
    return {order.order_id: order.pk for order in objects}


def test_the_usual_model_inserts_new_rows(orders):
    with django_database(orders.address) as using:
        assert keys(DjangoOrder.objects.using(using).bulk_create(instances(DjangoOrder))) == orders.ids()


@pytest.mark.parametrize("before", [HALF, BATCH], ids=["half", "all"])
@pytest.mark.parametrize("batch_size", [None, 2])
def test_bulk_create_of_the_usual_model_cannot_do_with_a_skipped_row(orders, before, batch_size):
    orders.store(before)
    with django_database(orders.address) as using:
        with pytest.raises(AssertionError):
            DjangoOrder.objects.using(using).bulk_create(instances(DjangoOrder), batch_size=batch_size)
    assert orders.stored() == before


def test_without_assertions_bulk_create_of_the_usual_model_gives_wrong_ids(orders):
    orders.store(HALF)
    script = """
import sys
from address import Address
from orders import BATCH
from test_django import DjangoOrder, django_database, instances, keys
with django_database(Address(int(sys.argv[1]), *sys.argv[2:])) as using:
    print(keys(DjangoOrder.objects.using(using).bulk_create(instances(DjangoOrder))))
"""
    address = orders.address
    arguments = [str(address.port), address.dbname, address.user, address.password]
    done = subprocess.run(
        [sys.executable, "-O", "-W", "ignore", "-c", script, *arguments],
        cwd=HERE,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    ids = orders.ids()
    # The ids of the three new rows, given to the first three.
    new = {"o-1": ids["o-1"], "o-2": ids["o-3"], "o-3": ids["o-5"], "o-4": None, "o-5": None}
    assert done.stdout.strip() == str(new)


def test_create_of_the_usual_model_cannot_do_with_a_skipped_row(orders):
    orders.store(HALF)
    with django_database(orders.address) as using:
        objects = DjangoOrder.objects.using(using)
        with pytest.raises(TypeError, match="'NoneType' object is not iterable"):
            objects.create(**HALF[0]._asdict())
        with pytest.raises(TypeError, match="'NoneType' object is not iterable"):
            DjangoOrder(**HALF[0]._asdict()).save(using=using)
        with transaction.atomic(using):
            with pytest.raises(TypeError), transaction.atomic(using):
                objects.create(**HALF[0]._asdict())
            objects.create(**BATCH[0]._asdict())
    assert orders.stored() == BATCH[:2] + HALF[1:]


@pytest.mark.parametrize("before", [[], HALF, BATCH], ids=["new", "half", "all"])
def test_insert_and_look_up(orders, before, monkeypatch):
    orders.store(before)
    with django_database(orders.address) as using:
        # `objects` without using(), as an application has it.
        monkeypatch.setattr(DjangoOrder, "objects", DjangoOrder.objects.db_manager(using))
        found = recipes.django_insert_and_look_up(DjangoOrder, instances(DjangoOrder))
    assert {order_id: order.pk for order_id, order in found.items()} == orders.ids()
    assert orders.stored() == BATCH


def test_get_or_create_verifies_nothing(orders):
    orders.store(HALF)
    with django_database(orders.address) as using:
        objects = DjangoOrder.objects.using(using)
        altered = ALTERED[3]._asdict()
        order, created = objects.get_or_create(order_id=altered.pop("order_id"), defaults=altered)
        assert (created, order.amount) == (False, HALF[1].amount)


def test_a_conflict_is_an_integrity_error_in_every_call(orders):
    orders.store(HALF)
    altered = ALTERED[3]._asdict()
    with django_database(orders.owner) as using:
        for model in DjangoOrder, DjangoKeyedOrder, DjangoStampedOrder:
            objects = model.objects.using(using)
            attempts = [
                lambda: objects.create(**altered),
                lambda: model(**altered).save(using=using, force_insert=True),
                lambda: objects.bulk_create([model(**altered)]),
                lambda: objects.bulk_create([model(**altered)], ignore_conflicts=True),
                lambda: objects.bulk_create(
                    [model(**altered)], update_conflicts=True, unique_fields=["order_id"], update_fields=["amount"]
                ),
            ]
            for attempt in attempts:
                with pytest.raises(IntegrityError) as caught:
                    attempt()
                assert caught.value.__cause__.sqlstate == "23I01"
    assert orders.stored() == HALF


def test_the_key_as_primary_key(orders):
    orders.store(HALF)
    with django_database(orders.address) as using:
        objects = DjangoKeyedOrder.objects.using(using)
        for row in BATCH:
            assert objects.create(**row._asdict()).pk == row.order_id
    assert orders.stored() == BATCH


def test_save_with_the_key_as_primary_key_updates_unless_it_must_insert(orders):
    orders.store(HALF)
    with django_database(orders.address) as using:
        with pytest.raises(ProgrammingError, match="permission denied"):
            DjangoKeyedOrder(**ALTERED[3]._asdict()).save(using=using)
    with django_database(orders.owner) as using:
        with pytest.raises(IntegrityError) as caught:
            DjangoKeyedOrder(**ALTERED[3]._asdict()).save(using=using, force_insert=True)
        assert caught.value.__cause__.sqlstate == "23I01"
        assert orders.stored() == HALF
        # An UPDATE goes first, which no guard judges.
        DjangoKeyedOrder(**ALTERED[3]._asdict()).save(using=using)
    assert orders.stored() == [HALF[0], ALTERED[3]]


def test_values_that_the_server_makes_go_to_the_wrong_objects(orders):
    orders.store(HALF)
    with django_database(orders.address) as using:
        stamped = DjangoStampedOrder.objects.using(using).bulk_create(instances(DjangoStampedOrder))
        is_set = [hasattr(order.received_at, "year") for order in stamped]
        with pytest.raises(TypeError):
            DjangoStampedOrder.objects.using(using).create(**BATCH[0]._asdict())
    # Three rows came back, of the first, the third and the fifth order.
    assert is_set == [True, True, True, False, False]
    assert orders.stored() == BATCH


def test_update_conflicts_gives_wrong_ids(orders):
    orders.store(HALF)
    with django_database(orders.owner) as using:
        created = DjangoOrder.objects.using(using).bulk_create(
            instances(DjangoOrder), update_conflicts=True, unique_fields=["order_id"], update_fields=["amount"]
        )
    ids = orders.ids()
    assert keys(created) == {"o-1": ids["o-1"], "o-2": ids["o-3"], "o-3": ids["o-5"], "o-4": None, "o-5": None}
    assert orders.stored() == BATCH


@pytest.mark.parametrize("before", [[], HALF, list(reversed(HALF)), BATCH], ids=["new", "half", "reversed", "all"])
def test_the_view(viewed, before):
    viewed.store(before)
    with django_database(viewed.address) as using:
        objects = DjangoViewedOrder.objects.using(using)
        assert keys(objects.bulk_create(instances(DjangoViewedOrder))) == viewed.ids()
        assert viewed.stored() == BATCH
        assert objects.create(**BATCH[1]._asdict()).pk == viewed.ids()["o-2"]
        order = DjangoViewedOrder(**BATCH[1]._asdict())
        order.save(using=using)
        assert order.pk == viewed.ids()["o-2"]
        with pytest.raises(IntegrityError) as caught:
            objects.bulk_create(instances(DjangoViewedOrder, ALTERED))
        assert caught.value.__cause__.sqlstate == "23I01"
    assert viewed.stored() == BATCH


def test_quarantine(quarantine):
    quarantine.store(HALF)
    with django_database(quarantine.address) as using:
        created = DjangoKeyedOrder.objects.using(using).bulk_create(instances(DjangoKeyedOrder, ALTERED))
        # What the program holds is what it has sent.
        assert created[3].amount == ALTERED[3].amount
        created[3].refresh_from_db(using=using)
        assert created[3].amount == HALF[1].amount
    assert quarantine.stored() == BATCH
    assert [key for key, _ in quarantine.conflicts()] == [THE_CONFLICT[0]]


def test_get_or_create_that_loses_a_race_raises_a_type_error(orders):
    def another_session(**_):
        orders.store(BATCH[:1])

    with django_database(orders.address) as using:
        signals.pre_save.connect(another_session, sender=DjangoOrder)
        try:
            with pytest.raises(TypeError, match="'NoneType' object is not iterable"):
                defaults = BATCH[0]._asdict()
                key = defaults.pop("order_id")
                DjangoOrder.objects.using(using).get_or_create(order_id=key, defaults=defaults)
        finally:
            signals.pre_save.disconnect(another_session, sender=DjangoOrder)
        again, created = DjangoOrder.objects.using(using).get_or_create(order_id=key, defaults=defaults)
    assert not created
    assert keys([again]) == orders.ids()
