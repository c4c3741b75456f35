"""A caller's socket through the gate to an orchestrator that talks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import aiohttp
from aiohttp import WSMsgType

from grants.catalog.levels import Level
from grants.gate.decision.limits import Limits
from tests.gate.speaker import Speaker, speaker
from tests.gate.toy import RUN, Gate, Papers, gate


class Talk(NamedTuple):
    """What a story about one caller's socket is made of."""

    there: Speaker
    papers: Papers
    token: str
    door: Gate


@asynccontextmanager
async def talking(
    level: Level = RUN, *, seconds: float = 3600, drain: float = 0, limits: Limits | None = None
) -> AsyncIterator[Talk]:
    """A gate before an orchestrator that talks, and a caller who was granted something there."""
    async with speaker() as there:
        papers = Papers(there.port)
        token = papers.token(papers.grant(level, seconds=seconds, drain=drain))
        async with gate(papers, limits=limits) as door:
            yield Talk(there, papers, token, door)


@asynccontextmanager
async def opened(
    door: Gate, path: str, token: str | None, *, protocols: tuple[str, ...] = ("toy",), sign_in: object = None
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    head = {"Host": "toy.test"} | ({"Authorization": f"Bearer {token}"} if token else {})
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(
            f"http://127.0.0.1:{door.port}{path}", headers=head, protocols=protocols, autoping=False, max_msg_size=0
        ) as ws,
    ):
        await pinged(ws)
        await ws.send_json({"type": "auth", "token": sign_in})
        yield ws


async def pinged(ws: aiohttp.ClientWebSocketResponse) -> None:
    """As Prefect's clients do before all else: a ping, and wait for its pong."""
    await ws.ping(b"first of all")
    assert (await ws.receive(timeout=5))[:2] == (WSMsgType.PONG, b"first of all")


async def until(holds: Any, *, seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
