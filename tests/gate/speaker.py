"""An orchestrator's sockets: says yes to a sign-in, echoes what it hears, and does what it is told."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import WSMsgType, web

from tests.gate.serving import serving


class Speaker:
    def __init__(self) -> None:
        self.port = 0
        self.heard: list[Any] = []  # all messages, the sign-ins too
        self.heads: list[dict[str, str]] = []
        self.targets: list[str] = []
        self.closed: list[int | None] = []
        self.open: set[web.WebSocketResponse] = set()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.heads.append(dict(request.headers))
        self.targets.append(request.raw_path)
        if "refuse" in request.raw_path:
            return web.Response(status=403)
        ws = web.WebSocketResponse(protocols=("toy",), max_msg_size=1 << 24)
        await ws.prepare(request)
        self.open.add(ws)
        try:
            async for message in ws:
                if message.type is not WSMsgType.TEXT:
                    continue
                said = json.loads(message.data)
                self.heard.append(said)
                if said.get("type") == "auth":
                    await ws.send_json({"type": "auth_success"})
                elif said.get("say") == "close":
                    await ws.close(code=4001, message=b"as you wish")
                elif said.get("say") == "ping":
                    await ws.ping(b"are you there")
                elif said.get("say") == "flood":
                    while True:
                        await ws.send_str("x" * 65536)
                else:
                    await ws.send_json({"echo": said})
        finally:
            self.open.discard(ws)
            self.closed.append(ws.close_code)
        return ws


@asynccontextmanager
async def speaker() -> AsyncIterator[Speaker]:
    one = Speaker()
    async with serving(one.handle) as one.port:
        yield one
