"""An orchestrator of bytes: records each head as it came, and answers as its path says. Nothing of aiohttp is in it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple
from urllib.parse import unquote

LARGE = 200 * 1024 * 1024


class Got(NamedTuple):
    line: bytes
    headers: list[tuple[str, str]]
    body: int  # bytes
    text: bytes  # its first ones

    @property
    def target(self) -> str:
        return self.line.split(b" ")[1].decode("latin-1")

    def all(self, name: str) -> list[str]:
        return [value for one, value in self.headers if one.lower() == name.lower()]


class Recorder:
    def __init__(self) -> None:
        self.got: list[Got] = []
        self.lines = 0  # connections that are open
        self.port = 0
        self.begun = asyncio.Event()  # a body that is coming

    async def _line(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.lines += 1
        try:
            while await self._one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.lines -= 1
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return False
        line, *fields = head[:-4].split(b"\r\n")
        headers = []
        for field in fields:
            name, _, value = field.decode("latin-1").partition(":")
            headers.append((name, value.strip()))
        body, text = await self._body(reader, {name.lower(): value for name, value in headers})
        self.got.append(Got(line, headers, body, text))
        return await self._answer(self.got[-1], writer)

    async def _body(self, reader: asyncio.StreamReader, fields: dict[str, str]) -> tuple[int, bytes]:
        size, text = 0, b""
        if fields.get("transfer-encoding") == "chunked":
            while length := int(await reader.readline(), 16):
                self.begun.set()
                while length:
                    piece = await reader.read(min(length, 1 << 16))
                    if not piece:
                        raise ConnectionError
                    length, size, text = length - len(piece), size + len(piece), (text + piece)[:4096]
                await reader.readline()
            await reader.readline()
        else:
            left = int(fields.get("content-length", 0))
            while left:
                self.begun.set()
                piece = await reader.read(min(left, 1 << 16))
                if not piece:
                    raise ConnectionError
                left, size, text = left - len(piece), size + len(piece), (text + piece)[:4096]
        return size, text

    async def _answer(self, got: Got, writer: asyncio.StreamWriter) -> bool:  # noqa: C901, PLR0912 (a table)
        def say(status: str, body: bytes, *more: str) -> None:
            head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Content-Type: application/json", *more]
            writer.write(
                "\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + (b"" if got.line.startswith(b"HEAD") else body)
            )

        path, _, query = got.target.partition("?")
        match path.rpartition("/")[2]:
            case "silent":
                await asyncio.sleep(3600)
            case "garbage":
                writer.write(b"\x00\x01 what\r\n\r\n")
                return False
            case "gone":
                return False
            case "half":
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * 70_000)
                await writer.drain()
                return False
            case "stuck":
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * 70_000)
                await asyncio.sleep(3600)
            case "large":
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nContent-Type: text/plain\r\n\r\n" % LARGE)
                for _ in range(LARGE // (1 << 20)):
                    writer.write(b"x" * (1 << 20))
                    await writer.drain()
            case "away":
                say("307 Temporary Redirect", b"", f"Location: {unquote(query.removeprefix('to='))}")
            case "locked":
                say("401 Unauthorized", b"{}", "WWW-Authenticate: Basic")
            case "page":
                body = b"<h1>hello</h1>"
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nSet-Cookie: theirs=1\r\nServer: uvicorn\r\n"
                    b'Access-Control-Allow-Origin: *\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nETag: "a"\r\n'
                    b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
                )
            case "failed":
                say("500 Internal Server Error", b'{"exception_message":"x"}')
            case "create_run":
                say("201 Created", b'{"id":"5b2e3c1e-0000-4000-8000-000000000001","name":"brave-cat"}')
            case _:
                say("200 OK", b'{"ok":true}')
        await writer.drain()
        return True


@asynccontextmanager
async def recorder() -> AsyncIterator[Recorder]:
    rec = Recorder()
    server = await asyncio.start_server(rec._line, "127.0.0.1", 0)
    rec.port = server.sockets[0].getsockname()[1]
    try:
        yield rec
    finally:
        server.close()
        if hasattr(server, "close_clients"):
            server.close_clients()
