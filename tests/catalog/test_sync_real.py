"""The whole way: a row of connections.yaml, a real Prefect server, the catalog."""

from __future__ import annotations

from uuid import uuid4

import pytest
from django.db import transaction

from grants.audit import Verb, record
from grants.catalog.connections import apply_connections
from grants.catalog.models import Connection, Resource
from grants.catalog.specs import ConnectionSpec
from grants.catalog.sync import SyncState, sync_connection
from tests.real.prefect import PrefectServer, prefect_server

__all__ = ["prefect_server"]
pytestmark = [pytest.mark.django_db, pytest.mark.real, pytest.mark.xdist_group("prefect")]


def test_what_prefect_has_is_in_the_catalog(prefect_server: PrefectServer) -> None:
    tag = uuid4().hex[:8]
    pool, placed = prefect_server.do(
        {"do": "pool", "name": f"etl-{tag}"},
        {"do": "deployment", "flow": f"orders-{tag}", "name": "prod", "pool": f"etl-{tag}", "tags": ["pii"]},
    )
    apply_connections([ConnectionSpec("prefect-prod", "prefect", prefect_server.url, "production")], by="cli")
    connection = Connection.objects.get()

    assert sync_connection(connection).state is SyncState.SYNCED
    row = Resource.objects.select_related("parent__parent").get(remote_id=placed)
    assert (row.name, row.tags) == (f"orders-{tag}/prod", ["pii"])
    assert row.parent is not None
    assert (row.parent.remote_id, row.parent.name) == (pool, f"etl-{tag}")
    assert row.parent.parent is not None
    assert row.parent.parent.kind == "server"

    prefect_server.do({"do": "delete_deployment", "id": placed})
    assert sync_connection(connection).retired == 1
    row.refresh_from_db()
    assert row.retired_at is not None


def test_a_prefect_that_is_down_keeps_its_catalog(prefect_server: PrefectServer) -> None:
    apply_connections([ConnectionSpec("prefect-prod", "prefect", prefect_server.url, "production")], by="cli")
    connection = Connection.objects.get()
    sync_connection(connection)
    before = set(Resource.objects.filter(retired_at=None).values_list("pk", flat=True))
    with transaction.atomic():
        Connection.objects.update(url="http://127.0.0.1:9/api")
        record(Verb.CONNECTION_APPLIED, by="cli", on=[connection])
    outcome = sync_connection(Connection.objects.get())
    assert outcome.sentence == "prefect-prod: failed. prefect-prod cannot be reached."
    assert set(Resource.objects.filter(retired_at=None).values_list("pk", flat=True)) == before
