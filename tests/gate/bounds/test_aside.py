"""Nothing that a caller or an orchestrator sends holds the loop: what is large is worked on beside it, and bounded."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from grants.catalog.levels import Key, Level
from grants.gate.bounds import aside as asides
from grants.gate.bounds.aside import CALLER, LITTLE, aside, loaded
from grants.gate.decision.limits import Limits
from grants.gate.decision.types import Body, Grant, Route
from grants.gate.doors import watchdog
from grants.gate.doors.metrics import LAG
from grants.gate.prefect.kind import PREFECT
from tests.gate.loop import run
from tests.gate.recorder import recorder
from tests.gate.serving import serving
from tests.gate.talk import opened, talking, until
from tests.gate.toy import Papers, bearer, gate, status

UUID = "5b2e3c1e-0000-4000-8000-000000000001"


class Work:
    """How much was read or written at once, and in which thread."""

    def __init__(self) -> None:
        self.loop = 0  # bytes, the most
        self.beside = 0

    def did(self, size: int) -> None:
        if threading.current_thread() is threading.main_thread():
            self.loop = max(self.loop, size)
        else:
            self.beside = max(self.beside, size)


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Iterator[Work]:
    seen, loads, encode = Work(), json.loads, json.JSONEncoder.encode

    def reading(raw: str | bytes, **how: Any) -> Any:
        seen.did(len(raw))
        return loads(raw, **how)

    def writing(self: json.JSONEncoder, body: Any) -> str:
        text = encode(self, body)
        seen.did(len(text))
        return text

    with monkeypatch.context() as patched:
        patched.setattr(json, "loads", reading)
        patched.setattr(json.JSONEncoder, "encode", writing)
        yield seen


def judged(seen: list[tuple[str, bool]]) -> Any:
    """Prefect's kind, whose guards tell in which thread they look at a body."""

    def told(name: str, judge: Any) -> Any:
        def telling(*args: Any) -> Any:
            seen.append((name, threading.current_thread() is threading.main_thread()))
            return judge(*args)

        return telling

    names = ("needs", "asks", "named", "narrow")
    return PREFECT._replace(**{name: told(name, getattr(PREFECT, name)) for name in names})


# The others' largest body is little.
READ = [route for route in PREFECT.routes if route.body is Body.JSON and route.most > LITTLE]


def test_most_routes_look_into_bodies() -> None:
    assert len(READ) > 60


@pytest.mark.parametrize("shape", ["objects", "text", "a list below a key"])
def test_the_largest_body_of_each_route_is_read_beside_the_loop(shape: str, work: Work) -> None:
    seen: list[tuple[str, bool]] = []

    async def story() -> None:
        async with recorder() as rec:
            papers = Papers(rec.port)
            now = datetime.now(UTC)
            end = now + timedelta(hours=1)
            papers.grants[1] = Grant(1, 1, Key("toy", "server", "server"), Level.ADMIN | Level.WORK, now, end, end)
            session = papers.token(None, kind="gate_session")
            head = [
                f"Cookie: __Host-stint-gate={session}",
                "Sec-Fetch-Site: same-origin",
                "Content-Type: application/json",
            ]
            async with gate(papers, kind=judged(seen)) as door:
                for route in READ:
                    answer = await door.ask(route.method, _path(route), *head, body=_largest(shape, route.most))
                    assert status(answer) in (200, 400, 403, 404, 503), (route.name, answer[:300])

    run(story(), seconds=300)
    assert work.loop <= LITTLE
    assert work.beside > 100_000
    assert {name for name, _ in seen} >= {"needs", "asks"}
    assert not any(in_loop for _, in_loop in seen)


def _path(route: Route) -> str:
    segments = (
        UUID if "uuid" in part else "one" if part.startswith("{") else part for part in route.template.split("/")
    )
    return "/".join(segments)


def _largest(shape: str, most: int) -> bytes:
    match shape:
        case "objects":
            return b"[" + b",".join([b"{}"] * min(most // 3 - 1, 49_000)) + b"]"
        case "text":
            return b'{"name":"' + b"a" * (most - 12) + b'"}'
        case _:
            return b'{"flow_run_ids":[' + b",".join([b'"%s"' % UUID.encode()] * min(most // 40, 99_000)) + b"]}"


def test_while_a_large_body_is_read_others_are_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, go_on, parse = threading.Event(), threading.Event(), asides.parse

    def slowly(raw: bytes) -> Any:
        if len(raw) > LITTLE:
            reading.set()
            assert go_on.wait(20)
        return parse(raw)

    monkeypatch.setattr(asides, "parse", slowly)

    async def story() -> None:
        async with recorder() as rec:
            papers = Papers(rec.port)
            token = papers.token(papers.grant(Level.RUN))
            async with gate(papers) as door:
                body = json.dumps({"text": "x" * LITTLE}).encode()
                large = asyncio.create_task(
                    door.ask("POST", "/v9/things/mine", bearer(token), "Content-Type: application/json", body=body)
                )
                try:
                    await until(reading.is_set)
                    assert status(await door.ask("GET", "/v9/me", bearer(token))) == 200
                finally:
                    go_on.set()
                assert status(await large) == 200

    run(story())


def test_a_caller_has_one_thread_and_leaves_the_others_to_others() -> None:
    go_on, begun, most, now = threading.Event(), threading.Event(), 0, 0

    def work(_: object = None) -> None:
        nonlocal most, now
        now += 1
        most = max(most, now)
        begun.set()
        assert go_on.wait(20)
        now -= 1

    async def one(subject: int, what: Any) -> Any:
        CALLER.set(subject)
        return await aside(LITTLE + 1, what)

    async def story() -> None:
        greedy = [asyncio.create_task(one(1, work)) for _ in range(20)]
        try:
            await until(begun.is_set)
            async with asyncio.timeout(10):
                assert await asyncio.create_task(one(2, lambda: "done")) == "done"
                assert await loaded(b'"' + b"a" * LITTLE + b'"') == "a" * LITTLE
            greedy[0].cancel()  # who leaves gives its turn back when its thread is free, not before
            await asyncio.sleep(0.05)
        finally:
            go_on.set()
        done = await asyncio.gather(*greedy, return_exceptions=True)
        assert [type(one) for one in done[:1]] == [asyncio.CancelledError]
        assert set(done[1:]) == {None}
        assert most == 1
        assert not asides._TURNS._queues

    run(story())


def test_messages_count_with_the_bodies_of_their_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        async with (
            talking(limits=Limits(bodies_each=150_000)) as talk,
            opened(talk.door, "/v9/things/mine/talk", talk.token) as first,
            opened(talk.door, "/v9/things/mine/talk", talk.token) as second,
        ):
            callers, judged, frame = (
                talk.door.gateway.callers,
                asyncio.Event(),
                talk.door.gateway.authorizer.decide_on_message,
            )
            await until(lambda: len(talk.there.heard) == 2)
            assert callers._all_bytes == 0

            async def slowly(*args: Any) -> Any:
                await judged.wait()
                return await frame(*args)

            monkeypatch.setattr(talk.door.gateway.authorizer, "decide_on_message", slowly)
            await first.send_str('{"say":"' + "a" * 100_000 + '"}')
            await until(lambda: callers._bytes[1] > 100_000)
            await second.send_str('{"say":"' + "a" * 100_000 + '"}')
            while (message := await second.receive(timeout=5)).type is not message.type.CLOSE:
                pass
            assert (message.data, message.extra) == (1011, "try again")
            judged.set()
            await until(lambda: len(talk.there.heard) == 3)
            await until(lambda: (callers._all_bytes, len(callers._bytes)) == (0, 0))

    run(story())


def test_a_long_answer_of_the_orchestrators_is_read_and_written_beside_the_loop(work: Work) -> None:
    """What the gate asks itself, and what it looks into on its way down."""
    rows = json.dumps([{"id": UUID, "name": "x" * 500}] * 2000).encode()

    async def answer(_request: web.BaseRequest) -> web.Response:
        return web.Response(body=rows, content_type="application/json")

    async def story() -> None:
        async with serving(answer) as port:
            papers = Papers(port)
            token = papers.token(papers.grant(Level.RUN))
            async with gate(papers) as door:
                code, said, size = await door.gateway.served(papers.upstream).orchestrator.json(
                    "POST", "/v9/things/filter"
                )
                assert (code, said, size) == (200, json.loads(rows), len(rows))
                assert work.loop == len(rows), "that was this test's own reading"
                work.loop = 0
                created = await door.ask(
                    "POST", "/v9/things/mine/create_run", bearer(token), "Content-Type: application/json", body=b"{}"
                )
                assert status(created) in (200, 503)

    run(story())
    assert work.loop <= LITTLE
    assert work.beside == len(rows)


def test_a_large_message_on_a_socket_is_read_and_written_beside_the_loop(work: Work) -> None:
    async def story() -> None:
        async with (
            talking() as talk,
            opened(talk.door, "/v9/things/mine/talk", talk.token) as ws,
        ):
            await until(lambda: len(talk.there.heard) == 1)
            await ws.send_str('{"say":["' + "a" * 100_000 + '"]}')
            await until(lambda: len(talk.there.heard) == 2)

    beside = work
    run(story())
    assert beside.beside >= 100_000


def test_a_message_that_is_too_long_closes_the_socket() -> None:
    async def story() -> None:
        async with talking() as talk, opened(talk.door, "/v9/things/mine/talk", talk.token) as ws:
            await until(lambda: len(talk.there.heard) == 1)
            await ws.send_str('"' + "a" * (2 * 1024 * 1024) + '"')
            while (message := await ws.receive(timeout=5)).type is not message.type.CLOSE:
                pass
            assert message.data == 1009
            assert len(talk.there.heard) == 1

    run(story())


def test_what_holds_the_loop_is_told() -> None:
    def late() -> float:
        return sum(
            sample.value
            for metric in LAG.collect()
            for sample in metric.samples
            if sample.name.endswith("_bucket") and sample.labels["le"] == "+Inf"
        )

    async def story() -> None:
        watch = asyncio.create_task(watchdog.watch())
        await asyncio.sleep(watchdog.LOOKS / 2)
        time.sleep(watchdog.LOOKS + 2 * watchdog.HELD)  # noqa: ASYNC251 (that is what it is about)
        await asyncio.sleep(watchdog.LOOKS)
        watch.cancel()
        with suppress(asyncio.CancelledError):
            await watch

    before = late()
    with capture_logs() as logs:
        run(story())
    assert [line["event"] for line in logs].count("loop_held") == 1
    assert late() > before
