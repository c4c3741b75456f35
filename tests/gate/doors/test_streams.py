"""Long bodies both ways in constant memory; whoever is slow is not waited for for ever."""

from __future__ import annotations

import asyncio
import json
import resource
import socket
import time
from pathlib import Path

import pytest

from grants.gate.decision.limits import SMALL, Limits
from grants.gate.decision.types import Body, Drains, Route
from tests.gate.loop import run
from tests.gate.recorder import LARGE, recorder
from tests.gate.toy import RUN, TOY, VIEW, WORK, Papers, bearer, gate, status

MIB = 1 << 20


def held() -> int:
    """Bytes of memory that this process has now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read as Linux tells it")
def test_200_mib_down_and_up(capsys: pytest.CaptureFixture[str]) -> None:
    """The recorder and the caller are in this process as well, and keep nothing."""

    async def story() -> None:
        async with recorder() as rec:
            papers = Papers(rec.port)
            papers.grant(VIEW, "large")
            papers.grant(RUN)
            down, up = papers.token(1), papers.token(2)
            async with gate(papers) as door:
                before, most, began = held(), 0, time.perf_counter()
                reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
                writer.write(f"GET /v9/things/large HTTP/1.1\r\nHost: toy.test\r\n{bearer(down)}\r\n\r\n".encode())
                head = await reader.readuntil(b"\r\n\r\n")
                assert status(head) == 200
                left = LARGE
                while left:
                    left -= len(await reader.read(MIB))
                    most = max(most, held()) if left % 64 == 0 else most
                writer.close()
                took = time.perf_counter() - began
                for chunked in (False, True):
                    reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
                    length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {LARGE}"
                    writer.write(
                        f"POST /v9/things/mine/upload HTTP/1.1\r\nHost: toy.test\r\n{bearer(up)}\r\n{length}\r\n\r\n".encode()
                    )
                    piece = b"%x\r\n%s\r\n" % (MIB, b"x" * MIB) if chunked else b"x" * MIB
                    for _ in range(LARGE // MIB):
                        writer.write(piece)
                        await writer.drain()
                        most = max(most, held())
                    if chunked:
                        writer.write(b"0\r\n\r\n")
                    assert status(await reader.readuntil(b"\r\n\r\n")) == 200
                    writer.close()
                    assert rec.got[-1].body == LARGE
                grown = (most - before) / MIB
                with capsys.disabled():
                    print(f"\n  200 MiB down in {took:.2f} s; the whole process grew by {grown:.0f} MiB")
                assert grown < 50

    run(story())


SLOW = Limits(head=0.5, body=0.5, write=0.5, answer=0.5, idle=0.8)


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET /v9/health HTTP/1.1\r\nHost: to",
        b"POST /v9/things/mine HTTP/1.1\r\nHost: toy.test\r\nTOKEN\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{",
        b"POST /v9/things/mine/upload HTTP/1.1\r\nHost: toy.test\r\nTOKEN\r\nContent-Length: 10\r\n\r\nx",
        b"GET /v9/health HTTP/1.1\r\nHost: toy.test\r\n\r\nGET /v9/health HTTP/1.1\r\nHos",
    ],
    ids=["nothing", "half a head", "half a body", "half a stream", "half a second head"],
)
def test_who_sends_slowly_is_cut(sent: bytes) -> None:
    async def story() -> None:
        async with recorder() as rec:
            papers = Papers(rec.port)
            token = papers.token(papers.grant(RUN))
            async with gate(papers, limits=SLOW) as door:
                began = time.monotonic()
                answer = await door.raw(sent.replace(b"TOKEN", bearer(token).encode()), seconds=8)
                assert time.monotonic() - began < 30
                assert status(answer) in (0, 200, 408)
                if b"POST" in sent:
                    assert status(answer) == 408
                    assert all(got.body == 0 for got in rec.got)
                assert rec.lines <= 1

    run(story())


def test_a_trickle_is_not_progress_for_ever() -> None:
    """A body that is looked into has one time for all of it: a byte now and then does not prolong it."""

    async def story() -> None:
        async with recorder() as rec:
            papers = Papers(rec.port)
            token = papers.token(papers.grant(RUN))
            async with gate(papers, limits=SLOW) as door:
                reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
                head = f"POST /v9/things/mine HTTP/1.1\r\nHost: toy.test\r\n{bearer(token)}\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n"
                writer.write(head.encode())
                answer = asyncio.create_task(reader.read(65536))
                for _ in range(30):
                    if answer.done():
                        break
                    writer.write(b" ")
                    await asyncio.sleep(0.1)
                assert status(await answer) == 408
                assert rec.got == []
                writer.close()

    run(story())


@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize("how", ["time", "revoked"])
def test_a_body_that_is_not_whole_when_the_access_ends_does_nothing(chunked: bool, how: str) -> None:
    """Else a call could be begun in time, and made whenever its last byte is sent."""

    async def story() -> None:
        async with recorder() as rec:
            papers = Papers(rec.port)
            token = papers.token(papers.grant(RUN, seconds=0.5 if how == "time" else 3600))
            async with gate(papers) as door:
                reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
                length = "Transfer-Encoding: chunked" if chunked else "Content-Length: 100"
                head = f"POST /v9/things/mine/upload HTTP/1.1\r\nHost: toy.test\r\n{bearer(token)}\r\n{length}\r\n\r\n"
                writer.write(head.encode())
                answer = asyncio.create_task(reader.read(65536))
                for n in range(30):
                    if answer.done():
                        break
                    writer.write(b"1\r\nx\r\n" if chunked else b"x")
                    await asyncio.sleep(0.1)
                    if n == 4 and how == "revoked":
                        papers.revoke()
                        door.changed()
                else:
                    writer.write(b"0\r\n\r\n" if chunked else b"x" * 70)
                assert status(await answer) == (403 if how == "time" else 401)
                writer.close()
                await asyncio.sleep(0.1)
                assert rec.begun.is_set()
                assert rec.got == []

    run(story())


@pytest.mark.parametrize("what", ["large", "mine"])
def test_who_does_not_read_is_cut(what: str) -> None:
    """A long answer, or many short ones that nobody takes."""

    async def story() -> None:
        async with recorder() as rec:
            papers = Papers(rec.port)
            token = papers.token(papers.grant(VIEW, what))
            async with gate(papers, limits=SLOW) as door:
                line = socket.socket()
                line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                line.setblocking(False)
                loop = asyncio.get_running_loop()
                await loop.sock_connect(line, ("127.0.0.1", door.port))
                one = f"GET /v9/things/{what} HTTP/1.1\r\nHost: toy.test\r\n{bearer(token)}\r\n\r\n".encode()
                with pytest.raises((ConnectionError, TimeoutError)):
                    async with asyncio.timeout(8):
                        for _ in range(1 if what == "large" else 40_000):
                            await loop.sock_sendall(line, one)
                        while True:  # it is cut: writing fails in the end
                            await asyncio.sleep(0.05)
                            await loop.sock_sendall(line, b"\r\n")
                line.close()
                for _ in range(100):
                    if not door.gateway.client.session.connector._acquired:
                        break
                    await asyncio.sleep(0.02)
                assert not door.gateway.client.session.connector._acquired

    run(story())


@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize("path", ["create_run", "note"])
def test_a_body_that_is_longer_than_its_route_takes_does_nothing(path: str, *, chunked: bool) -> None:
    async def story() -> None:
        async with recorder() as rec:
            papers = Papers(rec.port)
            token = papers.token(papers.grant(RUN))
            async with gate(papers) as door:
                for size, code in ((SMALL, 201 if path == "create_run" else 200), (SMALL + 1, 413)):
                    text = b'"%s"' % (b"x" * (size - 2))
                    length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {size}"
                    body = b"%x\r\n%s\r\n0\r\n\r\n" % (size, text) if chunked else text
                    answer = await door.ask(
                        "POST",
                        f"/v9/things/mine/{path}",
                        bearer(token),
                        "Content-Type: application/json",
                        length,
                        body=body,
                    )
                    assert status(answer) == code, answer
                assert [got.body for got in rec.got] == [SMALL]

    run(story())


def test_an_expected_continue_comes_after_the_yes() -> None:
    async def story() -> None:
        async with recorder() as rec:
            papers = Papers(rec.port)
            token = papers.token(papers.grant(RUN))
            async with gate(papers) as door:
                for path, kind in (("mine", "application/json"), ("mine/upload", "text/plain")):
                    reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
                    head = (
                        f"POST /v9/things/{path} HTTP/1.1\r\nHost: toy.test\r\n{bearer(token)}\r\nContent-Type: {kind}\r\n"
                        "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n"
                    )
                    writer.write(head.encode())
                    assert status(await reader.readuntil(b"\r\n\r\n")) == 100
                    writer.write(b"{}")
                    assert status(await reader.readuntil(b"\r\n\r\n")) == 200
                    assert (rec.got[-1].body, rec.got[-1].all("Expect")) == (2, [])
                    writer.close()
                    refused = await door.ask(
                        "POST",
                        f"/v9/things/{path.replace('mine', 'other')}",
                        bearer(token),
                        f"Content-Type: {kind}",
                        "Expect: 100-continue",
                        "Content-Length: 2",
                        body=b"{}",
                    )
                    assert (
                        status(refused.split(b"\r\n\r\n", 1)[1] if refused.startswith(b"HTTP/1.1 100") else refused)
                        == 403
                    )

    run(story())


def test_a_long_answer_ends_with_the_access() -> None:
    """It may still take a little while; a revoked one takes no longer than one that ended."""

    async def story() -> None:
        async with recorder() as rec:
            papers = Papers(rec.port)
            token = papers.token(papers.grant(VIEW, "large", seconds=0.6))
            async with gate(papers, limits=Limits(after_end=0.5)) as door:
                reader, writer = await asyncio.open_connection("127.0.0.1", door.port, limit=4096)
                writer.write(f"GET /v9/things/large HTTP/1.1\r\nHost: toy.test\r\n{bearer(token)}\r\n\r\n".encode())
                began, got = time.monotonic(), 0
                with pytest.raises(ConnectionError):
                    while piece := await reader.read(4096):
                        got += len(piece)
                        await asyncio.sleep(0.005)
                    raise ConnectionError
                assert got < LARGE
                assert time.monotonic() - began < 30
                writer.close()

    run(story())


@pytest.mark.parametrize(("of", "lives"), [("early", True), ("late", False)])
def test_a_long_answer_in_the_drain(of: str, lives: bool) -> None:
    """What a worker still may say of a run is answered to the end; of one that never started, no longer."""
    slow = Route("POST", "/v9/things/{name}/stuck", WORK, body=Body.JSON, drains=Drains.RUN)

    async def story() -> None:
        async with recorder() as rec:
            papers = Papers(rec.port)
            token = papers.token(papers.grant(WORK, seconds=0.6, drain=3600))
            kind = TOY._replace(routes=(*TOY.routes, slow))
            async with gate(papers, kind=kind, limits=Limits(after_end=0.3)) as door:
                reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
                said = json.dumps({"run": of}).encode()
                head = (
                    f"POST /v9/things/mine/stuck HTTP/1.1\r\nHost: toy.test\r\n{bearer(token)}\r\n"
                    f"Content-Type: application/json\r\nContent-Length: {len(said)}\r\n\r\n"
                )
                writer.write(head.encode() + said)
                assert status(await reader.readuntil(b"\r\n\r\n")) == 200
                await reader.readexactly(70_000)
                if lives:
                    with pytest.raises(TimeoutError):
                        await asyncio.wait_for(reader.read(1), timeout=1.5)
                else:
                    with pytest.raises((ConnectionError, EOFError)):
                        await asyncio.wait_for(reader.readexactly(1), timeout=5)
                writer.close()

    run(story())
