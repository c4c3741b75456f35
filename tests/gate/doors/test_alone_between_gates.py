"""Calls that are judged by what they change go up one after the other at all gates of one database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager

import pytest

from grants.gate.decision.limits import Limits
from grants.gate.decision.types import Found, Lookup, Match
from grants.gate.feed.locks import Locks
from grants.gate.feed.writes import Writes
from tests.gate.doors.test_alone import CHANGING, Slow, slow
from tests.gate.loop import run
from tests.gate.talk import until
from tests.gate.toy import RUN, Gate, Lookups, Papers, bearer, gate, status
from tests.gate.views import Writer, database

THING = "/v9/things/mine"
HELD = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"


@pytest.fixture
def writer(worker_id: str) -> Iterator[Writer]:
    with database(f"locks_{worker_id}") as writer:
        yield writer


def held(writer: Writer) -> int:
    row = writer.connection.execute(HELD + " AND database = (SELECT oid FROM pg_database WHERE datname = %s)",
                                    [writer.connection.info.dbname]).fetchone()  # fmt: skip
    assert row
    return int(row[0])


class Two:
    """Two gates before one orchestrator, and a token that both know."""

    def __init__(self, there: Slow, one: Gate, other: Gate, token: str) -> None:
        self.there, self.one, self.other, self._token = there, one, other, token

    async def change(self, door: Gate, method: str = "POST") -> int:
        return status(await door.ask(method, THING, bearer(self._token), body=b"{}" if method == "POST" else b""))


@asynccontextmanager
async def two(*databases: str, wait: float = 10) -> AsyncIterator[Two]:
    limits = Limits(turn=wait)
    one, other = (Locks(Writes(url), limits.turn) for url in databases)
    async with slow() as (there, port):
        papers = Papers(port)
        token = papers.token(papers.grant(RUN))
        async with (
            gate(papers, kind=CHANGING, limits=limits, locks=one) as first,
            gate(papers, kind=CHANGING, limits=limits, locks=other) as second,
        ):
            try:
                yield Two(there, first, second, token)
            finally:
                there.may_answer.set()
                await one.close()
                await other.close()


def test_a_change_at_one_gate_waits_for_that_at_another(writer: Writer) -> None:
    """Fault: the turn is each gate's own, so n gates let n pass that were judged without each other."""

    async def story() -> None:
        async with two(writer.url, writer.url) as gates:
            first = asyncio.create_task(gates.change(gates.one))
            await until(lambda: gates.there.posts)
            second = asyncio.create_task(gates.change(gates.other))
            for _ in range(5):  # changes of something else wait for nobody
                assert await asyncio.wait_for(gates.change(gates.other, "DELETE"), 20) == 200
            assert gates.there.posts == 1
            gates.there.may_answer.set()
            assert [await first, await second] == [200, 200]
            assert gates.there.posts == 2
            assert held(writer) == 0

    run(story())


def test_the_wait_has_an_end(writer: Writer) -> None:
    async def story() -> None:
        async with two(writer.url, writer.url, wait=0.3) as gates:
            first = asyncio.create_task(gates.change(gates.one))
            await until(lambda: gates.there.posts)
            assert await gates.change(gates.other) == 429
            gates.there.may_answer.set()
            assert [await first, await gates.change(gates.other)] == [200, 200]

    run(story())


def test_no_change_is_made_while_the_database_cannot_be_asked(writer: Writer) -> None:
    """Fault: a gate that cannot tell whether another is at it goes on alone."""

    async def story() -> None:
        async with two(writer.url, "postgresql://nobody@127.0.0.1:1/nothing") as gates:
            gates.there.may_answer.set()
            assert await gates.change(gates.other) == 503
            assert gates.there.posts == 0
            assert await gates.change(gates.one) == 200

    run(story())


def test_a_caller_who_leaves_while_waiting_leaves_no_lock(writer: Writer) -> None:
    """Fault: a lock that was asked for when its caller left is held until the gate stops."""

    async def story() -> None:
        locks = [Locks(Writes(writer.url), 10) for _ in range(2)]
        try:
            for after in range(20):  # wherever it is when it is cancelled
                leaves = asyncio.create_task(_hold(locks[0]))
                for _ in range(after):
                    await asyncio.sleep(0.0005)
                leaves.cancel()
                await asyncio.gather(leaves, return_exceptions=True)
            async with asyncio.timeout(10), locks[1].held("a"):
                assert held(writer) == 1
            await until(lambda: held(writer) == 0)
        finally:
            for one in locks:
                await one.close()

    run(story())


async def _hold(locks: Locks) -> None:
    async with locks.held("a"):
        await asyncio.sleep(60)


def test_a_gate_that_dies_keeps_no_lock(writer: Writer) -> None:
    async def story() -> None:
        locks = [Locks(Writes(writer.url), 10) for _ in range(2)]
        try:
            async with asyncio.timeout(30), locks[0].held("a"):
                writer.connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'stint gate writes'"
                    " AND datname = %s", [writer.connection.info.dbname],
                )  # fmt: skip
                async with locks[1].held("a"):
                    pass
            async with asyncio.timeout(30), locks[0].held("a"):  # by a new session
                pass
        finally:
            for one in locks:
                await one.close()

    run(story())


def test_a_session_that_ended_unnoticed_refuses_nobody(writer: Writer) -> None:
    """Fault: the first change after PostgreSQL was restarted is answered 503."""

    async def story() -> None:
        locks = [Locks(Writes(writer.url), 10)]
        try:
            async with asyncio.timeout(30), locks[0].held("a"):
                pass
            writer.connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'stint gate writes'"
                " AND datname = %s", [writer.connection.info.dbname],
            )  # fmt: skip
            async with asyncio.timeout(30), locks[0].held("a"):
                assert held(writer) == 1
        finally:
            for one in locks:
                await one.close()

    run(story())


def test_a_change_is_judged_by_what_is_asked_for_once_the_lock_is_held(writer: Writer) -> None:
    """Fault: an answer that was on its way before, when another gate's change had not been made, is believed."""
    order: list[str] = []

    class Watched(Lookups):
        async def resolve(self, wanted: Collection[Lookup]) -> Found:
            order.append("asked")
            return await super().resolve(wanted)

        def wrote(self, match: Match) -> None:
            order.append(f"forgotten with {held(writer)} held")

    async def story() -> None:
        async with slow() as (there, port):
            there.may_answer.set()
            papers = Papers(port)
            token = papers.token(papers.grant(RUN))
            locks = Locks(Writes(writer.url), 10)
            async with gate(papers, kind=CHANGING._replace(lookups=Watched), locks=locks) as door:
                assert status(await door.ask("POST", THING, bearer(token), body=b"{}")) == 200
            await locks.close()

    run(story())
    assert order == ["asked", "forgotten with 1 held", "asked", "forgotten with 1 held"]
