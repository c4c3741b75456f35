"""Bodies of callers: read whole or passed on piece by piece, each within a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from aiohttp import web

from grants.gate.bounds.aside import parsed
from grants.gate.decision.bodies import refused_kind
from grants.gate.decision.types import CallRefused, Code, Json, Refusal, or_raise

_LATE = Refusal(408, Code.BODY, why="The body did not come in time.")
_BROKEN = Refusal(400, Code.BODY, why="The body cannot be read as it was sent.")


def too_long(most: int) -> Refusal:
    return Refusal(413, Code.TOO_LARGE, why=f"The body is longer than the {most // 1024} KiB that this route takes.")


async def continued(request: web.BaseRequest) -> None:
    """Tell a client to send its body that waits to be told. A call that was refused before need not send one."""
    if "Expect" in request.headers:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # aiohttp would take it for a part of the answer


async def read_json(
    request: web.BaseRequest, seconds: float, most: int, take: Callable[[int], None]
) -> tuple[Json, int]:
    """Read and parse a JSON body; give it with its number of bytes. Raises CallRefused, as `take` does."""
    length = request.content_length
    if length is not None and length > most:
        raise CallRefused(too_long(most))
    empty = not request.can_read_body
    if refusal := refused_kind(request.headers, empty=empty):
        raise CallRefused(refusal)
    if empty:
        return None, 0
    await continued(request)
    raw = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for piece in request.content.iter_any():
                take(len(piece))
                raw += piece
                if len(raw) > most:
                    raise CallRefused(too_long(most))
    except TimeoutError:
        raise CallRefused(_LATE) from None
    except web.RequestPayloadError:
        raise CallRefused(_BROKEN) from None
    return or_raise(await parsed(bytes(raw))), len(raw)


class Stream:
    """A body that is passed on unread. `failure` says why it broke off, if it did."""

    def __init__(self, request: web.BaseRequest, seconds: float, most: int) -> None:
        self._request, self._seconds, self._most = request, seconds, most
        self._whole = False
        self.failure: Refusal | None = None

    def end(self, refusal: Refusal) -> None:
        """Break off a body that is not whole yet: its access has ended, and without its end the call has no effect."""
        if not self._whole:
            self.failure = refusal
            self._request.content.set_exception(web.RequestPayloadError())

    def _checked(self, came: int) -> None:
        if came > self._most:
            self.failure = too_long(self._most)
            raise web.RequestPayloadError

    async def __aiter__(self) -> AsyncIterator[bytes]:
        await continued(self._request)
        came = 0
        try:
            while True:
                async with asyncio.timeout(self._seconds):
                    piece = await self._request.content.readany()
                if not piece:
                    self._whole = True
                    return
                came += len(piece)
                self._checked(came)
                yield piece
        except TimeoutError:
            self.failure = _LATE
            raise
        except web.RequestPayloadError:
            self.failure = self.failure or _BROKEN
            raise
