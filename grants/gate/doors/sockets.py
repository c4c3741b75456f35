"""Open sockets as requests are decided on, and end what is open when its access ends, for whatever reason."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import NamedTuple

import aiohttp
import structlog
from aiohttp import web

from grants.gate.bounds.aside import CALLER
from grants.gate.bounds.callers import Callers
from grants.gate.bounds.recent_callers import RecentCallers
from grants.gate.decision import headers
from grants.gate.decision.limits import LISTED, Limits
from grants.gate.decision.types import KEY_ONLY, CallRefused, Code, Refusal, Snapshot
from grants.gate.doors.authorizer import STALE, Authorizer, Call, Passed
from grants.gate.doors.connection import known
from grants.gate.doors.metrics import OPEN_SOCKETS
from grants.gate.doors.relay import Relay
from grants.gate.doors.upstream import Client, Unanswered, proxy_to
from grants.gate.doors.usage import Usage
from grants.gate.feed.snapshot import now_of

log = structlog.get_logger(__name__)

_AT_ONCE = 100  # of what is open: so many are judged in one iteration of the loop
JUDGE_SECONDS = 0.25  # between two looks whether an access has ended by the clock
LARGEST_FRAME = 4 * 1024 * 1024  # of the orchestrator, passed on unread
LARGEST_SAID = 2 * 1024 * 1024  # of a caller: an event may have 1.5 MB


@dataclass(eq=False, slots=True)
class Watched:
    """Something that is open by an access: a socket, a long answer, or a body that is still being sent."""

    call: Call
    passed: Passed
    end: Callable[[Refusal], None]
    after: float  # seconds that it may still take after the end
    ended: bool = False


def _subject(watched: Watched) -> int | None:
    return watched.call.principal.subject if watched.call.principal is not None else None


class _Opener(NamedTuple):
    subject: int  # not what it has shown: one subject may have any number of credentials
    works: bool


class SocketDoor:
    def __init__(self, authorizer: Authorizer, client: Client, usage: Usage, limits: Limits, callers: Callers) -> None:
        self.authorizer, self.client, self.usage, self.limits, self.callers = authorizer, client, usage, limits, callers
        self.recent_callers = RecentCallers()
        self._watched: set[Watched] = set()
        self._open: Counter[_Opener] = Counter()
        self._relays: set[Relay] = set()
        self._looked = 0
        authorizer.feed.listeners.append(self._changed)

    # Opening.

    async def answer(self, request: web.BaseRequest, call: Call) -> web.StreamResponse:
        """Open a socket and relay it to its end. Raises CallRefused or Unanswered before it is open."""
        words = call.served.kind.sockets
        offered = request.headers.get("Sec-WebSocket-Protocol", "")
        if words.protocol not in [name.strip() for name in offered.split(",")]:
            self._count_recent(request, call, Code.OLD_CLIENT)
            why = words.without_protocol or f"A socket here speaks the subprotocol {words.protocol}."
            raise CallRefused(Refusal(400, Code.OLD_CLIENT, why=why))
        down = web.WebSocketResponse[bool](
            protocols=(words.protocol,), autoping=False, autoclose=False, compress=False, decode_text=False,
            max_msg_size=LARGEST_SAID if call.match.route.scope is None else LISTED, timeout=self.limits.closing,
        )  # fmt: skip
        if not down.can_prepare(request):
            raise CallRefused(Refusal(400, Code.HEADERS, why="This is no proper WebSocket handshake."))
        subject = self._authenticate(request, call)
        CALLER.set(subject)
        known(request, subject)
        with self._counted(call):  # first, because deciding may take lookups
            passed = await self.authorizer.decide(call, None, opening=True)
            sign_in = await call.served.orchestrator.sign_in()
            up = await self._connect(request, call)
            relay = Relay(call, self.authorizer, self.usage, self.limits, self.callers, down, up, sign_in)
            self._relays.add(relay)
            try:
                with self.watched(call, passed, relay.end, after=0) as watched:
                    relay.watched = watched
                    await relay.run(request)
            finally:
                self._relays.discard(relay)
        return down

    def _authenticate(self, request: web.BaseRequest, call: Call) -> int:
        try:
            return self.authorizer.principal_of(call).subject
        except CallRefused as error:
            if error.refusal.code is not Code.CREDENTIAL:
                raise
            self._count_recent(request, call, KEY_ONLY)
            raise CallRefused(error.refusal._replace(why=call.served.kind.sockets.anonymous)) from None

    def _count_recent(self, request: web.BaseRequest, call: Call, code: str) -> None:
        """Count on the caller that has called from the same address lately: this socket shows no caller."""
        for proof in self.recent_callers.lately(request.remote):
            self.usage.count(proof, call.match.route.name, code)

    async def _connect(self, request: web.BaseRequest, call: Call) -> aiohttp.ClientWebSocketResponse[bool]:
        upstream, kind = call.served.upstream, call.served.kind
        orchestrator = call.served.orchestrator
        secret = await orchestrator.authorization()
        head = headers.up(request.headers, upstream, scheme=self.client.scheme, secret=secret, also=kind.headers)
        url = orchestrator.url_of(call.match.target.raw)
        try:
            return await self.client.session.ws_connect(
                url, headers=head, protocols=(kind.sockets.protocol,), proxy=proxy_to(url),
                autoping=False, autoclose=False, compress=0, decode_text=False, max_msg_size=LARGEST_FRAME,
                timeout=aiohttp.ClientWSTimeout(ws_close=self.limits.closing),
            )  # fmt: skip
        except TimeoutError:
            raise Unanswered(Refusal(504, Code.UPSTREAM, why="The orchestrator does not answer.")) from None
        except (aiohttp.ClientError, OSError) as error:
            if isinstance(error, aiohttp.WSServerHandshakeError) and error.status == 401:
                raise orchestrator.refused() from None
            log.warning("socket_not_opened", connection=upstream.slug, error=type(error).__name__)
            raise Unanswered(Refusal(503, Code.UPSTREAM, why="The orchestrator opens no socket.")) from None

    @contextmanager
    def _counted(self, call: Call) -> Iterator[None]:
        assert call.principal is not None
        opener = _Opener(call.principal.subject, works=self.authorizer.works(call))
        if not self._has_room(opener):
            raise CallRefused(Refusal(503, Code.STALE, why="Too many sockets are open at this gate."))
        self._open[opener] += 1
        OPEN_SOCKETS.inc()
        try:
            yield
        finally:
            OPEN_SOCKETS.dec()
            self._open[opener] -= 1
            if not self._open[opener]:
                del self._open[opener]

    def _has_room(self, opener: _Opener) -> bool:
        """Tell whether one more may be opened. Half of all are kept for workers: without them runs lose task runs."""
        limits, mine = self.limits, self._open[opener]
        if self._open.total() >= limits.sockets:
            return False
        if opener.works:
            return mine < limits.sockets_each
        others = sum(n for one, n in self._open.items() if not one.works)
        return mine < limits.sockets_other and others < max(1, limits.sockets // 2)

    # Ending.

    @contextmanager
    def watched(self, call: Call, passed: Passed, end: Callable[[Refusal], None], *, after: float) -> Iterator[Watched]:
        """Judge the access again and again while this is open; call `end` once, when it has ended."""
        watched = Watched(call, passed, end, after)
        self._watched.add(watched)
        try:
            self._judge(watched)  # it may have ended while the orchestrator was asked
            yield watched
        finally:
            watched.ended = True
            self._watched.discard(watched)

    async def watch(self) -> None:
        """Until cancelled, end what the clock or a stale feed ends. `_changed` sees changes at once."""
        while True:
            await asyncio.sleep(JUDGE_SECONDS)
            snapshot = self.authorizer.feed.fresh()
            now = now_of(snapshot) if snapshot else None
            for watched in tuple(self._watched):
                if now is None or now >= watched.passed.outcome.until:
                    self._judge(watched)

    def _changed(self, _snapshot: Snapshot, whose: frozenset[int] | None) -> None:
        """Judge what is open by an access that may have changed, in steps between which the loop serves others."""
        self._judge_in_steps([watched for watched in self._watched if whose is None or _subject(watched) in whose])

    def _judge_in_steps(self, watched: list[Watched]) -> None:
        for one in watched[:_AT_ONCE]:
            self._judge(one)
        if watched[_AT_ONCE:]:
            asyncio.get_running_loop().call_soon(self._judge_in_steps, watched[_AT_ONCE:])

    def _judge(self, watched: Watched) -> None:
        if watched.ended:
            return
        route, passed = watched.call.match.route, watched.passed
        try:
            watched.passed = self.authorizer.decide_now(
                watched.call, passed.asks, passed.found, opening=route.method == "WS"
            )
            # What is being sent was narrowed to what the caller could see then, and that may have become less.
            if route.scope is not None and not self.authorizer.still_sees(watched.call, watched.passed, passed):
                self._end_after(watched, Refusal(403, Code.ENDED))
        except CallRefused as error:
            self._end_after(watched, error.refusal)
        except Exception:
            log.exception("not_looked_at")  # one that cannot be judged is ended, and the others are judged all the same
            self._end_after(watched, STALE)

    def _end_after(self, watched: Watched, refusal: Refusal) -> None:
        watched.ended = True
        asyncio.get_running_loop().call_later(watched.after, self._end, watched, refusal)

    def _end(self, watched: Watched, refusal: Refusal) -> None:
        if watched in self._watched:
            with suppress(Exception):  # one that cannot be ended does not keep the others open
                watched.end(refusal)

    async def close(self) -> None:
        """Close all sockets because this gate stops: their callers may open them at another."""
        going = Refusal(503, Code.STALE, why="This gate is stopping.")
        for relay in tuple(self._relays):
            relay.end(going)
        if self._relays:
            await asyncio.wait(
                [asyncio.ensure_future(relay.over.wait()) for relay in self._relays], timeout=self.limits.closing + 1
            )
