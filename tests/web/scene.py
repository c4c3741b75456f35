"""A day in the portal: enough of everything that pages have something to show."""

from __future__ import annotations

from django.db import transaction

from grants import clock
from grants.audit import Verb, record
from grants.catalog.changes import judged_anew
from grants.catalog.models import Resource
from grants.lifecycle import access, decide
from grants.lifecycle.models import Grant, Request
from tests.cast import Cast

NAMES = {
    "orders-nightly/prod": "Adyen and Stripe orders into the warehouse",
    "orders-backfill/adhoc": "Re-load of orders for a range of days",
    "dbt-orders-mart/prod": "dbt build of mart_orders and everything under it",
    "a-very-long-name-of-a-deployment-that-nobody-shortened-in-time/production-eu-central-1": "",
}


def more_resources(cast: Cast, extra: int = 0) -> list[Resource]:
    named = [*NAMES.items(), *((f"etl-part-{number:02}/prod", "One of many") for number in range(extra))]
    now = clock.now()
    with transaction.atomic():
        made = [
            Resource.objects.create(
                connection=cast.connection, kind="deployment", remote_id=f"x-{name}", name=name,
                description=about, parent=cast.pool, tags=["prod", "hourly"], seen_at=now,
            )
            for name, about in named
        ]  # fmt: skip
        made.append(
            Resource.objects.create(
                connection=cast.connection, kind="block", remote_id="b1", name="secret/warehouse", seen_at=now
            )
        )
        judged_anew.send(sender=None, connections=[cast.connection.pk], changed=[one.pk for one in made])
        record(Verb.CATALOG_SYNCED, by="test", on=made)
    return made


def busy_day(cast: Cast) -> Request:
    """Ada holds two things, asked for a third and was denied a fourth; ben waits for chiara. Returns ben's."""
    more_resources(cast, extra=30)
    for minutes, level in ((25, "run"), (240, "operate")):
        decide.approve(cast.asks(cast.ada, (cast.deployment, level), minutes=minutes), by=cast.chiara)
    decide.deny(cast.asks(cast.ada, (cast.deployment, "view")), by=cast.tomasz, note="You have run already.")
    cast.asks(cast.ada, (cast.pool, "operate"), minutes=120)
    over = cast.asks(cast.ben, (cast.deployment, "run"), minutes=60)
    decide.approve(over, by=cast.tomasz, note="Go ahead.")
    access.give_back(Grant.objects.get(request=over), by=cast.ben)
    return cast.asks(cast.ben, (cast.deployment, "operate"), (cast.pool, "view"), minutes=90)
