"""Sockets: the handshake, the sign-in, each message, and peers that do not read, are too many or die."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import socket
import time
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest
from aiohttp import WSMsgType

from grants.gate.decision.limits import Limits
from grants.gate.doors.metrics import DECIDED
from grants.gate.prefect.kind import PREFECT
from tests.gate.loop import run
from tests.gate.speaker import speaker
from tests.gate.talk import opened, talking, until
from tests.gate.toy import RUN, VIEW, WORK, Gate, Papers, bearer, gate, status


def test_a_conversation(tmp_path: Path) -> None:
    """The caller's token stays here, the secret that only the gate knows goes up; pings and closings cross."""
    (tmp_path / "secret").write_text("admin:pw")

    async def story() -> None:
        async with speaker() as there:
            papers = Papers(there.port, f"file:{tmp_path}/secret")
            token = papers.token(papers.grant(RUN))
            async with gate(papers) as door:
                for sign_in in (None, "", token):
                    async with opened(door, "/v9/things/%6dine/talk?a=%41", token, sign_in=sign_in) as ws:
                        assert ws.protocol == "toy"
                        assert await ws.receive_json() == {"type": "auth_success"}
                        await ws.send_str(' {"say" : "é", "n": 1.50} ')
                        assert await ws.receive_json() == {"echo": {"say": "é", "n": 1.5}}
                        await ws.send_json({"say": "ping"})
                        assert await ws.receive() == (WSMsgType.PING, b"are you there", "")
                        await ws.pong(b"are you there")
                        await ws.send_json({"say": "close"})
                        gone = await ws.receive()
                        assert (gone.type, gone.data, gone.extra) == (WSMsgType.CLOSE, 4001, "as you wish")
                assert there.targets[0] == "/v9/things/mine/talk?a=A"
                assert [said for said in there.heard if said.get("type") == "auth"] == [
                    {"type": "auth", "token": "admin:pw"}
                ] * 3
                head = {name.lower(): value for name, value in there.heads[0].items()}
                assert head["authorization"] == "Bearer admin:pw"
                assert (head["host"], head["x-forwarded-proto"], head["sec-websocket-protocol"]) == (
                    "toy.test",
                    "https",
                    "toy",
                )
                assert token not in json.dumps([there.heads, there.heard])

    run(story())


def test_the_caller_closes() -> None:
    async def story() -> None:
        async with talking() as (there, papers, token, door):
            async with opened(door, "/v9/things/mine/talk", token) as ws:
                await ws.receive_json()
                await ws.close(code=4003, message=b"enough")
                assert ws.close_code == 4003
            await until(lambda: there.closed == [4003])
            # and one that just vanishes
            async with opened(door, "/v9/things/mine/talk", token) as ws:
                await ws.receive_json()
                ws._response.connection.transport.abort()
            await until(lambda: len(there.closed) == 2)
            await until(lambda: door.gateway.sockets._open.total() == 0)

    run(story())


@pytest.mark.parametrize(
    ("path", "who", "protocols", "code"),
    [
        ("/v9/things/mine/talk", "nobody", ("toy",), 401),
        ("/v9/things/mine/talk", "holder", (), 400),
        ("/v9/things/mine/talk", "holder", ("graphql",), 400),
        ("/v9/things/other/talk", "holder", ("toy",), 403),
        ("/v9/things/mine/in", "holder", ("toy",), 403),
        ("/v9/things/mine", "holder", ("toy",), 405),
        ("/v9/nothing/here/at/all", "holder", ("toy",), 404),
        ("/v9/things/refuse/talk", "refuse", ("toy",), 503),
    ],
)
def test_a_handshake_that_is_refused(path: str, who: str, protocols: tuple[str, ...], code: int) -> None:
    async def story() -> None:
        async with speaker() as there:
            papers = Papers(there.port)
            papers.grant(RUN)
            papers.grant(RUN, "refuse")
            tokens = {"holder": papers.token(1), "refuse": papers.token(2), "nobody": None}
            async with gate(papers) as door:
                with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
                    async with opened(door, path, tokens[who], protocols=protocols):
                        pass
                assert caught.value.status == code
                assert there.targets == [] or code == 503

    run(story())


def test_a_key_on_http_alone_is_told_so() -> None:
    """PREFECT_API_KEY does not show on a socket's handshake: the refusal says what does, the grant's page sees it."""

    async def story() -> None:
        async with talking() as (there, papers, token, door):
            handshake = (
                "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Protocol: toy",
            )  # fmt: skip
            before = await door.raw(
                (
                    "\r\n".join(["GET /v9/things/mine/talk HTTP/1.1", "Host: toy.test", *handshake]) + "\r\n\r\n"
                ).encode(),
                seconds=1,
            )
            assert (status(before), b"TOY_HEADERS" in before) == (401, True)
            assert not door.usage._counts, "nobody is known yet"
            await door.ask("GET", "/v9/me", bearer(token))
            await door.raw(
                (
                    "\r\n".join(["GET /v9/things/mine/talk HTTP/1.1", "Host: toy.test", *handshake]) + "\r\n\r\n"
                ).encode(),
                seconds=1,
            )
            assert {(key.proof.credential, key.route, key.code) for key in door.usage._counts} >= {
                (1, "WS /v9/things/{name}/talk", "key_only")
            }

    run(story())


def test_a_client_that_is_too_old_is_told_so_and_counted() -> None:
    """Before 3.6.14 Prefect's clients open sockets without the subprotocol, and a worker ends with a bare traceback."""

    async def story() -> None:
        async with talking() as (_there, _papers, token, door):
            counted = DECIDED.labels("toy", "old_client")
            before = counted._value.get()
            await door.ask("GET", "/v9/me", bearer(token))
            with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
                async with opened(door, "/v9/things/mine/talk", token, protocols=()):
                    pass
            assert caught.value.status == 400
            assert counted._value.get() == before + 1, "counted although nobody knows who it is"
            assert {(key.proof.credential, key.code) for key in door.usage._counts} >= {(1, "old_client")}

    run(story())


def test_a_call_without_a_credential_is_told_which_client_sends_one() -> None:
    async def story() -> None:
        async with gate(Papers(), kind=PREFECT) as door:
            answer = await door.ask("GET", "/api/admin/version")
            assert status(answer) == 401
            assert b"PREFECT_CLIENT_CUSTOM_HEADERS" in answer
            assert b"since 3.4.8" in answer
            page = await door.ask("GET", "/dashboard")
            assert (status(page), b"PREFECT_CLIENT" in page) == (401, False)

    run(story())


@pytest.mark.parametrize(
    ("first", "code"),
    [
        ('{"type":"filter"}', 1002),
        ("not json", 1002),
        ('{"type":"auth","type":"auth","token":null}', 1002),
        ('{"type":"auth","token":"stint_somebody_elses"}', 1008),
        ("OTHER", 1008),
        (b"\x00\x01", 1003),
        (None, 1002),
    ],
)
def test_a_first_message_that_is_no_sign_in(first: str | bytes | None, code: int) -> None:
    async def story() -> None:
        async with speaker() as there:
            papers = Papers(there.port)
            token, other = papers.token(papers.grant(RUN)), papers.token(papers.grant(VIEW))
            async with gate(papers, limits=Limits(head=0.3)) as door, aiohttp.ClientSession() as session:
                head = {"Host": "toy.test", "Authorization": f"Bearer {token}"}
                async with session.ws_connect(
                    f"http://127.0.0.1:{door.port}/v9/things/mine/talk", headers=head, protocols=("toy",)
                ) as ws:
                    if isinstance(first, bytes):
                        await ws.send_bytes(first)
                    elif first is not None:
                        await ws.send_str(json.dumps({"type": "auth", "token": other}) if first == "OTHER" else first)
                    await ws.receive(timeout=5)
                    assert ws.close_code == code
                assert there.heard == []

    run(story())


def test_messages_that_are_refused_do_not_arrive() -> None:
    """On a socket of loose messages one is left out; on others the socket is closed; what is narrowed goes up narrowed."""

    async def story() -> None:
        async with speaker() as there:
            papers = Papers(there.port)
            papers.grant(WORK)
            papers.grant(RUN)
            work, talk = papers.token(1), papers.token(2)
            async with gate(papers) as door:
                async with opened(door, "/v9/things/mine/in", work) as ws:
                    await ws.receive_json()
                    await ws.send_json({"type": "forge"})
                    await ws.send_str('{"a":1,"a":2}')
                    await ws.send_json({"n": 1})
                    assert await ws.receive_json() == {"echo": {"n": 1}}
                async with opened(door, "/v9/things/mine/talk", talk) as ws:
                    await ws.receive_json()
                    await ws.send_json({"type": "forge"})
                    assert (await ws.receive()).type is WSMsgType.CLOSE
                    assert ws.close_code == 1008
                async with opened(door, "/v9/things/mine/out", talk) as ws:
                    await ws.receive_json()
                    await ws.send_json({"type": "filter"})
                    assert (await ws.receive_json())["echo"]["only"] is not None
                    await ws.send_json({"type": "forbidden"})
                    assert (await ws.receive()).data == 1008
                async with opened(door, "/v9/things/mine/talk", talk) as ws:
                    await ws.receive_json()
                    await ws.send_bytes(b"{}")
                    assert (await ws.receive()).data == 1003
                assert not [said for said in there.heard if said.get("type") == "forge" or "a" in said]

    run(story())


def test_a_peer_that_never_reads_is_cut_all_the_same() -> None:
    """Its kernel takes some megabytes, then nothing: neither a goodbye nor a closing would ever come through."""

    async def story() -> None:
        async with talking(limits=Limits(closing=0.5, write=30)) as (there, papers, token, door):
            line = socket.socket()
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            line.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(line, ("127.0.0.1", door.port))
            key = base64.b64encode(os.urandom(16)).decode()
            head = [
                "GET /v9/things/mine/talk HTTP/1.1", "Host: toy.test", bearer(token), "Upgrade: websocket",
                "Connection: Upgrade", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}",
                "Sec-WebSocket-Protocol: toy",
            ]  # fmt: skip
            frames = b"".join(
                _frame(json.dumps(said).encode()) for said in ({"type": "auth", "token": None}, {"say": "flood"})
            )
            await loop.sock_sendall(line, "\r\n".join(head).encode() + b"\r\n\r\n" + frames)
            await until(lambda: door.gateway.sockets._open.total() == 1 and len(there.heard) == 2)
            await asyncio.sleep(0.5)  # its buffers fill
            papers.revoke()
            began = time.monotonic()
            door.changed()
            await until(lambda: door.gateway.sockets._open.total() == 0)
            assert time.monotonic() - began < 30
            await until(lambda: not there.open)
            with pytest.raises(ConnectionError):  # reset: not even what was on its way comes any more
                while await loop.sock_recv(line, 1 << 20):
                    pass
                raise AssertionError("ended in peace")
            line.close()

    run(story())


def _frame(text: bytes) -> bytes:
    """A masked text frame, short enough for one byte of length."""
    mask = os.urandom(4)
    return bytes([0x81, 0x80 | len(text)]) + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(text))


def test_no_more_sockets_than_there_is_room_for() -> None:
    """Counted by who has them: a second token opens none more."""

    async def story() -> None:
        async with speaker() as there:
            papers = Papers(there.port)
            one, other = papers.token(papers.grant(RUN)), papers.token(papers.grant(RUN))
            async with gate(papers, limits=Limits(sockets=10, sockets_other=2)) as door:
                async with opened(door, "/v9/things/mine/talk", one), opened(door, "/v9/things/mine/talk", other):
                    for token in (one, other):
                        await _no_room(door, "/v9/things/mine/talk", token)
                await until(lambda: door.gateway.sockets._open.total() == 0)
                async with opened(door, "/v9/things/mine/talk", one) as ws:
                    await ws.receive_json()

    run(story())


def test_who_works_has_room_whatever_others_open() -> None:
    """Half of all are kept for workers, and of these none takes what others need."""

    async def story() -> None:
        async with speaker() as there:
            papers = Papers(there.port)
            readers = [papers.token(papers.grant(RUN, subject=subject)) for subject in (1, 2, 3)]
            workers = [papers.token(papers.grant(WORK, subject=subject)) for subject in (4, 5)]
            limits = Limits(sockets=6, sockets_each=2, sockets_other=2)
            async with gate(papers, limits=limits) as door, AsyncExitStack() as sockets:
                for reader in (readers[0], readers[0], readers[1]):
                    await sockets.enter_async_context(opened(door, "/v9/things/mine/talk", reader))
                await _no_room(door, "/v9/things/mine/talk", readers[2])
                for worker in (workers[0], workers[0], workers[1]):
                    await sockets.enter_async_context(opened(door, "/v9/things/mine/in", worker))
                await _no_room(door, "/v9/things/mine/in", workers[0])

    run(story())


async def _no_room(door: Gate, path: str, token: str) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        async with opened(door, path, token):
            pass
    assert caught.value.status == 503


def test_the_orchestrator_dies() -> None:
    async def story() -> None:
        async with talking() as (there, papers, token, door), opened(door, "/v9/things/mine/talk", token) as ws:
            await ws.receive_json()
            for one in tuple(there.open):
                one._req.transport.abort()
            gone = await ws.receive(timeout=5)
            assert (gone.type, gone.data) == (WSMsgType.CLOSE, 1011)

    run(story())
