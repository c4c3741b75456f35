"""A role at the identity provider as people see it: given when, kept why, overdue since when and for what cause."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.db import transaction
from django.urls import reverse

from accounts.idp import default
from accounts.models import Identity, IdP, Subject
from grants.adapters.errors import Refused, Unavailable
from grants.adapters.idp.base import DirectoryPerson
from grants.audit import Verb, record
from grants.catalog.models import Resource
from grants.identity.directory import sync_directory
from grants.lifecycle import access, decide
from grants.lifecycle.models import Grant
from grants.policy import versions
from tests.cast import POLICY, Cast
from tests.provisioning.conftest import Reconcile, granted, idp, run  # noqa: F401 (fixtures)
from tests.provisioning.fake import FakeIdP
from tests.web.requests.test_requests import signed_in

type Move = Callable[[datetime | timedelta | None], datetime]


@pytest.fixture(autouse=True)
def whole(commits: None) -> None:
    """Settling commits from threads of its own."""


def page(who: Subject, grant: Grant) -> str:
    return signed_in(who).get(reverse("grant", args=[grant.pk])).content.decode()


def test_given_and_taken_back(cast: Cast, run: Reconcile, at: Move) -> None:  # noqa: F811
    at(timedelta(0))  # the clock stands still
    grant = granted(cast)
    assert "Being given" in page(cast.ada, grant)
    at(timedelta(seconds=0.3))
    run()
    told = page(cast.ada, grant)
    assert "Role given" in told
    assert "0.3 s after approval." in told
    assert "At the demo’s provider" in told
    assert grant.role in told if grant.role else False
    audit = signed_in(cast.olga).get("/audit").content.decode()
    assert f"{grant.role} of {cast.ada.name}" in audit
    at(grant.ends_at)
    assert "Being taken back" in page(cast.ada, grant)
    at(timedelta(seconds=2))
    run()
    assert "2.0 s after the end." in page(cast.ada, grant)


def test_kept_for_another_grant_and_for_who_had_it(cast: Cast, idp: FakeIdP, run: Reconcile) -> None:  # noqa: F811
    idp.roles["id-ada"].add(f"{cast.connection.slug}:deployment:{cast.deployment.name}:run")
    first, second = granted(cast), granted(cast, minutes=60)
    run()
    assert "had it before Stint, and keeps it" in page(cast.ada, first)
    access.give_back(first, by=cast.ada)
    run()
    assert f"Also held by {second.ref} until" in page(cast.ada, first)
    access.give_back(second, by=cast.ada)
    run()
    assert "The person had it before Stint." in page(cast.ada, first)


def test_what_outlived_it_is_said_and_named_only_to_who_may_see_it(
    cast: Cast,
    idp: FakeIdP,  # noqa: F811
    run: Reconcile,  # noqa: F811
    at: Move,
) -> None:
    """The role was not late: another grant held it until then. Of another resource, an owner of this one knows nothing."""
    mapped = "roles:\n  - {match: {kind: deployment}, role: realm/engineer}\n"
    owners = POLICY.replace("owners:\n", "owners:\n  - {match: {name: 'stray*'}, team: ingest}\n")
    versions.apply(f"{owners}{mapped}", by=None)
    at(timedelta(0))
    first = granted(cast)
    longer = decide.approve(cast.asks(cast.ada, (cast.orphan, "run"), minutes=60), by=cast.ben).grants.get()
    assert first.role == longer.role == "realm/engineer"
    run()
    at(first.ends_at)
    run()
    assert idp.roles["id-ada"] == {"realm/engineer"}
    assert f"Also held by {longer.ref} until" in page(cast.ada, first)
    assert "Also held by another grant until" in page(cast.chiara, first)
    at(longer.ends_at)
    run()
    assert f"With the end of {longer.ref}, which held it, too." in page(cast.ada, first)
    assert "With the end of another grant" in page(cast.chiara, first)
    assert "0.0 s after the end" in page(cast.ada, longer)


def test_a_role_that_is_refused_is_said_to_who_waits_for_it(
    cast: Cast,
    idp: FakeIdP,  # noqa: F811
    run: Reconcile,  # noqa: F811
    at: Move,
) -> None:
    def refuse(verb: str, *_: str) -> None:
        if verb == "grant":
            raise Refused("Role realm/hull contains manage-users of realm-management, so Stint does not give it.")

    idp.before = refuse
    at(timedelta(0))
    grant = granted(cast)
    run()
    for who in (cast.ada, cast.chiara):
        told = page(who, grant)
        assert "Being given" in told
        assert "contains manage-users of realm-management, so Stint does not give it." in told
    at(grant.ends_at)
    assert "Role overdue" in page(cast.ada, grant)
    run()
    assert "It was never given." in page(cast.ada, grant)


def test_the_time_is_the_viewers(cast: Cast, run: Reconcile, at: Move) -> None:  # noqa: F811
    first, second = granted(cast), granted(cast, minutes=60)
    run()
    access.give_back(first, by=cast.ada)
    for zone in ("Asia/Tokyo", "America/New_York"):
        type(cast.ada).objects.filter(pk=cast.ada.pk).update(time_zone=zone)
        local = second.ends_at.astimezone(ZoneInfo(zone)).strftime("%H:%M")
        assert re.search(f"Also held by {second.ref} until [^<]*{local}", page(cast.ada, first))


def test_a_renamed_resource_keeps_the_role_that_was_pinned(
    cast: Cast,
    idp: FakeIdP,  # noqa: F811
    run: Reconcile,  # noqa: F811
) -> None:
    grant = granted(cast)
    run()
    with transaction.atomic():
        Resource.objects.filter(pk=cast.deployment.pk).update(name="etl/renamed")
        record(Verb.CATALOG_SYNCED, by="test", on=[cast.deployment])
    assert str(grant.role) in page(cast.ada, grant)
    access.revoke(grant, by=cast.priya)
    run()
    assert idp.roles["id-ada"] == set()


def test_a_provider_that_is_away_is_said_and_heals_by_itself(cast: Cast) -> None:
    class Away(FakeIdP):
        there = False

        def people(self) -> list[DirectoryPerson]:
            if not self.there:
                raise Unavailable("Keycloak cannot be reached.")
            return [
                DirectoryPerson(one.external_id, one.username, one.subject.name, "", True, ())
                for one in Identity.objects.select_related("subject")
            ]

    provider = Away()
    sync_directory(default(), client=provider)
    for url in ("home", "status", "connections"):
        told = signed_in(cast.olga).get(reverse(url)).content.decode()
        assert "could not be read" in told
        assert "Keycloak cannot be reached." in told
    assert "cannot be reached" not in signed_in(cast.ada).get(reverse("connections")).content.decode()
    assert "No complete answer" in signed_in(cast.ada).get(reverse("connections")).content.decode()
    provider.there = True
    sync_directory(default(), client=provider)
    for url in ("home", "status", "connections"):
        assert "cannot be reached" not in signed_in(cast.olga).get(reverse(url)).content.decode()


def test_overdue_is_in_the_open_and_heals_by_itself(
    cast: Cast,
    idp: FakeIdP,  # noqa: F811
    run: Reconcile,  # noqa: F811
    at: Move,
) -> None:
    def down(*_: str) -> None:
        raise Unavailable("Keycloak cannot be reached.")

    grant = granted(cast)
    run()
    idp.before = down
    at(grant.ends_at)
    run()
    assert "overdue" not in page(cast.ada, grant)  # a moment is no trouble
    at(timedelta(seconds=11))
    run()
    told = page(cast.ada, grant)
    assert "Role overdue" in told
    assert "Keycloak cannot be reached." in told
    home = reverse("home")
    for who in (cast.priya, cast.olga):
        shown = signed_in(who).get(home).content.decode()
        assert "1 role overdue at the demo’s provider" in shown
        assert "Keycloak cannot be reached." in shown
        status = signed_in(who).get(reverse("status")).content.decode()
        assert "Roles overdue" in status
        assert re.search(r"Ada.*to be taken back", status, re.DOTALL)
        assert "2 tries, next in" in status
    for who in (cast.ada, cast.oscar):
        assert "overdue at" not in signed_in(who).get(home).content.decode()
    metrics = signed_in(cast.priya).get("/metrics").content.decode()
    assert 'stint_bindings_overdue{idp="sso"} 1.0' in metrics
    assert 'stint_binding_overdue_seconds{idp="sso"} 1' in metrics
    idp.before = lambda *_: None
    at(timedelta(seconds=20))
    run()
    assert "overdue at" not in signed_in(cast.priya).get(home).content.decode()
    assert 'stint_bindings_overdue{idp="sso"} 0.0' in signed_in(cast.priya).get("/metrics").content.decode()


def test_nobody_at_work_is_said(cast: Cast, idp: FakeIdP, at: Move) -> None:  # noqa: F811
    grant = granted(cast)
    at(timedelta(seconds=30))
    assert "no worker has taken it up" in page(cast.ada, grant)
    told = signed_in(cast.priya).get(reverse("home")).content.decode()
    assert "No worker has taken it up." in told
    assert "1 role not given yet at" in told
    assert "access lives at the gate alone" in told  # and nothing has ended


def test_without_roles_it_lives_at_the_gate(cast: Cast) -> None:
    assert "lives at the gate alone" in page(cast.ada, granted(cast))


@pytest.mark.parametrize(("kind", "can"), [("oidc", "signs people in<"), ("keycloak", "gives and takes roles")])
def test_connections_say_what_the_provider_can(cast: Cast, kind: str, can: str) -> None:
    IdP.objects.filter(pk=cast.idp.pk).update(kind=kind)
    assert can in signed_in(cast.ada).get(reverse("connections")).content.decode()
