"""What only shows between transactions that really commit."""

from __future__ import annotations

import threading

import psycopg
import pytest
from django.db import connection as database
from django.db import transaction

from grants.audit import Verb, record
from grants.audit.models import AuditEvent
from grants.catalog.models import Connection, Resource
from grants.catalog.sync import SyncState, sync_connection
from tests.catalog.stub import Stub, pool
from tests.conftest import connect

pytestmark = pytest.mark.usefixtures("commits")


@pytest.fixture
def prod(commits: None) -> Connection:
    with transaction.atomic():
        row = Connection.objects.create(
            slug="prefect-prod", kind="prefect", url="http://p.test/api", environment="production"
        )
        record(Verb.CONNECTION_APPLIED, by="cli", on=[row])
    return row


def at_once(*clients: Stub, prod: Connection) -> list[SyncState]:
    """Sync with all of them, each having read before any writes; raises what any of them raised."""
    barrier = threading.Barrier(len(clients), timeout=20)
    states: list[SyncState] = []
    failures: list[BaseException] = []

    def run(client: Stub) -> None:
        client.meanwhile = barrier.wait
        try:
            states.append(sync_connection(prod, client=client).state)
        except BaseException as error:  # noqa: BLE001 (raised in the main thread)
            failures.append(error)
        finally:
            database.close()

    threads = [threading.Thread(target=run, args=[client]) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    if failures:
        raise failures[0]
    return states


def test_eight_syncs_at_once_end_as_one(prod: Connection) -> None:
    found = [pool(f"p{n}") for n in range(30)]
    states = at_once(*(Stub(*found) for _ in range(8)), prod=prod)
    assert set(states) <= {SyncState.SYNCED, SyncState.OVERTAKEN}
    assert Resource.objects.count() == 31
    assert AuditEvent.objects.filter(verb="catalog.synced").count() == 1


def test_different_readings_at_once_end_as_the_newest_applied_one(prod: Connection) -> None:
    a, b = pool("a"), pool("b")
    at_once(*(Stub(a) for _ in range(3)), *(Stub(a, b) for _ in range(3)), prod=prod)
    sync_connection(prod, client=Stub(a, b))
    assert set(Resource.objects.filter(retired_at=None).values_list("name", flat=True)) == {
        "server",
        "a",
        "b",
    }


@pytest.mark.parametrize("change", ["name = 'b'", "retired_at = now()", "parent_id = NULL"])
def test_the_database_refuses_a_change_that_is_not_recorded(prod: Connection, change: str) -> None:
    a = pool("a")
    sync_connection(prod, client=Stub(a))
    with connect("stint_app") as app:
        app.execute(f"UPDATE grants_resource SET {change} WHERE kind = 'pool'")
        with pytest.raises(psycopg.Error, match="not recorded"):
            app.commit()


@pytest.mark.parametrize("change", ["remote_id = 'x'", "kind = 'block'", "connection_id = 1", "version = 0"])
def test_the_app_may_not_change_what_a_resource_is(prod: Connection, change: str) -> None:
    sync_connection(prod, client=Stub(pool("a")))
    with pytest.raises(psycopg.errors.InsufficientPrivilege), connect("stint_app") as app:
        app.execute(f"UPDATE grants_resource SET {change}")


def test_the_app_may_not_delete_a_resource(prod: Connection) -> None:
    sync_connection(prod, client=Stub(pool("a")))
    with pytest.raises(psycopg.errors.InsufficientPrivilege), connect("stint_app") as app:
        app.execute("DELETE FROM grants_resource")
