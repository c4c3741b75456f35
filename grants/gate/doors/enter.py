"""How a person's browser enters: from the gate to the portal and back, with a ticket that becomes a session once.

The gate makes a nonce first and keeps it in a cookie; the portal's ticket is bound to the nonce's digest. So a ticket
that somebody else has got, or that an attacker made for himself and sends to a victim, opens nothing. Nor does one that
a victim was made to fetch for an attacker's nonce: it is spent at the gate where it arrives, with a cookie or without.
"""

from __future__ import annotations

import hashlib
import html
import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import urlencode

import structlog
from aiohttp import web
from multidict import CIMultiDict

from grants.gate.bounds.addresses import Addresses
from grants.gate.bounds.tries import Tries
from grants.gate.decision.credentials import COOKIE as SESSION_COOKIE
from grants.gate.decision.credentials import cookies
from grants.gate.decision.limits import Limits
from grants.gate.decision.target import canonical
from grants.gate.decision.types import CallRefused, Code, Refusal, Target, Upstream
from grants.gate.doors.authorizer import STALE
from grants.gate.doors.metrics import GUESSES
from grants.gate.feed.snapshot import Feed
from grants.gate.feed.writes import Rejected, Unwritten, Writes
from grants.tokens.mint import mint, read

log = structlog.get_logger(__name__)

PREFIX = "/.stint/"  # the gate's own paths on each orchestrator's host; no orchestrator has such paths
NONCE_COOKIE = "__Host-stint-nonce"
NONCE_SECONDS = 300
_NONCE = re.compile(r"[A-Za-z0-9_-]{43}")
_LONGEST_PATH = 2000
_AGAIN = Refusal(429, Code.BUSY, why="Too many tries to enter.")
_ARRIVES = 2.0  # seconds until the feed has brought a new session


class Enter:
    def __init__(
        self, feed: Feed, writes: Writes, *, portal: str, limits: Limits, addresses: Addresses | None = None
    ) -> None:
        self.feed, self.writes, self.portal, self.limits = feed, writes, portal.rstrip("/"), limits
        self.addresses = addresses or Addresses()
        self.tries = Tries(limits.tries, limits.try_again)
        self._asking = 0

    def hand_off(self, request: web.BaseRequest, upstream: Upstream, target: Target) -> tuple[str, str]:
        """Give the portal's address that begins a session, and the nonce's cookie, which must come with the ticket."""
        # The nonce is kept while it lasts: two tabs that are opened at once must both get back.
        nonce = self._nonce(request) or secrets.token_urlsafe(32)
        ask = {
            "connection": upstream.slug,
            "nonce": hashlib.sha256(nonce.encode()).hexdigest(),
            "to": target.raw if _is_path_here(target.raw) else "/",
        }
        return f"{self.portal}/gate/enter?{urlencode(ask)}", _cookie(NONCE_COOKIE, nonce, NONCE_SECONDS)

    async def answer(self, request: web.BaseRequest, upstream: Upstream, target: Target) -> web.Response:
        """Answer a call to a path under PREFIX. Raises CallRefused."""
        if request.method == "GET" and target.path == f"{PREFIX}enter":
            return await self._enter(request, upstream, dict(target.query))
        if request.method == "GET" and target.path == f"{PREFIX}leave":
            return await self._leave(request)
        raise CallRefused(Refusal(404, Code.ROUTE))

    async def _enter(self, request: web.BaseRequest, upstream: Upstream, query: dict[str, str]) -> web.Response:
        ticket, nonce, to = read(query.get("ticket", ""), "ticket"), self._nonce(request), query.get("to", "/")
        if ticket is None:
            return self._not_signed_in(upstream)
        session = mint("gate_session")
        redeem = "SELECT subject_id, connection FROM gate_redeem(%s, %s, %s, %s)"
        # A ticket that cannot be used is redeemed, too: it stood in an address, so it must be spent.
        digest = hashlib.sha256(nonce.encode()).digest() if nonce and _is_path_here(to) else None
        with self._counted_try(request) as came_right:
            row = await self._ask_database(redeem, [ticket, digest, session.key_id, session.digest])
            if row is not None:
                came_right()
        if digest is None or row is None or row[1] != upstream.slug:
            return self._not_signed_in(upstream)
        if not await self.feed.until(lambda known: session.digest in known.credentials, seconds=_ARRIVES):
            raise CallRefused(STALE)
        log.info("entered", connection=upstream.slug, subject=row[0])
        return _redirect(303, to, _cookie(SESSION_COOKIE, session.token))

    async def _leave(self, request: web.BaseRequest) -> web.Response:
        """Sign out of this orchestrator alone; signing out at the portal ends the sessions at all of them.

        The session is revoked in the database. Raises CallRefused where that fails: a browser that is told that it is
        signed out must be.
        """
        if request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin", "same-site"):
            raise CallRefused(Refusal(403, Code.ORIGIN))
        for session in cookies(request.headers.get("Cookie", "")):
            digest = read(session, "gate_session")
            if digest is not None:
                with self._counted_try(request) as came_right:
                    if (row := await self._ask_database("SELECT gate_leave(%s)", [digest])) is not None and row[0]:
                        came_right()
        return _redirect(303, f"{self.portal}/", _cookie(SESSION_COOKIE, "", 0), _cookie(NONCE_COOKIE, "", 0))

    @contextmanager
    def _counted_try(self, request: web.BaseRequest) -> Iterator[Callable[[], None]]:
        """Let an unauthenticated caller ask the database. A question that fails costs one of its address's tries.

        Raises CallRefused. This protects the database; a ticket has 256 bits and cannot be guessed.
        """
        address = self.addresses.of(request)
        if not self.tries.take(address):
            GUESSES.labels("refused").inc()
            log.warning("tries_used_up", address=address, hint="name your proxies in STINT_GATE_PROXIES")
            raise CallRefused(_AGAIN)
        right = False

        def came_right() -> None:
            nonlocal right
            right = True

        try:
            yield came_right
        finally:
            if right:
                self.tries.give_back(address)
            else:
                GUESSES.labels("failed").inc()

    async def _ask_database(self, sql: str, values: Sequence[object]) -> tuple[Any, ...] | None:
        """Ask by the one connection of all callers. Raises CallRefused at once for one that would wait for long."""
        if self._asking >= self.limits.entering:
            raise CallRefused(_AGAIN)
        self._asking += 1
        try:
            return await self.writes.call(sql, values)
        except (Unwritten, Rejected):
            raise CallRefused(STALE) from None
        finally:
            self._asking -= 1

    def _nonce(self, request: web.BaseRequest) -> str | None:
        jar: SimpleCookie = SimpleCookie()
        try:
            jar.load(request.headers.get("Cookie", ""))
        except CookieError:
            return None
        morsel = jar.get(NONCE_COOKIE)
        return morsel.value if morsel is not None and _NONCE.fullmatch(morsel.value) else None

    def _not_signed_in(self, upstream: Upstream) -> web.Response:
        """A page, and no redirect to the portal: with cookies switched off that would go round for ever."""
        page = _NOT_SIGNED_IN.format(host=html.escape(upstream.host), portal=html.escape(self.portal, quote=True))
        head = {"Content-Type": "text/html; charset=utf-8", "Cache-Control": "no-store", **_PLAIN}
        return web.Response(status=403, body=page.encode(), headers=head)


_PLAIN = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",  # the address holds a ticket
}
_NOT_SIGNED_IN = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Not signed in · Stint</title></head><body>
<h1>You are not signed in here yet</h1>
<p>The way here from Stint took too long, was used already, or began in another browser.</p>
<p><a href="/">Try again</a> or go to <a href="{portal}">Stint</a>.</p>
</body></html>
"""


def _is_path_here(path: str) -> bool:
    """Tell whether it is a path of this host in its one spelling: no other host or scheme, no second slash."""
    if len(path) > _LONGEST_PATH or path.startswith(PREFIX):
        return False
    target = canonical(path.encode("utf-8", "surrogateescape"))
    return isinstance(target, Target) and target.raw == path


def _cookie(name: str, value: str, seconds: int | None = None) -> str:
    """A cookie for this host alone that scripts cannot read. Secure on http, too: browsers take loopback for secure."""
    lasts = "" if seconds is None else f"; Max-Age={seconds}"
    return f"{name}={value}; Path=/; Secure; HttpOnly; SameSite=Lax{lasts}"


def _redirect(status: int, to: str, *cookies: str) -> web.Response:
    head: CIMultiDict[str] = CIMultiDict(
        {"Location": to, "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
    )
    for cookie in cookies:
        head.add("Set-Cookie", cookie)
    return web.Response(status=status, headers=head)
