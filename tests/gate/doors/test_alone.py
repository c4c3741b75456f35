"""Calls that are judged by what is there go up one after the other: two at once would not see each other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from grants.gate.bounds.aside import CALLER
from grants.gate.bounds.turns import to_its_end
from grants.gate.decision.limits import Limits
from grants.gate.decision.table import RouteTable
from grants.gate.decision.target import canonical
from grants.gate.decision.types import Found, Lookup, Target, or_raise
from grants.gate.prefect.kind import PREFECT
from tests.gate.loop import run
from tests.gate.serving import serving
from tests.gate.talk import until
from tests.gate.toy import RUN, TOY, VIEW, Lookups, Papers, bearer, gate, status

ID = "0b2f8a4e-1111-4222-8333-444455556666"
SCHEDULES = f"/api/deployments/{ID}/schedules"
CHANGING = TOY._replace(alone=lambda match: match.route.method if match.route.method in {"POST", "DELETE"} else None)


class Slow:
    """An orchestrator that answers a POST when it is told to."""

    def __init__(self) -> None:
        self.posts = 0
        self.may_answer = asyncio.Event()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method == "POST":
            self.posts += 1
            await self.may_answer.wait()
        return web.json_response({})


@asynccontextmanager
async def slow() -> AsyncIterator[tuple[Slow, int]]:
    """It, and its port."""
    there = Slow()
    async with serving(there.handle) as port:
        try:
            yield there, port
        finally:
            there.may_answer.set()


def test_two_changes_of_one_thing_go_up_one_after_the_other() -> None:
    """Fault: each is decided on, and sent, beside the other."""

    async def story() -> None:
        async with slow() as (there, port):
            papers = Papers(port)
            token = papers.token(papers.grant(RUN))
            async with gate(papers, kind=CHANGING) as door:
                asked = [door.ask("POST", "/v9/things/mine", bearer(token), body=b"{}") for _ in range(3)]
                changes = [asyncio.create_task(one) for one in asked]
                try:
                    await until(lambda: there.posts)
                    for method in ("GET", "DELETE") * 5:  # other calls, and changes of something else, wait for nobody
                        answer = await asyncio.wait_for(door.ask(method, "/v9/things/mine", bearer(token)), 20)
                        assert status(answer) == 200
                    assert there.posts == 1
                    changes.pop().cancel()  # whoever leaves the line keeps it from nobody
                finally:
                    there.may_answer.set()
                    answers = await asyncio.gather(*changes)
                assert [status(answer) for answer in answers] == [200, 200]

    run(story())


def test_who_is_refused_keeps_nobody_waiting() -> None:
    """Fault: the turn is taken before it is known whether its caller may change anything."""
    stranger, asked, may_be_told = 2, asyncio.Event(), asyncio.Event()

    class Hanging(Lookups):
        async def resolve(self, wanted: Collection[Lookup]) -> Found:
            if CALLER.get() == stranger:
                asked.set()
                await may_be_told.wait()
            return await super().resolve(wanted)

    async def story() -> None:
        async with slow() as (there, port):
            there.may_answer.set()
            papers = Papers(port)
            token = papers.token(papers.grant(RUN))
            other = papers.token(papers.grant(VIEW, "other", subject=stranger))
            async with gate(papers, kind=CHANGING._replace(lookups=Hanging)) as door:
                refused = asyncio.create_task(door.ask("POST", "/v9/things/mine", bearer(other), body=b"{}"))
                try:
                    await asyncio.wait_for(asked.wait(), 10)
                    assert status(await door.ask("POST", "/v9/things/mine", bearer(token), body=b"{}")) == 200
                finally:
                    may_be_told.set()
                    assert status(await refused) == 403

    run(story())


def test_the_wait_for_ones_turn_has_an_end() -> None:
    """Fault: who waits keeps for ever what others of its calls need."""

    async def story() -> None:
        async with slow() as (there, port):
            papers = Papers(port)
            token = papers.token(papers.grant(RUN))
            async with gate(papers, kind=CHANGING, limits=Limits(turn=0.2)) as door:
                first = asyncio.create_task(door.ask("POST", "/v9/things/mine", bearer(token), body=b"{}"))
                try:
                    await until(lambda: there.posts)
                    assert status(await door.ask("POST", "/v9/things/mine", bearer(token), body=b"{}")) == 429
                finally:
                    there.may_answer.set()
                    assert status(await first) == 200
                assert status(await door.ask("POST", "/v9/things/mine", bearer(token), body=b"{}")) == 200
                assert there.posts == 2

    run(story())


def test_who_leaves_has_its_turn_until_its_change_is_done() -> None:
    """What goes on at the orchestrator does not stop for a caller that left. Fault: the next one goes up beside it."""

    async def story() -> None:
        async with slow() as (there, port):
            papers = Papers(port)
            token = papers.token(papers.grant(RUN))
            async with gate(papers, kind=CHANGING) as door:
                for _ in range(5):
                    leaves = asyncio.create_task(door.ask("POST", "/v9/things/mine", bearer(token), body=b"{}"))
                    await until(lambda: there.posts)
                    for n in range(10):
                        assert status(await door.ask("GET", "/v9/things/mine", bearer(token))) == 200
                        if n == 5:
                            leaves.cancel()
                assert there.posts == 1
                there.may_answer.set()
                assert status(await door.ask("POST", "/v9/things/mine", bearer(token), body=b"{}")) == 200
                await until(lambda: not door.gateway._turns._queues and not door.gateway.callers._calls)

    run(story())


def test_who_has_left_is_not_waited_for_for_ever() -> None:
    """Fault: a caller keeps the turn by leaving what never ends."""

    async def story() -> None:
        begun, over = asyncio.Event(), asyncio.Event()

        async def endless() -> None:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                over.set()

        leaves = asyncio.create_task(to_its_end(endless(), 0.1))
        await begun.wait()
        leaves.cancel()
        assert isinstance((await asyncio.gather(leaves, return_exceptions=True))[0], asyncio.CancelledError)
        await over.wait()

    run(story())


@pytest.mark.parametrize(
    ("method", "path", "alone"),
    [
        ("POST", SCHEDULES, True),
        ("POST", SCHEDULES.replace(ID, ID.upper()), True),
        ("PATCH", f"{SCHEDULES}/{ID}", True),
        ("PATCH", f"/api/deployments/{ID}", True),
        ("GET", SCHEDULES, False),
        ("POST", f"/api/deployments/{ID}/create_flow_run", False),
    ],
)
def test_what_changes_a_deployments_schedules_is_one_of_these(method: str, path: str, *, alone: bool) -> None:
    """However its id is spelt. Fault: a route that stores schedules is left out."""
    target = canonical(path.encode())
    assert isinstance(target, Target)
    match = or_raise(RouteTable(PREFECT.routes, "p").match(method, target))
    assert PREFECT.alone(match) == (ID if alone else None)
