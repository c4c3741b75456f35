"""A browser's way in: off to the portal with a nonce, back with a ticket, and never anywhere else."""

from __future__ import annotations

import asyncio
import hashlib
from ipaddress import ip_network
from urllib.parse import parse_qs, urlsplit

import pytest

from grants.gate.bounds import tries
from grants.gate.bounds.addresses import Addresses
from grants.gate.decision.credentials import COOKIE
from grants.gate.decision.limits import Limits
from grants.gate.decision.types import Credential
from grants.gate.doors.enter import NONCE_COOKIE
from grants.gate.feed.writes import Unwritten
from grants.tokens.mint import mint
from tests.gate.loop import run
from tests.gate.recorder import recorder
from tests.gate.talk import until
from tests.gate.toy import VIEW, Gate, Papers, gate, status

BROWSER = ("Accept: text/html,*/*", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document", "Sec-Fetch-Site: none")


def fields(answer: bytes, name: str) -> list[str]:
    lines = answer.split(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]
    return [
        value.strip() for field, _, value in (line.partition(":") for line in lines) if field.lower() == name.lower()
    ]


def cookies(answer: bytes) -> dict[str, str]:
    return dict(one.split(";")[0].split("=", 1) for one in fields(answer, "Set-Cookie"))


def test_a_browser_without_a_session_goes_to_the_portal() -> None:
    async def story() -> None:
        async with recorder() as rec:
            papers = Papers(rec.port)
            async with gate(papers) as door:
                answer = await door.ask("GET", "/pages/runs?tab=1&q=%61", *BROWSER)
                assert status(answer) == 302
                to = urlsplit(fields(answer, "Location")[0])
                nonce = cookies(answer)[NONCE_COOKIE]
                assert f"{to.scheme}://{to.netloc}{to.path}" == "https://stint.test/gate/enter"
                assert parse_qs(to.query) == {
                    "connection": ["toy"], "nonce": [hashlib.sha256(nonce.encode()).hexdigest()], "to": ["/pages/runs?tab=1&q=a"]
                }  # fmt: skip
                set_cookie = fields(answer, "Set-Cookie")[0]
                for part in ("Secure", "HttpOnly", "SameSite=Lax", "Path=/"):
                    assert part in set_cookie.split("; ")
                assert "Domain" not in set_cookie
                assert nonce not in fields(answer, "Location")[0]
                # A second tab keeps the nonce of the first.
                again = await door.ask("GET", "/pages/x", *BROWSER, f"Cookie: {NONCE_COOKIE}={nonce}")
                assert cookies(again)[NONCE_COOKIE] == nonce
                assert rec.got == []

    run(story())


@pytest.mark.parametrize(
    ("method", "target", "lines"),
    [
        ("GET", "/v9/me", BROWSER),
        ("GET", "/v9", BROWSER),
        ("GET", "/v9/", BROWSER),
        ("GET", "/pages/x", ("Accept: application/json",)),
        ("GET", "/pages/x", ("Accept: text/html", "Sec-Fetch-Mode: cors")),
        ("GET", "/pages/x", (*BROWSER, "Authorization: Bearer stint_x")),
    ],
)
def test_programs_and_api_paths_are_never_redirected(method: str, target: str, lines: tuple[str, ...]) -> None:
    async def story() -> None:
        async with recorder() as rec, gate(Papers(rec.port)) as door:
            answer = await door.ask(method, target, *lines)
            assert status(answer) in (401, 404)
            assert b"location:" not in answer.lower()

    run(story())


async def _return(
    door: Gate, papers: Papers, to: str, *, row: object = (1, "toy"), nonce: str = "n" * 43, ticket: str = ""
) -> bytes:
    """Back from the portal; the database says `row`, and the session comes by the feed a moment later."""
    made: list[bytes] = []

    async def call(sql: str, values: list[object]) -> object:
        assert "gate_redeem" in sql
        if isinstance(row, Exception):
            raise row
        door.writes.calls.append((sql, list(values)))
        made.append(values[3])
        number = len(papers.credentials) + 1
        later = papers.grants[1].until
        session = Credential(number, "gate_session", values[3], 1, "toy", None, later, False)

        def arrive() -> None:
            papers.credentials[values[3]] = session
            door.changed()

        if row:
            asyncio.get_running_loop().call_later(0.05, arrive)
        return row

    door.writes.call = call  # type: ignore[method-assign, assignment]
    return await door.ask(
        "GET",
        f"/.stint/enter?ticket={ticket or mint('ticket').token}&to={to}",
        *BROWSER,
        f"Cookie: {NONCE_COOKIE}={nonce}",
    )


def test_the_way_back_makes_a_session_that_works() -> None:
    async def story() -> None:
        async with recorder() as rec:
            papers = Papers(rec.port)
            papers.grant(VIEW)
            async with gate(papers) as door:
                answer = await _return(door, papers, "%2Fpages%2Fruns%3Ftab%3D1")
                assert (status(answer), fields(answer, "Location")) == (303, ["/pages/runs?tab=1"])
                session = cookies(answer)[COOKIE]
                assert session.startswith("stints_")
                (_, (ticket, nonce, key_id, digest)) = door.writes.calls[0]
                assert nonce == hashlib.sha256(b"n" * 43).digest()
                assert key_id in session
                assert hashlib.sha256(session.encode()).digest() == digest
                assert status(await door.ask("GET", "/pages/x", *BROWSER, f"Cookie: {COOKIE}={session}")) == 200
                assert rec.got[0].all("Cookie") == []
                # Sign-out at the portal revokes it.
                papers.revoke()
                door.changed()
                assert status(await door.ask("GET", "/pages/x", *BROWSER, f"Cookie: {COOKIE}={session}")) == 302
                assert status(await door.ask("GET", "/v9/me", f"Cookie: {COOKIE}={session}")) == 401

    run(story())


@pytest.mark.parametrize(
    "to",
    ["//evil.test/", "https://evil.test/", "%2F%2Fevil.test", "/%5Cevil.test", "javascript:alert(1)", "/a/../b", "", "/.stint/enter",
     "%2F%09%2Fevil.test", "/x%0d%0aSet-Cookie:a=b"],
)  # fmt: skip
def test_the_way_back_leads_nowhere_else(to: str) -> None:
    async def story() -> None:
        async with recorder() as rec:
            papers = Papers(rec.port)
            papers.grant(VIEW)
            async with gate(papers) as door:
                answer = await _return(door, papers, to)
                assert status(answer) in (400, 403)
                assert fields(answer, "Location") == []
                # Handed in without a nonce all the same: it stood in an address, so it is spent.
                assert [values[1] for _, values in door.writes.calls] in ([], [None])
                assert len(door.writes.calls) == (status(answer) == 403)

    run(story())


@pytest.mark.parametrize(
    ("nonce", "ticket", "row", "code"),
    [
        ("n" * 43, "", None, 403),
        ("n" * 43, "", (1, "other"), 403),
        ("n" * 42, "", (1, "toy"), 403),
        ("n" * 43, "stintt_wrong", (1, "toy"), 403),
        ("n" * 43, mint("token").token, (1, "toy"), 403),
        ("n" * 43, "", Unwritten("down"), 503),
        ("", "", None, 403),
    ],
    ids=["unknown", "of another host", "wrong nonce", "garbled", "a service token", "database down", "no nonce"],
)
def test_a_ticket_that_is_refused(nonce: str, ticket: str, row: object, code: int) -> None:
    async def story() -> None:
        async with recorder() as rec:
            papers = Papers(rec.port)
            papers.grant(VIEW)
            async with gate(papers) as door:
                answer = await _return(door, papers, "/pages/x", nonce=nonce, ticket=ticket, row=row)
                assert status(answer) == code
                if nonce != "n" * 43:
                    assert [values[1] for _, values in door.writes.calls] == [None]  # it is spent where it arrives
                assert fields(answer, "Set-Cookie") == []
                assert fields(answer, "Location") == []

    run(story())


def test_leaving() -> None:
    session, calls = mint("gate_session"), []

    async def call(sql: str, values: list[object]) -> object:
        calls.append((sql, values))
        return (True,)

    async def down(_sql: str, _values: list[object]) -> object:
        raise Unwritten("down")

    async def story() -> None:
        async with recorder() as rec, gate(Papers(rec.port)) as door:
            door.writes.call = call  # type: ignore[method-assign, assignment]
            mine = f"Cookie: other=1; {COOKIE}={session.token}"
            for lines in (BROWSER, (*BROWSER, mine), (*BROWSER, f"Cookie: {COOKIE}=stints_made_up")):
                answer = await door.ask("GET", "/.stint/leave", *lines)
                assert (status(answer), fields(answer, "Location")) == (303, ["https://stint.test/"])
                assert cookies(answer) == {COOKIE: "", NONCE_COOKIE: ""}
            assert status(await door.ask("GET", "/.stint/leave", mine, "Sec-Fetch-Site: cross-site")) == 403
            assert calls == [("SELECT gate_leave(%s)", [session.digest])]
            door.writes.call = down  # type: ignore[method-assign, assignment]
            answer = await door.ask("GET", "/.stint/leave", *BROWSER, mine)
            assert (status(answer), fields(answer, "Set-Cookie")) == (503, [])
            assert status(await door.ask("GET", "/.stint/other")) == 404
            assert status(await door.ask("POST", "/.stint/leave")) == 404
            assert rec.got == []

    run(story())


@pytest.mark.parametrize("what", ["enter", "leave"])
def test_made_up_tickets_reach_the_database_a_few_times_only(what: str) -> None:
    """And who comes from elsewhere, through our proxy, enters meanwhile."""
    asked: list[list[object]] = []

    async def count(_sql: str, values: list[object]) -> object:
        asked.append(values)
        return None

    async def guess(door: Gate, address: str) -> bytes:
        target, lines = "/.stint/leave", [f"Cookie: {COOKIE}={mint('gate_session').token}"]
        if what == "enter":
            target, lines = f"/.stint/enter?ticket={mint('ticket').token}&to=/", []
        return await door.ask("GET", target, *BROWSER, *lines, f"X-Forwarded-For: 203.0.113.{len(asked)}, {address}")

    async def story() -> None:
        ours = Addresses([ip_network("127.0.0.0/8")])
        async with recorder() as rec:
            papers = Papers(rec.port)
            papers.grant(VIEW)
            limits = Limits(tries=5, try_again=3600)
            async with gate(papers, limits=limits, addresses=ours) as door:
                door.writes.call = count  # type: ignore[method-assign, assignment]
                codes = [status(await guess(door, "198.51.100.7")) for _ in range(12)]
                assert (codes[4] in (303, 403), codes[5:]) == (True, [429] * 7)
                assert b"Retry-After" in await guess(door, "198.51.100.7")
                assert len(asked) == 5
                assert status(await guess(door, "198.51.100.8")) in (303, 403)
                assert len(asked) == 6

    run(story())


def test_garbled_tickets_cost_nothing_and_good_ones_no_try() -> None:
    async def story() -> None:
        async with recorder() as rec:
            papers = Papers(rec.port)
            papers.grant(VIEW)
            async with gate(papers, limits=Limits(tries=2, try_again=3600)) as door:
                for _ in range(5):
                    answer = await _return(door, papers, "/pages/x", ticket=mint("ticket").token[:-1] + "!")
                    assert status(answer) == 403
                assert door.writes.calls == []
                for _ in range(5):
                    assert status(await _return(door, papers, "/pages/x")) == 303

    run(story())


def test_few_wait_for_the_database_at_once() -> None:
    go_on = asyncio.Event()

    async def slow(_sql: str, _values: list[object]) -> object:
        await go_on.wait()
        return None

    async def story() -> None:
        async with recorder() as rec, gate(Papers(rec.port), limits=Limits(entering=2)) as door:
            door.writes.call = slow  # type: ignore[method-assign, assignment]

            def guess() -> asyncio.Task[bytes]:
                return asyncio.create_task(door.ask("GET", f"/.stint/enter?ticket={mint('ticket').token}", *BROWSER))

            first = [guess(), guess()]
            await until(lambda: door.gateway.enter._asking == 2)
            assert status(await guess()) == 429
            go_on.set()
            assert [status(await one) for one in first] == [403, 403]
            assert door.gateway.enter._asking == 0

    run(story())


def test_tries_come_back_and_are_forgotten_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tries, "MOST", 3)
    now = 0.0
    bucket = tries.Tries(2, 10, lambda: now)
    assert [bucket.take("a") for _ in range(3)] == [True, True, False]
    now = 9.9
    assert not bucket.take("a")
    now = 10.0
    assert [bucket.take("a") for _ in range(2)] == [True, False]
    bucket.give_back("a")
    assert bucket.take("a")
    assert [bucket.take(who) for who in "bcde"] == [True] * 4
    assert set(bucket._full_at) == set("cde")
    now = 1e6
    assert [bucket.take("c") for _ in range(3)] == [True, True, False], "no more than a bucket comes back"
