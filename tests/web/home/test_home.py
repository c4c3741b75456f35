"""The first page: what waits, what is held, what happened; trouble first, for those who can do something."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from accounts import directory
from accounts.models import IdP
from grants import clock
from grants.catalog.models import Connection
from grants.due import ProcessBeat
from grants.lifecycle import decide
from grants.lifecycle.models import Grant
from grants.policy import versions
from grants.policy.yaml_marks import PolicyErrors
from grants.web.home.lanes import lanes
from tests.cast import Cast
from tests.web.conftest import SignIn


def test_an_approver_finds_what_waits_and_approves_with_one_click(cast: Cast, sign_in: SignIn) -> None:
    asked = cast.asks()
    client = sign_in(cast.chiara)
    page = client.get("/").text
    assert "<h1>One request waits for you</h1>" in page
    assert asked.reason in page
    assert f'action="/requests/{asked.pk}/approve"' in page
    answer = client.post(f"/requests/{asked.pk}/approve", {"back": "home"})
    assert answer["Location"] == "/"
    assert Grant.objects.get().beneficiary == cast.ada
    assert "One request waits" not in client.get("/").text


def test_who_asked_sees_it_wait_but_is_not_asked(cast: Cast, sign_in: SignIn) -> None:
    asked = cast.asks()
    page = sign_in(cast.ada).get("/").text
    assert "You asked, nobody has decided" in page
    assert asked.ref in page
    assert "/approve" not in page


def test_access_shows_what_is_left_and_when_it_ends_in_the_persons_zone(
    cast: Cast, sign_in: SignIn, at: Callable[..., datetime]
) -> None:
    at(datetime(2026, 11, 24, 13, 0, tzinfo=UTC))
    decide.approve(cast.asks(minutes=60), by=cast.chiara)
    at(timedelta(minutes=38))
    client = sign_in(cast.ada)
    client.cookies["stint-zone"] = "Europe/Berlin"
    page = client.get("/").text
    assert "You hold access to one resource" in page
    assert "22 min left" in page
    assert "15:00 today</time>" in page
    assert 'data-state="granted"' in page
    at(timedelta(minutes=22))
    assert "You hold no access" in client.get("/").text


def test_what_others_hold_and_ask_is_not_on_ones_own_page(cast: Cast, sign_in: SignIn) -> None:
    decide.approve(cast.asks(cast.ada), by=cast.chiara)
    cast.asks(cast.ada, (cast.pool, "view"))
    page = sign_in(cast.oscar).get("/").text
    assert "etl" not in page
    assert "Ada" not in page


def troubled(cast: Cast) -> None:
    Connection.objects.update(error="The server answered 500.")
    IdP.objects.update(kind="keycloak")
    directory.record_failure(cast.idp, "It did not answer in 5 s.")
    with pytest.raises(PolicyErrors):
        versions.apply("version: 1\nrules: nonsense\n", by=None)


def test_trouble_comes_first_for_admins_and_auditors_alone(cast: Cast, sign_in: SignIn) -> None:
    troubled(cast)
    for subject in (cast.priya, cast.olga):
        page = sign_in(subject).get("/").text
        assert "Four things need a look" in page
        for said in (
            "prefect-prod could not be read",
            "People and teams of Keycloak could not be read",
            "offered was refused",
            "No Celery worker",
        ):
            assert said in page
        assert page.index("No Celery worker") < page.index('id="mine"')
    assert "could not be read" not in sign_in(cast.ada).get("/").text


def test_no_trouble_is_not_shown(cast: Cast, sign_in: SignIn) -> None:
    ProcessBeat.objects.create(name="worker test", at=clock.now(), version="0")
    page = sign_in(cast.priya).get("/").text
    assert "Nothing waits for you" in page
    assert 'class="notice"' not in page


def test_a_held_catalog_says_how_much_vanished(cast: Cast, sign_in: SignIn) -> None:
    Connection.objects.update(held=7)
    assert "7 resources of prefect-prod vanished at once" in sign_in(cast.priya).get("/").text


def test_lanes_lie_on_the_readers_clock(cast: Cast) -> None:
    now = datetime(2026, 11, 24, 13, 20, tzinfo=UTC)
    grant = Grant(starts_at=now - timedelta(hours=9), ends_at=now + timedelta(hours=3))
    drawn = lanes([grant], now, ZoneInfo("Asia/Kolkata"))  # half an hour off
    assert drawn.ticks[0].at.strftime("%H:%M") == "14:00"
    (lane,) = drawn.lanes
    assert (lane.start, lane.start_shown, lane.end_shown) == (0.0, False, True)
    assert lane.past == drawn.now
    assert round(lane.past + lane.left, 1) == round(lane.end, 1)
