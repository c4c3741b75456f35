"""A second kind of orchestrator, whole: its prefix, its words, its pages, and a token of the gate's that expires."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import WSMsgType, web

from grants.gate.decision.kinds import Entrance
from grants.gate.decision.lookup import LookupFailed
from grants.gate.decision.table import Unscoped
from grants.gate.decision.types import ANY, Body, Json, Route
from grants.gate.registry import KINDS, SameName, registered
from tests.gate.loop import run
from tests.gate.serving import serving
from tests.gate.talk import opened, until
from tests.gate.toy import RUN, TOY, VIEW, WORK, Gate, Papers, bearer, gate, status

BROWSER = ("Accept: text/html", "Sec-Fetch-Mode: navigate")


class Tokens:
    """Lets the gate in by a token, which it asks for with its key, and again once the token is refused."""

    def __init__(self, entrance: Entrance) -> None:
        self._entrance, self._token, self._turn = entrance, "", asyncio.Lock()

    async def headers(self) -> Mapping[str, str]:
        async with self._turn:
            if not self._token:
                code, said = await self._entrance.ask("POST", "/v9/token", {"key": self._entrance.secret()})
                if code != 200:
                    raise LookupFailed("no token")
                self._token = said["token"]
        return {"Authorization": f"Bearer {self._token}"}

    async def sign_in(self) -> Json:
        return {"type": "auth", "token": (await self.headers())["Authorization"].removeprefix("Bearer ")}

    def refused(self) -> None:
        self._token = ""
        self._entrance.forget_secret()


EXPIRING = TOY._replace(authorize=Tokens)


class Toys:
    """An orchestrator of that kind, which takes no call without a token that is still good."""

    def __init__(self) -> None:
        self.port, self.key, self.issued, self.good = 0, "k1", 0, ""
        self.got: list[tuple[str, str]] = []  # path, and what was shown
        self.signed_in: list[Json] = []

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        shown = request.headers.get("Authorization", "")
        self.got.append((request.raw_path, shown))
        if request.raw_path == "/v9/token":
            if (await request.json())["key"] != self.key:
                return web.json_response({}, status=403)
            self.issued += 1
            self.good = f"t{self.issued}"
            return web.json_response({"token": self.good})
        if shown != f"Bearer {self.good}":
            return web.json_response({}, status=401)
        if request.raw_path.startswith("/v9/things/mine/talk"):
            ws = web.WebSocketResponse(protocols=("toy",))
            await ws.prepare(request)
            async for message in ws:
                if message.type is WSMsgType.TEXT:
                    self.signed_in.append(message.json())
            return ws
        if request.raw_path.startswith("/v9/"):
            return web.json_response({"path": request.raw_path})
        return web.Response(text="<h1>toys</h1>", content_type="text/html")


@asynccontextmanager
async def toys(folder: Path) -> AsyncIterator[tuple[Toys, Papers, Gate]]:
    there = Toys()
    (folder / "key").write_text("k1")
    async with serving(there.handle) as port:
        papers = Papers(port, secret_ref=f"file:{folder / 'key'}")
        async with gate(papers, kind=EXPIRING) as door:
            yield there, papers, door


def test_calls_lists_pages_and_refusals_of_a_second_kind(tmp_path: Path) -> None:
    async def story() -> None:
        async with toys(tmp_path) as (there, papers, door):
            token = papers.token(papers.grant(VIEW))
            door.changed()
            answer = await door.ask("GET", "/v9/things/mine", bearer(token))
            assert (status(answer), b"no-store" in answer) == (200, True)
            assert there.got == [("/v9/token", ""), ("/v9/things/mine", "Bearer t1")]
            refused = await door.ask("GET", "/v9/things/other", bearer(token))
            assert (status(refused), b"You do not have view on this toy box." in refused) == (403, True)
            assert b"/api" not in refused
            assert status(await door.ask("GET", "/api/things/mine", bearer(token))) == 404, "that is another kind's"
            page = await door.ask("GET", "/pages/x", bearer(token), *BROWSER)
            assert f"Content-Security-Policy: {TOY.page_policy}".encode() in page
            # Below its own prefix no browser is sent to sign in; beside it, one is.
            assert [status(await door.ask("GET", path, *BROWSER)) for path in ("/v9/me", "/pages/x")] == [401, 302]
            assert [shown for _, shown in there.got[1:]] == ["Bearer t1"] * (len(there.got) - 1)

    run(story())


def test_a_token_of_the_gates_that_has_expired_is_renewed(tmp_path: Path) -> None:
    async def story() -> None:
        async with toys(tmp_path) as (there, papers, door):
            token = papers.token(papers.grant(VIEW))
            door.changed()
            calls = [door.ask("GET", "/v9/things/mine", bearer(token)) for _ in range(5)]
            assert set(map(status, await asyncio.gather(*calls))) == {200}
            assert there.issued == 1, "one for all"
            there.good = "expired"
            assert status(await door.ask("GET", "/v9/things/mine", bearer(token))) == 503, "the gate's trouble, not 401"
            assert status(await door.ask("GET", "/v9/things/mine", bearer(token))) == 200
            assert there.issued == 2
            there.good, there.key = "expired", "k2"  # the key was changed, and the gate does not have it yet
            assert [status(await door.ask("GET", "/v9/things/mine", bearer(token))) for _ in range(3)] == [503] * 3
            (tmp_path / "key").write_text("k2")
            door.gateway.client.secrets.forget(papers.upstream.secret_ref)
            assert status(await door.ask("GET", "/v9/things/mine", bearer(token))) == 200

    run(story())


def test_a_socket_signs_in_with_the_token_that_is_good_now(tmp_path: Path) -> None:
    async def story() -> None:
        async with toys(tmp_path) as (there, papers, door):
            token = papers.token(papers.grant(RUN))
            door.changed()
            async with opened(door, "/v9/things/mine/talk", token) as ws:
                await ws.send_json({"say": "something"})
                await until(lambda: len(there.signed_in) == 2)
            assert there.signed_in[0] == {"type": "auth", "token": "t1"}
            assert there.got[-1] == ("/v9/things/mine/talk", "Bearer t1")

    run(story())


def test_a_handshake_that_is_answered_401_renews_the_token_as_a_call_does(tmp_path: Path) -> None:
    """Fault: the token that is not good any more is shown again, until a call meets the same."""

    async def story() -> None:
        async with toys(tmp_path) as (there, papers, door):
            token = papers.token(papers.grant(RUN))
            door.changed()
            async with opened(door, "/v9/things/mine/talk", token):
                there.good = "expired"
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                async with opened(door, "/v9/things/mine/talk", token):
                    pass
            assert refused.value.status == 503
            async with opened(door, "/v9/things/mine/talk", token):
                assert there.issued == 2

    run(story())


def test_the_drain_of_a_second_kind_is_its_own(tmp_path: Path) -> None:
    async def story() -> None:
        async with toys(tmp_path) as (there, papers, door):
            token = papers.token(papers.grant(WORK, seconds=0, drain=60))
            door.changed()
            head = (bearer(token), "Content-Type: application/json")
            said = [
                status(await door.ask("POST", "/v9/things/mine/report", *head, body=b'{"run":"%s"}' % run_id))
                for run_id in (b"early", b"late", b"never")
            ]
            assert said == [200, 403, 403]
            assert status(await door.ask("POST", "/v9/things/filter", *head, body=b"{}")) in (200, 403)

    run(story())


def test_a_kind_is_registered_by_its_name_and_only_with_a_table() -> None:
    assert set(KINDS) == {"prefect"}
    assert registered(TOY) == {"toy": TOY}
    with pytest.raises(SameName):
        registered(TOY, EXPIRING._replace(name=TOY.name))
    with pytest.raises(Unscoped):
        registered(TOY._replace(routes=(Route("POST", "/v9/all", ANY, body=Body.JSON),)))
