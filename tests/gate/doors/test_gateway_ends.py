"""The door at the end of an access, what it counts, and callers that leave."""

from __future__ import annotations

import asyncio
import json

from tests.gate.loop import run
from tests.gate.recorder import recorder
from tests.gate.toy import RUN, VIEW, WORK, Gate, Papers, bearer, gate, status


async def _papers(port: int, **more: str) -> tuple[Papers, str]:
    papers = Papers(port, **more)
    return papers, papers.token(papers.grant(RUN))


def test_the_end_the_revocation_and_the_leaving() -> None:
    async def story() -> None:
        async with recorder() as rec:
            papers = Papers(rec.port)
            token = papers.token(papers.grant(VIEW, seconds=0.5))
            async with gate(papers) as door:
                assert status(await door.ask("GET", "/v9/things/mine", bearer(token))) == 200
                await asyncio.sleep(0.6)
                assert status(await door.ask("GET", "/v9/things/mine", bearer(token))) == 403, "no message came"
                papers.grant(VIEW)
                token = papers.token(2)
                door.changed()
                assert status(await door.ask("GET", "/v9/things/mine", bearer(token))) == 200
                papers.grants[2] = papers.grants[2]._replace(
                    until=papers.grants[2].starts_at, drain_until=papers.grants[2].starts_at
                )
                door.changed()
                assert status(await door.ask("GET", "/v9/me", bearer(token))) == 403, "not even what anybody may"
                papers.revoke()
                door.changed()
                assert status(await door.ask("GET", "/v9/things/mine", bearer(token))) == 401
                papers.grant(VIEW)
                token = papers.token(3)
                papers.active = set()
                door.changed()
                assert status(await door.ask("GET", "/v9/things/mine", bearer(token))) in (401, 403)
                assert len(rec.got) == 2

    run(story())


def test_a_worker_is_drained() -> None:
    """Polls are empty and reports on runs that had started pass, until the drain is over; nothing else does."""

    async def story() -> None:
        async with recorder() as rec:
            papers = Papers(rec.port)
            token = papers.token(papers.grant(WORK, seconds=0.3, drain=1.2))
            json_ = "Content-Type: application/json"
            async with gate(papers) as door:

                async def call(path: str, body: bytes = b"{}") -> bytes:
                    return await door.ask("POST", f"/v9/things/mine/{path}", bearer(token), json_, body=body)

                assert status(await call("poll")) == 200
                assert len(rec.got) == 1
                await asyncio.sleep(0.4)
                empty = await call("poll")
                assert (status(empty), empty.split(b"\r\n\r\n")[1]) == (200, b"[]")
                assert status(await call("report", b'{"run":"early"}')) == 200
                for run_ in (b'{"run":"never"}', b'{"run":"late"}', b'{"run":"unknown"}', b"{}"):
                    assert status(await call("report", run_)) == 403, run_
                assert status(await call("create_run")) == 403
                await asyncio.sleep(1.2)
                assert status(await call("poll")) == 403
                assert status(await call("report", b'{"run":"early"}')) == 403
                assert len(rec.got) == 2

    run(story())


def test_what_was_done_is_counted_and_recorded() -> None:
    async def story() -> None:
        async with recorder() as rec:
            papers, token = await _papers(rec.port)
            async with gate(papers) as door:
                json_ = "Content-Type: application/json"
                for _ in range(3):
                    await door.ask("GET", "/v9/things/mine", bearer(token))
                for _ in range(5):
                    await door.ask("GET", "/v9/things/other", bearer(token))
                assert (
                    status(
                        await door.ask(
                            "POST",
                            "/v9/things/mine/create_run",
                            bearer(token),
                            json_,
                            "Accept-Encoding: gzip",
                            body=b"{}",
                        )
                    )
                    == 201
                )
                assert rec.got[-1].all("Accept-Encoding") == ["identity"], "what it started has to be read"
                await door.usage.write(everything=True)
                events = [(values[0], json.loads(values[1])) for sql, values in door.writes.calls if "append" in sql]
                started = next(facts for verb, facts in events if verb == "run_started")
                assert started["run"] == "5b2e3c1e-0000-4000-8000-000000000001"
                assert (started["subject"], started["credential"], started["connection"]) == (1, 1, 7)
                refused = [facts for verb, facts in events if verb == "refused"]
                assert len(refused) == 1, "equal ones are one event"
                assert (refused[0]["n"], refused[0]["code"], refused[0]["need"]) == (5, "no_grant", "view")
                rows = [row for sql, values in door.writes.calls if "gate_use" in sql for row in json.loads(values[0])]
                counted = {(row["route"], row["code"]): row["n"] for row in rows}
                assert counted["GET /v9/things/{name}", "ok"] == 3
                assert counted["GET /v9/things/{name}", "no_grant"] == 5
                assert counted["POST /v9/things/{name}/create_run", "ok"] == 1

    run(story())


def test_a_caller_that_leaves_is_not_waited_for() -> None:
    async def story() -> None:
        async with recorder() as rec:
            papers = Papers(rec.port)
            token = papers.token(papers.grant(VIEW, "silent"))
            async with gate(papers) as door:
                _, writer = await asyncio.open_connection("127.0.0.1", door.port)
                writer.write(f"GET /v9/things/silent HTTP/1.1\r\nHost: toy.test\r\n{bearer(token)}\r\n\r\n".encode())
                while not rec.got:  # noqa: ASYNC110 (its end is all that shows)
                    await asyncio.sleep(0.01)
                writer.close()
                await _nobody_is_asked(door)

    run(story())


async def _nobody_is_asked(door: Gate) -> None:
    """The line to the orchestrator goes with the caller's."""
    for _ in range(300):
        if not door.gateway.client.session.connector._acquired:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the orchestrator is still being asked")
