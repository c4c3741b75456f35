"""One open socket: what passes each way, and how it is closed on both sides, by whichever peer or access ends first."""

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

OVER = 1008  # final: clients do not come back with the same credential
AGAIN = 1011  # they try again


class Living(Protocol):
    """What this socket lives by, as it is looked at again and again."""

    passed: Passed


class _Shown(NamedTuple):
    """The last message that was narrowed: by what could be seen then, and to what."""

    number: int
    body: Json
    visible: Visible
    words: set[str]


class Goodbye(NamedTuple):
    """How to close each side; None where that side is gone, or has said goodbye itself."""

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
        self._end: asyncio.Future[Goodbye] = asyncio.get_running_loop().create_future()
        self.over = asyncio.Event()
        self.watched: Living | None = None
        self._shown: _Shown | None = None

    def end(self, refusal: Refusal) -> None:
        """From outside: the access has ended, nobody knows whether it has, or the gate stops."""
        if not self._end.done():
            code = AGAIN if refusal.status >= 500 else OVER
            reason = b"access ended" if code == OVER else b"try again"
            self._end.set_result(Goodbye((code, reason), (WSCloseCode.GOING_AWAY, b"")))

    async def run(self, request: web.BaseRequest) -> None:
        """Until it is over. Leaves neither side open, whatever happens."""
        goodbye = Goodbye(None, (WSCloseCode.GOING_AWAY, b""))
        pumps: list[asyncio.Task[Goodbye]] = []
        transport = request.transport
        try:
            await self.down.prepare(request)
            self._count("ok")
            pumps = [asyncio.create_task(pump()) for pump in (self._upward, self._downward, self._moved)]
            done, _ = await asyncio.wait([*pumps, self._end], return_when=asyncio.FIRST_COMPLETED)
            goodbye = _first(done)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.shield(self._close(goodbye, transport))
            self.over.set()

    # The caller's frames.

    async def _upward(self) -> Goodbye:
        number = 0
        signed_in = asyncio.get_running_loop().time() + self.limits.head
        while True:
            try:
                async with asyncio.timeout_at(None if number else signed_in):
                    message = await self.down.receive()
            except TimeoutError:
                return _refusing(WSCloseCode.PROTOCOL_ERROR, "no sign-in")
            match message.type:
                case WSMsgType.TEXT:
                    number += 1
                    if goodbye := await self._said(number, message.data):
                        return goodbye
                case WSMsgType.PING | WSMsgType.PONG:  # some clients ping before they sign in
                    await self._send(self.up, message.data, message.type)
                case WSMsgType.BINARY:
                    return _refusing(WSCloseCode.UNSUPPORTED_DATA, "text only")
                case _:
                    return _parted(message.type, message.data, message.extra)

    async def _said(self, number: int, raw: bytes) -> Goodbye | None:
        """What is looked into of all sockets of a caller counts together, and with the bodies of its calls."""
        try:
            with self.callers.holding(self.call.subject, len(raw)):
                return await (self._sign_in(raw) if number == 1 else self._frame(number, raw))
        except CallRefused:
            return _refusing(AGAIN, "try again")

    async def _sign_in(self, raw: bytes) -> Goodbye | None:
        """The first message: with our secret in the place of the caller's token, which has to be the handshake's."""
        words = self.call.served.kind.sockets
        said = await parsed(raw)
        token = said if isinstance(said, Refusal) else words.first(said)
        if isinstance(token, Refusal):
            return _refusing(WSCloseCode.PROTOCOL_ERROR, "no sign-in")
        if token and not self.authorizer.opened_with(self.call, token):
            self._count(Code.UNKNOWN)
            return _refusing(OVER, "another credential than the handshake's")
        await self._send(self.up, dump(self.sign_in), WSMsgType.TEXT)
        return None

    async def _frame(self, number: int, raw: bytes) -> Goodbye | None:
        route = self.call.match.route
        try:
            frame = await self._judged(number, raw)
        except CallRefused as error:
            refusal = error.refusal
            self._count(refusal.code)
            if refusal.status >= 500:
                return _refusing(AGAIN, "try again")
            self.usage.refused(self.call.served.upstream, self.call, refusal, self.authorizer.feed.fresh())
            if route.template in self.call.served.kind.sockets.loose:
                return None
            return _refusing(OVER, refusal.code)
        if frame is not None:
            await self._send(self.up, frame, WSMsgType.TEXT)
        return None

    async def _judged(self, number: int, raw: bytes) -> bytes | None:
        """The frame as it goes up; None for one that is answered by silence, for nothing of it may be seen."""
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
            self.watched.passed = passed  # from now on it lives by what this asked for
        self._shown = _Shown(number, body, self.authorizer.visible(self.call, passed.outcome), _words(step))
        if isinstance(step, Send):
            return await dumped(step.body, len(raw))
        assert isinstance(step, Answer)
        return None

    async def _moved(self) -> Goodbye:
        """What was in sight when the caller asked may have moved out of it: then it has to ask again."""
        while True:
            await asyncio.sleep(self.limits.moved)
            shown = self._shown
            if shown is None:
                continue
            try:
                passed = await self.authorizer.decide_on_message(self.call, shown.number, shown.body)
                if not self.authorizer.visible(self.call, passed.outcome).covers(shown.visible):
                    continue  # a worker in its drain hears on; whose access is over is cut elsewhere
                step = await narrowed(self.authorizer, self.call, shown.body, passed)
            except CallRefused as error:
                if error.refusal.status >= 500:
                    continue
                return _refusing(OVER, error.refusal.code)
            if shown.words - _words(step):
                return _refusing(AGAIN, "try again")

    # The orchestrator's frames.

    async def _downward(self) -> Goodbye:
        while True:
            message = await self.up.receive()
            match message.type:
                case WSMsgType.TEXT | WSMsgType.PING | WSMsgType.PONG:
                    await self._send(self.down, message.data, message.type)
                case WSMsgType.CLOSE:
                    code = message.data or WSCloseCode.OK
                    return Goodbye((code, (message.extra or "").encode()), (code, b""))
                case _:
                    return Goodbye((AGAIN, b"try again"), (WSCloseCode.GOING_AWAY, b""))

    async def _send(self, to: Upward | Downward, data: bytes, kind: WSMsgType) -> None:
        """Raises TimeoutError for a peer that does not read."""
        async with asyncio.timeout(self.limits.write):
            await to.send_frame(data, kind)

    # The end.

    async def _close(self, goodbye: Goodbye, transport: asyncio.WriteTransport | None) -> None:
        await asyncio.gather(self._leave(self.down, goodbye.down), self._leave(self.up, goodbye.up))
        if transport is not None:
            cut(transport)
        connection = self.up._response.connection  # noqa: SLF001 (aiohttp gives no other way to the transport)
        if connection is not None and connection.transport is not None:
            cut(cast("asyncio.WriteTransport", connection.transport))

    async def _leave(self, side: Upward | Downward, words: tuple[int, bytes] | None) -> None:
        """Say goodbye, but wait for no peer that does not read: it would wait for ever."""
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


def _parted(kind: WSMsgType, code: Any, reason: str | None) -> Goodbye:
    """The caller has closed, or is gone."""
    if kind is WSMsgType.CLOSE:
        back = (code or WSCloseCode.OK, (reason or "").encode())
        return Goodbye(back, back)
    return Goodbye((WSCloseCode.PROTOCOL_ERROR, b""), (WSCloseCode.GOING_AWAY, b""))


def _words(body: Json) -> set[str]:
    """All texts in a message, the ids that it was cut down to among them."""
    if isinstance(body, Send | Answer):
        return _words(body.body) if isinstance(body, Send) else set()
    if isinstance(body, dict):
        return set().union(*map(_words, body.values()))
    if isinstance(body, list):
        return set().union(*map(_words, body))
    return {body} if isinstance(body, str) else set()


def _refusing(code: int, reason: str) -> Goodbye:
    return Goodbye((code, reason.encode()), (WSCloseCode.GOING_AWAY, b""))


def _first(done: set[asyncio.Future[Goodbye]]) -> Goodbye:
    """What ended it; a pump that broke was talking to a peer that is gone or does not read."""
    for one in done:
        if not one.cancelled() and one.exception() is None:
            return one.result()
    for one in done:
        log.info("socket_broke", error=type(one.exception()).__name__)
    return Goodbye((AGAIN, b"try again"), (WSCloseCode.GOING_AWAY, b""))
