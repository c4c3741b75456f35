"""The server's side of a connection, where aiohttp's own leaves a stranger time or an answer in other words."""

from __future__ import annotations

import asyncio
import json
from typing import Any, cast, override

import structlog
from aiohttp import web

from grants.gate.answers import SERVER
from grants.gate.limits import Limits

log = structlog.get_logger(__name__)


class Line(web.RequestHandler):
    """One connection. Cut when its first request is not whole in time; answered in JSON when it cannot be parsed."""

    def __init__(self, manager: Server, *, limits: Limits, **options: Any) -> None:
        super().__init__(manager, **options)
        self._limits = limits
        self._server = manager
        self._late: asyncio.TimerHandle | None = None

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        line = cast("asyncio.WriteTransport", transport)  # uvloop's are not asyncio's by class
        if len(self._server.connections) > self._limits.connections:
            line.abort()
            return
        self._late = self._loop.call_later(self._limits.head, self._cut_if_silent, line)

    @override
    def connection_lost(self, exc: BaseException | None) -> None:
        if self._late is not None:
            self._late.cancel()
        super().connection_lost(exc)

    def _cut_if_silent(self, transport: asyncio.WriteTransport) -> None:
        if self._request_count == 0:
            transport.abort()

    @override
    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Only what is no HTTP comes here: the gateway answers all else itself. The parser's words are not repeated."""
        log.info("unreadable_request", error=type(exc).__name__ if exc else None)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer is under way already")
        body = json.dumps({"detail": "This is not a request that can be read."}).encode()
        answer = web.Response(status=400, body=body, content_type="application/json", headers={"Server": SERVER})
        answer.force_close()
        return answer


class Server(web.Server):
    """Makes a Line for each connection."""

    def __init__(self, handler: Any, *, limits: Limits) -> None:
        super().__init__(handler, handler_cancellation=True)
        self._limits = limits

    @override
    def __call__(self) -> web.RequestHandler:
        return Line(
            self,
            limits=self._limits,
            loop=self._loop,
            keepalive_timeout=self._limits.idle,
            auto_decompress=False,
            access_log=None,
            max_headers=100,
            lingering_time=1,
        )
