"""Authenticate a call: it shows one credential, of one kind, that is good for this connection, and no second one."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from hmac import compare_digest

from grants.gate.decision.types import ByCredential, Code, Credential, Principal, Refusal, Snapshot, Target, Upstream
from grants.tokens.mint import read

COOKIE = "__Host-stint-gate"  # a browser's session at the gate, set when the browser enters from the portal

_SAFE = frozenset({"GET", "HEAD"})
_ONCE = ("authorization", "cookie", "x-api-key", "origin", "sec-fetch-site")

type Headers = Iterable[tuple[str, str]]


def authenticate(
    snapshot: Snapshot,
    upstream: Upstream,
    headers: Headers,
    now: datetime,
    *,
    method: str,
    target: Target | None = None,  # noqa: ARG001 (a later kind of credential is bound to a path)
    scheme: str = "https",
) -> Principal | Refusal:
    """Find the caller by a service token in a header, or by a browser's session. `method` is WS for a WebSocket."""
    said = _deciding_headers(headers)
    if isinstance(said, Refusal):
        return said
    presented = _presented(said)
    if isinstance(presented, Refusal):
        return presented
    kind, text = presented
    if kind == "gate_session" and (refused := _refuse_other_sites(said, upstream, method, scheme)):
        return refused
    return known_by(snapshot, upstream, text, now, kind=kind)


def known_by(
    snapshot: Snapshot, upstream: Upstream, text: str, now: datetime, *, kind: str = "token"
) -> Principal | Refusal:
    """Find the caller by the credential's text, which a socket's first message may bring, too."""
    digest = read(text)
    credential = snapshot.credentials.get(digest) if digest is not None else None
    if digest is None or credential is None or not compare_digest(credential.digest, digest):
        return Refusal(401, Code.UNKNOWN)
    if credential.kind != kind or credential.connection != upstream.slug or _never_issued(credential):
        return Refusal(401, Code.UNKNOWN)
    if credential.revoked:
        return Refusal(401, Code.REVOKED)
    if not now < credential.expires_at:
        return Refusal(401, Code.EXPIRED)
    if credential.subject not in snapshot.subjects:
        return Refusal(401, Code.INACTIVE)
    browser = kind == "gate_session"
    grants = None if credential.grant is None else frozenset((credential.grant,))
    return Principal(credential.subject, ByCredential(credential.id), grants, credential.expires_at, browser)


def _never_issued(credential: Credential) -> bool:
    """Tell whether it is a token without a grant, or a session with one: neither is ever issued."""
    return (credential.grant is None) != (credential.kind == "gate_session")


def _deciding_headers(headers: Headers) -> Mapping[str, str] | Refusal:
    """The headers by which a caller is authenticated. Each may be there once."""
    said: dict[str, str] = {}
    for name, value in headers:
        name = name.lower()  # noqa: PLW2901
        if name in _ONCE:
            if name in said:
                return Refusal(400, Code.HEADERS, why=f"The header {name} is there twice.")
            said[name] = value
    return said


def _presented(said: Mapping[str, str]) -> tuple[str, str] | Refusal:
    """Kind and text of the one credential that the call shows."""
    found: list[tuple[str, str]] = []
    if (authorization := said.get("authorization")) is not None:
        token = _authorization(authorization)
        if token is None:
            return Refusal(401, Code.UNKNOWN, why="The Authorization header is neither Bearer nor Basic with a token.")
        found.append(("token", token))
    if (key := said.get("x-api-key")) is not None:
        found.append(("token", key.strip(" \t")))
    sessions = cookies(said.get("cookie", ""))
    found += [("gate_session", session) for session in sessions]
    if len(found) > 1:
        return Refusal(400, Code.HEADERS, why="The call comes with more than one credential.")
    return found[0] if found else Refusal(401, Code.CREDENTIAL)


def _authorization(value: str) -> str | None:
    scheme, _, rest = value.partition(" ")
    match scheme.lower():
        case "bearer":
            return rest.strip(" ")
        case "basic":
            try:
                decoded = base64.b64decode(rest.strip(" "), validate=True).decode("ascii")
            except (binascii.Error, UnicodeDecodeError, ValueError):
                return None
            _, colon, token = decoded.partition(":")
            return token if colon else None
    return None


def cookies(value: str) -> Sequence[str]:
    """The values of the gate's own cookie, as often as it is there. Other cookies of the host are not read."""
    pairs = (pair.strip(" \t").partition("=") for pair in value.split(";"))
    return [text for name, _, text in pairs if name.rstrip(" \t") == COOKIE]


def _refuse_other_sites(said: Mapping[str, str], upstream: Upstream, method: str, scheme: str) -> Refusal | None:
    """Refuse a browser's call that changes something and comes from another site: the cookie comes with it."""
    if method in _SAFE:
        return None
    origin, site = said.get("origin"), said.get("sec-fetch-site")
    ours = f"{scheme}://{upstream.host}".lower()
    if origin is not None and origin.lower() != ours:
        return Refusal(403, Code.ORIGIN)
    if site is not None and site != "same-origin":
        return Refusal(403, Code.ORIGIN)
    return Refusal(403, Code.ORIGIN) if origin is None and site is None else None
