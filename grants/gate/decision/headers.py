"""Heads of requests and answers: which are refused, and which fields pass to the orchestrator and to the caller."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from multidict import CIMultiDict, CIMultiDictProxy

from grants.gate.decision.types import Code, Refusal, Upstream

METHODS = frozenset({"GET", "HEAD", "POST", "PATCH", "PUT", "DELETE"})
LONGEST = 32 * 1024  # bytes of a whole head; the parser's own limits are for each line

# If one of these came twice, two programs could read one request in two ways.
_ONCE = frozenset({
    b"host", b"content-length", b"transfer-encoding", b"content-type", b"content-encoding", b"authorization",
    b"cookie", b"x-api-key", b"origin", b"expect", b"upgrade", b"sec-websocket-protocol",
})  # fmt: skip

# Fields of a caller that are sent to an orchestrator, and no others: no list of forbidden names would have every
# spelling of an identity header, of a forwarding header or of a method override.
_UP = frozenset({
    "accept", "accept-encoding", "accept-language", "cache-control", "content-encoding", "content-type", "if-match",
    "if-modified-since", "if-none-match", "if-range", "if-unmodified-since", "range", "sec-fetch-dest",
    "sec-fetch-mode", "traceparent", "tracestate", "user-agent",
})  # fmt: skip

# Fields of an orchestrator that a caller does not get: hop by hop, cookies for our host, CORS, the server's name.
_NOT_DOWN = frozenset({
    "connection", "keep-alive", "proxy-authenticate", "proxy-connection", "te", "trailer", "transfer-encoding",
    "upgrade", "content-length", "date", "server", "set-cookie", "www-authenticate", "content-security-policy",
    "strict-transport-security", "via", "x-powered-by", "alt-svc", "clear-site-data", "referrer-policy",
    "x-content-type-options",
})  # fmt: skip

type Raw = Iterable[tuple[bytes, bytes]]


def refused(method: str, version: tuple[int, int], raw: Raw, target: str) -> Refusal | None:
    """Refuse a head that the parser has let pass but that could be read in two ways."""
    raw = tuple(raw)
    if method not in METHODS:
        return Refusal(405, Code.METHOD)
    if sum(len(name) + len(value) + 4 for name, value in raw) + len(target) > LONGEST:
        return _bad("The head of the request is too long.")
    for name, value in raw:
        if b"_" in name or not name.isascii():
            return _bad("A header's name holds a character that is not allowed here.")
        if not value.isascii():
            return _bad("A header's value holds characters outside ASCII.")
    seen = Counter(name.lower() for name, _ in raw)
    if twice := next((name for name in seen if name in _ONCE and seen[name] > 1), None):
        return _bad(f"The header {twice.decode()} came twice.")
    if b"host" not in seen:
        return _bad("The request names no host.")
    fields = {name.lower(): value for name, value in raw}
    return _bad_framing(method, version, fields) or _bad_wish(fields)


def _bad_framing(method: str, version: tuple[int, int], fields: Mapping[bytes, bytes]) -> Refusal | None:
    coding = fields.get(b"transfer-encoding")
    if coding is not None and (coding.lower() != b"chunked" or version != (1, 1)):
        return _bad("The request's transfer encoding is not plain chunked.")
    if method in ("GET", "HEAD") and has_body(fields):
        return _bad(f"A {method} has no body.")
    if b"upgrade" in fields and (
        fields[b"upgrade"].lower() != b"websocket" or method != "GET" or version != (1, 1) or has_body(fields)
    ):
        return _bad("The only upgrade here is to a WebSocket, by a GET.")
    return None


def _bad_wish(fields: Mapping[bytes, bytes]) -> Refusal | None:
    if fields.get(b"expect", b"100-continue").lower() != b"100-continue":
        return Refusal(417, Code.HEADERS, why="The only expectation met here is 100-continue.")
    return None


def has_body(fields: Mapping[bytes, bytes]) -> bool:
    return b"transfer-encoding" in fields or fields.get(b"content-length", b"0").strip(b"0") != b""


def up(
    headers: CIMultiDictProxy[str], upstream: Upstream, *, scheme: str, secret: Mapping[str, str], also: frozenset[str]
) -> CIMultiDict[str]:
    """Make the head for the orchestrator. `also` are the fields that its kind takes besides the common ones."""
    listed = {name.strip().lower() for value in headers.getall("Connection", ()) for name in value.split(",")}
    head: CIMultiDict[str] = CIMultiDict()
    for name, value in headers.items():
        lower = name.lower()
        if (lower in _UP or lower in also) and lower not in listed:
            head.add(name, value)
    # Orchestrators write their own address into pages, redirects and links to next pages: it must be the gate's.
    head["Host"] = upstream.host
    head["X-Forwarded-Proto"] = scheme
    head.update(secret)
    return head


def down(headers: CIMultiDictProxy[str], *, page_policy: str | None, api: bool) -> CIMultiDict[str]:
    """Make the head for the caller. `page_policy` is a page's; answers of an API are not to be cached."""
    listed = {name.strip().lower() for value in headers.getall("Connection", ()) for name in value.split(",")}
    head: CIMultiDict[str] = CIMultiDict()
    for name, value in headers.items():
        lower = name.lower()
        if lower not in _NOT_DOWN and lower not in listed and not lower.startswith("access-control-"):
            head.add(name, value)
    head["X-Content-Type-Options"] = "nosniff"
    head["Referrer-Policy"] = "same-origin"
    if page_policy is not None:
        head["Content-Security-Policy"] = page_policy
    if api:
        head["Cache-Control"] = "no-store"
    else:
        head.setdefault("Cache-Control", "private, no-cache")
    return head


def stays(location: str | None, upstream: Upstream) -> bool:
    """Tell whether a redirect of the orchestrator leads to this host."""
    if location is None:
        return True
    parts = urlsplit(location)
    if parts.netloc:
        return parts.scheme in ("http", "https") and parts.netloc.lower() == upstream.host
    return not parts.scheme and location.startswith("/") and not location.startswith(("//", "/\\"))


def wants_page(method: str, headers: Mapping[str, str], *, api: bool) -> bool:
    """Tell whether a person's browser goes to this address, and no script of a page or program.

    On a path of the `api` only where the browser says so: a program that accepts any answer wants no page there.
    """
    mode = headers.get("Sec-Fetch-Mode", "" if api else "navigate")
    return method in ("GET", "HEAD") and mode == "navigate" and "text/html" in headers.get("Accept", "")


def _bad(why: str) -> Refusal:
    return Refusal(400, Code.HEADERS, why=why)
