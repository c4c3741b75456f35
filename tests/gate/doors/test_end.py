"""The end, at the gate as it runs: no worker runs, nobody notifies, and nothing passes all the same."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import aiohttp
import pytest
from aiohttp import web

from grants.tokens import issue
from tests.cast import Cast
from tests.conftest import connect
from tests.gate.doors.test_process import ANYBODYS, granted, served
from tests.gate.loop import run
from tests.gate.process import Process
from tests.gate.serving import serving
from tests.gate.speaker import Speaker
from tests.real.prefect import free_port
from tests.waiting import until

AHEAD = 2.5  # seconds before the end when a story begins


def _sql(*statements: str) -> None:
    with connect("superuser", autocommit=True) as superuser:
        for statement in statements:
            superuser.execute(statement)


def _definitions(like: str) -> list[str]:
    with connect("superuser", autocommit=True) as superuser:
        rows = superuser.execute(
            "SELECT pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND prosrc ~ %s",
            [like],
        ).fetchall()
    assert rows, like
    return [definition for (definition,) in rows]


@pytest.fixture
def shifted(commits: None) -> Iterator[Callable[[timedelta], None]]:
    """The database's clock, ahead of its machine's, and going."""
    kept = _definitions("stint_clock")

    def ahead(by: timedelta) -> None:
        (clock,) = kept
        _sql(clock.replace("clock_timestamp()", f"(clock_timestamp() + interval '{by.total_seconds()} seconds')"))

    yield ahead
    _sql(*kept)


@pytest.fixture
def silenced(commits: None) -> Iterator[None]:
    """Nothing of this database's notifies anybody."""
    kept = _definitions("pg_notify")
    _sql(*(definition.replace("pg_notify", "concat") for definition in kept))
    yield
    _sql(*kept)


@asynccontextmanager
async def orchestrator(port: int) -> AsyncIterator[Speaker]:
    """Answers each request with {}, and speaks on sockets."""
    speaker = Speaker()

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        return await speaker.handle(request) if "Upgrade" in request.headers else web.json_response({})

    async with serving(handle, port):
        yield speaker


class Calls:
    """What callers were answered without a pause, and when each had asked."""

    def __init__(self, gate: Process, token: str) -> None:
        self.url, self.headers = f"http://127.0.0.1:{gate.port}", {"Authorization": f"Bearer {token}"}
        self.answers: list[tuple[datetime, int]] = []

    async def until(self, end: datetime) -> None:
        async with aiohttp.ClientSession(headers=self.headers) as session:
            while (asked := datetime.now(UTC)) < end:
                with suppress(aiohttp.ClientError):
                    async with session.get(self.url + ANYBODYS) as answer:
                        self.answers.append((asked, answer.status))
                await asyncio.sleep(0.002)

    async def socket(self) -> tuple[datetime, int | None]:
        """When a socket that was opened before the end was closed, and with which code."""
        async with (
            aiohttp.ClientSession(headers=self.headers) as session,
            session.ws_connect(self.url + "/api/events/out", protocols=("prefect",)) as ws,
        ):
            await ws.send_str(json.dumps({"type": "auth", "token": self.headers["Authorization"].split()[1]}))
            assert json.loads((await ws.receive(5)).data)["type"] == "auth_success"
            message = await ws.receive(30)
            assert message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED), message
            return datetime.now(UTC), ws.close_code


@pytest.mark.usefixtures("commits")
@pytest.mark.parametrize("killed", [False, True], ids=["running on", "killed before the end"])
def test_nothing_passes_after_the_end(
    cast: Cast, shifted: Callable[[timedelta], None], tmp_path: Path, capsys: pytest.CaptureFixture[str], killed: bool
) -> None:
    port = free_port()
    grant, issued = granted(cast)

    async def story(gate: Process, calls: Calls) -> datetime:
        async with orchestrator(port) as speaker:
            until_known = asyncio.to_thread(until, lambda: gate.status(ANYBODYS, issued.token) == 200, gate.tail)
            await until_known
            ahead = grant.ends_at - datetime.now(UTC) - timedelta(seconds=AHEAD)
            await asyncio.to_thread(shifted, ahead)
            end = grant.ends_at - ahead  # by this machine's clock
            callers = [asyncio.create_task(calls.until(end + timedelta(seconds=3))) for _ in range(4)]
            if killed:
                await asyncio.sleep(AHEAD - 0.3)
                await asyncio.to_thread(gate.stop, signal.SIGKILL)
                await asyncio.to_thread(gate.start)
            else:
                closed, code = await calls.socket()
                assert code == 1008
                assert timedelta(0) <= closed - end < timedelta(seconds=5)
                assert [one for one in speaker.closed if one is None] == []
            await asyncio.gather(*callers)
            return end

    with served(cast, SimpleNamespace(port=port), tmp_path) as gate:
        calls = Calls(gate, issued.token)
        end = run(story(gate, calls))
    passed = [asked for asked, status in calls.answers if status == 200]
    after = {status for asked, status in calls.answers if asked >= end}
    assert passed
    assert max(passed) < end, "the first call after the end, and every one after it, is refused"
    assert after <= {401, 403}
    assert after or killed
    with capsys.disabled():
        print(
            f"\n  the last call that passed was asked {(end - max(passed)).total_seconds() * 1000:.0f} ms before the end"
        )


@pytest.mark.usefixtures("commits", "silenced")
def test_revoked_and_nobody_told(cast: Cast, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    port = free_port()
    grant, _ = granted(cast)

    with served(cast, SimpleNamespace(port=port), tmp_path) as gate, connect("stint_gate", autocommit=True) as heard:
        heard.execute("LISTEN stint")
        took = []
        for _ in range(5):
            issued = issue.issue(grant, by=cast.ada)

            def status(token: str = issued.token) -> int:
                return gate.status(ANYBODYS, token)  # 503 who is known: nothing is behind

            until(lambda: status() == 503, gate.tail)
            issue.revoke(issued.credential, by=cast.ada)
            took.append(until(lambda: status() == 401, gate.tail, seconds=5))
        assert list(heard.notifies(timeout=0.3)) == []
    with capsys.disabled():
        print(f"\n  revoked, NOTIFY lost: refused after {max(took) * 1000:.0f} ms at most")
