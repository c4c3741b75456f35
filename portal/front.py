"""Before the pages, on the event loop: answers probes, refuses bodies that no page takes, reads the others in time.

Here no thread waits for anybody. Read by a thread, a body holds it for as long as its sender likes, and an upload is
spooled to a disk, whoever sends it.
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

MOST = 64 * 1024  # bytes of a form
SECONDS = 5.0  # for the whole of it
AT_ONCE = 4  # bodies awaited; fewer than threads, so who sends slowly delays others who send, and no page
FORM = b"application/x-www-form-urlencoded"

type Message = MutableMapping[str, Any]
type Receive = Callable[[], Awaitable[Message]]
type Send = Callable[[Message], Awaitable[None]]


class Front:
    """ASGI: hands on what may become a page to `application` (WSGI), in one of its threads."""

    def __init__(self, application: Any, *, threads: int) -> None:
        self._pages: Any = WSGIMiddleware(application, workers=threads)
        self._turn = asyncio.Semaphore(AT_ONCE)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        told = health.tell(scope["path"])
        if told is None and (refused := _refused(scope)):
            log.info("request", method=scope["method"], path=scope["path"][:200], status=refused.value)
            told = refused, f"{refused.phrase}\n"
        if told is None:
            # WSGI writes - and _ alike: X_Forwarded_For of a client would stand beside the proxy's X-Forwarded-For.
            headers = [(name, value) for name, value in scope["headers"] if b"_" not in name]
            await self._pages({**scope, "headers": headers}, Body(receive, self._turn), send)
        else:
            await _answer(send, *told)


class Body:
    """ASGI's receive(), for a thread that wants the body: all of it, in time, or an OSError."""

    def __init__(self, receive: Receive, turn: asyncio.Semaphore) -> None:
        self._receive = receive
        self._turn = turn

    async def __call__(self) -> Message:
        whole, more = bytearray(), True
        async with asyncio.timeout(SECONDS), self._turn:
            while more:
                message = await self._receive()
                if message["type"] != "http.request":  # half a form is not what somebody meant
                    raise ConnectionError("the body ended early")
                whole += message.get("body", b"")
                more = message.get("more_body", False)
        return {"type": "http.request", "body": bytes(whole), "more_body": False}


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
