"""A provider that is slow, endless or packed on purpose: sign-in ends with a reason, other pages never wait for it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from types import SimpleNamespace

import httpx
import mozilla_django_oidc.auth
import pytest
from django.conf import settings
from django.db import connection
from django.http import HttpResponse
from django.test import Client

from accounts import idp, provider
from accounts.provider import SignInRefused
from tests.accounts.conftest import SignIn, begin, code_of, signed_in
from tests.accounts.op import Provider
from tests.adapters import test_slow_servers as slow

THREADS = 8  # of a web process
ENDPOINTS = {"token": "token_endpoint", "userinfo": "userinfo_endpoint", "keys": "jwks_uri"}
MANNERS: dict[str, tuple[slow.Manner, str]] = {
    "silent": (slow.silent, "PROVIDER_DOWN"),
    "head drips": (slow.head, "PROVIDER_DOWN"),
    "body drips": (slow.body, "PROVIDER_DOWN"),
    "chunks drip": (slow.chunks, "PROVIDER_DOWN"),
    "continue without end": (slow.continues, "PROVIDER_DOWN"),
    "headers without end": (slow.headers, "PROVIDER_DOWN"),
    "body without end": (slow.spaces, "PROVIDER_ANSWER"),
    "gzip": (slow.bomb, "PROVIDER_ANSWER"),
    "gzip in gzip": (slow.double_bomb, "PROVIDER_ANSWER"),
    "half": (slow.cut, "PROVIDER_DOWN"),
}


@pytest.mark.parametrize("manner", MANNERS)
@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_sign_in_ends_with_a_reason(
    op: Provider, browser: Client, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch, endpoint: str, manner: str
) -> None:
    treat, code = MANNERS[manner]
    monkeypatch.setattr(provider, "TURN_SECONDS", 1.0 if code == "PROVIDER_DOWN" else 60.0)
    with slow.serving(treat) as url:
        op.discovery[ENDPOINTS[endpoint]] = f"{url}/{endpoint}"
        response = sign_in()
    assert code_of(response) == code
    assert not signed_in(browser)
    page = browser.get(response.headers["Location"])
    assert page.has_header("Retry-After") == (page.status_code == 503) == (code == "PROVIDER_DOWN")


@pytest.mark.parametrize("manner", MANNERS)
def test_so_does_discovery(op: Provider, browser: Client, monkeypatch: pytest.MonkeyPatch, manner: str) -> None:
    treat, code = MANNERS[manner]
    monkeypatch.setattr(provider, "TURN_SECONDS", 1.0 if code == "PROVIDER_DOWN" else 60.0)
    with slow.serving(treat) as url, another(url, monkeypatch):
        assert code_of(browser.get("/oidc/start")) == code
        assert not idp.provider().answers()


@contextmanager
def another(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The portal's provider is at another address."""
    idp.provider().close()
    monkeypatch.setattr(settings, "ENV", settings.ENV.model_copy(update={"oidc_issuer": url}))
    idp.provider.cache_clear()
    yield


class Web:
    """The threads of a web process, each with its connection to the database as there."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(THREADS)

    def get(self, browser: Client, path: str, query: dict[str, str] | None = None) -> Future[HttpResponse]:
        def work() -> HttpResponse:
            try:
                return browser.get(path, query or {})
            finally:
                connection.close()

        return self._pool.submit(work)

    def close(self) -> None:
        self._pool.shutdown()


@pytest.fixture
def web() -> Iterator[Web]:
    running = Web()
    yield running
    running.close()


@pytest.fixture
def lasting(commits: None, op_server: Provider, monkeypatch: pytest.MonkeyPatch) -> Iterator[Provider]:
    """As `op`, with rows that every thread sees; and no deadline of a sign-in comes to the rescue."""
    op_server.truth()
    op_server.calls.clear()
    monkeypatch.setattr(
        settings, "ENV", settings.ENV.model_copy(update={"oidc_issuer": op_server.issuer, "web_threads": THREADS})
    )
    monkeypatch.setattr(provider, "TURN_SECONDS", 300.0)
    monkeypatch.setattr(provider, "_TIMEOUT", httpx.Timeout(300))
    idp.provider.cache_clear()
    yield op_server
    idp.provider().close()
    idp.provider.cache_clear()


class Held:
    """A server that drips the head of its answer until it is let go; it counts who waits."""

    def __init__(self) -> None:
        self.waiting = threading.Semaphore(0)
        self.released = threading.Event()
        self.count = 0

    def __call__(self, peer: socket.socket) -> None:
        self.count += 1
        self.waiting.release()
        peer.sendall(slow.HEAD + b"X: ")
        while not self.released.wait(0.05):
            peer.sendall(b"a")
        peer.sendall(b"\r\nContent-Length: 2\r\n\r\n{}")


def test_other_pages_have_threads_while_sign_ins_wait(lasting: Provider, web: Web) -> None:
    """Twenty sign-ins at a provider whose answer never ends: half the threads wait, sixteen people are told at once."""
    held = Held()
    with slow.serving(held) as url:
        lasting.discovery["token_endpoint"] = f"{url}/token"
        people = [Client(headers={"host": "127.0.0.1:8000"}) for _ in range(20)]
        queries = [{"code": "c", "state": begin(person, lasting)["state"]} for person in people]
        sign_ins = [web.get(person, "/oidc/callback", query) for person, query in zip(people, queries, strict=True)]
        for _ in range(THREADS // 2):
            assert held.waiting.acquire(timeout=60)
        try:
            for path in ("/signin", "/signin/failed?code=PROVIDER_BUSY", "/oidc/start") * 2:
                answer = web.get(Client(headers={"host": "127.0.0.1:8000"}), path).result(60)
                assert answer.status_code in (200, 302, 503)
            told = [sign_in for sign_in in sign_ins if sign_in.done()]
            assert [code_of(sign_in.result()) for sign_in in told] == ["PROVIDER_BUSY"] * (20 - THREADS // 2)
            assert held.count == THREADS // 2
        finally:
            held.released.set()
        for sign_in in sign_ins:
            sign_in.result(60)
        assert code_of(web.get(people[0], "/oidc/callback", _again(people[0], lasting)).result(60)) != "PROVIDER_BUSY"
        busy = people[0].get("/signin/failed", {"code": "PROVIDER_BUSY"})
        assert (busy.status_code, busy["Retry-After"]) == (503, "5")


def _again(person: Client, op: Provider) -> dict[str, str]:
    return {"code": "c", "state": begin(person, op)["state"]}


def test_a_refresh_does_not_wait_for_the_probe_of_another(lasting: Provider) -> None:
    held = Held()
    with slow.serving(held) as url, ThreadPoolExecutor(1) as other:
        asked = provider.Provider(url, places=4)
        asked._http._answer_seconds = 300.0
        provider_answer, provider.PROBE_ANSWER = provider.PROBE_ANSWER, 300.0
        try:
            probing = other.submit(asked.answers)
            assert held.waiting.acquire(timeout=60)
            assert [asked.answers() for _ in range(20)] == [False] * 20
            assert held.count == 1
            held.released.set()
            assert probing.result(60)
            assert asked.answers()
        finally:
            held.released.set()
            provider.PROBE_ANSWER = provider_answer
            asked.close()


def race(call: Callable[[], object], times: int) -> list[object]:
    """The call in so many threads at once: what each had, or the code of its refusal."""

    def one(_: int) -> object:
        try:
            return call()
        except SignInRefused as error:
            return error.code

    with ThreadPoolExecutor(times) as pool:
        return list(pool.map(one, range(times)))


def test_one_thread_loads_and_the_others_wait_for_it(lasting: Provider) -> None:
    known = provider.Provider(lasting.issuer, places=8)
    found = race(known.keys, 8)
    assert found == [lasting.keys["keys"]] * 8  # type: ignore[index]
    assert (lasting.calls.count("/.well-known/openid-configuration"), lasting.calls.count("/jwks")) == (1, 1)
    known.close()


def test_the_old_one_serves_while_one_thread_loads(lasting: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    held = Held()
    with slow.serving(held) as url, ThreadPoolExecutor(1) as other:
        lasting.discovery["jwks_uri"] = f"{url}/keys"
        known = provider.Provider(lasting.issuer, places=8)
        known._kept["keys"] = (float("-inf"), [{"kid": "old"}])
        loading = other.submit(lambda: race(known.keys, 1))
        assert held.waiting.acquire(timeout=60)
        assert race(known.keys, 7) == [[{"kid": "old"}]] * 7
        assert held.count == 1
        monkeypatch.setattr(provider, "TURN_SECONDS", 0.2)
        assert race(lambda: known.keys(reload=True), 1) == ["PROVIDER_DOWN"]  # the old one would not do, and it ends
        held.released.set()
        assert loading.result(60) == ["PROVIDER_ANSWER"]
        known.close()


@pytest.mark.parametrize(
    "address",
    ["http://[x", "http://", "http:///x", "http://h:port/", "http://h:99999/", "http://h/\ud800", "http://h/\x00",
     "http://h/\r\nSet-Cookie: a=b", "http://" + "a" * 70 + ".test/", "http://.test/", "http://..", "http://ä..b/",
     "http://h\u2028/", "http://127.0.0.1:1\\@evil.test/", "/relative", "token", 7, None, ["http://h/"], {}, ""],
)  # fmt: skip
@pytest.mark.parametrize("endpoint", [*ENDPOINTS.values(), "authorization_endpoint", "end_session_endpoint"])
def test_an_address_that_is_none(op: Provider, browser: Client, endpoint: str, address: object) -> None:
    op.discovery[endpoint] = address
    if endpoint == "authorization_endpoint":
        response = browser.get("/oidc/start")
        if address not in ("http://" + "a" * 70 + ".test/", "http://.test/", "http://.."):  # an address, if a dead one
            assert code_of(response) == "PROVIDER_ANSWER"
    elif endpoint == "end_session_endpoint":
        browser.get("/signin")
    else:
        state = begin(browser, op)["state"]
        assert code_of(browser.get("/oidc/callback", {"code": "c", "state": state})) in (
            "PROVIDER_ANSWER",
            "PROVIDER_DOWN",
        )
    assert not signed_in(browser)


def test_the_librarys_own_calls_are_never_made(
    op: Provider, browser: Client, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """mozilla-django-oidc brings `requests`, without a deadline, a limit or a place."""
    monkeypatch.setattr(mozilla_django_oidc.auth, "requests", SimpleNamespace())  # any use raises
    sign_in()
    assert signed_in(browser)
