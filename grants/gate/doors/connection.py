"""Connections of callers: aiohttp's server, with bounds on unauthenticated clients and answers in JSON."""

from __future__ import annotations

import asyncio
import json
from collections import Counter, OrderedDict
from itertools import islice
from typing import Any, cast, override

import structlog
from aiohttp import web

from grants.gate.bounds.addresses import Addresses
from grants.gate.bounds.tries import network_of
from grants.gate.decision.limits import Limits
from grants.gate.doors.answers import SERVER
from grants.gate.doors.metrics import CONNECTIONS, TURNED_AWAY

log = structlog.get_logger(__name__)

_LOOKED_AT = 200  # strangers among which an idle one is sought: how many there are is theirs to choose
_SHARES = 4  # a subject may keep one of so many parts of all connections
_TELLS = 60.0  # seconds between two such lines of the log


class ClientConnection(web.RequestHandler):
    """One connection. Cut when its first request is not whole in time; answered in JSON when it cannot be parsed.

    Until a caller is authenticated on it, it is a stranger's: it may not stay idle, and gives way when all connections
    are taken. The same holds for those that one subject has beyond its share.
    """

    def __init__(self, manager: Server, *, limits: Limits, **options: Any) -> None:
        super().__init__(manager, **options)
        self._limits = limits
        self._server = manager
        self._late: asyncio.TimerHandle | None = None
        self._looked_at = 0  # requests
        self.address = ""
        self.subject: int | None = None  # of the first caller that was authenticated on it

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        connection = cast("asyncio.WriteTransport", transport)  # uvloop's are not asyncio's by class
        if not self._server.admit(self):
            connection.abort()
            return
        self._late = self._loop.call_later(self._limits.head, self._look)

    @override
    def connection_lost(self, exc: BaseException | None) -> None:
        self._server.forget(self)
        if self._late is not None:
            self._late.cancel()
        super().connection_lost(exc)

    def known(self, subject: int) -> None:
        """A caller was authenticated: it may be idle for the usual time."""
        self._server.know(self, subject)

    @property
    def idle(self) -> bool:
        return not self._request_in_progress

    def cut(self) -> None:
        self._server.forget(self)
        if self.transport is not None:
            cast("asyncio.WriteTransport", self.transport).abort()

    def _look(self) -> None:
        if self._request_count and self not in self._server.strangers:
            return
        if self.idle and self._request_count == self._looked_at:
            self.cut()
            return
        self._looked_at = self._request_count
        self._late = self._loop.call_later(self._limits.head, self._look)

    @override
    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what is no HTTP; the gateway answers all else. The parser's message is not repeated."""
        log.info("unreadable_request", error=type(exc).__name__ if exc else None)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer is under way already")
        body = json.dumps({"detail": "This is not a request that can be read."}).encode()
        answer = web.Response(status=400, body=body, content_type="application/json", headers={"Server": SERVER})
        answer.force_close()
        return answer


class Server(web.Server):
    """Makes a ClientConnection for each connection, and bounds their number."""

    def __init__(self, handler: Any, *, limits: Limits, addresses: Addresses | None = None) -> None:
        super().__init__(handler, handler_cancellation=True)
        self._limits = limits
        self._addresses = addresses or Addresses()
        self._of: Counter[str] = Counter()
        self._known: Counter[int] = Counter()
        self._open: set[ClientConnection] = set()
        self.strangers: OrderedDict[ClientConnection, None] = OrderedDict()  # the oldest first
        self._told = float("-inf")

    def admit(self, connection: ClientConnection) -> bool:
        """Tell whether a connection may stay. Where all are taken, an idle stranger's is cut for it."""
        peer = connection.peername[0] if isinstance(connection.peername, tuple) else ""
        # Behind a proxy all have one address, so they are not counted by it.
        connection.address = "" if self._addresses.is_proxy(peer) else network_of(peer)
        share = self._limits.connections_each
        if connection.address and self._of[connection.address] >= share and not self._room(connection.address):
            self._tell("too_many_of_one_address", address=connection.address)
            return False
        if len(self._open) >= self._limits.connections and not self._room():
            self._tell("too_many_connections", open=len(self._open))
            return False
        self._open.add(connection)
        self._of[connection.address] += 1
        self.strangers[connection] = None
        CONNECTIONS.set(len(self._open))
        return True

    def know(self, connection: ClientConnection, subject: int) -> None:
        """Take note of a connection's subject. One that a subject has beyond its share stays a stranger's."""
        if connection not in self.strangers or self._known[subject] >= max(1, self._limits.connections // _SHARES):
            return
        del self.strangers[connection]
        connection.subject = subject
        self._known[subject] += 1

    def forget(self, connection: ClientConnection) -> None:
        self.strangers.pop(connection, None)
        if connection in self._open:
            self._open.remove(connection)
            if connection.subject is not None:
                self._known[connection.subject] -= 1
                if not self._known[connection.subject]:
                    del self._known[connection.subject]
            self._of[connection.address] -= 1
            if not self._of[connection.address]:
                del self._of[connection.address]
            CONNECTIONS.set(len(self._open))

    def _room(self, address: str = "") -> bool:
        strangers = islice(self.strangers, _LOOKED_AT)
        oldest = next(
            (connection for connection in strangers if connection.idle and address in ("", connection.address)), None
        )
        if oldest is not None:
            oldest.cut()
        return oldest is not None

    def _tell(self, what: str, **facts: object) -> None:
        TURNED_AWAY.labels(what).inc()
        if self._loop.time() - self._told > _TELLS:
            self._told = self._loop.time()
            log.warning(what, hint="name your proxies in STINT_GATE_PROXIES", **facts)

    @override
    def __call__(self) -> web.RequestHandler:
        return ClientConnection(
            self,
            limits=self._limits,
            loop=self._loop,
            keepalive_timeout=self._limits.idle,
            auto_decompress=False,
            access_log=None,
            max_headers=100,
            lingering_time=1,
        )


def known(request: web.BaseRequest, subject: int) -> None:
    """A caller was authenticated on this request's connection."""
    if isinstance(request.protocol, ClientConnection):
        request.protocol.known(subject)
