"""The gate's process: it starts, reports its state on a port of its own, and lets answers end before it stops."""

from __future__ import annotations

import asyncio
import hmac
import signal
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from typing import Any

import structlog
from aiohttp import web
from prometheus_client import generate_latest

from grants.gate.bounds.addresses import Addresses
from grants.gate.decision.kinds import Kind
from grants.gate.decision.limits import Limits, limits_for
from grants.gate.doors.connection import Server
from grants.gate.doors.enter import Enter
from grants.gate.doors.gateway import Gateway
from grants.gate.doors.metrics import RECORD_BEHIND, REGISTRY, SNAPSHOT_AGE, SNAPSHOT_VERSION
from grants.gate.doors.upstream import Client
from grants.gate.doors.usage import Usage
from grants.gate.doors.watchdog import watch
from grants.gate.feed.beat import Beat
from grants.gate.feed.locks import Locks
from grants.gate.feed.memory import Memory
from grants.gate.feed.snapshot import Feed
from grants.gate.feed.writes import Unwritten, Writes
from portal import __version__
from portal.env import GateEnv
from portal.env_values import database_with
from portal.gate.files import most_files
from portal.postgres.rights import GATE_TOO_MUCH, refusal

log = structlog.get_logger(__name__)

_FEW = Limits(connections=16, connections_each=16)  # for the admin port, so that callers cannot use up its connections
_LAST_WRITES = 5.0  # seconds for the database to take the last counts


class Gate:
    """The parts of one gate, and the order in which they start and stop."""

    def __init__(self, env: GateEnv, kinds: Mapping[str, Kind]) -> None:
        self.env = env
        files = most_files()
        self.limits = limits_for(files, env.gate_sockets)
        log.info("gate_limits", files=files, connections=self.limits.connections, sockets=self.limits.sockets)
        self.addresses = Addresses(env.gate_proxies)
        database = database_with(env.gate_database_url, env.ca_file)
        self.memory = Memory(env.gate_state_file, env.gate_heads_file)
        self.feed = Feed(database, stale=env.gate_stale_seconds, memory=self.memory)
        self.writes = Writes(database)
        self.usage = Usage(self.writes, env.gate_name)
        self.beat = Beat(self.writes, env.gate_name, __version__)
        self.client = Client(self.limits, scheme=env.gate_scheme)
        # A separate connection, so that a browser that enters does not wait for counts to be written.
        self.tickets = Writes(database)
        enter = Enter(self.feed, self.tickets, portal=env.public_url, limits=self.limits, addresses=self.addresses)
        self.locks = Locks(Writes(database), self.limits.turn)
        self.gateway = Gateway(self.feed, kinds, self.client, self.usage, enter, self.limits, self.locks)
        self.stopping = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def run(self) -> int:
        """Run until told to stop; return the exit code: 1 when a part has ended, 2 for a wrong database role."""
        loop = asyncio.get_running_loop()
        for sig in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(sig, self.stopping.set)
        async with self.client:
            teller = Server(self._tell, limits=_FEW)
            admin = await loop.create_server(teller, self.env.gate_host, self.env.gate_admin_port)
            self._begin(self.feed.run(), self.memory.keep(), self.usage.run(), self.gateway.sockets.watch(), watch())
            try:
                # Listen only once calls can be answered.
                if await self._first(self.feed.until(lambda _: True, seconds=float("inf"))):
                    if await self._writes_tables():
                        return 2
                    self._begin(self.beat.run())
                    await self._serve(loop)
                return 1 if any(task.done() for task in self._tasks) else 0
            finally:
                for task in self._tasks:
                    task.cancel()
                await asyncio.gather(*self._tasks, return_exceptions=True)
                await self._last_writes()
                self._remember()
                admin.close()

    async def _writes_tables(self) -> bool:
        """Has the database role more rights than a gate may have? Checked and logged before the gate listens."""
        while not self.stopping.is_set():
            with suppress(Unwritten):
                row = await self.tickets.call(GATE_TOO_MUCH, ())
                if right := row[0] if row else "":
                    log.error("gate_refuses", text=refusal("STINT_GATE_DATABASE_URL", "stint_gate", right))
                return bool(right)
            await self._first(asyncio.sleep(0.5))
        return False

    async def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        server = Server(self.gateway, limits=self.limits, addresses=self.addresses)
        listening = await loop.create_server(server, self.env.gate_host, self.env.gate_port, backlog=1024)
        log.info("gate_listens", host=self.env.gate_host, port=self.env.gate_port)
        await self._first(asyncio.Event().wait())
        log.info("gate_stops")
        listening.close()
        server.pre_shutdown()
        await self.gateway.sockets.close()
        await server.shutdown(self.env.gate_stop_seconds)

    def _begin(self, *parts: Coroutine[Any, Any, None]) -> None:
        self._tasks += [asyncio.create_task(part) for part in parts]

    async def _first(self, wanted: Coroutine[Any, Any, Any]) -> bool:
        """Wait for this coroutine or for the end; return True when the coroutine was first."""
        it, stop = asyncio.ensure_future(wanted), asyncio.ensure_future(self.stopping.wait())
        done, _ = await asyncio.wait([it, stop, *self._tasks], return_when=asyncio.FIRST_COMPLETED)
        for one in (it, stop):
            one.cancel()
        for task in self._tasks:
            if task in done and not task.cancelled() and task.exception() is not None:
                log.error("gate_part_failed", exc_info=task.exception())
        return it in done

    async def _last_writes(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WRITES):
                while self.usage.waiting:
                    try:
                        await self.usage.write(everything=True)
                    except Unwritten:
                        await asyncio.sleep(0.2)
            async with asyncio.timeout(_LAST_WRITES):
                if self.stopping.is_set():
                    await self.beat.end()
        if self.usage.waiting:
            log.error("gate_lost", waiting=self.usage.waiting)
        await self.writes.close()
        await self.tickets.close()
        await self.locks.close()

    def _remember(self) -> None:
        try:
            self.memory.write()
        except OSError as error:
            log.error("gate_state_not_written", error=str(error))

    # The admin port.

    async def _tell(self, request: web.BaseRequest) -> web.StreamResponse:
        match request.path:
            case "/healthz":
                return _plain(200, "ok")
            case "/readyz":
                ready = self.feed.fresh() is not None and not self.stopping.is_set()
                return (
                    _plain(200, "ready")
                    if ready
                    else _plain(503, self.feed.behind or "what is known may be out of date")
                )
            case "/metrics":
                return self._metrics(request.headers.get("Authorization", ""))
        return _plain(404, "nothing is here")

    def _metrics(self, authorization: str) -> web.Response:
        token = self.env.metrics_token
        if token is None or not hmac.compare_digest(
            authorization.encode(), f"Bearer {token.get_secret_value()}".encode()
        ):
            return _plain(403, "this needs STINT_METRICS_TOKEN as a Bearer token")
        snapshot = self.feed.fresh()
        SNAPSHOT_AGE.set(self.feed.age if self.feed.age is not None else float("inf"))
        RECORD_BEHIND.set(bool(self.feed.behind))
        SNAPSHOT_VERSION.set(snapshot.version if snapshot else 0)
        return web.Response(body=generate_latest(REGISTRY), headers={"Content-Type": "text/plain; version=0.0.4"})


def _plain(status: int, text: str) -> web.Response:
    return web.Response(status=status, text=text + "\n")
