"""The request form: it promises what sending does, loses nothing, and believes nothing."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from grants import clock
from grants.audit.models import AuditEvent
from grants.catalog.models import Resource
from grants.lifecycle import decide
from grants.lifecycle.models import Grant, Request
from grants.policy import versions
from tests.cast import POLICY, Cast
from tests.web.conftest import SignIn

REASON = "The nightly run died on a schema change."
KEY = "0123456789abcdef" * 2


def form(*resources: Resource, level: str = "run", **typed: Any) -> dict[str, Any]:
    return {
        "item": [resource.pk for resource in resources],
        **{f"level-{resource.pk}": level for resource in resources},
        "length": "30",
        "reason": REASON,
        "key": KEY,
        "do": "send",
        **typed,
    }


def send(client: Client, data: dict[str, Any]) -> Any:
    return client.post("/requests/new", data)


def test_a_request_is_filed_and_shown(cast: Cast, sign_in: SignIn) -> None:
    answer = send(sign_in(cast.ada), form(cast.deployment))
    asked = Request.objects.get()
    assert (answer.status_code, answer["Location"]) == (302, f"/requests/{asked.pk}")
    assert (asked.requester, asked.beneficiary, asked.duration) == (cast.ada, cast.ada, timedelta(minutes=30))
    assert asked.reason == REASON
    assert [(item.resource, item.level) for item in asked.items.all()] == [(cast.deployment, "run")]


def test_a_refusal_at_the_gate_calls_it_by_its_name(cast: Cast, sign_in: SignIn) -> None:
    client = sign_in(cast.ada)
    thing = cast.deployment
    named = {"connection": thing.connection.slug, "kind": "deployment", "name": thing.name, "level": "run"}
    page = client.get("/requests/new", named).text
    assert f'name="item" value="{thing.pk}"' in page
    assert "left out" not in page
    for wrong in ({"name": "no/such"}, {"kind": "pool"}, {"connection": "elsewhere"}):
        page = client.get("/requests/new", named | wrong).text
        assert "not in the catalog, or not yours to see" in page
        assert f'value="{thing.pk}"' not in page


def test_nothing_is_filed_by_looking(cast: Cast, sign_in: SignIn) -> None:
    client = sign_in(cast.ada)
    data = form(cast.deployment)
    assert client.get("/requests/new", data).status_code == 200
    for do in ("check", "find", ""):
        assert send(client, data | {"do": do}).status_code == 200
    assert not Request.objects.exists()


def test_several_things_in_one_request(cast: Cast, sign_in: SignIn) -> None:
    data = form(cast.deployment, cast.pool, **{f"level-{cast.pool.pk}": "view"})
    send(sign_in(cast.ada), data)
    items = Request.objects.get().items.order_by("pk")
    assert {(item.resource, item.level) for item in items} == {(cast.deployment, "run"), (cast.pool, "view")}


def test_things_are_added_and_dropped_and_nothing_typed_is_lost(cast: Cast, sign_in: SignIn) -> None:
    client = sign_in(cast.ada)
    data = form(cast.deployment, level="operate", do="find", find="etl", length="other", minutes="45")
    page = send(client, data).text
    assert f'name="add" value="{cast.pool.pk}"' in page
    assert f'name="add" value="{cast.deployment.pk}"' not in page
    page = send(client, data | {"do": "", "add": cast.pool.pk}).text
    assert page.count('name="item"') == 2
    page = send(client, data | {"do": "", "item": [cast.deployment.pk, cast.pool.pk], "drop": cast.pool.pk}).text
    assert page.count('name="item"') == 1
    for kept in (REASON, f'value="{KEY}"', 'value="45"', 'value="operate" checked', 'value="other" checked'):
        assert kept in page
    assert not Request.objects.exists()


# What is typed, and where the answer stands.
BAD = [
    ({"reason": "too short"}, "reason-error", "Say why in 10 characters or more; this has 9."),
    ({"reason": "   "}, "reason-error", "this has 0"),
    ({"reason": "a          b"}, "reason-error", "this has 3"),
    ({"reason": "\u3164" * 20}, "reason-error", "this has 0"),
    ({"reason": "written \u202esdrawkcab, and long enough"}, "reason-error", "cannot be seen (U+202E)"),
    ({"reason": "x" * 4097}, "reason-error", "4096 characters at most"),
    ({"reason": "nul \x00 byte in it"}, "reason-error", "Null characters are not allowed."),
    ({"length": ""}, "length-error", "Choose for how long."),
    ({"length": "ages"}, "length-error", "Choose one of the lengths."),
    ({"length": "0"}, "length-error", "Choose for how long."),
    ({"length": "-30"}, "length-error", "Choose one of the lengths."),
    ({"length": "٣٠"}, "length-error", "Choose one of the lengths."),
    ({"length": "481"}, "length-error", "The longest here is 8 h, by rule deployments-run"),
    ({"length": "999999"}, "length-error", "longer than a year"),
    ({"length": "other"}, "minutes-error", "Write how many minutes."),
    ({"length": "other", "minutes": "soon"}, "minutes-error", "Write whole minutes, like 45."),
    ({"length": "other", "minutes": "0"}, "minutes-error", "Write one minute or more."),
    ({"length": "other", "minutes": "99999999999999999999"}, "minutes-error", "longer than a year"),
    ({"length": "until"}, "until-error", "Write until when"),
    ({"length": "until", "until": "tomorrow"}, "until-error", "Write it like 2026-11-24 18:30."),
    ({"length": "until", "until": "2020-01-01T10:00"}, "until-error", "That is over already"),
    ({"length": "until", "until": "9999-12-31T23:59"}, "until-error", "more than a year away"),
]


@pytest.mark.parametrize(("typed", "where", "said"), BAD)
def test_what_is_wrong_is_said_beside_its_field_and_all_of_it_is_kept(
    cast: Cast, sign_in: SignIn, typed: dict[str, str], where: str, said: str
) -> None:
    data = form(cast.deployment, level="operate") | typed
    answer = send(sign_in(cast.ada), data)
    assert answer.status_code == 422
    (error,) = re.findall(rf'id="{where}">(.*?)</p>', answer.text, re.DOTALL)
    assert said in error
    assert 'aria-describedby="' in answer.text
    assert 'value="operate" checked' in answer.text
    assert f'value="{KEY}"' in answer.text
    if "reason" not in typed:
        assert "would end" not in answer.text  # what is not known is not promised
        assert REASON in answer.text
    assert not Request.objects.exists()


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ("nonsense", "makes no sense"),
        ("99999999", "left out: not in the catalog"),
        ("1:run:x", "makes no sense"),
        ("9" * 30, "makes no sense"),
        ("{deployment}:everything", "has no level"),
        ("{deployment}:work", "has no level"),
    ],
)
def test_a_bad_item_is_told_and_nothing_is_sent(cast: Cast, sign_in: SignIn, item: str, said: str) -> None:
    client = sign_in(cast.ada)
    item = item.format(deployment=cast.deployment.pk)
    assert said in client.get("/requests/new", {"item": item}).text
    data = form(cast.pool, level="view")
    data["item"] = [cast.pool.pk, item]
    answer = send(client, data)
    assert answer.status_code == 422
    assert said in answer.text
    assert not Request.objects.exists()


def test_too_many_items_are_cut_with_a_word(cast: Cast, sign_in: SignIn) -> None:
    answer = sign_in(cast.ada).get("/requests/new", {"item": [str(number) for number in range(1, 40)]})
    assert "20 items at most" in answer.text


def test_sending_nothing_says_so(cast: Cast, sign_in: SignIn) -> None:
    answer = send(sign_in(cast.ada), form())
    assert answer.status_code == 422
    assert "Choose what you want access to." in answer.text


@pytest.mark.parametrize("level", ["manage", "secret", "admin", "work", "everything"])
def test_a_level_that_is_not_offered_is_refused_when_it_is_posted_anyway(
    cast: Cast, sign_in: SignIn, level: str
) -> None:
    answer = send(sign_in(cast.ada), form(cast.deployment, level=level))
    assert answer.status_code == 422
    assert not Request.objects.exists()


def test_nobody_to_approve_is_said_at_once_and_refused(cast: Cast, sign_in: SignIn) -> None:
    client = sign_in(cast.ada)
    page = client.get("/requests/new", {"item": cast.orphan.pk}).text
    assert "Nobody can approve this now" in page
    assert re.search(r'value="send" disabled', page)
    answer = send(client, form(cast.orphan))
    assert answer.status_code == 422
    assert not Request.objects.exists()


def test_owners_are_not_offered_themselves(cast: Cast, sign_in: SignIn) -> None:
    page = sign_in(cast.chiara).get("/requests/new", {"item": cast.deployment.pk}).text
    assert "<strong>Tomasz</strong>" in page
    assert "<strong>Chiara</strong>" not in page
    page = sign_in(cast.chiara).get("/requests/new", {"item": f"{cast.pool.pk}:run"}).text
    assert "Only 1 of the 2 needed can approve this now" in page


def test_no_rule_is_said_at_once(cast: Cast, sign_in: SignIn) -> None:
    page = sign_in(cast.ada).get("/requests/new", {"item": cast.server.pk}).text
    assert "No rule lets anybody ask for" in page
    assert re.search(r'value="send" disabled', page)


def test_a_rule_that_asks_nobody_says_so_and_grants_at_once(cast: Cast, sign_in: SignIn) -> None:
    versions.apply(POLICY.replace("stages:\n      - {need: 1, from: [owners]}", "stages: []"), by=None)
    client = sign_in(cast.ada)
    page = client.get("/requests/new", {"item": f"{cast.deployment.pk}:view"}).text
    assert "the policy grants this without asking" in page
    assert "Get access</button>" in page
    send(client, form(cast.deployment, level="view"))
    grant = Grant.objects.get()
    assert grant.level == "view"
    # Fault: the record says that who asked has approved it.
    policy = versions.in_force_row()
    assert policy is not None
    page = sign_in(cast.olga).get(f"/audit?thing={grant.ref}").text
    assert f"Policy {policy.ref}" in page
    assert "granted it without a decision" in page
    assert "approved" not in re.sub(r"<option.*?</option>", "", page, flags=re.DOTALL)
    events = AuditEvent.objects.order_by("-seq").values_list("verb", "actor")[:2]
    assert list(events) == [("request.granted_by_policy", policy.ref), ("request.asked", cast.ada.ref)]


def test_the_form_says_who_when_and_which_rule_in_the_persons_zone(
    cast: Cast, sign_in: SignIn, at: Callable[..., datetime]
) -> None:
    at(datetime(2026, 11, 24, 13, 20, tzinfo=UTC))
    client = sign_in(cast.ada)
    client.cookies["stint-zone"] = "Europe/Berlin"
    page = send(client, form(cast.deployment, length="240", do="check")).text
    assert 'datetime="2026-11-24T18:20:00+01:00">18:20</time>' in page
    assert "today, Berlin<br>in 4 h" in page
    assert "<strong>Chiara</strong>" in page
    assert "Ask Chiara or Tomasz</button>" in page
    assert page.count("deployments-run") >= 3


@pytest.mark.parametrize("length", ["30", "60", "480", "481", "1440"])
@pytest.mark.parametrize("level", ["view", "run", "manage"])
@pytest.mark.parametrize("name", ["deployment", "pool", "orphan", "server"])
def test_what_the_form_promises_is_what_sending_does(
    cast: Cast, sign_in: SignIn, name: str, level: str, length: str
) -> None:
    client = sign_in(cast.ada)
    data = form(getattr(cast, name), level=level, length=length)
    promised = (
        "disabled>" not in re.findall(r'<button[^>]*value="send"[^>]*>', send(client, data | {"do": "check"}).text)[0]
    )
    sent = send(client, data).status_code == 302
    assert sent == promised
    assert Request.objects.exists() == promised


def test_the_end_that_was_promised_is_the_end_that_is_granted(
    cast: Cast, sign_in: SignIn, at: Callable[..., datetime]
) -> None:
    at(datetime(2026, 11, 24, 13, 20, 7, tzinfo=UTC))
    data = form(cast.deployment, length="until", until="2026-11-24T18:00")
    client = sign_in(cast.ada)
    client.cookies["stint-zone"] = "Europe/Berlin"
    assert ">18:00</time>" in send(client, data | {"do": "check"}).text
    send(client, data)
    decide.approve(Request.objects.get(), by=cast.chiara)
    assert Grant.objects.get().ends_at == datetime(2026, 11, 24, 17, 0, tzinfo=UTC)


@pytest.mark.parametrize("until", ["2026-03-29T02:30", "2026-10-25T02:30"])
def test_an_hour_that_is_not_or_is_twice_is_asked_again(
    cast: Cast, sign_in: SignIn, at: Callable[..., datetime], until: str
) -> None:
    at(datetime.fromisoformat(until).replace(tzinfo=UTC) - timedelta(hours=4))
    client = sign_in(cast.ada)
    client.cookies["stint-zone"] = "Europe/Berlin"
    answer = send(client, form(cast.deployment, length="until", until=until))
    assert answer.status_code == 422
    assert 'id="until-error"' in answer.text


@pytest.mark.parametrize("length", ["30", "until"])
def test_sent_twice_is_one_request(cast: Cast, sign_in: SignIn, at: Callable[..., datetime], length: str) -> None:
    at(datetime(2026, 11, 24, 13, 20, 7, tzinfo=UTC))
    client = sign_in(cast.ada)
    data = form(cast.deployment, length=length, until="2026-11-24T18:00")
    first = send(client, data)
    at(timedelta(minutes=3))  # a time-out, and the browser sends again
    again = send(client, data)
    assert first["Location"] == again["Location"]
    assert Request.objects.count() == 1


def test_the_same_form_with_other_contents_is_not_taken_for_the_first(cast: Cast, sign_in: SignIn) -> None:
    client = sign_in(cast.ada)
    send(client, form(cast.deployment))
    answer = send(client, form(cast.deployment, reason="Something else entirely, and longer."))
    assert answer.status_code == 422
    assert "was sent already, as R-" in answer.text
    assert f'value="{KEY}"' not in answer.text


def test_anothers_key_is_nobodys_business(cast: Cast, sign_in: SignIn) -> None:
    send(sign_in(cast.ada), form(cast.deployment))
    send(sign_in(cast.ben), form(cast.deployment))
    assert Request.objects.count() == 2


def test_what_is_pending_is_shown_and_not_asked_twice(cast: Cast, sign_in: SignIn) -> None:
    asked = cast.asks()
    client = sign_in(cast.ada)
    page = client.get("/requests/new", {"item": cast.deployment.pk}).text
    assert f"It is asked for already: {asked.ref} is pending." in page
    assert 'value="run" disabled' in page
    answer = send(client, form(cast.deployment))
    assert answer.status_code == 422
    assert f"{asked.ref} is pending" in answer.text
    assert Request.objects.count() == 1


def test_what_is_held_is_shown_beside_its_level(cast: Cast, sign_in: SignIn) -> None:
    decide.approve(cast.asks(minutes=120), by=cast.chiara)
    page = sign_in(cast.ada).get("/requests/new", {"item": cast.deployment.pk}).text
    assert re.search(r'value="run"(?:(?!</label>).)*yours, 1 h 59 min left', page, re.DOTALL)
    assert 'value="view" checked' in page


def test_a_retired_resource_is_not_asked_for(cast: Cast, sign_in: SignIn) -> None:
    Resource.objects.filter(pk=cast.deployment.pk).update(retired_at=clock.now())
    answer = send(sign_in(cast.ada), form(cast.deployment))
    assert answer.status_code == 422
    assert "is gone from its orchestrator" in answer.text
    assert not Request.objects.exists()


def test_nobody_asks_for_somebody_else(cast: Cast, sign_in: SignIn) -> None:
    data = form(cast.deployment) | {"beneficiary": cast.ben.pk, "requester": cast.ben.pk, "by": cast.ben.pk}
    send(sign_in(cast.ada), data)
    asked = Request.objects.get()
    assert (asked.requester, asked.beneficiary) == (cast.ada, cast.ada)


def test_a_bad_key_makes_a_fresh_one(cast: Cast, sign_in: SignIn) -> None:
    page = sign_in(cast.ada).get("/requests/new", {"item": cast.deployment.pk, "key": "../x"}).text
    assert re.search(r'name="key" value="[0-9a-f]{32}"', page)


def test_a_fragment_is_not_a_page_of_its_own(cast: Cast, sign_in: SignIn) -> None:
    page = (
        sign_in(cast.ada).post("/requests/new", form(cast.deployment, do="check"), headers={"hx-request": "true"}).text
    )
    # htmx picks these out of the answer by id.
    for part in ('id="preview"', 'id="how-long"', 'id="send"', 'id="found"'):
        assert part in page
