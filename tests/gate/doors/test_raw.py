"""Targets and heads as attackers write them, as bytes on a socket: nothing unwanted arrives, and no answer is a crash."""

from __future__ import annotations

import asyncio
import random
import re
from urllib.parse import unquote

from grants.gate.decision.limits import Limits
from tests.gate.loop import run
from tests.gate.raw_targets import raw_targets
from tests.gate.recorder import Got, recorder
from tests.gate.toy import RUN, Gate, Papers, bearer, gate, status

WANTED = re.compile(r"/v9/things/mine(/upload|/create_run)?|/v9/(health|me)|/(pages/)?[^/]+")
IDENTITY = re.compile(
    r"(?i)cookie|authorization|forwarded|x[-_.]?(auth|real|remote|original|rewrite|http|method|user)|via|origin|prefect"
)

# Heads that two programs may read in two ways, around one request; TOKEN stands for a good credential.
HEADS = [
    b"{m} {t} HTTP/1.1\r\nHost: toy.test\r\nTOKEN\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"{m} {t} HTTP/1.1\r\nHost: toy.test\r\nTOKEN\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    b"{m} {t} HTTP/1.1\r\nHost: toy.test\r\nTOKEN\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    b"{m} {t} HTTP/1.1\r\nHost: toy.test\r\nTOKEN\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    b"{m} {t} HTTP/1.1\r\nHost: toy.test\r\nTOKEN\r\nTransfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
    b"{m} {t} HTTP/1.1\r\nHost: toy.test\r\nTOKEN\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nGET /",
    b"{m} {t} HTTP/1.1\r\nHost: toy.test\r\nTOKEN\r\nContent-Length: +5\r\n\r\nGET /",
    b"{m} {t} HTTP/1.1\r\nHost: toy.test\r\nTOKEN\r\nContent-Length: 5, 5\r\n\r\nGET /",
    b"{m} {t} HTTP/1.1\r\nHost: toy.test\r\nTOKEN\r\nContent-Length: 44\r\n\r\nGET /v9/things/other HTTP/1.1\r\nHost: toy.test\r\n\r\n",
    b"{m} {t} HTTP/1.0\r\nHost: toy.test\r\nTOKEN\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"{m} {t} HTTP/1.1\r\nHost: toy.test\r\nHost: evil.test\r\nTOKEN\r\n\r\n",
    b"{m} {t} HTTP/1.1\r\nHost: toy.test\r\nTOKEN\r\nX: a\r\n b\r\n\r\n",
    b"{m} {t} HTTP/1.1\r\nHost: toy.test\r\nTOKEN\nX: a\r\n\r\n",
    b"{m} {t} HTTP/1.1\r\nHost: toy.test\r\nTOKEN\r\nX: a\rb\r\n\r\n",
    b"{m} {t} HTTP/1.1\r\nHost: toy.test\r\nTOKEN\r\nX: a\x00b\r\n\r\n",
    b"{m} {t} HTTP/1.1\r\nHost: toy.test\r\nTOKEN\r\nX: \xe9\r\n\r\n",
    b"{m}  {t}  HTTP/1.1\r\nHost: toy.test\r\nTOKEN\r\n\r\n",
    b"{m}\t{t} HTTP/1.1\r\nHost: toy.test\r\nTOKEN\r\n\r\n",
    b"{m} {t} HTTP/1.1 \r\nHost: toy.test\r\nTOKEN\r\n\r\n",
    b"{m} {t} HTTP/2.0\r\nHost: toy.test\r\nTOKEN\r\n\r\n",
    b"{m} {t}\r\n\r\n",
    b"\r\n\r\n{m} {t} HTTP/1.1\r\nHost: toy.test\r\nTOKEN\r\n\r\n",
    b"{m} {t} HTTP/1.1\r\nTOKEN\r\n\r\n",
    b"{m} {t} HTTP/1.1\r\nHost: toy.test\r\nTOKEN\r\nTOKEN\r\n\r\n",
    b"{m} {t} HTTP/1.1\r\nHost: toy.test\r\nTOKEN\r\nX-API-Key: other\r\n\r\n",
    b"{m} {t} HTTP/1.1\r\nHost: toy.test\r\nTOKEN\r\nX_Auth_User: root\r\n\r\n",
    b"{m} {t} HTTP/1.1\r\nHost: toy.test\r\nTOKEN\r\nX-HTTP-Method-Override: DELETE\r\nX-Method-Override: DELETE\r\nX-Original-URL: /v9/things/other\r\nX-Rewrite-Url: /v9/things/other\r\n\r\n",
    b"{m} {t} HTTP/1.1\r\nHost: toy.test\r\nTOKEN\r\nX-Forwarded-User: root\r\nX-Auth-Request-User: root\r\nX.Remote.User: root\r\nForwarded: for=1\r\nVia: x\r\nCookie: a=b\r\nPrefect-Automation-Id: 1\r\n\r\n",
    b"{m} {t} HTTP/1.1\r\nHost: toy.test\r\nTOKEN\r\nConnection: close, Host, Authorization\r\n\r\n",
    b"{m} {t} HTTP/1.1\r\nHost: toy.test\r\nTOKEN\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n",
    b"{m} {t} HTTP/1.1\r\nHost: toy.test\r\nTOKEN\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    b"{m} {t} HTTP/1.1\r\nHost: toy.test\r\nTOKEN\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Protocol: toy\r\n\r\n",
    b"{m} {t} HTTP/1.1\r\nHost: toy.test\r\nTOKEN\r\nExpect: 200-ok\r\n\r\n",
    b"{m} {t} HTTP/1.1\r\nHost: toy.test\r\nTOKEN\r\n" + b"".join(b"X-%d: 1\r\n" % n for n in range(150)) + b"\r\n",
    b"{m} {t} HTTP/1.1\r\nHost: toy.test\r\nTOKEN\r\nX: " + b"a" * 9000 + b"\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"CONNECT evil.test:443 HTTP/1.1\r\nHost: evil.test:443\r\n\r\n",
]  # fmt: skip

QUICK = Limits(head=0.5, idle=0.3, body=0.5)  # the gate closes: no request is waited for to become whole


def _judged(got: list[Got], answers: list[bytes]) -> None:
    for one in got:
        path = unquote(one.target.partition("?")[0])
        assert WANTED.fullmatch(path), one.line
        assert path == "/v9/health" or "other" not in path, one.line
        assert one.line.split(b" ")[0] in (b"GET", b"POST", b"DELETE", b"HEAD")
        assert one.all("Host") == ["toy.test"]
        assert not [name for name, _ in one.headers if IDENTITY.search(name) and name != "X-Forwarded-Proto"], (
            one.headers
        )
    for answer in answers:
        for code in re.findall(rb"HTTP/1\.[01] (\d+) ", answer):
            assert int(code) < 500 or b'"code": "stale"' in answer, answer[:300]


async def _sent(door: Gate, requests: list[bytes]) -> list[bytes]:
    """Each on a connection of its own, some at a time."""
    turn = asyncio.Semaphore(20)

    async def one(request: bytes) -> bytes:
        async with turn:
            reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
            try:
                writer.write(request)
                async with asyncio.timeout(10):
                    return await reader.read()
            except (TimeoutError, ConnectionError):
                return b""
            finally:
                writer.close()

    return list(await asyncio.gather(*map(one, requests)))


def test_a_thousand_targets() -> None:
    async def story() -> None:
        async with recorder() as rec:
            papers = Papers(rec.port)
            token = papers.token(papers.grant(RUN))
            async with gate(papers, limits=QUICK) as door:
                targets = raw_targets(["/v9/things/other", "/v9/things/mine/../other", "/v9/things/mine"])
                assert len(targets) > 1000
                dice = random.Random(5)
                sent = [
                    b"%s %s HTTP/1.1\r\nHost: toy.test\r\n%s\r\nConnection: close\r\n\r\n"
                    % (dice.choice([b"GET", b"GET", b"POST", b"DELETE"]), target, bearer(token).encode())
                    for target in targets
                ]
                answers = await _sent(door, sent)
                _judged(rec.got, answers)
                assert sum(status(answer) == 200 for answer in answers) == len(rec.got) > 0

    run(story(), seconds=120)


def test_heads_that_two_may_read_in_two_ways() -> None:
    async def story() -> None:
        async with recorder() as rec:
            papers = Papers(rec.port)
            token = papers.token(papers.grant(RUN))
            async with gate(papers, limits=QUICK) as door:
                sent = [
                    head.replace(b"{m}", method).replace(b"{t}", target).replace(b"TOKEN", bearer(token).encode())
                    for head in HEADS
                    for method in (b"GET", b"POST", b"get", b"PURGE")
                    for target in (b"/v9/things/mine", b"/v9/things/other", b"/v9/things/mine/upload")
                ]
                _judged(rec.got, await _sent(door, sent))
                # The second of two on one connection is a request of its own, never a part of the first.
                twice = b"GET /v9/things/mine HTTP/1.1\r\nHost: toy.test\r\nTOKEN\r\n\r\nGET /v9/things/other HTTP/1.1\r\nHost: toy.test\r\nTOKEN\r\nConnection: close\r\n\r\n"
                (answer,) = await _sent(door, [twice.replace(b"TOKEN", bearer(token).encode())])
                assert re.findall(rb"HTTP/1\.1 (\d+)", answer) == [b"200", b"403"]
                _judged(rec.got, [])

    run(story(), seconds=120)
