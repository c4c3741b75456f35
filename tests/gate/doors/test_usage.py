"""Counts and events reach the database once it takes them, however long it was away; what could not be kept is said."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from grants.gate.decision.types import ANY, ByCredential, Code, Principal, Refusal, Route, Upstream
from grants.gate.doors import usage as usages
from grants.gate.doors.authorizer import Call
from grants.gate.doors.usage import Usage
from grants.gate.feed.writes import Rejected, Unwritten, Writes
from tests.gate.loop import run
from tests.gate.views import Writer, database
from tests.gate.worlds import NOW


@pytest.fixture
def writer(worker_id: str) -> Iterator[Writer]:
    with database(f"usage_{worker_id}") as writer:
        yield writer


def counted(writer: Writer) -> dict[tuple[int, str, str], int]:
    rows = writer.connection.execute("SELECT credential_id, route, code, sum(n) FROM used GROUP BY 1, 2, 3").fetchall()
    return {(credential, route, code): int(n) for credential, route, code, n in rows}


def test_nothing_is_lost_while_the_database_is_away(writer: Writer) -> None:
    async def story() -> None:
        writes = Writes(writer.url)
        usage = Usage(writes, "here")
        try:
            for turn in range(3):
                for n in range(100):
                    usage.count(ByCredential(n % 5), "GET /x", "ok")
                usage.event("run_started", run=str(turn))
                if turn == 1:  # it goes away in the middle, and the line that we have is dead
                    writer.connection.execute("ALTER FUNCTION gate_use(jsonb) RENAME TO away")
                    writer.connection.execute("ALTER FUNCTION gate_append(text, bytea) RENAME TO away_too")
                    with pytest.raises(Unwritten):
                        await usage.write(everything=True)
                    usage.count(ByCredential(0), "GET /x", "ok")
                    writer.connection.execute("ALTER FUNCTION away(jsonb) RENAME TO gate_use")
                    writer.connection.execute("ALTER FUNCTION away_too(text, bytea) RENAME TO gate_append")
                    writer.connection.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'stint gate writes'"
                    )
                else:
                    await usage.write(everything=True)
            assert counted(writer) == {(0, "GET /x", "ok"): 61} | {(n, "GET /x", "ok"): 60 for n in range(1, 5)}
            rows = writer.connection.execute("SELECT verb, payload FROM appended").fetchall()
            assert [(verb, json.loads(payload)["run"]) for verb, payload in rows] == [
                ("run_started", str(n)) for n in range(3)
            ]
            assert usage.waiting == 0
        finally:
            await writes.close()

    run(story())


class Away:
    """A database that takes nothing, or not this."""

    def __init__(self, error: Exception) -> None:
        self.error: Exception | None = error
        self.took: list[tuple[str, list[object]]] = []

    async def call(self, sql: str, values: list[object]) -> None:
        if self.error is not None and (not isinstance(self.error, Rejected) or values[0] == "bad"):
            raise self.error
        self.took.append((sql, values))


def test_what_there_is_no_room_for_is_counted_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usages, "MOST_COUNTS", 10)
    monkeypatch.setattr(usages, "MOST_EVENTS", 10)

    async def story() -> None:
        away = Away(Unwritten("down"))
        usage = Usage(away, "here")  # type: ignore[arg-type]
        for n in range(25):
            usage.count(ByCredential(n), "GET /x", "ok")
            usage.event("run_started", run=str(n))
        with pytest.raises(Unwritten):
            await usage.write(everything=True)
        away.error = None
        await usage.write(everything=True)
        lost = [json.loads(values[1]) for sql, values in away.took if values[0] == "lost"]
        assert sorted((one["what"], one["n"]) for one in lost) == [("counts", 15), ("run_started", 15)]
        await usage.write(everything=True)
        assert len([1 for _, values in away.took if values[0] == "lost"]) == 2, "said once"

    run(story())


def test_an_event_that_is_rejected_does_not_keep_the_others_back() -> None:
    async def story() -> None:
        away = Away(Rejected("no event of the gate"))
        usage = Usage(away, "here")  # type: ignore[arg-type]
        usage.event("bad")
        usage.event("run_started", run="1")
        await usage.write()
        assert [values[0] for _, values in away.took] == ["run_started", "lost"]

    run(story())


def test_refusals_fold_and_the_count_is_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usages, "FOLD_SECONDS", 0.2)

    async def story() -> None:
        away = Away(Unwritten("down"))
        away.error = None
        usage = Usage(away, "here")  # type: ignore[arg-type]
        for _ in range(1000):
            usage.refused(None, None, Refusal(401, Code.UNKNOWN), None)
        usage.refused(None, None, Refusal(401, Code.EXPIRED), None)
        await usage.write()
        assert away.took == [], "others may still join"
        await asyncio.sleep(0.25)
        await usage.write()
        facts = [json.loads(values[1]) for _, values in away.took]
        assert {(one["code"], one["n"]) for one in facts} == {("unknown", 1000), ("expired", 1)}

    run(story())


def test_refusals_of_one_subject_are_recorded_by_what_it_has_shown() -> None:
    """Fault: refusals are folded by the subject alone, so the record does not say with which credential."""

    async def story() -> None:
        away = Away(Unwritten("down"))
        away.error = None
        usage = Usage(away, "here")  # type: ignore[arg-type]
        match: Any = SimpleNamespace(route=Route("GET", "/x", ANY))
        upstream = Upstream("toy", "toy", "toy.example", "http://toy", "test", "", 7)
        for credential in (1, 2, 2):
            principal = Principal(5, ByCredential(credential), None, NOW)
            call = Call(None, match, None, principal)  # type: ignore[arg-type] (nobody looks at them)
            usage.refused(upstream, call, Refusal(403, Code.NO_GRANT), None)
        await usage.write(everything=True)
        said = {"connection": 7, "subject": 5, "route": "GET /x", "code": "no_grant"}
        facts = [json.loads(values[1]) for _, values in away.took]  # type: ignore[arg-type]
        assert facts == [{**said, "credential": 1, "n": 1}, {**said, "credential": 2, "n": 2}]

    run(story())


def test_what_the_gate_may_write_is_what_the_database_takes(writer: Writer) -> None:
    """A database error that is nobody's fault but the row's is told apart from one that passes."""

    async def story() -> None:
        writes = Writes(writer.url)
        try:
            with pytest.raises(Rejected):
                await writes.call("SELECT 1 / 0", [])
            with pytest.raises(Unwritten):
                await writes.call("SELECT no_such_function()", [])
            assert await writes.call("SELECT 1", []) == (1,)
        finally:
            await writes.close()
        with pytest.raises(Unwritten):
            await Writes("postgresql://nobody@127.0.0.1:1/nothing").call("SELECT 1", [])

    run(story())
