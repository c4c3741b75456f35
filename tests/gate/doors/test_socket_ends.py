"""The end of a socket: with the access, with what it was cut down to, with its drain."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
from aiohttp import WSMsgType

from grants.gate.decision.credentials import COOKIE
from grants.gate.decision.limits import Limits
from grants.gate.decision.types import Code, Match, Refusal, Send
from grants.gate.doors import authorizer as calls
from tests.gate.loop import run
from tests.gate.speaker import speaker
from tests.gate.talk import opened, talking, until
from tests.gate.toy import TOY, VIEW, WORK, Papers, gate


@pytest.mark.parametrize("how", ["time", "revoked", "grant", "inactive", "stale", "stopping"])
def test_a_socket_ends_with_the_access(how: str, capsys: pytest.CaptureFixture[str]) -> None:
    async def story() -> None:
        async with (
            talking(seconds=0.6 if how == "time" else 3600) as (there, papers, token, door),
            opened(door, "/v9/things/mine/talk", token) as ws,
        ):
            await ws.receive_json()
            began = time.monotonic()
            if how == "revoked":
                papers.revoke()
            elif how == "grant":
                papers.grants[1] = papers.grants[1]._replace(
                    until=papers.grants[1].starts_at, drain_until=papers.grants[1].starts_at
                )
            elif how == "inactive":
                papers.active = set()
            elif how == "stale":
                door.feed.stopped = True
            elif how == "stopping":
                asyncio.get_running_loop().create_task(door.gateway.sockets.close())
            if how in ("revoked", "grant", "inactive"):
                door.changed()
            gone = await ws.receive(timeout=5)
            assert (gone.type, gone.data) == (WSMsgType.CLOSE, 1011 if how in ("stale", "stopping") else 1008)
            with capsys.disabled():
                print(f"\n  {how}: closed after {time.monotonic() - began:.2f} s")
            await until(lambda: there.closed == [1001])

    run(story())


@pytest.mark.parametrize("how", ["before", "after"])
def test_what_anybody_may_hear_ends_with_what_it_was_cut_down_to(how: str) -> None:
    """A session of several grants: when one ends, so does the socket that shows what it gave; also one that began late."""

    async def story() -> None:
        async with speaker() as there:
            papers = Papers(there.port)
            papers.grant(VIEW, "stays")
            short = papers.grant(VIEW, "ends", seconds=1.2)
            if how == "after":  # it begins when the socket is open, and no news of it comes
                papers.grants[short] = papers.grants[short]._replace(
                    starts_at=datetime.now(UTC) + timedelta(seconds=0.5)
                )
            session = papers.token(kind="gate_session")
            async with gate(papers) as door, aiohttp.ClientSession() as client:
                head = {"Host": "toy.test", "Cookie": f"{COOKIE}={session}", "Origin": "https://toy.test"}
                url = f"http://127.0.0.1:{door.port}/v9/feed"
                async with client.ws_connect(url, headers=head, protocols=("toy",)) as ws:
                    await ws.send_json({"type": "auth", "token": None})
                    await ws.receive_json()
                    if how == "after":
                        await asyncio.sleep(0.7)
                    await ws.send_json({"type": "filter"})
                    assert (await ws.receive_json())["echo"]["only"] == ["ends", "stays"]
                    papers.grant(VIEW, "more")
                    door.changed()
                    gone = await ws.receive(timeout=3)
                    assert (gone.type, gone.data) == (WSMsgType.CLOSE, 1008)
                    assert datetime.now(UTC) >= papers.grants[short].until

    run(story())


def test_what_moved_out_of_sight_is_heard_no_longer() -> None:
    """A subscription is cut down when it begins; what it was cut down to may move later."""
    inside = {"moves", "stays"}

    def narrow(match: Match, body: Any, *_: Any) -> Send:
        return Send("WS", match.target.raw, {**(body or {}), "only": sorted(inside)})

    async def story() -> None:
        async with speaker() as there:
            papers = Papers(there.port)
            token = papers.token(papers.grant(VIEW))
            kind = TOY._replace(narrow=narrow)
            limits = Limits(moved=0.2)
            async with gate(papers, kind=kind, limits=limits) as door, opened(door, "/v9/feed", token) as ws:
                await ws.receive_json()
                await ws.send_json({"type": "filter"})
                assert (await ws.receive_json())["echo"]["only"] == ["moves", "stays"]
                inside.add("new")
                await asyncio.sleep(0.5)
                await ws.ping()
                assert (await ws.receive(timeout=3)).type is WSMsgType.PONG, "there is more: no reason to end"
                inside.remove("moves")
                gone = await ws.receive(timeout=3)
                assert (gone.type, gone.data) == (WSMsgType.CLOSE, 1011)

    run(story())


def test_an_orchestrator_that_is_away_closes_no_subscription() -> None:
    """What may be seen cannot be looked up then: nothing new is shown meanwhile, and it is judged again after."""
    inside, asked, away = {"moves"}, [], [False]

    def narrow(match: Match, body: Any, *_: Any) -> Send | Refusal:
        asked.append(away[0])
        if away[0]:
            return Refusal(503, Code.UPSTREAM)
        return Send("WS", match.target.raw, {**(body or {}), "only": sorted(inside)})

    async def story() -> None:
        async with speaker() as there:
            papers = Papers(there.port)
            token = papers.token(papers.grant(VIEW))
            door_of = gate(papers, kind=TOY._replace(narrow=narrow), limits=Limits(moved=0.1))
            async with door_of as door, opened(door, "/v9/feed", token) as ws:
                await ws.receive_json()
                await ws.send_json({"type": "filter"})
                await ws.receive_json()
                away[0] = True
                await until(lambda: asked.count(True) >= 3)
                await ws.ping()
                assert (await ws.receive(timeout=3)).type is WSMsgType.PONG
                inside.clear()
                away[0] = False
                gone = await ws.receive(timeout=3)
                assert (gone.type, gone.data) == (WSMsgType.CLOSE, 1011)

    run(story())


def test_what_a_worker_hears_it_hears_until_its_drain_is_over() -> None:
    async def story() -> None:
        async with (
            talking(WORK, seconds=0.5, drain=1, limits=Limits(moved=0.2)) as (there, papers, token, door),
            opened(door, "/v9/feed", token) as ws,
        ):
            await ws.receive_json()
            await ws.send_json({"type": "filter"})
            assert (await ws.receive_json())["echo"]["only"] == ["mine"]
            await asyncio.sleep(0.6)
            door.changed()
            gone = await ws.receive(timeout=5)
            assert (gone.type, gone.data) == (WSMsgType.CLOSE, 1008)
            assert datetime.now(UTC) >= papers.grants[1].drain_until

    run(story())


def test_an_access_that_ends_while_the_socket_is_being_opened() -> None:
    async def story() -> None:
        async with talking() as (there, papers, token, door):
            connect = door.gateway.sockets._connect

            async def slowly(*arguments: Any) -> Any:
                up = await connect(*arguments)
                papers.revoke()
                door.changed()
                return up

            door.gateway.sockets._connect = slowly  # type: ignore[method-assign]
            async with aiohttp.ClientSession() as session:
                head = {"Host": "toy.test", "Authorization": f"Bearer {token}"}
                url = f"http://127.0.0.1:{door.port}/v9/things/mine/talk"
                async with session.ws_connect(url, headers=head, protocols=("toy",)) as ws:
                    gone = await ws.receive(timeout=5)
                    assert (gone.type, gone.data) == (WSMsgType.CLOSE, 1008)
            assert there.heard == []

    run(story())


def test_a_fault_of_ours_closes_one_socket_and_stops_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        async with talking() as (there, papers, token, door), opened(door, "/v9/things/mine/talk", token) as ws:
            await ws.receive_json()
            heard: list[int] = []
            door.feed.listeners.append(lambda snapshot, _whose: heard.append(snapshot.version))
            with monkeypatch.context() as patch:
                patch.setattr(calls, "check", lambda *_: 1 / 0)
                door.changed()
            assert heard, "the feed goes on"
            gone = await ws.receive(timeout=5)
            assert (gone.type, gone.data) == (WSMsgType.CLOSE, 1011)

    run(story())


def test_a_socket_for_reports_outlives_the_access_until_the_drain_is_over() -> None:
    async def story() -> None:
        async with (
            talking(WORK, seconds=0.3, drain=1.2) as (there, papers, token, door),
            opened(door, "/v9/things/mine/in", token) as ws,
        ):
            await ws.receive_json()
            await ws.send_json({"run": "late"})
            assert "echo" in await ws.receive_json(), "before the end, any run of the pool"
            await asyncio.sleep(0.5)
            for run_ in ("late", "never", "early"):
                await ws.send_json({"run": run_})
            assert await ws.receive_json() == {"echo": {"run": "early"}}
            began = time.monotonic()
            gone = await ws.receive(timeout=5)
            assert (gone.type, gone.data) == (WSMsgType.CLOSE, 1008)
            assert time.monotonic() - began > 0.3
            assert [said["run"] for said in there.heard if "run" in said] == ["late", "early"]

    run(story())
