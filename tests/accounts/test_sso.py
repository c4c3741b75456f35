"""Sign-in against a provider that lies: nobody gets in, nothing fails with 500, and the code says why."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from django.conf import settings
from django.contrib.sessions.models import Session
from django.db import transaction
from django.test import Client

from accounts import idp, profile, provider
from accounts.models import Identity, PortalRole, Subject
from accounts.signals import happened
from grants.audit import Verb, record
from grants.audit.models import AuditEvent
from tests.accounts.conftest import SignIn, begin, code_of, signed_in
from tests.accounts.op import KEY, STRANGE_KEY, Provider, jwk, public_pem

NOW = int(time.time())
type Lie = Callable[[Provider], None]


def claims(**lies: object) -> Lie:
    return lambda op: op.claims.update(lies)


def info(**lies: object) -> Lie:
    return lambda op: op.info.update(lies)


def keys(*listed: object) -> Lie:
    return lambda op: setattr(op, "keys", {"keys": list(listed)})


def token(make: Callable[[dict[str, object]], object]) -> Lie:
    return lambda op: setattr(op, "sign", make)


def says(path: str, status: int, body: bytes) -> Lie:
    return lambda op: op.answers.update({path: (status, body)})


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def hs256(secret: bytes) -> Callable[[dict[str, object]], str]:
    def sign(body: dict[str, object]) -> str:
        # PyJWT refuses to sign with a public key, so the attacker's token is made by hand.
        signed = f"{b64(json.dumps({'alg': 'HS256', 'kid': 'k1'}).encode())}.{b64(json.dumps(body).encode())}"
        return f"{signed}.{b64(hmac.new(secret, signed.encode(), hashlib.sha256).digest())}"

    return sign


def header(**lies: str) -> Lie:
    return lambda op: op.header.update(lies)


def weak(op: Provider) -> None:
    """A key of 1,024 bits. PyJWT warns of it, so the token is signed by hand."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    keys(jwk(key))(op)

    def sign(body: dict[str, object]) -> str:
        told = ".".join(b64(json.dumps(part).encode()) for part in ({"alg": "RS256", "kid": "k1"}, body))
        return f"{told}.{b64(key.sign(told.encode(), PKCS1v15(), SHA256()))}"

    op.sign = sign


LIES: dict[str, tuple[Lie, str]] = {
    "iss of another": (claims(iss="https://evil.example"), "ISS_MISMATCH"),
    "iss missing": (claims(iss=None), "ISS_MISMATCH"),
    "iss with a slash more": (lambda op: op.claims.update(iss=op.issuer + "/"), "ISS_MISMATCH"),
    "aud of another": (claims(aud="other"), "AUD_MISMATCH"),
    "aud missing": (claims(aud=None), "AUD_MISMATCH"),
    "aud and iss missing": (claims(aud=None, iss=None), "ISS_MISMATCH"),
    "aud an empty list": (claims(aud=[]), "AUD_MISMATCH"),
    "aud a number": (claims(aud=7), "AUD_MISMATCH"),
    "aud several, no azp": (claims(aud=["stint", "other"]), "AZP_MISMATCH"),
    "aud several, azp of another": (claims(aud=["stint", "other"], azp="other"), "AZP_MISMATCH"),
    "azp of another": (claims(azp="other"), "AZP_MISMATCH"),
    "exp missing": (claims(exp=None), "CLAIM_MISSING"),
    "exp a word": (claims(exp="tomorrow"), "CLAIM_MISSING"),
    "exp true": (claims(exp=True), "CLAIM_MISSING"),
    "exp endless": (claims(exp=1e300), "CLAIM_MISSING"),
    "expired": (claims(exp=NOW - 100), "EXPIRED"),
    "iat missing": (claims(iat=None), "CLAIM_MISSING"),
    "iat in the future": (claims(iat=NOW + 3600), "IAT_FUTURE"),
    "nbf in the future": (claims(nbf=NOW + 3600), "NBF_FUTURE"),
    "nbf a word": (claims(nbf="now"), "NBF_FUTURE"),
    "nonce of another": (claims(nonce="other"), "NONCE_MISMATCH"),
    "nonce missing": (claims(nonce=None), "NONCE_MISMATCH"),
    "nonce a number": (claims(nonce=7), "NONCE_MISMATCH"),
    "sub missing": (claims(sub=None), "SUB_MISSING"),
    "sub empty": (claims(sub=""), "SUB_MISSING"),
    "sub a number": (claims(sub=7), "SUB_MISSING"),
    "sub too long": (claims(sub="x" * 300), "SUB_MISSING"),
    "sub with a NUL": (claims(sub="sub-ada\0"), "SUB_MISSING"),
    "sub with half a pair": (claims(sub="sub-\ud800"), "SUB_MISSING"),
    "sub with a blank at its end": (claims(sub="sub-ada "), "SUB_MISSING"),
    "nonce with half a pair": (claims(nonce="\ud800"), "NONCE_MISMATCH"),
    "userinfo with half a pair": (info(sub="\ud800"), "SUB_MISMATCH"),
    "userinfo of a number": (info(sub=7), "SUB_MISMATCH"),
    "at_hash of another": (claims(at_hash="AAAAAAAAAAAAAAAAAAAAAA"), "AT_HASH_MISMATCH"),
    "at_hash a number": (claims(at_hash=7), "AT_HASH_MISMATCH"),
    "typ of an access token": (header(typ="at+jwt"), "TYP_MISMATCH"),
    "typ of a logout token": (header(typ="application/logout+jwt"), "TYP_MISMATCH"),
    "typ of Keycloak's access token": (claims(typ="Bearer"), "TYP_MISMATCH"),
    "typ of Keycloak's logout token": (claims(typ="Logout"), "TYP_MISMATCH"),
    "a weak key": (weak, "KEY_WEAK"),
    "a private key": (keys({**jwt.algorithms.RSAAlgorithm.to_jwk(KEY, as_dict=True), "kid": "k1"}), "KEY_BAD"),
    "an endless key": (keys(jwk(KEY, n="x" * 100_000)), "KEY_BAD"),
    "userinfo of another": (info(sub="sub-priya"), "SUB_MISMATCH"),
    "userinfo of nobody": (info(sub=None), "SUB_MISMATCH"),
    "alg none": (token(lambda body: jwt.encode(body, None, "none")), "ALG_NOT_ALLOWED"),
    "alg HS256 with the public key": (token(hs256(public_pem())), "ALG_NOT_ALLOWED"),
    "alg HS256 with the client secret": (token(hs256(b"only-for-tests")), "ALG_NOT_ALLOWED"),
    "alg RS512": (
        token(lambda body: jwt.encode(body, KEY, "RS512", headers={"kid": "k1"})),
        "ALG_NOT_ALLOWED",
    ),
    "a stranger's key": (
        token(lambda body: jwt.encode(body, STRANGE_KEY, "RS256", headers={"kid": "k1"})),
        "SIG_BAD",
    ),
    "a stranger's key in the header": (
        token(
            lambda body: jwt.encode(body, STRANGE_KEY, "RS256", headers={"kid": "k2", "jwk": jwk(STRANGE_KEY, "k2")})
        ),
        "KID_UNKNOWN",
    ),
    "crit": (
        token(lambda body: jwt.encode(body, KEY, "RS256", headers={"kid": "k1", "crit": ["x"], "x": 1})),
        "MALFORMED",
    ),
    "kid unknown": (token(lambda body: jwt.encode(body, KEY, "RS256", headers={"kid": "k9"})), "KID_UNKNOWN"),
    "no keys": (keys(), "KID_UNKNOWN"),
    "a key for encryption": (keys(jwk(KEY, use="enc")), "KID_UNKNOWN"),
    "a key of another algorithm": (keys(jwk(KEY, alg="ES256")), "KID_UNKNOWN"),
    "a symmetric key": (keys({"kty": "oct", "kid": "k1", "k": "c2VjcmV0"}), "KID_UNKNOWN"),
    "two keys of one id": (keys(jwk(KEY), jwk(STRANGE_KEY)), "KID_AMBIGUOUS"),
    "a key without its parts": (keys({"kty": "RSA", "kid": "k1"}), "KEY_BAD"),
    "keys that are none": (keys("x", 7), "PROVIDER_ANSWER"),
    "no key set": (lambda op: setattr(op, "keys", {"no": "keys"}), "PROVIDER_ANSWER"),
    "no ID token": (token(lambda _: None), "MALFORMED"),
    "an ID token of dots": (token(lambda _: "a.b.c"), "MALFORMED"),
    "an ID token that is a list": (token(lambda _: ["x"]), "MALFORMED"),
    "a huge ID token": (token(lambda _: "x" * 100_000), "MALFORMED"),
    "token: 500": (says("/token", 500, b"oops"), "PROVIDER_DOWN"),
    "token: 400": (says("/token", 400, b'{"error": "invalid_grant"}'), "PROVIDER_REFUSED"),
    "token: no JSON": (says("/token", 200, b"<html>"), "PROVIDER_ANSWER"),
    "token: a list": (says("/token", 200, b"[]"), "PROVIDER_ANSWER"),
    "token: deeply nested": (says("/token", 200, b"[" * 100_000), "PROVIDER_ANSWER"),
    "token: huge": (says("/token", 200, b'{"a": "' + b"x" * 2_000_000 + b'"}'), "PROVIDER_ANSWER"),
    "token: a redirect": (says("/token", 302, b""), "PROVIDER_REFUSED"),
    "userinfo: 500": (says("/userinfo", 500, b""), "PROVIDER_DOWN"),
    "userinfo: 401": (says("/userinfo", 401, b""), "PROVIDER_REFUSED"),
    "userinfo: a JWT": (says("/userinfo", 200, b"eyJhbGciOiJub25lIn0.e30."), "PROVIDER_ANSWER"),
    "keys: 500": (says("/jwks", 500, b""), "PROVIDER_DOWN"),
    "keys: no JSON": (says("/jwks", 200, b"<html>"), "PROVIDER_ANSWER"),
}


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


def test_pkce_and_nonce_are_asked_for(op: Provider, browser: Client) -> None:
    asked = begin(browser, op)
    assert asked["code_challenge_method"] == "S256"
    assert len(asked["nonce"]) >= 32
    assert len(asked["state"]) >= 32
    assert asked["scope"].split()[0] == "openid"


def test_a_person_is_never_found_by_mail(op: Provider, browser: Client, sign_in: SignIn) -> None:
    """The take-over of mozilla-django-oidc: a stranger at the provider with an admin's address."""
    op.person |= {"sub": "sub-priya", "name": "Priya", "email": "priya@example.org"}
    sign_in()
    browser.logout()
    op.person |= {
        "sub": "sub-mallory",
        "name": "Mallory",
        "email": "PRIYA@example.org",
        "email_verified": False,
    }
    sign_in()
    assert Subject.objects.count() == 2
    assert browser.session["_auth_user_id"] == str(Identity.objects.get(external_id="sub-mallory").subject_id)


@pytest.mark.parametrize("again", ["the same code and state", "another browser", "no state", "an invented state"])
def test_a_callback_counts_once_and_where_it_was_begun(op: Provider, browser: Client, again: str) -> None:
    asked = begin(browser, op)
    query = {"code": "c", "state": asked["state"]}
    if again == "the same code and state":
        browser.get("/oidc/callback", query)
        browser.logout()
    elif again == "another browser":
        browser = Client(headers={"host": "127.0.0.1:8000"})
    elif again == "no state":
        del query["state"]
    else:
        query["state"] = "x" * 32
    assert code_of(browser.get("/oidc/callback", query)) == "STATE_UNKNOWN"
    assert not signed_in(browser)


def test_no_code(op: Provider, browser: Client) -> None:
    asked = begin(browser, op)
    assert code_of(browser.get("/oidc/callback", {"state": asked["state"]})) == "CODE_MISSING"


def test_an_answer_of_another_provider(op: Provider, browser: Client, sign_in: SignIn) -> None:
    """Mix-up (RFC 9207): the `iss` of the callback."""
    assert code_of(sign_in(iss="https://evil.example")) == "ISS_MISMATCH"
    assert code_of(sign_in(iss="https://evil.example", error="access_denied")) == "ISS_MISMATCH"
    assert "/token" not in op.calls


def test_a_provider_that_names_itself_always_does(op: Provider, browser: Client, sign_in: SignIn) -> None:
    """As Keycloak does: an answer that leaves `iss` out is somebody else's."""
    op.discovery["authorization_response_iss_parameter_supported"] = True
    assert code_of(sign_in()) == "ISS_MISMATCH"
    assert "/token" not in op.calls
    sign_in(iss=op.issuer)
    assert signed_in(browser)


def test_the_provider_says_no(op: Provider, browser: Client) -> None:
    asked = begin(browser, op)
    refused = browser.get("/oidc/callback", {"error": "access_denied", "state": asked["state"]})
    assert code_of(refused) == "PROVIDER_REFUSED"


def test_a_forged_error_signs_nobody_out(op: Provider, browser: Client, sign_in: SignIn) -> None:
    sign_in()
    browser.get("/oidc/callback", {"error": "login_required", "state": "x"})
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


def test_who_was_switched_off_stays_out(op: Provider, browser: Client, sign_in: SignIn) -> None:
    sign_in()
    subject = Subject.objects.get()
    assert browser.get("/settings").status_code == 200
    with transaction.atomic():
        Subject.objects.update(active=False)
        record(Verb.SUBJECT_CHANGED, by="test", on=[subject])
    assert browser.get("/settings").status_code == 302  # the session that was open
    assert code_of(sign_in()) == "INACTIVE"


def test_the_session_is_a_new_one(op: Provider, browser: Client, sign_in: SignIn) -> None:
    begin(browser, op)
    before = browser.session.session_key
    sign_in()
    assert browser.session.session_key != before


def test_a_sign_in_that_is_only_begun_is_forgotten_after_ten_minutes(
    op: Provider, browser: Client, sign_in: SignIn
) -> None:
    """Anybody may begin one, and each is a row. Who came through has a session as long as any other's."""
    begin(browser, op)
    begun = Session.objects.get()
    assert begun.expire_date <= datetime.now(UTC) + timedelta(minutes=10)
    assert browser.cookies[settings.SESSION_COOKIE_NAME]["max-age"] == 600
    sign_in()
    session = Session.objects.get(session_key=browser.session.session_key)
    assert session.expire_date > datetime.now(UTC) + timedelta(hours=11)
    assert browser.cookies[settings.SESSION_COOKIE_NAME]["max-age"] == settings.SESSION_COOKIE_AGE
    begin(browser, op)  # again, as who is signed in
    session.refresh_from_db()
    assert session.expire_date > datetime.now(UTC) + timedelta(hours=11)


def test_who_comes_back_after_ten_minutes_begins_again(op: Provider, browser: Client) -> None:
    asked = begin(browser, op)
    Session.objects.update(expire_date=datetime.now(UTC) - timedelta(seconds=1))
    assert code_of(browser.get("/oidc/callback", {"code": "c", "state": asked["state"]})) == "STATE_UNKNOWN"
    assert not signed_in(browser)


@pytest.mark.parametrize(
    ("wanted", "lands"),
    [
        ("/catalog?q=x", "/catalog?q=x"),
        ("https://evil.example/", "/"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("javascript:x", "/"),
    ],
)
def test_next(op: Provider, browser: Client, wanted: str, lands: str) -> None:
    asked = begin(browser, op, f"/oidc/start?next={wanted.replace('?', '%3F').replace('=', '%3D')}")
    assert browser.get("/oidc/callback", {"code": "c", "state": asked["state"]}).headers["Location"] == lands


def test_groups_are_teams_and_roles(op: Provider, browser: Client, sign_in: SignIn) -> None:
    op.person["groups"] = ["ingest", "stint-admins", "", "x" * 500, 7, "bad\nname"]
    sign_in()
    subject = Subject.objects.get()
    assert [m.team.slug for m in subject.memberships.all()] == ["ingest"]
    assert list(subject.portal_roles.values_list("role", "source")) == [("admin", "claim")]
    for groups, roles, teams in (
        (None, 1, 1),  # says nothing: no change
        ([], 0, 0),
    ):
        browser.logout()
        op.person["groups"] = groups
        op.person = {name: value for name, value in op.person.items() if value is not None}
        sign_in()
        assert (subject.portal_roles.count(), subject.memberships.count()) == (roles, teams)


def test_what_was_known_of_the_session_before_is_not_believed_after_it(
    op: Provider, browser: Client, sign_in: SignIn
) -> None:
    """The callback is a GET that acts. Fault: what its session's person was known as is kept for the whole of it."""
    op.person["groups"] = ["ingest", "stint-admins"]
    sign_in()
    op.person["groups"] = []
    seen: list[profile.Profile | None] = []

    def look(by: Subject, **_: object) -> None:
        seen.append(profile.of(by))

    happened.connect(look)
    try:
        sign_in()  # as who is signed in already: their session is looked up first
    finally:
        happened.disconnect(look)
    assert [(one.roles, one.teams) for one in seen if one] == [(frozenset(), ())]


@pytest.mark.parametrize("declared", [{"oidc_absent_groups_mean_none": True}, {"idp_kind": "keycloak"}])
def test_absent_groups_can_mean_none(
    op: Provider, browser: Client, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch, declared: dict[str, object]
) -> None:
    """Keycloak never sends an empty list. What is no list at all still changes nothing."""
    monkeypatch.setattr(settings, "ENV", settings.ENV.model_copy(update=declared))
    slash = "/" * (declared == {"idp_kind": "keycloak"})
    op.person["groups"] = [f"{slash}ingest", f"{slash}stint-admins"]
    sign_in()
    subject = Subject.objects.get()
    for groups, roles, teams in ({"stint-admins": True}, 1, 1), (7, 1, 1), (None, 0, 0):
        browser.logout()
        op.person = {name: value for name, value in {**op.person, "groups": groups}.items() if value is not None}
        sign_in()
        assert (subject.portal_roles.count(), subject.memberships.count()) == (roles, teams)


def test_the_first_admin_is_named_by_id(op: Provider, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "ENV", settings.ENV.model_copy(update={"first_admin": "sub-ada"}))
    sign_in()
    assert PortalRole.objects.get().source == "settings"


def test_sign_out_here_and_there(op: Provider, browser: Client, sign_in: SignIn) -> None:
    sign_in()
    assert browser.get("/signout").status_code == 405
    there = browser.post("/signout").headers["Location"]
    assert there.startswith(f"{op.issuer}/logout?")
    assert "id_token_hint=" in there
    assert "post_logout_redirect_uri=http%3A%2F%2F127.0.0.1%3A8000%2Fsignin" in there
    assert not signed_in(browser)
    assert AuditEvent.objects.latest("seq").verb == "subject.signed_out"


def test_the_session_is_refreshed_by_way_of_the_provider(op: Provider, browser: Client, sign_in: SignIn) -> None:
    sign_in()
    _make_due(browser)
    assert browser.get("/settings", headers={"HX-Request": "true"}).status_code == 200  # parts wait for a page
    response = browser.get("/settings")
    assert response.headers["Location"].startswith(f"{op.issuer}/authorize?")
    assert "prompt=none" in response.headers["Location"]


def _make_due(browser: Client) -> None:
    session = browser.session
    session["oidc_id_token_expiration"] = 0
    session.save()


def test_a_session_that_is_over_there_is_over_here(op: Provider, browser: Client, sign_in: SignIn) -> None:
    sign_in()
    asked = begin(browser, op)
    response = browser.get("/oidc/callback", {"error": "login_required", "state": asked["state"]})
    assert code_of(response) == "SESSION_OVER"
    assert not signed_in(browser)
    # As signing out does: whatever hangs on the session ends with it, and the record says so.
    event = AuditEvent.objects.latest("seq")
    assert (event.verb, event.actor) == ("subject.signed_out", Identity.objects.get().subject.ref)


def test_pages_work_on_while_the_provider_is_down(op: Provider, browser: Client, sign_in: SignIn) -> None:
    sign_in()
    _make_due(browser)
    op.answers["/.well-known/openid-configuration"] = (500, b"")
    assert browser.get("/settings").status_code == 200


def test_an_unknown_code_is_not_shown(browser: Client, db: None) -> None:
    page = browser.get("/signin/failed", {"code": "<script>"}).content.decode()
    assert "&lt;script" not in page
    assert "UNKNOWN" in page
