"""A role at the identity provider as people see it: given when, kept why, overdue since when and for what cause."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from django.urls import reverse

from accounts.models import IdP, Subject
from grants.adapters.errors import Unavailable
from grants.lifecycle import hold
from grants.lifecycle.models import Grant
from tests.cast import Cast
from tests.provisioning.conftest import Settle, granted, idp, run  # noqa: F401 (fixtures)
from tests.provisioning.fake import FakeIdP
from tests.web.test_requests import signed_in

type Move = Callable[[datetime | timedelta | None], datetime]


@pytest.fixture(autouse=True)
def whole(commits: None) -> None:
    """Settling commits from threads of its own."""


def page(who: Subject, grant: Grant) -> str:
    return signed_in(who).get(reverse("grant", args=[grant.pk])).content.decode()


def test_given_and_taken_back(cast: Cast, run: Settle, at: Move) -> None:  # noqa: F811
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


def test_kept_for_another_grant_and_for_who_had_it(cast: Cast, idp: FakeIdP, run: Settle) -> None:  # noqa: F811
    idp.roles["id-ada"].add(f"{cast.connection.slug}:deployment:{cast.deployment.name}:run")
    first, second = granted(cast), granted(cast, minutes=60)
    run()
    assert "had it before Stint, and keeps it" in page(cast.ada, first)
    hold.give_back(first, by=cast.ada)
    run()
    assert f"Also held by {second.ref} until" in page(cast.ada, first)
    hold.give_back(second, by=cast.ada)
    run()
    assert "The person had it before Stint." in page(cast.ada, first)


def test_overdue_is_in_the_open_and_heals_by_itself(
    cast: Cast,
    idp: FakeIdP,  # noqa: F811
    run: Settle,  # noqa: F811
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
        assert "2 tries, next in" in status
    for who in (cast.ada, cast.oscar):
        assert "overdue at" not in signed_in(who).get(home).content.decode()
    metrics = signed_in(cast.priya).get("/metrics").content.decode()
    assert "stint_bindings_overdue 1.0" in metrics
    assert "stint_binding_overdue_seconds 1" in metrics
    idp.before = lambda *_: None
    at(timedelta(seconds=20))
    run()
    assert "overdue at" not in signed_in(cast.priya).get(home).content.decode()
    assert "stint_bindings_overdue 0.0" in signed_in(cast.priya).get("/metrics").content.decode()


def test_nobody_at_work_is_said(cast: Cast, idp: FakeIdP, at: Move) -> None:  # noqa: F811
    grant = granted(cast)
    at(timedelta(seconds=30))
    assert "no worker has taken it up" in page(cast.ada, grant)
    assert "No worker has taken it up." in signed_in(cast.priya).get(reverse("home")).content.decode()


def test_without_roles_it_lives_at_the_gate(cast: Cast) -> None:
    assert "lives at the gate alone" in page(cast.ada, granted(cast))


@pytest.mark.parametrize(("kind", "can"), [("oidc", "signs people in<"), ("keycloak", "gives and takes roles")])
def test_connections_say_what_the_provider_can(cast: Cast, kind: str, can: str) -> None:
    IdP.objects.filter(pk=cast.idp.pk).update(kind=kind)
    assert can in signed_in(cast.ada).get(reverse("connections")).content.decode()
