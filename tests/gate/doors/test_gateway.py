"""The door, byte by byte: what arrives at the orchestrator, what does not, and what the caller hears."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from grants.gate.decision.limits import Limits
from grants.gate.decision.types import ANY, Ask, Fold, Send
from tests.gate.loop import run
from tests.gate.recorder import recorder
from tests.gate.toy import RUN, SERVER, TOY, VIEW, Key9, Papers, bearer, gate, status


async def _papers(port: int, **more: str) -> tuple[Papers, str]:
    papers = Papers(port, **more)
    return papers, papers.token(papers.grant(RUN))


def test_what_is_allowed_arrives_as_it_was_decided() -> None:
    async def story() -> None:
        async with recorder() as rec:
            papers, token = await _papers(rec.port)
            async with gate(papers) as door:
                answer = await door.ask(
                    "GET", "/v9/things/%6dine?a=%41&a=b+c", bearer(token), "Accept: application/json",
                    "User-Agent: prefect", "X-Toy-Version: 1", "X-Forwarded-For: 6.6.6.6", "X-Auth-User: root",
                    "X-Remote-User: root", "X.Auth.User: root", "X-HTTP-Method-Override: DELETE", "X-Original-Url: /api/x",
                    "Prefect-Automation-Id: 1", "Forwarded: for=6.6.6.6", "Cookie: session=1", "Via: 1.1 x",
                    "Accept-Language: de", "Connection: Accept-Language", "Origin: https://evil.test",
                )  # fmt: skip
                assert status(answer) == 200
                assert answer.endswith(b'{"ok":true}')
                (got,) = rec.got
                assert got.line == b"GET /v9/things/mine?a=A&a=b+c HTTP/1.1"
                assert {name.lower() for name, _ in got.headers} == {
                    "host", "accept", "user-agent", "x-toy-version", "x-forwarded-proto"
                }  # fmt: skip
                assert (got.all("Host"), got.all("X-Forwarded-Proto")) == (["toy.test"], ["https"])

    run(story())


REFUSED = [
    (401, "GET", "/v9/things/mine", ()),
    (401, "GET", "/v9/things/mine", ("Authorization: Bearer stint_wrong",)),
    (403, "GET", "/v9/things/other", ("TOKEN",)),
    (404, "GET", "/v9/nothing/here", ("TOKEN",)),
    (405, "DELETE", "/v9/health", ("TOKEN",)),
    (405, "TRACE", "/v9/health", ("TOKEN",)),
    (405, "OPTIONS", "/v9/health", ("TOKEN",)),
    (400, "GET", "/v9/things/../health", ("TOKEN",)),
    (400, "GET", "/api//health", ("TOKEN",)),
    (400, "GET", "/v9/things/a%2fb", ("TOKEN",)),
    (400, "GET", "http://toy.test/v9/health", ("TOKEN",)),
    (400, "GET", "/v9/health", ("TOKEN", "Host: toy.test")),
    (400, "GET", "/v9/health", ("TOKEN", "Authorization: Bearer other")),
    (400, "GET", "/v9/health", ("X_Auth: 1",)),
    (400, "GET", "/v9/health", ("X-Name: caf\xe9",)),
    (400, "GET", "/v9/health", ("Transfer-Encoding: gzip, chunked",)),
    (400, "GET", "/v9/health", ("Content-Length: 3",)),
    (400, "GET", "/v9/health", ("Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: x")),
    (417, "GET", "/v9/health", ("Expect: something",)),
    (400, "GET", "/v9/health", tuple(f"X-{n}: {'x' * 4000}" for n in range(10))),
    (400, "DELETE", "/v9/things/mine", ("TOKEN", "Content-Type: application/json", "BODY:{}")),
    (415, "POST", "/v9/things/mine", ("TOKEN", "Content-Type: text/plain", "BODY:{}")),
    (415, "POST", "/v9/things/mine", ("TOKEN", "Content-Type: application/json", "Content-Encoding: gzip", "BODY:{}")),
    (415, "POST", "/v9/things/mine", ("TOKEN", "Content-Type: application/json; charset=utf-16", "BODY:{}")),
    (400, "POST", "/v9/things/mine", ("TOKEN", "Content-Type: application/json", 'BODY:{"a":1,"a":2}')),
    (400, "POST", "/v9/things/mine", ("TOKEN", "Content-Type: application/json", 'BODY:{"a":NaN}')),
    (400, "POST", "/v9/things/mine", ("TOKEN", "Content-Type: application/json", 'BODY:{"a":1e999}')),
    (400, "POST", "/v9/things/mine", ("TOKEN", "Content-Type: application/json", 'BODY:{"a":"\\ud800"}')),
    (400, "POST", "/v9/things/mine", ("TOKEN", "Content-Type: application/json", "BODY:" + "[" * 100 + "]" * 100)),
    (400, "POST", "/v9/things/mine", ("TOKEN", "Content-Type: application/json", "BODY:" + "[" * 100_000)),
    (400, "POST", "/v9/things/mine", ("TOKEN", "Content-Type: application/json", "BODY:{'a':1}")),
    (400, "POST", "/v9/things/mine", ("TOKEN", "Content-Type: application/json", "BODY:" + "1" * 5000)),
    (413, "POST", "/v9/things/mine", ("TOKEN", "Content-Type: application/json", "Content-Length: 4194305")),
    (413, "POST", "/v9/things/mine", ("TOKEN", "Content-Type: application/json", "BODY:[" + "{}," * 200_000 + "0]")),
    (413, "POST", "/v9/things/filter", ("TOKEN", "Content-Type: application/json", "Content-Length: 262145")),
    (403, "POST", "/v9/things/filter", ("TOKEN", "Content-Type: application/json", 'BODY:{"type":"forbidden"}')),
]


@pytest.mark.parametrize(("code", "method", "target", "lines"), REFUSED, ids=lambda value: str(value)[:60])
def test_what_is_refused_does_not_arrive(code: int, method: str, target: str, lines: tuple[str, ...]) -> None:
    async def story() -> None:
        async with recorder() as rec:
            papers, token = await _papers(rec.port)
            async with gate(papers) as door:
                body = next((line[5:] for line in lines if line.startswith("BODY:")), "").encode()
                head = [bearer(token) if line == "TOKEN" else line for line in lines if not line.startswith("BODY:")]
                answer = await door.ask(method, target, *head, body=body)
                assert status(answer) == code, answer
                assert b"application/json" in answer
                assert b"WWW-Authenticate" not in answer, "no browser shall ask for a password"
                assert json.loads(answer.split(b"\r\n\r\n", 1)[1])["detail"]
                assert rec.got == []

    run(story())


def test_another_host_is_refused() -> None:
    async def story() -> None:
        async with recorder() as rec:
            papers, token = await _papers(rec.port)
            async with gate(papers) as door:
                assert status(await door.ask("GET", "/v9/health", host="evil.test")) == 400
                assert status(await door.raw(b"GET /v9/health HTTP/1.1\r\nConnection: close\r\n\r\n")) == 400
                assert rec.got == []
                assert status(await door.ask("GET", "/v9/health", host="TOY.test")) == 200

    run(story())


def test_a_body_is_understood_once_and_written_anew() -> None:
    async def story() -> None:
        async with recorder() as rec:
            papers, token = await _papers(rec.port)
            async with gate(papers) as door:
                sent = b' { "a" : [1.50, "\\u00e9"],\n "b": {"c":null} } '
                assert (
                    status(
                        await door.ask(
                            "POST", "/v9/things/mine", bearer(token), "Content-Type: application/json", body=sent
                        )
                    )
                    == 200
                )
                assert rec.got[0].text == '{"a":[1.5,"é"],"b":{"c":null}}'.encode()
                assert rec.got[0].all("Content-Length") == [str(rec.got[0].body)]
                # chunked, with an extension
                chunked = b'3;x=y\r\n{"a\r\n4\r\n":1}\r\n0\r\n\r\n'
                assert (
                    status(
                        await door.ask(
                            "POST",
                            "/v9/things/mine",
                            bearer(token),
                            "Content-Type: application/json",
                            "Transfer-Encoding: chunked",
                            body=chunked,
                        )
                    )
                    == 200
                )
                assert rec.got[1].text == b'{"a":1}'
                assert rec.got[1].all("Transfer-Encoding") == []
                # none at all
                assert status(await door.ask("POST", "/v9/things/mine", bearer(token))) == 200
                assert (rec.got[2].body, rec.got[2].all("Content-Type")) == (0, [])

    run(story())


def test_lists_are_sent_narrowed_or_answered_here() -> None:
    async def story() -> None:
        async with recorder() as rec:
            papers, token = await _papers(rec.port)
            async with gate(papers) as door:
                answer = await door.ask(
                    "POST", "/v9/things/filter", bearer(token), "Content-Type: application/json", body=b"{}"
                )
                assert status(answer) == 200
                # By what the token's grant shows.
                assert rec.got == [] or json.loads(rec.got[0].text)["only"] == ["mine"]

    run(story())


def test_what_is_neither_narrowed_nor_harmless_is_never_anybodys() -> None:
    """Whatever a kind asks for it. Fault: a guard that asks for a sign-in alone opens its line to everybody."""
    open_to_all = TOY._replace(asks=lambda match, body, found: (Ask((SERVER,), ANY),))

    async def story() -> None:
        async with recorder() as rec:
            papers, token = await _papers(rec.port)
            async with gate(papers, kind=open_to_all) as door:
                for method in ("GET", "DELETE"):
                    assert status(await door.ask(method, "/v9/things/others", bearer(token))) == 403
                assert rec.got == []
                assert status(await door.ask("GET", "/v9/me", bearer(token))) == 200
                filtered = await door.ask("POST", "/v9/things/filter", bearer(token), body=b"{}")
                assert status(filtered) == 200

    run(story())


def test_the_orchestrators_answer_comes_without_what_is_not_the_callers() -> None:
    async def story() -> None:
        async with recorder() as rec:
            papers, token = await _papers(rec.port)
            async with gate(papers) as door:
                answer = await door.ask("GET", "/page", bearer(token))
                head = answer.split(b"\r\n\r\n")[0].decode().lower()
                assert status(answer) == 200
                for name in ("set-cookie", "access-control", "x-hop", "uvicorn"):
                    assert name not in head
                assert TOY.page_policy in head
                assert 'etag: "a"' in head
                assert "x-content-type-options: nosniff" in head
                assert answer.endswith(b"<h1>hello</h1>")

    run(story())


@pytest.mark.parametrize(
    ("to", "code"),
    [("/pages/x", 307), ("https://toy.test/v9/things/", 307), ("http://evil.test/", 503), ("//evil.test/", 503), ("javascript:alert(1)", 503)],
)  # fmt: skip
def test_redirects_stay_on_this_host(to: str, code: int) -> None:
    async def story() -> None:
        async with recorder() as rec:
            papers, token = await _papers(rec.port)
            async with gate(papers) as door:
                assert status(await door.ask("GET", f"/pages/away?to={to}", bearer(token))) == code
                assert len(rec.got) == 1

    run(story())


@pytest.mark.parametrize(
    ("what", "code"),
    [("silent", 504), ("garbage", 503), ("gone", 503), ("locked", 503), ("failed", 500)],
)
def test_an_orchestrator_in_trouble(what: str, code: int) -> None:
    """401 of the orchestrator is our secret's fault: a worker would die of it. A 500 of its own is passed on."""

    async def story() -> None:
        async with recorder() as rec:
            papers, token = await _papers(rec.port)
            papers.grant(VIEW, what)
            token = papers.token(2)
            async with gate(papers, limits=Limits(answer=0.3)) as door:
                answer = await door.ask("GET", f"/v9/things/{what}", bearer(token))
                assert status(answer) == code
                if code != 500:
                    assert json.loads(answer.split(b"\r\n\r\n", 1)[1])["detail"]
                if code == 503:
                    assert b"Retry-After" in answer
        papers.upstream = papers.upstream._replace(url="http://127.0.0.1:1/api")
        async with gate(papers) as door:
            assert status(await door.ask("GET", f"/v9/things/{what}", bearer(token))) == 503

    run(story())


@pytest.mark.parametrize("what", ["half", "stuck"])
def test_half_an_answer_does_not_look_whole(what: str) -> None:
    async def story() -> None:
        async with recorder() as rec:
            papers = Papers(rec.port)
            token = papers.token(papers.grant(VIEW, what))
            async with gate(papers, limits=Limits(answer=0.3)) as door:
                answer = await door.ask("GET", f"/v9/things/{what}", bearer(token))
                head, _, body = answer.partition(b"\r\n\r\n")
                assert answer == b"" or (b"Content-Length: 100000" in head and len(body) < 100_000)

    run(story())


def test_trouble_of_our_own_is_503_and_never_401_or_403() -> None:
    async def story() -> None:
        async with recorder() as rec:
            papers, token = await _papers(rec.port)
            async with gate(papers) as door:
                door.feed.stopped = True
                for lines in ((), (bearer(token),), (bearer("stint_wrong"),)):
                    answer = await door.ask("GET", "/v9/things/other", *lines)
                    assert (status(answer), b"Retry-After" in answer) == (503, True)
                door.feed.stopped = False
                door.gateway._kinds = {"toy": TOY._replace(routes=None)}  # a fault of ours in the middle
                door.gateway._served = {}
                assert status(await door.ask("GET", "/v9/things/mine", bearer(token))) == 503
                assert rec.got == []

    run(story())


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_what_ends_while_the_gate_is_let_in_is_not_sent(method: str) -> None:
    """A token may have to be renewed first. Fault: nobody looks again between the yes and the sending."""
    asked, may_go_on = asyncio.Event(), asyncio.Event()

    class Renewing(Key9):
        async def headers(self) -> Mapping[str, str]:
            asked.set()
            await may_go_on.wait()
            return await super().headers()

    async def story() -> None:
        async with recorder() as rec:
            papers, token = await _papers(rec.port)
            async with gate(papers, kind=TOY._replace(authorize=Renewing)) as door:
                body = b"" if method == "GET" else b"{}"
                call = asyncio.create_task(door.ask(method, "/v9/things/mine", bearer(token), body=body))
                await asyncio.wait_for(asked.wait(), 10)
                papers.revoke()
                door.changed()
                may_go_on.set()
                assert status(await call) == 401
                assert rec.got == []

    run(story())


def test_of_several_questions_none_is_asked_once_it_is_over() -> None:
    """Fault: what a list is made of is asked to the end, whatever ends meanwhile."""
    several = Fold((Send("GET", "/v9/things/a"), Send("GET", "/v9/things/b")), list)
    folding = TOY._replace(narrow=lambda match, body, shown, found: several)

    async def story() -> None:
        async with recorder() as rec:
            papers, token = await _papers(rec.port)

            class Ending(Key9):
                async def headers(self) -> Mapping[str, str]:
                    papers.revoke()
                    door.changed()
                    return await super().headers()

            async with gate(papers, kind=folding._replace(authorize=Ending)) as door:
                assert status(await door.ask("POST", "/v9/things/filter", bearer(token), body=b"{}")) == 401
                assert len(rec.got) == 1

    run(story())


def test_the_secret_that_only_the_gate_knows(tmp_path: Path) -> None:
    """Sent with every request, read again when it changes, and 503 when it cannot be read."""
    secret = tmp_path / "secret"

    async def story() -> None:
        async with recorder() as rec:
            secret.write_text("admin:one")
            papers, token = await _papers(rec.port, secret_ref=f"file:{secret}")
            async with gate(papers) as door:
                assert status(await door.ask("GET", "/v9/things/mine", bearer(token))) == 200
                assert rec.got[0].all("Authorization") == ["Bearer admin:one"]
                secret.write_text("admin:two")
                papers.grant(VIEW, "locked")
                other = papers.token(2)
                door.changed()
                assert status(await door.ask("GET", "/v9/things/locked", bearer(other))) == 503, "and it is read again"
                assert status(await door.ask("GET", "/v9/things/mine", bearer(token))) == 200
                assert rec.got[-1].all("Authorization") == ["Bearer admin:two"]
                secret.unlink()
                door.gateway.client.secrets.forget(f"file:{secret}")
                assert status(await door.ask("GET", "/v9/things/mine", bearer(token))) == 503
                assert len(rec.got) == 3

    run(story())
