"""The catalog follows the orchestrator, and what an orchestrator (or its absence) can do to it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction

from grants import clock
from grants.adapters.errors import Missing, Refused, Unavailable
from grants.adapters.orchestrators.base import RemoteResource
from grants.adapters.orchestrators.prefect import SERVER
from grants.audit import Verb, record
from grants.audit.models import AuditEvent
from grants.catalog.models import Connection, Resource
from grants.catalog.sync import SyncOutcome, SyncState, sync_connection
from tests.catalog.stub import Stub, deployment, pool

pytestmark = pytest.mark.django_db


def many(count: int) -> list[RemoteResource]:
    return [pool(f"p{n:02}") for n in range(count)]


@pytest.fixture
def prod() -> Connection:
    with transaction.atomic():
        row = Connection.objects.create(
            slug="prefect-prod", kind="prefect", url="http://p.test/api", environment="production"
        )
        record(Verb.CONNECTION_APPLIED, by="cli", on=[row])
    return row


def sync(prod: Connection, client: Stub, **options: Any) -> SyncOutcome:
    return sync_connection(prod, client=client, **options)


def row(found: RemoteResource) -> Resource:
    return Resource.objects.get(kind=found.kind, remote_id=found.remote_id)


def last_event() -> tuple[str, str, dict[str, Any]]:
    event = AuditEvent.objects.latest("seq")
    return event.verb, event.actor, json.loads(bytes(event.payload))


def events() -> int:
    return AuditEvent.objects.count()


def names(rows: Iterable[Resource]) -> set[str]:
    return {one.name for one in rows}


def live() -> set[str]:
    return names(Resource.objects.filter(retired_at=None)) - {"server"}


def test_the_first_sync_brings_everything_in_one_event(prod: Connection) -> None:
    etl = pool("etl", description="Nightly loads")
    orders = deployment("orders/prod", etl, tags=("prod", "pii"))
    before = events()

    outcome = sync(prod, Stub(etl, orders), by="cli")

    assert outcome == SyncOutcome("prefect-prod", SyncState.SYNCED, live=3, added=3)
    assert outcome.sentence == "prefect-prod: 3 live, 3 new."
    assert row(orders).parent == row(etl)
    assert row(etl).parent == row(SERVER)
    assert row(SERVER).parent is None
    assert row(etl).description == "Nightly loads"
    assert row(orders).tags == ["prod", "pii"]
    assert events() == before + 1
    verb, actor, facts = last_event()
    assert (verb, actor) == ("catalog.synced", "cli")
    assert sorted(facts["added"]) == sorted(Resource.objects.values_list("pk", flat=True))
    assert set(Resource.objects.values_list("version", flat=True)) == {AuditEvent.objects.latest("seq").seq}
    prod.refresh_from_db()
    assert prod.seen_at is not None
    assert (prod.error, prod.held) == ("", 0)


def test_nothing_new_is_no_event_but_is_seen(prod: Connection) -> None:
    etl = pool("etl")
    sync(prod, Stub(etl))
    before, seen, version = events(), row(etl).seen_at, row(etl).version

    outcome = sync(prod, Stub(etl))

    assert outcome.sentence == "prefect-prod: 2 live, nothing new."
    assert events() == before
    assert row(etl).seen_at > seen
    assert row(etl).version == version


def test_a_rename_is_the_same_resource(prod: Connection) -> None:
    etl = pool("etl")
    sync(prod, Stub(etl))
    pk = row(etl).pk

    outcome = sync(prod, Stub(etl._replace(name="etl-2")))

    assert (outcome.added, outcome.changed, outcome.retired) == (0, 1, 0)
    assert (row(etl).pk, row(etl).name) == (pk, "etl-2")
    assert row(etl).version == AuditEvent.objects.latest("seq").seq
    assert "etl" not in str(last_event()[2])  # ids, never names


def test_a_namesake_inherits_nothing(prod: Connection) -> None:
    first, second = pool("etl"), pool("etl")
    sync(prod, Stub(first))
    sync(prod, Stub(second))
    assert row(first).retired_at is not None
    assert row(second).retired_at is None
    assert row(first).pk != row(second).pk


def test_a_deployment_moves_to_another_pool_and_to_none(prod: Connection) -> None:
    a, b = pool("a"), pool("b")
    d = deployment("f/d", a)
    sync(prod, Stub(a, b, d))
    sync(prod, Stub(a, b, d._replace(parent_remote_id=b.remote_id)))
    assert row(d).parent == row(b)
    sync(prod, Stub(a, b, d._replace(parent_kind="server", parent_remote_id="server")))
    assert row(d).parent == row(SERVER)


def test_a_changed_tag_is_an_event(prod: Connection) -> None:
    """An `owner:` tag can make an approver."""
    a = pool("a")
    sync(prod, Stub(a))
    before = events()
    sync(prod, Stub(a._replace(tags=("owner:mallory",))))
    assert events() == before + 1


def test_what_vanished_is_retired_and_lives_again_when_it_is_back(prod: Connection) -> None:
    a, b = pool("a"), pool("b")
    sync(prod, Stub(a, b))
    outcome = sync(prod, Stub(a))
    assert (outcome.retired, outcome.live) == (1, 2)
    assert row(b).retired_at is not None
    assert last_event()[2]["retired"] == [row(b).pk]
    retired_at = row(b).retired_at
    assert sync(prod, Stub(a)).sentence == "prefect-prod: 2 live, nothing new."
    assert row(b).retired_at == retired_at

    outcome = sync(prod, Stub(a, b))

    assert (outcome.returned, outcome.changed, outcome.live) == (1, 0, 3)
    assert row(b).retired_at is None
    assert last_event()[2]["returned"] == [row(b).pk]


def test_a_part_of_a_listing_retires_nothing_and_adds(prod: Connection) -> None:
    a, b, c = pool("a"), pool("b"), pool("c")
    d = deployment("f/d", a)
    sync(prod, Stub(a, b, d))
    seen = Connection.objects.get().seen_at

    outcome = sync(prod, Stub(c, d, complete=False))

    assert outcome.state is SyncState.PARTIAL
    assert not outcome.ok
    assert live() == {"a", "b", "c", "f/d"}
    assert row(d).parent == row(a)  # its pool is not in this part, which says nothing of it
    prod.refresh_from_db()
    assert (prod.seen_at, prod.error) == (seen, "It kept changing.")


@pytest.mark.parametrize(
    ("had", "gone", "held"),
    [(4, 4, 0), (6, 4, 0), (6, 5, 5), (24, 5, 0), (23, 5, 5), (40, 8, 0), (40, 9, 9), (20, 20, 20)],
)
def test_much_gone_at_once_is_held(prod: Connection, had: int, gone: int, held: int) -> None:
    """The server counts as one more: five of 24 + 1 is a fifth and passes, five of 23 + 1 does not."""
    found = many(had)
    sync(prod, Stub(*found))

    outcome = sync(prod, Stub(*found[gone:]))

    assert (outcome.held, outcome.retired) == (held, 0 if held else gone)
    assert len(live()) == had - outcome.retired
    prod.refresh_from_db()
    assert prod.held == held
    assert last_event()[0] == ("catalog.held" if held else "catalog.synced")


def test_held_is_told_once_and_shown_until_it_is_accepted_or_back(prod: Connection) -> None:
    found = many(10)
    sync(prod, Stub(*found))
    outcome = sync(prod, Stub())
    assert not outcome.ok
    assert "--accept-vanished" in outcome.sentence
    before = events()
    assert sync(prod, Stub()).held == 10
    assert events() == before

    assert sync(prod, Stub(*found)).state is SyncState.SYNCED
    prod.refresh_from_db()
    assert prod.held == 0
    assert len(live()) == 10


def test_held_does_not_stop_what_is_new(prod: Connection) -> None:
    found = many(10)
    sync(prod, Stub(*found))
    newcomer = pool("newcomer")
    outcome = sync(prod, Stub(newcomer, found[0]._replace(name="renamed")))
    assert (outcome.held, outcome.added, outcome.changed) == (9, 1, 1)
    assert {"newcomer", "renamed"} <= live()
    assert row(newcomer).version == AuditEvent.objects.latest("seq").seq


def test_an_accepted_retirement_happens(prod: Connection) -> None:
    found = many(10)
    sync(prod, Stub(*found))
    sync(prod, Stub())

    outcome = sync(prod, Stub(), accept_vanished=True, by="cli")

    assert (outcome.state, outcome.retired, outcome.held) == (SyncState.SYNCED, 10, 0)
    assert live() == set()
    assert last_event()[:2] == ("catalog.synced", "cli")
    prod.refresh_from_db()
    assert prod.held == 0


def test_accepting_does_not_accept_a_part(prod: Connection) -> None:
    found = many(10)
    sync(prod, Stub(*found))
    assert sync(prod, Stub(complete=False), accept_vanished=True).retired == 0
    assert len(live()) == 10


@pytest.mark.parametrize(
    "error", [Unavailable("prefect-prod did not answer."), Missing("Nothing there."), Refused("No.")]
)
def test_an_error_keeps_the_catalog_and_is_shown(prod: Connection, error: Any) -> None:
    """Missing too: a wrong URL is not an empty server."""
    found = many(3)
    sync(prod, Stub(*found))
    seen, before = Connection.objects.get().seen_at, events()
    down = Stub()
    down.error = error

    outcome = sync(prod, down)

    assert (outcome.state, outcome.why, outcome.ok) == (SyncState.FAILED, error.reason, False)
    assert len(live()) == 3
    assert events() == before
    prod.refresh_from_db()
    assert (prod.error, prod.seen_at) == (error.reason, seen)
    sync(prod, Stub(*found))
    prod.refresh_from_db()
    assert prod.error == ""


def test_a_secret_that_is_not_set_is_an_outcome(prod: Connection) -> None:
    Connection.objects.filter(pk=prod.pk).update(secret_ref="env:STINT_NO_SUCH")
    with transaction.atomic():
        record(Verb.CONNECTION_APPLIED, by="cli", on=[prod])
    outcome = sync_connection(Connection.objects.get())
    assert outcome.sentence == "prefect-prod: failed. The secret in the environment variable STINT_NO_SUCH is not set."


def test_two_connections_do_not_touch_each_other(prod: Connection) -> None:
    with transaction.atomic():
        other = Connection.objects.create(slug="other", kind="prefect", url="http://o.test/api", environment="staging")
        record(Verb.CONNECTION_APPLIED, by="cli", on=[other])
    a = pool("a")
    sync(prod, Stub(a))
    sync(other, Stub(a))
    sync(other, Stub())
    assert Resource.objects.filter(remote_id=a.remote_id, retired_at=None).get().connection == prod


def test_a_newer_reading_is_not_overwritten_by_an_older_one(prod: Connection) -> None:
    a, b = pool("a"), pool("b")
    slow = Stub(a)
    slow.meanwhile = lambda: sync(prod, Stub(a, b))

    assert sync(prod, slow).state is SyncState.OVERTAKEN
    assert live() == {"a", "b"}


def test_an_older_reading_leaves_alone_what_a_newer_part_saw(prod: Connection) -> None:
    a, b = pool("a"), pool("b")
    slow = Stub(a)
    slow.meanwhile = lambda: sync(prod, Stub(a._replace(name="renamed"), b, complete=False))
    sync(prod, slow)
    assert live() == {"renamed", "b"}


def test_a_stale_failure_does_not_hide_a_newer_success(prod: Connection) -> None:
    slow = Stub()
    slow.error = Unavailable("It was down.")
    slow.meanwhile = lambda: sync(prod, Stub())
    sync(prod, slow)
    prod.refresh_from_db()
    assert prod.error == ""


def test_a_listing_of_the_old_url_is_dropped(prod: Connection) -> None:
    def move() -> None:
        Connection.objects.filter(pk=prod.pk).update(url="http://elsewhere.test/api")
        record(Verb.CONNECTION_APPLIED, by="cli", on=[prod])

    slow = Stub(pool("a"))
    slow.meanwhile = move
    assert sync(prod, slow).state is SyncState.OVERTAKEN
    assert live() == set()


def test_a_frozen_clock_does_not_stop_retirement(db: None, prod: Connection, at: Callable[..., Any]) -> None:
    at(clock.now() + timedelta(hours=1))
    a, b = pool("a"), pool("b")
    sync(prod, Stub(a, b))
    assert sync(prod, Stub(a)).retired == 1
