"""Every route, every escalation, everybody: at the gate as it runs, with a recorder between it and a real Prefect.

The recorder knows a caller's request by its User-Agent, which goes up with it; what the gate asks for itself has none.
It writes the first down and answers it with nothing, and takes the second to Prefect: nothing is ever changed there.
"""

from __future__ import annotations

import asyncio
import json
import posixpath
import random
import re
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from tests.cast import Cast
from tests.gate.doors.test_process import url_of_role
from tests.gate.loop import run
from tests.gate.prefect import seeded
from tests.gate.prefect.escalation_calls import MALFORMED, MISSING, PASS_MORE
from tests.gate.prefect.escalations import ESCALATIONS
from tests.gate.prefect.matrix import CALLS, PRINCIPALS, Call
from tests.gate.prefect.world import AUTH
from tests.gate.process import Process
from tests.gate.raw_targets import raw_targets
from tests.real.prefect import PrefectServer, free_port, running_prefect

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("recorder")]

AT_ONCE = 16
READS = re.compile(r"GET .*|POST .*/(filter|count|history|next-runs|count-deployments|count-task-runs|counts)")
ANYBODYS = {"/api/health", "/api/ready", "/api/admin/storage"}  # to read
# What the gate may answer itself, by an empty list or by what it has asked Prefect for: lists, and these.
ITSELF = {
    "/api/deployments/{id:uuid}/work_queue_check",
    "/api/automations/related-to/{resource_id}",
    "/api/flow_runs/{id:uuid}/graph-v2",
}


class Try(NamedTuple):
    """One call by somebody. Its `tag` is its User-Agent."""

    tag: str
    principal: str
    call: Call

    @property
    def status(self) -> int:
        """By hand: what the caller is to be answered."""
        may = self.call.may
        if may != "public" and self.principal == "none":
            return 401
        if may == MALFORMED:
            return 400
        if self.principal not in PASS_MORE[may]:
            return 403
        return 404 if may == MISSING else 101 if self.call.method == "WS" else 200


class Recorder:
    """Writes down whose requests come, and takes the gate's own to Prefect, each once: nothing changes there."""

    def __init__(self, prefect: str, run: str) -> None:
        self.port, self._run = 0, run
        self.arrived: Counter[str] = Counter()
        self.asked: Counter[str] = Counter()  # by the gate itself
        self.targets: list[tuple[str, str]] = []
        self.strange: list[str] = []  # requests with anything of a caller's identity
        self._prefect = prefect.removesuffix("/api")
        self._answers: dict[tuple[str, str, bytes], tuple[int, bytes]] = {}

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        if tag := request.headers.get("User-Agent"):
            return await self._record(request, tag)
        asked = request.method, request.raw_path, body
        self.asked[f"{request.method} {request.path}"] += 1
        if asked not in self._answers:
            self._answers[asked] = await self._ask(request, body)
        status, answer = self._answers[asked]
        return web.Response(status=status, body=answer, content_type="application/json")

    async def _record(self, request: web.BaseRequest, tag: str) -> web.StreamResponse:
        self.arrived[tag] += 1
        self.targets.append((request.method, request.raw_path))
        if {"cookie", "origin", "x-api-key", "x-forwarded-user"} & {name.lower() for name in request.headers} or (
            "Bearer" in request.headers.get("Authorization", "")
        ):
            self.strange.append(tag)
        if "Upgrade" not in request.headers:
            # A run or an artifact says whose it is: the answer is compared with what was asked.
            deployment = request.path.split("/")[3] if request.path.count("/") > 2 else ""
            return web.json_response({"deployment_id": deployment, "flow_run_id": self._run})
        socket = web.WebSocketResponse(protocols=("prefect",))
        await socket.prepare(request)
        async for _ in socket:
            pass
        return socket

    async def _ask(self, request: web.BaseRequest, body: bytes) -> tuple[int, bytes]:
        head = {name: request.headers[name] for name in ("Authorization", "Content-Type") if name in request.headers}
        async with (
            aiohttp.ClientSession() as session,
            session.request(
                request.method, URL(self._prefect + request.raw_path, encoded=True), headers=head, data=body or None
            ) as answer,
        ):
            return answer.status, await answer.read()


@asynccontextmanager
async def recording(rec: Recorder) -> AsyncIterator[Recorder]:
    server = web.Server(rec.handle)
    listening = await asyncio.get_running_loop().create_server(server, "127.0.0.1", rec.port)
    try:
        yield rec
    finally:
        listening.close()
        await server.shutdown(1)


class Live(NamedTuple):
    """The gate as it runs, and what is before and behind it."""

    gate: Process
    rec: Recorder
    url: str
    held: seeded.Held

    async def headers(self) -> dict[str, Mapping[str, str]]:
        """Of everybody, once the gate is there and those with a browser are in."""
        await asyncio.to_thread(self.gate.start)
        headers = await asyncio.to_thread(seeded.entered, self.held, self.url)
        self.rec.arrived.clear()  # of the start
        self.rec.targets.clear()
        return headers


class Prefect(NamedTuple):
    server: PrefectServer
    ids: Mapping[str, str]


@pytest.fixture(scope="module")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prefect]:
    home = tmp_path_factory.mktemp("recorded")
    with running_prefect(home, PREFECT_SERVER_API_AUTH_STRING=AUTH, PREFECT_API_AUTH_STRING=AUTH) as server:
        yield Prefect(server, seeded.seed(server, AUTH))


@pytest.fixture
def live(commits: None, cast: Cast, prefect: Prefect, tmp_path: Path) -> Iterator[Live]:
    rec, port = Recorder(prefect.server.url, prefect.ids["flow_run"]), free_port()
    rec.port, host = free_port(), f"127.0.0.1:{port}"
    seeded.serve(cast.connection, host=host, url=f"http://127.0.0.1:{rec.port}/api", secret_ref="env:PREFECT_AUTH")
    held = seeded.hold(cast, prefect.ids)
    gate = Process(tmp_path, url_of_role("stint_gate"), port, PREFECT_AUTH=AUTH)
    try:
        yield Live(gate, rec, f"http://{host}", held)
    finally:
        if gate.process is not None:
            gate.stop(signal.SIGKILL)


async def _tried(one: Try, session: aiohttp.ClientSession, url: str, headers: Mapping[str, str]) -> int:
    call = one.call
    at, head = URL(url + call.path.replace(" ", "%20"), encoded=True), {**headers, "User-Agent": one.tag}
    if call.method == "WS":
        try:
            async with session.ws_connect(at, headers=head, protocols=("prefect",)):
                return 101
        except aiohttp.WSServerHandshakeError as error:
            return error.status
    body = None
    if call.method in ("POST", "PUT", "PATCH"):
        body, head["Content-Type"] = json.dumps(call.body).encode(), "application/json"
    async with session.request(call.method, at, headers=head, allow_redirects=False, data=body) as answer:
        await answer.read()
        return answer.status


async def _all(tries: list[Try], url: str, headers: Mapping[str, Mapping[str, str]]) -> dict[str, int]:
    turn, answers = asyncio.Semaphore(AT_ONCE), {}
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:

        async def one(this: Try) -> None:
            async with turn:
                answers[this.tag] = await _tried(this, session, url, headers[this.principal])

        await asyncio.gather(*map(one, tries))
    return answers


def _tries(ids: Mapping[str, str]) -> list[Try]:
    calls = [(f"route/{number}", call) for number, call in enumerate(CALLS)]
    calls += [(f"escalation/{number}", call) for number, call in enumerate(ESCALATIONS)]
    return [Try(f"{name}/{principal}", principal, call.filled(ids)) for name, call in calls for principal in PRINCIPALS]


def _wrong(one: Try, status: int, arrived: int) -> str:
    """What is not as it should be; "" when all is well."""
    came = one.status in (101, 200)
    itself = one.call.may == "list" or one.call.template in ITSELF or one.call.may == "secret"
    if status != one.status or not (arrived == came or (came and arrived == 0 and itself and one.principal != "admin")):
        return f"{one.principal}: {one.call.method} {one.call.path} {one.call.body}: {status}, {arrived} arrived"
    return ""


def test_exactly_the_granted_calls_arrive(live: Live, prefect: Prefect, capsys: pytest.CaptureFixture[str]) -> None:
    tries, rec = _tries(prefect.ids), live.rec

    async def story() -> dict[str, int]:
        async with recording(rec):
            return await _all(tries, live.url, await live.headers())

    answers = run(story(), seconds=240)
    wrong = [said for one in tries if (said := _wrong(one, answers[one.tag], rec.arrived[one.tag]))]
    assert not wrong, f"{len(wrong)} of {len(tries)}:\n" + "\n".join(wrong[:60]) + live.gate.tail()
    assert set(rec.arrived) <= {one.tag for one in tries}
    assert rec.strange == []
    assert [asked for asked in rec.asked if not READS.fullmatch(asked)] == []
    refused = [one for one in tries if one.status not in (101, 200)]
    with capsys.disabled():
        print(f"\n  {len(tries)} calls: {len(refused)} refused, 0 of them arrived; {rec.arrived.total()} arrived")


# Targets as attackers write them.


async def _bytes(port: int, requests: list[bytes]) -> list[bytes]:
    """Each on a connection of its own, some at a time; what was answered until the gate closed it."""
    turn = asyncio.Semaphore(AT_ONCE)

    async def one(request: bytes) -> bytes:
        async with turn:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            heard = b""
            try:
                writer.write(request)
                async with asyncio.timeout(3):  # a target that ends the head early leaves a request that never does
                    while piece := await reader.read(65536):
                        heard += piece
            except (TimeoutError, ConnectionError):
                pass
            finally:
                writer.close()
            return heard

    return list(await asyncio.gather(*map(one, requests)))


def test_a_thousand_targets(live: Live, prefect: Prefect, capsys: pytest.CaptureFixture[str]) -> None:
    """By who holds `manage` on one deployment: whatever is aimed at the other pool, or at the pool, stays here."""
    ids, rec, dice = prefect.ids, live.rec, random.Random(5)
    own, foreign = (
        ids["sibling_deployment"],
        [ids[name] for name in ("foreign_deployment", "foreign_flow_run", "block")],
    )
    aims = ["/api/work_pools/pool-a", "/api/work_pools/pool-b", f"/api/deployments/{own}/../{foreign[0]}"]
    aims += [f"/api/deployments/{own}", f"/api/deployments/{foreign[0]}", f"/api/flow_runs/{foreign[1]}"]
    aims += [f"/api/block_documents/{foreign[2]}", "/api/variables/name/colour", "/api/admin/storage"]
    targets = raw_targets(aims)
    assert len(targets) > 1000

    async def story() -> list[bytes]:
        async with recording(rec):
            head = (await live.headers())["sibling_deployment"]
            lines = [f"{name}: {value}\r\n" for name, value in head.items()]
            more = f"Host: {live.url.removeprefix('http://')}\r\nUser-Agent: x\r\nX-Forwarded-User: root\r\n"
            fields = (more + "".join(lines) + "Connection: close\r\n\r\n").encode()
            return await _bytes(
                live.gate.port,
                [
                    b"%s %s HTTP/1.1\r\n%s" % (dice.choice([b"GET", b"GET", b"DELETE"]), target, fields)
                    for target in targets
                ],
            )

    answers = run(story(), seconds=240)
    for method, target in rec.targets:
        path = unquote(target.partition("?")[0])
        assert posixpath.normpath(path) == path.rstrip("/") or path == "/", target
        if path.lower().startswith("/api"):
            own_one = path.lower() == f"/api/deployments/{own}"
            assert own_one or (method == "GET" and path in ANYBODYS), (method, target)
        else:
            assert method == "GET", target  # the UI's files
    assert rec.strange == []
    codes = Counter(int(answer.split(b" ")[1]) for answer in answers if answer)
    assert [code for code in codes if code >= 500] == []
    assert codes[200] == len(rec.targets) > 0
    with capsys.disabled():
        print(f"\n  {len(targets)} targets: {dict(sorted(codes.items()))}; {len(rec.targets)} arrived, all granted")
