"""The event loop in front of the pages: it answers probes, refuses bodies that no page accepts, and reads the others.

No thread waits for a client: a thread gets a body only when it is complete, and its answer is kept in memory until the
client has read it. So no page may answer without end (tests/test_house.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from typing import Any

import structlog
from a2wsgi import WSGIMiddleware

from portal import health

log = structlog.get_logger(__name__)

MOST = 64 * 1024  # bytes of a body
SECONDS = 5.0  # for a whole body to arrive
AT_ONCE = 64  # bodies that are being read, 4 MiB at most
FORM = b"application/x-www-form-urlencoded"
SENTENCES = {
    HTTPStatus.REQUEST_TIMEOUT: "This did not arrive in time. The connection was too slow: go back and send it again."
}

type Message = MutableMapping[str, Any]
type Receive = Callable[[], Awaitable[Message]]
type Send = Callable[[Message], Awaitable[None]]


class Front:
    """The ASGI application: it passes requests for pages to `application` (WSGI), in one of its threads."""

    def __init__(self, application: Any, *, threads: int) -> None:
        self._pages: Any = WSGIMiddleware(application, workers=threads, send_queue_size=0)  # 0: no thread waits there
        self._bodies = Bodies()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if told := health.tell(scope["path"]):
            await _answer(send, *told)
            return
        refused, body = _refused(scope), b""
        if refused is None and _has_body(scope):
            try:
                body = await self._bodies.whole(receive)
            except OSError:
                refused = HTTPStatus.REQUEST_TIMEOUT
        if refused:
            log.info("request", method=scope["method"], path=scope["path"][:200], status=refused.value)
            await _answer(send, refused, f"{SENTENCES.get(refused, refused.phrase)}\n")
            return

        async def receive_whole() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        await self._pages({**scope, "headers": _headers(scope)}, receive_whole, send)


class Bodies:
    """The bodies that are being read. When there are too many, the oldest is ended: a fast client never is."""

    def __init__(self) -> None:
        self._awaited: dict[asyncio.Timeout, None] = {}  # the oldest first

    async def whole(self, receive: Receive) -> bytes:
        """Return the whole body. Raises OSError when it does not arrive in time or ends early."""
        body, more = bytearray(), True
        async with asyncio.timeout(SECONDS) as deadline:
            self._make_room()
            self._awaited[deadline] = None
            try:
                while more:
                    message = await receive()
                    if message["type"] != "http.request":
                        raise ConnectionError("the body ended early")
                    body += message.get("body", b"")
                    more = message.get("more_body", False)
            finally:
                self._awaited.pop(deadline, None)
        return bytes(body)

    def _make_room(self) -> None:
        while len(self._awaited) >= AT_ONCE:
            oldest = next(iter(self._awaited))
            del self._awaited[oldest]
            if not oldest.expired():
                oldest.reschedule(0)


def _headers(scope: Message) -> list[tuple[bytes, bytes]]:
    """The headers that WSGI gets."""
    # WSGI does not tell - from _, so a client's X_Forwarded_For would be joined to the proxy's X-Forwarded-For.
    headers = [(name, value) for name, value in scope["headers"] if b"_" not in name and name != b"cookie"]
    # WSGI joins equal headers by commas, but cookies have to be joined by semicolons.
    cookies = [value for name, value in scope["headers"] if name == b"cookie"]
    return [*headers, (b"cookie", b"; ".join(cookies))] if cookies else headers


def _has_body(scope: Message) -> bool:
    """Does a request that was not refused have a body?"""
    return any(name == b"content-length" and int(value) for name, value in scope["headers"])


def _refused(scope: Message) -> HTTPStatus | None:
    headers: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        headers[name] = b"%s,%s" % (headers[name], value) if name in headers else value
    length = headers.get(b"content-length", b"0")
    if b"transfer-encoding" in headers:
        return HTTPStatus.LENGTH_REQUIRED
    if not length.isdigit() or not scope["query_string"].isascii():
        return HTTPStatus.BAD_REQUEST
    if len(length) > len(str(MOST)) or int(length) > MOST:
        return HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    if int(length) and headers.get(b"content-type", b"").partition(b";")[0].strip().lower() != FORM:
        return HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    return None


async def _answer(send: Send, status: HTTPStatus, text: str) -> None:
    headers = [(b"content-type", b"text/plain"), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": status.value, "headers": headers})
    await send({"type": "http.response.body", "body": text.encode()})
