"""Sign-in against a provider that lies: nobody gets in, nothing fails with 500, and the code says why."""

from __future__ import annotations

import hashlib
import time

import jwt
import pytest
from django.conf import settings
from django.test import Client

from accounts import idp, provider
from accounts.models import Identity, Subject
from grants.audit.models import AuditEvent
from tests.accounts.conftest import SignIn, code_of, signed_in
from tests.accounts.lies import LIES, Lie, b64, claims, header, keys, says
from tests.accounts.op import KEY, STRANGE_KEY, Provider, jwk


@pytest.mark.parametrize("kind", ["oidc", "keycloak"])
@pytest.mark.parametrize("lie", LIES)
def test_a_lie_logs_nobody_in(
    op: Provider, browser: Client, sign_in: SignIn, lie: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "ENV", settings.ENV.model_copy(update={"idp_kind": kind}))
    tell, code = LIES[lie]
    tell(op)
    response = sign_in()
    assert code_of(response) == code
    assert not signed_in(browser)
    assert not Subject.objects.exists()
    page = browser.get(response.headers["Location"])
    assert page.status_code == (503 if code == "PROVIDER_DOWN" else 403)
    assert code in page.content.decode()


def test_the_truth_does(op: Provider, browser: Client, sign_in: SignIn) -> None:
    response = sign_in()
    assert response.headers["Location"] == "/"
    assert signed_in(browser)
    identity = Identity.objects.get()
    assert (identity.external_id, identity.username, identity.subject.name) == (
        "sub-ada",
        "ada",
        "Ada Okafor",
    )
    assert identity.subject.memberships.get().team.slug == "ingest"
    assert AuditEvent.objects.latest("seq").verb == "subject.signed_in"
    assert op.form["code_verifier"]


@pytest.mark.parametrize(
    "truth",
    [
        claims(aud=["stint"]),
        claims(aud=["stint", "other"], azp="stint"),
        lambda op: op.claims.update(exp=int(time.time()) - 5),  # clocks differ
        keys(jwk(STRANGE_KEY, "k0"), jwk(KEY)),
        claims(at_hash=b64(hashlib.sha256(b"at").digest()[:16])),
        header(typ="application/JWT"),
        claims(typ="ID"),
    ],
)  # fmt: skip
def test_odd_but_true(op: Provider, browser: Client, sign_in: SignIn, truth: Lie) -> None:
    truth(op)
    sign_in()
    assert signed_in(browser)


def test_a_token_without_kid_needs_the_only_key(op: Provider, browser: Client, sign_in: SignIn) -> None:
    op.sign = lambda body: jwt.encode(body, KEY, "RS256")
    keys(jwk(KEY, None))(op)
    sign_in()
    assert signed_in(browser)


@pytest.mark.parametrize(
    ("lie", "code"),
    [
        (lambda op: op.discovery.update(issuer="https://evil.example"), "ISS_MISMATCH"),
        (lambda op: op.discovery.update(authorization_endpoint=None), "PROVIDER_ANSWER"),
        (lambda op: op.discovery.update(authorization_endpoint="javascript:alert(1)"), "PROVIDER_ANSWER"),
        (lambda op: op.discovery.update(authorization_endpoint="http://[x"), "PROVIDER_ANSWER"),
        (lambda op: op.discovery.update(authorization_endpoint=f"https://{'x' * 64}.example/"), "PROVIDER_ANSWER"),
        (lambda op: op.discovery.update(issuer=f"{op.issuer}//"), "ISS_MISMATCH"),
        (says("/.well-known/openid-configuration", 500, b""), "PROVIDER_DOWN"),
        (says("/.well-known/openid-configuration", 404, b""), "PROVIDER_REFUSED"),
        (says("/.well-known/openid-configuration", 200, b"nonsense"), "PROVIDER_ANSWER"),
    ],
)
def test_a_bad_discovery(op: Provider, browser: Client, lie: Lie, code: str) -> None:
    lie(op)
    assert code_of(browser.get("/oidc/start")) == code


def test_a_provider_that_is_not_there(op: Provider, browser: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "ENV", settings.ENV.model_copy(update={"oidc_issuer": "http://127.0.0.1:1"}))
    idp.provider.cache_clear()
    response = browser.get("/oidc/start")
    idp.provider().close()
    assert code_of(response) == "PROVIDER_DOWN"
    assert "does not answer" in browser.get(response.headers["Location"]).content.decode()


def test_keys_are_kept_and_loaded_again_for_an_unknown_one(
    op: Provider, browser: Client, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_in()
    browser.logout()
    sign_in()
    assert op.calls.count("/jwks") == 1
    browser.logout()
    op.keys = {"keys": [jwk(STRANGE_KEY, "k2")]}
    op.sign = lambda body: jwt.encode(body, STRANGE_KEY, "RS256", headers={"kid": "k2"})
    assert code_of(sign_in()) == "KID_UNKNOWN"  # loaded a moment ago: strangers cannot make us load at will
    assert op.calls.count("/jwks") == 1
    monkeypatch.setattr(provider, "RELOAD_SECONDS", 0)
    sign_in()
    assert signed_in(browser)
    assert op.calls.count("/jwks") == 2
