"""A toy orchestrator's routes, and a gate in front of one, for what the door does with every kind of orchestrator.

The rules are those of the product (table, credentials, check); only what the toy's names mean is made up here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, NamedTuple

from grants.catalog.levels import Key, Level
from grants.gate.bounds.addresses import Addresses
from grants.gate.decision import types
from grants.gate.decision.kinds import Entrance, Kind, Sockets, Started
from grants.gate.decision.limits import LARGE, Limits
from grants.gate.decision.types import (
    ANY,
    Answer,
    Ask,
    Body,
    CatalogEntry,
    Code,
    Credential,
    Drain,
    Drains,
    Found,
    Grant,
    Json,
    Known,
    Lookup,
    Match,
    Narrowed,
    Refusal,
    Route,
    Send,
    Snapshot,
    Upstream,
)
from grants.gate.doors.connection import Server
from grants.gate.doors.enter import Enter
from grants.gate.doors.gateway import Gateway
from grants.gate.doors.upstream import Client
from grants.gate.doors.usage import Usage
from grants.gate.feed.locks import Locks
from grants.gate.feed.snapshot import Feed
from grants.tokens.mint import mint


class Scope(types.Scope):
    THINGS = "things"


SERVER = Key("toy", "server", "server")
VIEW, RUN, WORK = Level.VIEW, Level.RUN, Level.WORK
ROUTES = (
    Route("GET", "/v9/health", None),
    Route("GET", "/v9/me", ANY, tells_nothing=True),
    Route("GET", "/v9/things/{name}", VIEW),
    Route("HEAD", "/v9/things/{name}", VIEW),
    Route("POST", "/v9/things/filter", ANY, body=Body.JSON, scope=Scope.THINGS),
    Route("POST", "/v9/things/{name}", RUN, body=Body.JSON, most=LARGE),
    Route("POST", "/v9/things/{name}/create_run", RUN, body=Body.JSON),
    Route("POST", "/v9/things/{name}/poll", WORK, body=Body.JSON, drains=Drains.EMPTY),
    Route("POST", "/v9/things/{name}/report", WORK, body=Body.JSON, drains=Drains.RUN),
    Route("DELETE", "/v9/things/{name}", RUN),
    Route("POST", "/v9/things/{name}/upload", RUN, body=Body.STREAM, most=1 << 28),
    Route("POST", "/v9/things/{name}/note", RUN, body=Body.STREAM),
    Route("GET", "/{page}", ANY, tells_nothing=True),
    Route("GET", "/pages/{page}", ANY, tells_nothing=True),
    Route("WS", "/v9/things/{name}/in", WORK, drains=Drains.RUN),
    Route("WS", "/v9/things/{name}/out", VIEW, scope=Scope.THINGS),
    Route("WS", "/v9/things/{name}/talk", RUN),
    Route("WS", "/v9/feed", ANY, scope=Scope.THINGS, drains=Drains.ALWAYS),
)
RUNS = {"early": "2020-01-01T00:00:00+00:00", "never": None, "late": "2999-01-01T00:00:00+00:00"}


class Shown(NamedTuple):
    """What a toy's lists show: pools alone."""

    pools: frozenset[str]

    def covers(self, other: Shown) -> bool:
        return self.pools >= other.pools


class Key9(NamedTuple):
    """How the gate is let in at a toy: with its key, as a bearer."""

    entrance: Entrance

    async def headers(self) -> Mapping[str, str]:
        key = self.entrance.secret()
        return {"Authorization": f"Bearer {key}"} if key else {}

    async def sign_in(self) -> Json:
        return {"type": "auth", "token": self.entrance.secret()}

    def refused(self) -> None:
        self.entrance.forget_secret()


class Lookups:
    def __init__(self, connection: str, upstream: Any) -> None:
        self.wrote_to: list[str] = []

    async def resolve(self, wanted: Collection[Lookup]) -> Found:
        return {one: self._known(one) for one in wanted}

    def _known(self, one: Lookup) -> Known | None:
        if one.kind == "flow_run":
            return Known((Key("toy", "pool", "mine"), SERVER), {"started": RUNS[one.id]}) if one.id in RUNS else None
        return Known((Key("toy", "pool", one.id), SERVER), {})

    async def visible_ids(self, visible: Shown, scope: types.Scope) -> Shown:
        return visible

    def wrote(self, match: Match) -> None:
        self.wrote_to.append(match.route.template)


def _may_finish(match: Match, wanted: Collection[Lookup], found: Found, drain: Drain) -> bool:
    """A report on a run that had begun by the end."""
    begun = [found[one] for one in wanted if one.kind == "flow_run"]
    if match.route.drains is not Drains.RUN:
        return match.route.drains is Drains.ALWAYS
    return bool(begun) and all(
        known is not None
        and known.facts["started"] is not None
        and datetime.fromisoformat(known.facts["started"]) <= drain.ended
        for known in begun
    )


def _shown(live: Sequence[Grant]) -> Shown:
    return Shown(frozenset(grant.resource.id for grant in live if VIEW in grant.level))


def _needs(match: Match, body: Json) -> tuple[Lookup, ...]:
    run = body.get("run") if isinstance(body, dict) else None
    return tuple(
        Lookup(kind, value) for kind, value in (("thing", match.params.get("name")), ("flow_run", run)) if value
    )


def _asks(match: Match, body: Json, found: Found) -> tuple[Ask, ...]:
    if match.route.need in (ANY, None):
        return (Ask((SERVER,) if match.route.method == "WS" else (), ANY),)
    return tuple(Ask(known.lineage if known else (SERVER,), match.route.need) for known in found.values())


def _narrow(match: Match, body: Json, shown: Shown, found: Found) -> Narrowed:
    if isinstance(body, dict) and body.get("type") == "forbidden":
        return Refusal(403, Code.LIST, why="Not like this.")
    if not shown.pools and match.route.method != "WS":
        return Answer([])
    return Send(match.route.method, match.target.raw, {**(body or {}), "only": sorted(shown.pools)})


def _frame_needs(match: Match, number: int, message: Json) -> tuple[Lookup, ...]:
    return _needs(match, message)


def _frame_asks(match: Match, number: int, message: Json, found: Found) -> tuple[Ask, ...] | Refusal:
    if isinstance(message, dict) and message.get("type") == "forge":
        return Refusal(403, Code.GUARD)
    return _asks(match, message, found)


TOY = Kind(
    name="toy",
    routes=ROUTES,
    needs=_needs,
    asks=_asks,
    named=lambda match, body, visible: (),
    narrow=_narrow,
    lookups=Lookups,
    authorize=Key9,
    alone=lambda match: None,
    may_finish=_may_finish,
    visible=_shown,
    visible_in_drain=lambda had: Shown(frozenset(key.id for key in had)),
    page_policy="default-src 'self'; img-src *",
    api="/v9",
    things=MappingProxyType({"pool": "toy box"}),
    sockets=Sockets(
        protocol="toy",
        first=lambda said: (
            said.get("token") if isinstance(said, dict) and said.get("type") == "auth" else Refusal(400, Code.BODY)
        ),
        needs=_frame_needs,
        asks=_frame_asks,
        sends=lambda match, number, message: message,
        loose=frozenset({"/v9/things/{name}/in"}),
        anonymous="Show the credential in a header: TOY_HEADERS.",
    ),
    started=Started(frozenset({"/v9/things/{name}/create_run"}), lambda body: (body["id"],)),
    headers=frozenset({"x-toy-version"}),
)


class Set(Feed):
    """A feed whose snapshot a test sets."""

    def __init__(self) -> None:
        super().__init__("")
        self.stopped = False

    def put(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        for tell in self.listeners:
            tell(snapshot, None)
        self._moved.set()
        self._moved = asyncio.Event()

    def fresh(self) -> Snapshot | None:
        return None if self.stopped else self._snapshot


class Papers:
    """Who may do what at the toy: one subject, its grants, its credentials."""

    def __init__(self, port: int = 0, secret_ref: str = "") -> None:
        self.grants: dict[int, Grant] = {}
        self.credentials: dict[bytes, Credential] = {}
        self.upstream = Upstream("toy", "toy", "toy.test", f"http://127.0.0.1:{port}/v9", "test", secret_ref, 7)
        self.active = {1}
        self.version = 1

    def grant(
        self, level: Level, pool: str = "mine", *, seconds: float = 3600, drain: float = 0, subject: int = 1
    ) -> int:
        now, number = datetime.now(UTC), len(self.grants) + 1
        until = now + timedelta(seconds=seconds)
        self.grants[number] = Grant(number, subject, Key("toy", "pool", pool), level, now - timedelta(hours=1), until,
                                    until + timedelta(seconds=drain))  # fmt: skip
        return number

    def token(self, grant: int | None = None, *, kind: str = "token", seconds: float = 7200) -> str:
        made = mint(kind)
        subject = self.grants[grant].subject if grant is not None else 1
        self.active.add(subject)
        until = datetime.now(UTC) + timedelta(seconds=seconds)
        number = len(self.credentials) + 1
        self.credentials[made.digest] = Credential(number, kind, made.digest, subject, "toy", grant, until, False)
        return made.token

    def revoke(self) -> None:
        self.credentials = {digest: one._replace(revoked=True) for digest, one in self.credentials.items()}

    def snapshot(self) -> Snapshot:
        self.version += 1
        return Snapshot(
            version=self.version, checked_at=time.monotonic(), clock_offset=timedelta(), credentials=self.credentials,
            subjects=frozenset(self.active), grants=dict(self.grants), grants_of={
                subject: tuple(pk for pk, grant in self.grants.items() if grant.subject == subject)
                for subject in {1, *(grant.subject for grant in self.grants.values())}
            },
            resources={grant.resource: CatalogEntry(grant.id, grant.resource, grant.resource.id) for grant in self.grants.values()},
            upstreams={self.upstream.host: self.upstream},
        )  # fmt: skip


class Kept:
    """Writes that are kept here."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, list[object]]] = []
        self.row: tuple[Any, ...] | None = None

    async def call(self, sql: str, values: Any) -> tuple[Any, ...] | None:
        self.calls.append((sql, list(values)))
        return self.row

    async def close(self) -> None: ...


class NoOtherGate:
    """The locks of a gate that is the only one."""

    @asynccontextmanager
    async def held(self, name: str) -> AsyncIterator[None]:
        yield


class Gate:
    """A gate that runs in this process, on a port of its own."""

    def __init__(self, feed: Feed, papers: Papers, gateway: Gateway, usage: Usage, writes: Kept, port: int) -> None:
        self.feed, self.papers, self.gateway, self.usage, self.writes, self.port = (
            feed,
            papers,
            gateway,
            usage,
            writes,
            port,
        )

    def changed(self) -> None:
        """What the papers say now is known to the gate."""
        assert isinstance(self.feed, Set)
        self.feed.put(self.papers.snapshot())

    async def raw(self, sent: bytes, *, seconds: float = 10) -> bytes:
        """Send bytes, and read until the gate closes or has nothing more to say."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(sent)
            heard = b""
            with suppress(TimeoutError, ConnectionError):
                async with asyncio.timeout(seconds):
                    while piece := await reader.read(65536):
                        heard += piece
            return heard
        finally:
            writer.close()

    async def ask(self, method: str, target: str, *lines: str, body: bytes = b"", host: str = "toy.test") -> bytes:
        """One request, on a connection of its own that is closed after it."""
        head = [f"{method} {target} HTTP/1.1", f"Host: {host}", "Connection: close", *lines]
        if body and not any(line.lower().startswith(("content-length", "transfer-encoding")) for line in lines):
            head.append(f"Content-Length: {len(body)}")
        return await self.raw("\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body)


def status(answer: bytes) -> int:
    return int(answer.split(b" ")[1]) if answer else 0


def bearer(token: str) -> str:
    return f"Authorization: Bearer {token}"


@asynccontextmanager
async def gate(
    papers: Papers,
    *,
    limits: Limits | None = None,
    feed: Feed | None = None,
    kind: Kind = TOY,
    portal: str = "https://stint.test",
    scheme: str = "https",
    addresses: Addresses | None = None,
    locks: Locks | None = None,
) -> AsyncIterator[Gate]:
    limits = limits or Limits()
    writes = Kept()
    feed = feed or Set()
    usage = Usage(writes, "test")  # type: ignore[arg-type]
    enter = Enter(feed, writes, portal=portal, limits=limits, addresses=addresses)  # type: ignore[arg-type]
    async with Client(limits, scheme=scheme) as client:
        gateway = Gateway(feed, {papers.upstream.kind: kind}, client, usage, enter, limits, locks or NoOtherGate())  # type: ignore[arg-type]
        server = Server(gateway, limits=limits, addresses=addresses)
        listening = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
        watch = asyncio.create_task(gateway.sockets.watch())
        port = listening.sockets[0].getsockname()[1]
        try:
            one = Gate(feed, papers, gateway, usage, writes, port)
            if isinstance(feed, Set):
                one.changed()
            yield one
        finally:
            watch.cancel()
            listening.close()
            await gateway.sockets.close()
            await server.shutdown(0.1)
