"""Every string of every answer of the provider, replaced by every odd one: a reason, below 500, nobody wrongly in.

Only the network is left out: the client of the provider answers from memory, and refuses addresses as sockets do.
Faults that turn it red: `.encode()` of a claim, a `sub` that is any text, urlsplit() of what discovery says outside of
provider._usable, no at_hash check, any `typ`, startswith() for an issuer.
"""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.backends.signed_cookies import SessionStore
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory

from accounts import idp, provider
from accounts.models import Identity, Membership, PortalRole, Subject
from accounts.sign_in_failures import CODES
from accounts.sso import logout_url
from accounts.views import Authenticate, Callback
from grants.adapters.transport import HttpxTransport, PooledTransport
from tests.accounts.conftest import code_of
from tests.accounts.op import KEY, Json, jwk

ISSUER = "https://op.example"
AT_HASH = base64.urlsafe_b64encode(hashlib.sha256(b"at").digest()[:16]).rstrip(b"=").decode()

# What is said to a fuzzed portal, by where: whole answers, as a Keycloak gives them.
DISCOVERY: Json = {
    "authorization_endpoint": f"{ISSUER}/authorize", "token_endpoint": f"{ISSUER}/token",
    "userinfo_endpoint": f"{ISSUER}/userinfo", "jwks_uri": f"{ISSUER}/jwks", "end_session_endpoint": f"{ISSUER}/logout",
    "issuer": ISSUER,
    "authorization_response_iss_parameter_supported": False,
}  # fmt: skip
KEYS: Json = {"keys": [jwk(KEY, x5t="dGh1bWI")]}
TOKEN: Json = {
    "access_token": "at", "token_type": "Bearer", "id_token": "ID_TOKEN", "refresh_token": "rt", "scope": "openid groups",
    "expires_in": 300,
}  # fmt: skip
HEADER: Json = {"alg": "RS256", "kid": "k1", "typ": "JWT"}
CLAIMS: Json = {
    "iss": ISSUER, "aud": ["stint"], "azp": "stint", "sub": "sub-ada", "nonce": "", "exp": 0, "iat": 0, "auth_time": 0,
    "at_hash": AT_HASH, "typ": "ID", "sid": "s-1", "preferred_username": "ada",
    "name": "Ada Okafor", "email": "ada@example.org", "groups": ["ingest"],
}  # fmt: skip
INFO: Json = {
    "sub": "sub-ada", "preferred_username": "ada", "name": "Ada Okafor", "email": "ada@example.org",
    "groups": ["ingest"],
}  # fmt: skip
ANSWERS: dict[str, Json] = {
    "discovery": DISCOVERY, "keys": KEYS, "token": TOKEN, "header": HEADER, "claims": CLAIMS, "info": INFO,
}  # fmt: skip

# Whatever stands in these places must keep everybody out: what the proof of who somebody is rests on. Some may be absent.
PROOF = {
    "discovery": {"token_endpoint", "userinfo_endpoint", "jwks_uri", "issuer"},
    "keys": {"keys", "kty", "kid"},
    "token": {"access_token", "id_token"},
    "header": {"alg", "kid", "typ"},
    "claims": {"iss", "aud", "azp", "sub", "nonce", "exp", "at_hash"},
    "info": {"sub"},
}
MAY_BE_ABSENT = {("header", "kid"), ("header", "typ"), ("claims", "azp"), ("claims", "at_hash")}
# … and whatever stands in these keeps nobody out.
HARMLESS = {
    "token": {"token_type", "refresh_token", "scope", "expires_in"},
    "claims": {"auth_time", "sid", "preferred_username", "name", "email", "groups"},
    "info": {"preferred_username", "name", "email", "groups"},
}
ABSENT: Any = object()

type Path = tuple[str | int, ...]


def paths(value: Any, at: Path = ()) -> Iterator[Path]:
    """Every place in an answer, lists and objects included."""
    if at:
        yield at
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in inner:
        yield from paths(below, (*at, key))


def odd_ones(truth: object) -> list[Any]:
    """What may stand in the place of the truth."""
    like = truth if isinstance(truth, str) else "x"
    return [
        ABSENT, None, 7, 1e300, float("nan"), True, [], [like], {"a": like}, [[like]],
        "", " ", "\0", "\ud800", "\udfff\ud800", "\u200b", "\u00a0", "é", "ﬃ", "x" * 256,
        "x" * 20_000, "http://[x", "//evil.example", "javascript:alert(1)",
        f"https://{'x' * 64}.example/", f"https://{'x.' * 200}example/", "https://a..b/", "https://x:99999/",
        "https://x:y/", "https://u:p@op.example/", "https://op.example@evil.example/",
        "https://\0/", "https://xn--a/", "http://127.0.0.1:1/",
        "https://op.example\\@evil.example/", "https://evil.example/\r\nSet-Cookie: a=b", "https://op.example/%zz",
        f"https://op.example/{'x' * 20_000}", "https://op.example/nowhere?a=b#c", "<script>",
        "9" * 5000, "AAAA", "none", "HS256", "RS512", "at+jwt", "logout+jwt", "Bearer",
        "stint-admins", "ada", "sub-priya", f"{like} ", f" {like}", f"{like}\u00a0", f"{like}\0", f"{like}\ud800",
        f"{like}/", f"/{like}", like.upper(), like[:-1], like * 2, f"{like}\n",
    ]  # fmt: skip


CASES = [
    (where, path, n)
    for where, answer in ANSWERS.items()
    for path in paths(answer)
    for n in range(len(odd_ones("")))
]  # fmt: skip


def laid(answer: Json, path: Path, n: int) -> Json:
    """The answer with one place replaced."""
    told = copy.deepcopy(answer)
    inner: Any = told
    for key in path[:-1]:
        inner = inner[key]
    odd = odd_ones(inner[path[-1]])[n]
    if odd is ABSENT:
        del inner[path[-1]]
    else:
        inner[path[-1]] = odd
    return told


class Liar:
    """The provider's answers, from memory; one place in one of them is `lie`."""

    def __init__(self) -> None:
        self.lie: tuple[str, Path, int] | None = None
        self.nonce = ""

    def told(self, where: str) -> Json:
        now = int(time.time())
        more = {"nonce": self.nonce, "exp": now + 300, "iat": now} if where == "claims" else {}
        answer = {**ANSWERS[where], **more}
        return laid(answer, *self.lie[1:]) if self.lie and self.lie[0] == where else answer

    def send(self, request: httpx.Request) -> httpx.Response:
        request.url.host.encode("idna")  # as sockets do
        if request.url.host != "op.example" or (request.url.port or 443) != 443:
            raise httpx.ConnectError("nobody is there", request=request)
        what = {
            "/.well-known/openid-configuration": "discovery",
            "/jwks": "keys",
            "/userinfo": "info",
            "/token": "token",
        }
        where = what.get(request.url.path)
        if where is None:
            return httpx.Response(404, request=request)
        answer = self.told(where)
        if answer.get("id_token") == "ID_TOKEN":
            answer["id_token"] = signed(self.told("header"), self.told("claims"))
        return httpx.Response(200, content=json.dumps(answer).encode(), request=request)


def signed(header: Json, claims: Json) -> str:
    """A token that says anything at all, signed by the right key; PyJWT would refuse to."""

    def b64(data: bytes) -> bytes:
        return base64.urlsafe_b64encode(data).rstrip(b"=")

    told = b64(json.dumps(header).encode()) + b"." + b64(json.dumps(claims).encode())
    return (told + b"." + b64(KEY.sign(told, PKCS1v15(), SHA256()))).decode()


@pytest.fixture
def liar(db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Liar]:
    liar = Liar()
    memory = HttpxTransport(httpx.MockTransport(liar.send))
    monkeypatch.setattr(settings, "ENV", settings.ENV.model_copy(update={"oidc_issuer": ISSUER}))
    monkeypatch.setattr(PooledTransport, "send", lambda _pools, request: memory.send(request))
    monkeypatch.setattr(provider, "KEYS_SECONDS", 0)  # nothing is kept from one case to the next
    monkeypatch.setattr(provider, "RELOAD_SECONDS", 0)
    idp.provider.cache_clear()
    yield liar
    idp.provider.cache_clear()


def through(liar: Liar) -> str:
    """Sign in by the portal's own views: "" for somebody in, else the reason code. Raises whatever they raise."""
    session = SessionStore()
    started = Authenticate.as_view()(_request("/oidc/start", session))
    asked = dict(parse_qsl(urlsplit(started.headers["Location"]).query))
    if "state" not in asked:
        return refused(started)
    liar.nonce = asked["nonce"]
    back = _request(f"/oidc/callback?code=c&state={asked['state']}", session)
    answer = Callback.as_view()(back)
    if "oidc_id_token" not in back.session:
        return refused(answer)
    assert answer.headers["Location"] == "/"
    assert back.user.pk == Identity.objects.get(external_id="sub-ada").subject_id
    logout_url(back)
    back.session.save()
    return ""


def _request(path: str, session: SessionStore) -> HttpRequest:
    request = RequestFactory().get(path, headers={"host": "127.0.0.1:8000"})
    request.session = session
    # Who is in already signs in again without an event: the record is slow, and not what is tried here.
    request.user = Subject.objects.filter(identities__external_id="sub-ada").first() or AnonymousUser()
    return request


def refused(answer: HttpResponse) -> str:
    assert answer.status_code == 302, answer.status_code
    code = code_of(answer)
    assert code in CODES
    assert code != "UNKNOWN"
    return code


def wrong(liar: Liar, where: str, path: Path, n: int) -> str:
    """What is wrong with what this lie did; "" for nothing."""
    liar.lie = where, path, n
    odd = odd_ones(value_at(ANSWERS[where], path))[n]
    key = next(part for part in reversed(path) if isinstance(part, str))
    truth = value_at(ANSWERS[where], path)
    try:
        code = through(liar)
    except Exception as error:  # noqa: BLE001 (what would be a 500)
        return f"{type(error).__name__}: {error}"
    absent = odd is ABSENT or (odd is None and where == "header") or (odd is None and key == "azp")
    if key in PROOF.get(where, ()) and not code and odd != truth and not (absent and (where, key) in MAY_BE_ABSENT):
        return "let in"
    if key in HARMLESS.get(where, ()) and code and len(json.dumps(odd_text(odd))) < 10_000:
        return f"kept out with {code}"
    return "" if code else unearned(where, key, odd)


def unearned(where: str, key: str, odd: object) -> str:
    """Rights that nobody who is in should have by what was told."""
    known_as = Identity.objects.get(external_id="sub-ada").username
    if known_as not in ("", "ada") and (known_as != odd or key != "preferred_username"):
        return f"known as {known_as!r}"
    groups: list[Any] = ["ingest"]
    if (where, key) == ("claims", "groups"):
        if not isinstance(odd, list | str):
            return ""  # it says nothing of groups: they stay as the case before left them
        groups = odd if isinstance(odd, list) else [odd]
    if set(PortalRole.objects.values_list("role", flat=True)) - ({"admin"} if "stint-admins" in groups else set()):
        return "an admin"
    slugs = set(Membership.objects.values_list("team__slug", flat=True))
    return f"in {slugs}" if slugs - {"ingest"} - {group for group in groups if isinstance(group, str)} else ""


def odd_text(odd: object) -> object:
    return "" if odd is ABSENT else odd


def value_at(answer: Any, path: Path) -> Any:
    for key in path:
        answer = answer[key]
    return answer


@pytest.mark.parametrize("where", ANSWERS)
def test_no_answer_makes_an_error_or_lets_a_stranger_in(liar: Liar, where: str, *, fast: bool) -> None:
    assert through(liar) == ""
    found = {}
    for _, path, n in [case for case in CASES if case[0] == where][:: 13 if fast else 1]:
        if what := wrong(liar, where, path, n):
            found[f"{path} {odd_text(odd_ones(value_at(ANSWERS[where], path))[n])!a:.60}"] = what
    assert not found, f"{len(found)}: " + "\n".join(f"{case}: {what}" for case, what in list(found.items())[:40])
    assert set(Subject.objects.values_list("identities__external_id", flat=True)) == {"sub-ada"}


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 3000
