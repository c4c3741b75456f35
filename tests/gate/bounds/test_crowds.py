"""Nobody takes what others wait for: not a crowd of strangers, nor one caller with many tokens, calls or slow eyes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from ipaddress import ip_network
from typing import Any, Self

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from grants.gate.bounds.addresses import Addresses
from grants.gate.decision.limits import RESERVE, Limits, limits_for
from grants.gate.decision.types import Lookup
from tests.gate.loop import run
from tests.gate.recorder import recorder
from tests.gate.serving import serving
from tests.gate.talk import until
from tests.gate.toy import RUN, TOY, Lookups, Papers, bearer, gate, status

HEAD = b"GET /v9/me HTTP/1.1\r\nHost: toy.test\r\n"
type Open = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Crowd:
    """Connections of one test."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._lines: list[Open] = []

    async def connect(self, sent: bytes = b"") -> Open:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._lines.append((reader, writer))
        writer.write(sent)
        return reader, writer

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for _, writer in self._lines:
            writer.transport.abort()
        for _, writer in self._lines:
            with suppress(OSError):
                await writer.wait_closed()


async def closed(one: Open) -> bool:
    """Whether the gate has closed it, or does within a moment; nothing that it says is waited for."""
    with suppress(TimeoutError, ConnectionError):
        async with asyncio.timeout(2):
            while await one[0].read(65536):
                pass
            return True
        return False
    return one[0].at_eof() or one[0].exception() is not None


def called(token: str) -> bytes:
    return HEAD + bearer(token).encode() + b"\r\n\r\n"


def test_an_idle_strangers_place_is_taken_by_who_comes() -> None:
    async def story() -> None:
        async with recorder() as rec:
            papers = Papers(rec.port)
            tokens = [papers.token(papers.grant(RUN, subject=1 + n // 2)) for n in range(8)]
            token = tokens[0]
            async with (
                gate(papers, limits=Limits(connections=8, connections_each=8)) as door,
                Crowd(door.port) as crowd,
            ):
                idle = [await crowd.connect(HEAD if n % 2 else b"") for n in range(8)]
                known = [await crowd.connect(called(one)) for one in tokens]
                for one in known:
                    assert status(await one[0].readuntil(b"}")) == 200
                assert all([await closed(one) for one in idle])
                late = await crowd.connect(called(token))
                assert await closed(late), "all places are of people who are known"
                known[0][1].write(called(token))
                assert status(await known[0][0].readuntil(b"}")) == 200

    run(story())


def test_one_person_has_a_share_of_what_strangers_may_not_take() -> None:
    async def story() -> None:
        async with recorder() as rec:
            papers = Papers(rec.port)
            greedy, honest = (papers.token(papers.grant(RUN, subject=subject)) for subject in (1, 2))
            async with (
                gate(papers, limits=Limits(connections=8, connections_each=8)) as door,
                Crowd(door.port) as crowd,
            ):
                kept = []
                for _ in range(8):
                    kept.append(await crowd.connect(called(greedy)))
                    assert status(await kept[-1][0].readuntil(b"}")) == 200
                other = await crowd.connect(called(honest))
                assert status(await other[0].readuntil(b"}")) == 200
                assert [await closed(one) for one in kept[:3]] == [False, False, True]

    run(story())


def test_strangers_have_calls_by_their_address() -> None:
    async def story() -> None:
        proxies = Addresses([ip_network("127.0.0.0/8")])
        async with recorder() as rec, gate(Papers(rec.port), limits=Limits(calls_each=1), addresses=proxies) as door:

            async def health(address: str) -> int:
                return status(await door.ask("GET", "/v9/health", f"X-Forwarded-For: {address}"))

            with door.gateway.callers.call("198.51.100.7"):
                assert await health("198.51.100.7") == 429
                assert await health("198.51.100.8") == 200
            assert await health("198.51.100.7") == 200
            assert not door.gateway.callers._calls

    run(story())


def test_one_address_has_a_share_unless_it_is_a_proxys() -> None:
    async def story(addresses: Addresses | None) -> list[bool]:
        async with recorder() as rec:
            papers = Papers(rec.port)
            token = papers.token(papers.grant(RUN))
            async with (
                gate(papers, limits=Limits(connections_each=3), addresses=addresses) as door,
                Crowd(door.port) as crowd,
            ):
                lines = [await crowd.connect(called(token)) for _ in range(5)]
                heard = []
                for one in lines:
                    try:
                        heard.append(status(await one[0].readuntil(b"}")) == 200)
                    except (asyncio.IncompleteReadError, ConnectionError):
                        heard.append(False)
                return heard

    assert run(story(None)) == [True] * 3 + [False] * 2
    assert run(story(Addresses([ip_network("127.0.0.0/8")]))) == [True] * 5


@pytest.mark.parametrize(("code", "sent"), [
    (401, b"GET /v9/me HTTP/1.1\r\nHost: toy.test\r\n\r\n"),
    (401, b"GET /v9/me HTTP/1.1\r\nHost: toy.test\r\nAuthorization: Bearer nobody's\r\n\r\n"),
    (404, b"GET /v9/nothing/here HTTP/1.1\r\nHost: toy.test\r\n\r\n"),
    (400, b"GET /v9/me HTTP/1.1\r\nHost: other.test\r\n\r\n"),
    (302, b"GET /page HTTP/1.1\r\nHost: toy.test\r\nAccept: text/html\r\n\r\n"),
])  # fmt: skip
def test_a_stranger_who_is_refused_keeps_no_line(code: int, sent: bytes) -> None:
    async def story() -> None:
        async with recorder() as rec, gate(Papers(rec.port)) as door, Crowd(door.port) as crowd:
            async with asyncio.timeout(5):
                reader, _ = await crowd.connect(sent)
                assert status(await reader.read()) == code

    run(story())


def test_who_is_known_and_refused_keeps_the_line() -> None:
    async def story() -> None:
        async with recorder() as rec:
            papers = Papers(rec.port)
            token = papers.token(papers.grant(RUN))
            async with gate(papers) as door, Crowd(door.port) as crowd:
                reader, writer = await crowd.connect()
                for target, code in ((b"/v9/things/others", 403), (b"/v9/me", 200)):
                    writer.write(
                        b"GET " + target + b" HTTP/1.1\r\nHost: toy.test\r\n" + bearer(token).encode() + b"\r\n\r\n"
                    )
                    assert status(await reader.readuntil(b"}")) == code

    run(story())


def test_a_stranger_stays_no_longer_than_a_head_takes() -> None:
    """Not even after an answer that anybody gets."""

    async def story() -> None:
        async with (
            recorder() as rec,
            gate(Papers(rec.port), limits=Limits(head=0.3, idle=60)) as door,
            Crowd(door.port) as crowd,
        ):
            reader, _ = await crowd.connect(b"GET /v9/health HTTP/1.1\r\nHost: toy.test\r\n\r\n")
            async with asyncio.timeout(5):
                with suppress(ConnectionError):
                    assert status(await reader.read()) == 200

    run(story())


class Orchestrator:
    """Answers who asks for much with more than a kernel keeps, and counts those that have not read it."""

    def __init__(self) -> None:
        self.port = self.now = self.most = self.answered = 0

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        await request.read()
        if not request.path.endswith("/much"):
            return web.json_response({})
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            answer = web.StreamResponse()
            answer.content_length = 1024 << 16
            await answer.prepare(request)
            for _ in range(1024):
                await answer.write(b"x" * 65536)
        finally:
            self.now -= 1
            self.answered += 1
        return answer


@asynccontextmanager
async def orchestrator() -> AsyncIterator[Orchestrator]:
    one = Orchestrator()
    async with serving(one.handle) as one.port:
        yield one


def test_a_hundred_who_never_read_wait_for_themselves() -> None:
    async def story() -> None:
        async with orchestrator() as there:
            papers = Papers(there.port)
            tokens = [papers.token(papers.grant(RUN, "much")) for _ in range(4)]
            honest = papers.token(papers.grant(RUN, subject=2))
            limits = Limits(turns_each=5, turn=1, write=60)
            async with gate(papers, limits=limits) as door, Crowd(door.port) as crowd:
                greedy = []
                for n in range(100):
                    ask = (
                        b"GET /v9/things/much HTTP/1.1\r\nHost: toy.test\r\n"
                        + bearer(tokens[n % 4]).encode()
                        + b"\r\n\r\n"
                    )
                    greedy.append(await crowd.connect(ask))
                    greedy[-1][1].transport.pause_reading()
                await until(lambda: there.now == 5)
                for _ in range(10):
                    assert status(await door.ask("GET", "/v9/things/mine", bearer(honest))) == 200
                assert there.most == 5
                waiting = greedy[50]
                waiting[1].transport.resume_reading()
                head = await waiting[0].readuntil(b"\r\n\r\n")
                assert status(head) == 429
                assert b"Retry-After" in head
                for _, writer in greedy:
                    writer.transport.abort()
                await until(lambda: not door.gateway.callers._turns._queues and not door.gateway.callers._calls)

    run(story())


def test_one_callers_calls_and_bodies_are_counted() -> None:
    async def story() -> None:
        async with recorder() as rec:
            papers = Papers(rec.port)
            tokens = [papers.token(papers.grant(RUN, subject=subject)) for subject in (1, 1, 2)]
            async with (
                gate(papers, limits=Limits(calls_each=2, bodies_each=5000, bodies=8000)) as door,
                Crowd(door.port) as crowd,
            ):
                callers = door.gateway.callers

                async def begin(token: str, size: int) -> Open:
                    head = f"POST /v9/things/mine HTTP/1.1\r\nHost: toy.test\r\n{bearer(token)}\r\nContent-Type: application/json\r\n"
                    return await crowd.connect(f"{head}Content-Length: {size + 1}\r\n\r\n".encode() + b" " * size)

                async def refused(one: Open) -> int:
                    return status(await one[0].readuntil(b"}"))

                first = await begin(tokens[0], 4000)
                await until(lambda: callers._all_bytes == 4000)
                assert await refused(await begin(tokens[1], 2000)) == 429, "another token is the same caller"
                third = await begin(tokens[2], 3900)
                await until(lambda: callers._all_bytes == 7900)
                assert await refused(await begin(tokens[0], 500)) == 503, "all that there may be"
                second = await begin(tokens[1], 0)
                await until(lambda: callers._calls[1] == 2)
                assert status(await door.ask("GET", "/v9/me", bearer(tokens[0]))) == 429
                for one in (first, second, third):
                    one[1].write(b" ")
                    assert status(await one[0].readuntil(b"}")) == 200
                await until(lambda: (callers._all_bytes, len(callers._bytes), len(callers._calls)) == (0, 0, 0))

    run(story())


class Names(Lookups):
    """Counts what it is asked for, and by how many at once."""

    names = now = most = 0

    async def resolve(self, wanted: Any) -> Any:
        Names.names += len(wanted)
        Names.now += 1
        Names.most = max(Names.most, Names.now)
        await asyncio.sleep(0.01)
        Names.now -= 1
        return await super().resolve(wanted)


def test_who_is_granted_nothing_causes_few_lookups_and_others_one_call_of_many_at_a_time() -> None:
    def needs(_match: Any, body: Any) -> Any:
        return tuple(Lookup("thing", str(n)) for n in range(body["things"]))

    async def story() -> None:
        async with recorder() as rec:
            papers = Papers(rec.port)
            papers.active.add(2)
            tokens = {
                "none": papers.token(papers.grant(RUN, "0", seconds=-1, subject=2)),
                "some": papers.token(papers.grant(RUN, "0")),
                "draining": papers.token(papers.grant(RUN, "0", seconds=-1, drain=60, subject=3)),
            }
            async with gate(papers, kind=TOY._replace(needs=needs, lookups=Names)) as door:

                async def ask(who: str, things: int) -> bytes:
                    Names.names = Names.most = 0
                    body = json.dumps({"things": things}).encode()
                    head = bearer(tokens[who]), "Content-Type: application/json"
                    return await door.ask("POST", "/v9/things/mine", *head, body=body)

                refused = await ask("none", 11)
                assert (status(refused), Names.names) == (403, 0)
                assert (status(await ask("none", 10)), Names.names) == (403, 10)
                assert (status(await ask("draining", 11)), Names.names) == (403, 11)
                assert (status(await ask("some", 11)), Names.names) == (403, 11)
                assert set(map(status, await asyncio.gather(*(ask("some", 11) for _ in range(8))))) == {403}
                assert Names.most == 1
                assert not door.gateway.authorizer._turns._queues

    run(story())


def test_places_are_made_of_files() -> None:
    for files in (256, 1024, 20_000, 1 << 20):
        limits = limits_for(files, 2000)
        assert 2 * limits.connections + RESERVE <= files
        assert limits.sockets < limits.connections
        assert limits.sockets_other < limits.sockets_each < limits.sockets
        assert limits.connections_each < limits.connections


def asked(peer: str, *said: str) -> Any:
    headers = [("X-Forwarded-For", one) for one in said]
    request = make_mocked_request("GET", "/", headers=CIMultiDict(headers))
    return request.clone(remote=peer)


@pytest.mark.parametrize(("peer", "said", "place"), [
    ("192.0.2.1", ("198.51.100.7",), "192.0.2.1"),  # no proxy of ours: anybody can write that
    ("10.0.0.1", (), "10.0.0.1"),
    ("10.0.0.1", ("198.51.100.7",), "198.51.100.7"),
    ("10.0.0.1", ("1.1.1.1, 198.51.100.7",), "198.51.100.7"),
    ("10.0.0.1", ("1.1.1.1", "198.51.100.7, 10.0.0.9"), "198.51.100.7"),
    ("10.0.0.1", ("198.51.100.7, nonsense",), "10.0.0.1"),
    ("::ffff:10.0.0.1", ("198.51.100.7",), "198.51.100.7"),
    ("10.0.0.1", ("2001:db8:1:2:3:4:5:6",), "2001:db8:1:2::/64"),
    ("2001:db8:1:2::9", (), "2001:db8:1:2::/64"),
])  # fmt: skip
def test_where_a_caller_comes_from(peer: str, said: tuple[str, ...], place: str) -> None:
    assert Addresses([ip_network("10.0.0.0/8")]).of(asked(peer, *said)) == place
