"""Who comes too often is told so, and nobody else is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from django.conf import settings
from django.db import transaction
from django.test import Client

from grants.audit import Verb, record
from grants.catalog.models import Connection
from grants.gate.bounds import tries
from grants.lifecycle import decide
from grants.tokens.models import Credential
from grants.web import limits
from grants.web.limits import Limit, Often
from portal.front import Front
from tests.cast import Cast

FEW = Limit(person=Often(2, 1000.0), address=Often(3, 1000.0))
START = "/oidc/start"


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LIMITS", dict.fromkeys(limits.LIMITS, FEW))


@pytest.fixture
def browser(db: None) -> Client:
    """One for all: each has a middleware of its own, with a memory of its own."""
    return Client(headers={"host": "127.0.0.1:8000"})


def trusting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "ENV", settings.ENV.model_copy(update={"trusted_proxy": True}))


def refused(browser: Client, path: str, times: int, **meta: Any) -> list[bool]:
    return [browser.get(path, **meta).status_code == 429 for _ in range(times)]


@pytest.mark.parametrize("path", [START, "/oidc/callback?state=x&code=y"])
def test_an_address_begins_so_many_sign_ins(browser: Client, path: str) -> None:
    assert refused(browser, path, 4, REMOTE_ADDR="203.0.113.1") == [False, False, False, True]
    answer = browser.get(path, REMOTE_ADDR="203.0.113.1")
    assert answer["Retry-After"] == "1000"
    assert "asked for too often" in answer.text
    assert browser.get("/signin", REMOTE_ADDR="203.0.113.1").status_code == 200
    assert refused(browser, path, 1, REMOTE_ADDR="203.0.113.2") == [False]


def test_of_ipv6_a_network_is_one(browser: Client) -> None:
    said = [refused(browser, START, 1, REMOTE_ADDR=f"2001:db8:1:2::{n}") for n in range(4)]
    assert said == [[False], [False], [False], [True]]
    assert refused(browser, START, 1, REMOTE_ADDR="2001:db8:1:3::1") == [False]


def test_what_a_client_says_of_its_address_counts_for_nothing(browser: Client) -> None:
    said = [refused(browser, START, 1, HTTP_X_FORWARDED_FOR=f"203.0.113.{n}") for n in range(4)]
    assert said == [[False], [False], [False], [True]]


def test_a_proxy_that_is_trusted_says_the_last_of_them(browser: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    trusting(monkeypatch)
    said = [refused(browser, START, 1, HTTP_X_FORWARDED_FOR=f"198.51.100.{n}, 203.0.113.1") for n in range(4)]
    assert said == [[False], [False], [False], [True]]
    assert refused(browser, START, 1, HTTP_X_FORWARDED_FOR="203.0.113.1, 203.0.113.2") == [False]
    words = [refused(browser, START, 1, HTTP_X_FORWARDED_FOR=f"word-{n}") for n in range(4)]
    assert words == [[False], [False], [False], [True]], "no address: the proxy's own is counted"


def test_a_person_is_counted_wherever_they_are(browser: Client, cast: Cast) -> None:
    browser.force_login(cast.ada)
    assert [refused(browser, "/recover", 1, REMOTE_ADDR=f"203.0.113.{n}") for n in range(3)] == [
        [False],
        [False],
        [True],
    ]
    browser.force_login(cast.ada)
    assert refused(browser, "/recover", 1) == [True], "signed in again, one is not somebody new"
    browser.force_login(cast.ben)
    assert refused(browser, "/recover", 2) == [False, False]


def test_tokens_are_issued_so_often_and_the_form_says_so(browser: Client, cast: Cast) -> None:
    with transaction.atomic():
        Connection.objects.filter(pk=cast.connection.pk).update(host="prefect.example.org")
        record(Verb.CONNECTION_APPLIED, by="test", on=[cast.connection])
    held = decide.approve(cast.asks(), by=cast.chiara).grants.get()
    browser.force_login(cast.ada)
    had = Credential.objects.count()
    assert [browser.post(f"/grants/{held.pk}/tokens").status_code for _ in range(2)] == [200, 200]
    answer = browser.post(f"/grants/{held.pk}/tokens", {"minutes": "60"})
    assert answer.status_code == 429
    assert answer["Retry-After"] == "1000"
    assert "asked for too often" in answer.text
    assert "Issue a token" in answer.text
    assert Credential.objects.count() == had + 2


@pytest.mark.parametrize("path", ["/history.csv", "/history.jsonl", "/audit.csv", "/audit.jsonl"])
def test_files_are_made_so_often(browser: Client, cast: Cast, path: str) -> None:
    browser.force_login(cast.priya)
    assert refused(browser, path, 3) == [False, False, True]
    other = path.replace("csv", "jsonl") if "csv" in path else path.replace("jsonl", "csv")
    assert refused(browser, other, 1) == [True], "of both kinds together"
    browser.force_login(cast.olga)
    assert refused(browser, path, 1) == [False]


def test_a_form_that_another_site_sends_counts_for_nobody(cast: Cast) -> None:
    browser = Client(enforce_csrf_checks=True, headers={"host": "127.0.0.1:8000"})
    browser.force_login(cast.ada)
    assert [browser.post("/recover", {"code": "x"}).status_code for _ in range(3)] == [403] * 3
    assert refused(browser, "/recover", 1) == [False]


def test_the_memory_is_bounded(browser: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tries, "MOST", 5)
    kept = limits.Limits(lambda request: None)  # type: ignore[arg-type,return-value]
    for n in range(50):
        kept._tries["recover", "address"].take(f"203.0.113.{n}")
    assert len(kept._tries["recover", "address"]._full_at) == 5


def test_a_client_cannot_write_the_proxys_header_in_another_way() -> None:
    """WSGI has one name for X-Forwarded-For and X_Forwarded_For."""
    seen: list[dict[str, Any]] = []

    def page(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        seen.append(environ)
        start("200 OK", [])
        return [b""]

    async def nothing(*_: object) -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    headers = [(b"x-forwarded-for", b"203.0.113.1"), (b"x_forwarded_for", b"6.6.6.6"), (b"x_forwarded_proto", b"https")]
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "query_string": b"",
        "headers": headers,
        "http_version": "1.1",
    }
    asyncio.run(Front(page, threads=1)(scope, nothing, nothing))
    assert seen[0]["HTTP_X_FORWARDED_FOR"] == "203.0.113.1"
    assert "HTTP_X_FORWARDED_PROTO" not in seen[0]
