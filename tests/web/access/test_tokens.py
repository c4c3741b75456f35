"""Tokens on the grant's page: shown once, listed, replaced, revoked; and the way into the gate with a browser."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib.sessions.models import Session
from django.db import transaction

from grants import clock
from grants.audit import Verb, record
from grants.catalog.models import Connection
from grants.lifecycle import access, decide
from grants.lifecycle.models import Grant
from grants.tokens import issue
from grants.tokens.mint import read
from grants.tokens.models import Credential
from tests.cast import Cast
from tests.tokens.scene import working
from tests.web.conftest import SignIn

TOKEN = re.compile(r"stint_[0-9A-Za-z]{16}_[0-9A-Za-z]{49}")
NONCE = hashlib.sha256(b"n").hexdigest()


@pytest.fixture(autouse=True)
def gate(cast: Cast) -> None:
    """The cast's connection is reached through a gate."""
    with transaction.atomic():
        Connection.objects.filter(pk=cast.connection.pk).update(host="prefect.example.org")
        record(Verb.CONNECTION_APPLIED, by="test", on=[cast.connection])


@pytest.fixture
def held(cast: Cast) -> Grant:
    return decide.approve(cast.asks(), by=cast.chiara).grants.get()


def test_issued_shown_once_and_never_again(cast: Cast, sign_in: SignIn, held: Grant) -> None:
    browser = sign_in(cast.ada)
    assert "Issue a token" in browser.get(f"/grants/{held.pk}").text
    answer = browser.post(f"/grants/{held.pk}/tokens")
    assert answer.status_code == 200
    assert "no-store" in answer["Cache-Control"]
    (token,) = set(TOKEN.findall(answer.text))
    digest = read(token, "token")
    credential = Credential.objects.get()
    assert credential.digest == digest
    assert "PREFECT_CLIENT_CUSTOM_HEADERS" in answer.text
    assert "http://prefect.example.org/api" in answer.text
    assert "prefect deployment run" in answer.text
    page = browser.get(f"/grants/{held.pk}").text
    assert token not in page
    assert credential.key_id[:6] in page
    assert "never used" in page


@pytest.mark.parametrize("minutes", ["0", "-5", "soon", "99999999999"])
def test_a_length_that_makes_no_sense_issues_nothing(cast: Cast, sign_in: SignIn, held: Grant, minutes: str) -> None:
    answer = sign_in(cast.ada).post(f"/grants/{held.pk}/tokens", {"minutes": minutes})
    assert answer.status_code == 403
    assert "how long" in answer.text
    assert not Credential.objects.exists()


def test_it_lasts_as_chosen_and_never_past_the_access(cast: Cast, sign_in: SignIn, held: Grant) -> None:
    sign_in(cast.ada).post(f"/grants/{held.pk}/tokens", {"minutes": "15"})
    sign_in(cast.ada).post(f"/grants/{held.pk}/tokens", {"minutes": "480"})
    short, long = Credential.objects.order_by("pk")
    assert short.expires_at - short.issued_at == timedelta(minutes=15)
    assert long.expires_at == held.ends_at


def test_replaced_and_revoked(cast: Cast, sign_in: SignIn, held: Grant) -> None:
    browser = sign_in(cast.ada)
    old = issue.issue(held, by=cast.ada).credential
    shown = browser.post(f"/tokens/{old.pk}/replace")
    assert len(set(TOKEN.findall(shown.text))) == 1
    old.refresh_from_db()
    assert old.revoked_at
    fresh = Credential.objects.exclude(pk=old.pk).get()
    assert browser.post(f"/tokens/{fresh.pk}/revoke", follow=True).status_code == 200
    again = browser.post(f"/tokens/{fresh.pk}/revoke")
    assert again.status_code == 409
    assert "revoked already" in again.text


def test_others_get_none(cast: Cast, sign_in: SignIn, held: Grant) -> None:
    mine = issue.issue(held, by=cast.ada).credential
    for subject, status in ((cast.oscar, 404), (cast.chiara, 403), (cast.priya, 403), (cast.olga, 403)):
        answer = sign_in(subject).post(f"/grants/{held.pk}/tokens")
        assert answer.status_code == status, subject
        assert not TOKEN.search(answer.text)
    assert sign_in(cast.oscar).post(f"/tokens/{mine.pk}/revoke").status_code == 404
    assert sign_in(cast.olga).post(f"/tokens/{mine.pk}/revoke").status_code == 403
    assert sign_in(cast.priya).post(f"/tokens/{mine.pk}/revoke").status_code == 302  # who could revoke the grant
    assert Credential.objects.count() == 1


def test_over_is_over(cast: Cast, sign_in: SignIn, held: Grant) -> None:
    access.give_back(held, by=cast.ada)
    answer = sign_in(cast.ada).post(f"/grants/{held.pk}/tokens")
    assert answer.status_code == 409
    assert "over already" in answer.text


def test_a_machines_token_is_shown_to_its_team(cast: Cast, sign_in: SignIn) -> None:
    grant = working(cast)
    answer = sign_in(cast.ben).post(f"/grants/{grant.pk}/tokens")
    assert "prefect worker start" in answer.text
    assert Credential.objects.get().expires_at == grant.drain_until
    assert sign_in(cast.oscar).post(f"/grants/{grant.pk}/tokens").status_code == 404


# The way in with a browser.


def way(cast: Cast, other: Mapping[str, str] = MappingProxyType({})) -> dict[str, str]:
    return {"connection": cast.connection.slug, "nonce": NONCE, "to": "/runs?x=1", **other}


def test_handed_over_with_a_ticket(cast: Cast, sign_in: SignIn) -> None:
    answer = sign_in(cast.ada).get("/gate/enter", way(cast))
    assert answer.status_code == 302
    assert "no-store" in answer["Cache-Control"]
    assert answer["Referrer-Policy"] == "no-referrer"
    to = urlsplit(answer["Location"])
    assert (to.scheme, to.netloc, to.path) == ("http", "prefect.example.org", "/.stint/enter")
    query = parse_qs(to.query)
    ticket = Credential.objects.get(kind="ticket")
    assert ticket.digest == read(query["ticket"][0], "ticket")
    assert ticket.subject == cast.ada
    assert query["to"] == ["/runs?x=1"]


@pytest.mark.parametrize(
    ("other", "status"),
    [
        ({"connection": "nobodies"}, 404),
        ({"nonce": "short"}, 400),
        ({"nonce": NONCE.upper()}, 400),
        ({"to": "//evil.example.org"}, 400),
        ({"to": "/\\evil.example.org"}, 400),
        ({"to": "https://evil.example.org"}, 400),
        ({"to": "/a\r\nSet-Cookie: x"}, 400),
    ],
)
def test_a_garbled_way_makes_no_ticket(cast: Cast, sign_in: SignIn, other: dict[str, str], status: int) -> None:
    assert sign_in(cast.ada).get("/gate/enter", way(cast, other)).status_code == status
    assert not Credential.objects.exists()


def test_a_session_at_the_gate_ends_with_the_portals(cast: Cast, sign_in: SignIn) -> None:
    browser, ends = sign_in(cast.ada), clock.now() + timedelta(minutes=20)
    Session.objects.update(expire_date=ends)
    browser.get("/gate/enter", way(cast))
    assert Credential.objects.get(kind="ticket").session_until == ends


def test_only_by_get_and_only_signed_in(cast: Cast, sign_in: SignIn) -> None:
    assert sign_in(cast.ada).head("/gate/enter", way(cast)).status_code == 405
    assert sign_in(cast.ada).post("/gate/enter", way(cast)).status_code == 405
    assert not Credential.objects.exists()
