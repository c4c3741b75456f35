from __future__ import annotations

from collections.abc import Callable, Iterator
from urllib.parse import parse_qs, urlsplit

import pytest
from django.conf import settings
from django.http import HttpResponse
from django.test import Client

from accounts import idp
from tests.accounts import op as op_module
from tests.accounts.op import Provider

type SignIn = Callable[..., HttpResponse]


@pytest.fixture(scope="session")
def op_server() -> Iterator[Provider]:
    with op_module.running() as provider:
        yield provider


@pytest.fixture
def op(op_server: Provider, db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Provider]:
    """The provider of this portal, telling the truth."""
    op_server.truth()
    op_server.calls.clear()
    monkeypatch.setattr(settings, "ENV", settings.ENV.model_copy(update={"oidc_issuer": op_server.issuer}))
    idp.provider.cache_clear()
    yield op_server
    idp.provider().close()
    idp.provider.cache_clear()


@pytest.fixture
def browser() -> Client:
    return Client(headers={"host": "127.0.0.1:8000"})


def begin(browser: Client, op: Provider, where: str = "/oidc/start") -> dict[str, str]:
    """What the portal asks of the provider."""
    response = browser.get(where)
    assert response.status_code == 302, response.content
    target = urlsplit(response.headers["Location"])
    assert f"{target.scheme}://{target.netloc}{target.path}" == f"{op.issuer}/authorize"
    asked = {name: values[0] for name, values in parse_qs(target.query).items()}
    op.asked(asked["nonce"], asked["code_challenge"])
    return asked


@pytest.fixture
def sign_in(op: Provider, browser: Client) -> SignIn:
    """Go through the flow; returns what the callback answers."""

    def go(**query: str) -> HttpResponse:
        asked = begin(browser, op)
        return browser.get("/oidc/callback", {"code": "c", "state": asked["state"], **query})

    return go


def code_of(response: HttpResponse) -> str:
    """The reason code of a refused sign-in."""
    target = urlsplit(response.headers.get("Location", ""))
    assert target.path == "/signin/failed", response.headers
    return parse_qs(target.query)["code"][0]


def signed_in(browser: Client) -> bool:
    return "_auth_user_id" in browser.session
