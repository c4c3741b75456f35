"""One open socket: its messages in both directions, and how both sides are closed when a peer or the access ends it."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple, Protocol, cast

import aiohttp
import structlog
from aiohttp import WSCloseCode, WSMsgType, web

from grants.gate.bounds.aside import dumped, parsed
from grants.gate.bounds.callers import Callers
from grants.gate.decision.bodies import dump
from grants.gate.decision.kinds import Visible
from grants.gate.decision.limits import Limits
from grants.gate.decision.types import Answer, CallRefused, Code, Json, Refusal, Send
from grants.gate.doors.answers import cut
from grants.gate.doors.authorizer import Authorizer, Call, Passed
from grants.gate.doors.narrowing import narrowed
from grants.gate.doors.usage import Usage

log = structlog.get_logger(__name__)

type Upward = aiohttp.ClientWebSocketResponse[bool]
type Downward = web.WebSocketResponse[bool]

OVER = 1008  # clients do not come back with the same credential
AGAIN = 1011  # clients try again


class OpenBy(Protocol):
    """The decision that this socket is open by, renewed while it is open."""

    passed: Passed


class _Narrowed(NamedTuple):
    """The last message that was narrowed, what the caller could see then, and the texts of what was sent."""

    number: int
    body: Json
    visible: Visible
    words: set[str]


class Ending(NamedTuple):
    """How to close each side; None for a side that is gone or has closed itself."""

    down: tuple[int, bytes] | None
    up: tuple[int, bytes] | None


class Relay:
    def __init__(
        self,
        call: Call,
        authorizer: Authorizer,
        usage: Usage,
        limits: Limits,
        callers: Callers,
        down: Downward,
        up: Upward,
        sign_in: Json,
    ) -> None:
        self.call, self.authorizer, self.usage, self.limits, self.callers = call, authorizer, usage, limits, callers
        self.down, self.up, self.sign_in = down, up, sign_in
        self._end: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
        self.over = asyncio.Event()
        self.watched: OpenBy | None = None
        self._shown: _Narrowed | None = None

    def end(self, refusal: Refusal) -> None:
        """Close from outside: the access has ended or can no longer be judged, or the gate stops."""
        if not self._end.done():
            code = AGAIN if refusal.status >= 500 else OVER
            reason = b"access ended" if code == OVER else b"try again"
            self._end.set_result(Ending((code, reason), (WSCloseCode.GOING_AWAY, b"")))

    async def run(self, request: web.BaseRequest) -> None:
        """Pass messages until one side ends, then close both, whatever happens."""
        ending = Ending(None, (WSCloseCode.GOING_AWAY, b""))
        pumps: list[asyncio.Task[Ending]] = []
        transport = request.transport
        try:
            await self.down.prepare(request)
            self._count("ok")
            pumps = [asyncio.create_task(pump()) for pump in (self._upward, self._downward, self._end_when_moved)]
            done, _ = await asyncio.wait([*pumps, self._end], return_when=asyncio.FIRST_COMPLETED)
            ending = _first_close(done)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.shield(self._close(ending, transport))
            self.over.set()

    # Messages of the caller.

    async def _upward(self) -> Ending:
        number = 0
        signed_in = asyncio.get_running_loop().time() + self.limits.head
        while True:
            try:
                async with asyncio.timeout_at(None if number else signed_in):
                    message = await self.down.receive()
            except TimeoutError:
                return _refusal_close(WSCloseCode.PROTOCOL_ERROR, "no sign-in")
            match message.type:
                case WSMsgType.TEXT:
                    number += 1
                    if ending := await self._handle_message(number, message.data):
                        return ending
                case WSMsgType.PING | WSMsgType.PONG:  # some clients ping before they sign in
                    await self._send(self.up, message.data, message.type)
                case WSMsgType.BINARY:
                    return _refusal_close(WSCloseCode.UNSUPPORTED_DATA, "text only")
                case _:
                    return _closed_by_caller(message.type, message.data, message.extra)

    async def _handle_message(self, number: int, raw: bytes) -> Ending | None:
        """Handle a message within the bytes that its caller may have in memory, with all its sockets and calls."""
        try:
            with self.callers.holding(self.call.subject, len(raw)):
                return await (self._sign_in(raw) if number == 1 else self._handle_later(number, raw))
        except CallRefused:
            return _refusal_close(AGAIN, "try again")

    async def _sign_in(self, raw: bytes) -> Ending | None:
        """Send the gate's sign-in in place of the caller's, whose token must be that of the handshake."""
        words = self.call.served.kind.sockets
        said = await parsed(raw)
        token = said if isinstance(said, Refusal) else words.first(said)
        if isinstance(token, Refusal):
            return _refusal_close(WSCloseCode.PROTOCOL_ERROR, "no sign-in")
        if token and not self.authorizer.opened_with(self.call, token):
            self._count(Code.UNKNOWN)
            return _refusal_close(OVER, "another credential than the handshake's")
        await self._send(self.up, dump(self.sign_in), WSMsgType.TEXT)
        return None

    async def _handle_later(self, number: int, raw: bytes) -> Ending | None:
        route = self.call.match.route
        try:
            frame = await self._judged(number, raw)
        except CallRefused as error:
            refusal = error.refusal
            self._count(refusal.code)
            if refusal.status >= 500:
                return _refusal_close(AGAIN, "try again")
            self.usage.refused(self.call.served.upstream, self.call, refusal, self.authorizer.feed.fresh())
            if route.template in self.call.served.kind.sockets.loose:
                return None
            return _refusal_close(OVER, refusal.code)
        if frame is not None:
            await self._send(self.up, frame, WSMsgType.TEXT)
        return None

    async def _judged(self, number: int, raw: bytes) -> bytes | None:
        """Decide on a message; give it as it is sent on, or None where the caller may see nothing of it."""
        body: Json = await parsed(raw)
        if isinstance(body, Refusal):
            raise CallRefused(body)
        self.call.size = len(raw)
        passed = await self.authorizer.decide_on_message(self.call, number, body)
        body = self.call.served.kind.sockets.sends(self.call.match, number, body)
        if self.call.match.route.scope is None:
            return await dumped(body, len(raw))
        step = await narrowed(self.authorizer, self.call, body, passed)
        if self.watched is not None:
            self.watched.passed = passed  # from now on the socket is open by this decision
        self._shown = _Narrowed(number, body, self.authorizer.visible(self.call, passed.outcome), _texts(step))
        if isinstance(step, Send):
            return await dumped(step.body, len(raw))
        assert isinstance(step, Answer)
        return None

    async def _end_when_moved(self) -> Ending:
        """End the socket when something that it shows has moved out of what the caller may see: it must ask again."""
        while True:
            await asyncio.sleep(self.limits.moved)
            shown = self._shown
            if shown is None:
                continue
            try:
                passed = await self.authorizer.decide_on_message(self.call, shown.number, shown.body)
                if not self.authorizer.visible(self.call, passed.outcome).covers(shown.visible):
                    continue  # a worker in its drain keeps it; one whose access is over is closed by SocketDoor
                step = await narrowed(self.authorizer, self.call, shown.body, passed)
            except CallRefused as error:
                if error.refusal.status >= 500:
                    continue
                return _refusal_close(OVER, error.refusal.code)
            if shown.words - _texts(step):
                return _refusal_close(AGAIN, "try again")

    # Messages of the orchestrator.

    async def _downward(self) -> Ending:
        while True:
            message = await self.up.receive()
            match message.type:
                case WSMsgType.TEXT | WSMsgType.PING | WSMsgType.PONG:
                    await self._send(self.down, message.data, message.type)
                case WSMsgType.CLOSE:
                    code = message.data or WSCloseCode.OK
                    return Ending((code, (message.extra or "").encode()), (code, b""))
                case _:
                    return Ending((AGAIN, b"try again"), (WSCloseCode.GOING_AWAY, b""))

    async def _send(self, to: Upward | Downward, data: bytes, kind: WSMsgType) -> None:
        """Send a message on. Raises TimeoutError for a peer that does not read."""
        async with asyncio.timeout(self.limits.write):
            await to.send_frame(data, kind)

    # The end.

    async def _close(self, ending: Ending, transport: asyncio.WriteTransport | None) -> None:
        await asyncio.gather(self._close_side(self.down, ending.down), self._close_side(self.up, ending.up))
        if transport is not None:
            cut(transport)
        connection = self.up._response.connection  # noqa: SLF001 (aiohttp gives no other way to the transport)
        if connection is not None and connection.transport is not None:
            cut(cast("asyncio.WriteTransport", connection.transport))

    async def _close_side(self, side: Upward | Downward, words: tuple[int, bytes] | None) -> None:
        """Close one side, without waiting for a peer that does not read."""
        if words is None or (isinstance(side, web.WebSocketResponse) and not side.prepared):
            return
        try:
            async with asyncio.timeout(self.limits.closing):
                await side.close(code=words[0], message=words[1][:123])
        except (Exception, asyncio.CancelledError):  # noqa: BLE001 (a close that follows a cancelled one raises that)
            return

    def _count(self, code: str) -> None:
        assert self.call.principal is not None
        self.usage.count(self.call.principal.proof, self.call.match.route.name, code)


def _closed_by_caller(kind: WSMsgType, code: Any, reason: str | None) -> Ending:
    """How to close after the caller has closed, or is gone."""
    if kind is WSMsgType.CLOSE:
        back = (code or WSCloseCode.OK, (reason or "").encode())
        return Ending(back, back)
    return Ending((WSCloseCode.PROTOCOL_ERROR, b""), (WSCloseCode.GOING_AWAY, b""))


def _texts(body: Json) -> set[str]:
    """All texts in a message; the ids that it was narrowed to are among them."""
    if isinstance(body, Send | Answer):
        return _texts(body.body) if isinstance(body, Send) else set()
    if isinstance(body, dict):
        return set().union(*map(_texts, body.values()))
    if isinstance(body, list):
        return set().union(*map(_texts, body))
    return {body} if isinstance(body, str) else set()


def _refusal_close(code: int, reason: str) -> Ending:
    return Ending((code, reason.encode()), (WSCloseCode.GOING_AWAY, b""))


def _first_close(done: set[asyncio.Future[Ending]]) -> Ending:
    """How to close, by the first pump that ended; one that failed had a peer that is gone or does not read."""
    for one in done:
        if not one.cancelled() and one.exception() is None:
            return one.result()
    for one in done:
        log.info("socket_broke", error=type(one.exception()).__name__)
    return Ending((AGAIN, b"try again"), (WSCloseCode.GOING_AWAY, b""))
