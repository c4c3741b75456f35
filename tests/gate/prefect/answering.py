"""A Prefect server that says what a test wants, for what the gate asks it itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from grants.catalog.levels import Key
from grants.gate.decision.types import Json, Known, Lookup
from grants.gate.prefect.lookups.resolve import Lookups

SERVER = Key("prod", "server", "server")


def uid(n: int) -> str:
    return str(UUID(int=n))


class Prefect:
    """Rows by kind; lists filter by id. Counts what it was asked."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, Any]] = {}
        self.states: dict[str, list[Json]] = {}
        self.asked: list[str] = []
        self.answers: dict[str, tuple[int, Json]] = {}
        self.queues: list[Json] = []
        self.delay: Callable[[], asyncio.Future[None]] | None = None

    def add(self, what: str, n: int, **fields: Any) -> str:
        self.rows.setdefault(what, {})[uid(n)] = {"id": uid(n), "name": f"{what}-{n}", **fields}
        return uid(n)

    async def json(self, method: str, target: str, body: Json = None) -> tuple[int, Json]:
        self.asked.append(f"{method} {target}")
        if self.delay is not None:
            await self.delay()
        if target in self.answers:
            return self.answers[target]
        _, _, what, rest = target.split("/", 3)
        if what == "flow_run_states":
            return 200, self.states.get(rest.partition("=")[2], [])
        if method == "GET":
            row = next(
                (
                    row
                    for row in self.rows.get(what, {}).values()
                    if rest.rpartition("/")[2] in (row["id"], row["name"])
                ),
                None,
            )
            return (404, {"detail": "no"}) if row is None else (200, row)
        if rest.endswith("queues/filter"):
            return 200, self.queues[body["offset"] :]
        return 200, self.select(what, body)[body["offset"] : body["offset"] + 3]  # a server of three rows a page

    def select(self, what: str, body: Json) -> list[Any]:
        rows = list(self.rows.get(what, {}).values())
        wanted = body.get(what, {}).get("id", {}).get("any_")
        flow, pool = (body.get(name, {}).get("id", {}).get("any_") for name in ("flows", "work_pools"))
        names = {row["name"] for row in self.rows.get("work_pools", {}).values() if row["id"] in (pool or ())}
        if what == "deployments":
            rows = [
                row
                for row in rows
                if (flow is None or row["flow_id"] in flow) and (pool is None or row["work_pool_name"] in names)
            ]
        return [row for row in rows if wanted is None or row["id"] in wanted]

    def pool(self, n: int, name: str = "") -> str:
        return self.add("work_pools", n, **({"name": name} if name else {}), type="process")

    def deployment(self, n: int, pool: str | None, flow: int = 90) -> str:
        return self.add(
            "deployments",
            n,
            flow_id=uid(flow),
            work_pool_name=pool,
            job_variables={"a": 1},
            enforce_parameter_schema=True,
        )

    def run(self, n: int, **fields: Any) -> str:
        state = {"type": "SCHEDULED", "timestamp": "2026-01-01T00:00:00Z"}
        return self.add(
            "flow_runs",
            n,
            **{"state_type": "SCHEDULED", "state": state, "deployment_id": None, "parent_task_run_id": None, **fields},
        )


@pytest.fixture
def prefect() -> Prefect:
    return Prefect()


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def ask(prefect: Prefect, *wanted: Lookup, clock: Clock | None = None) -> dict[Lookup, Known | None]:
    async def resolve() -> Any:
        return await Lookups("prod", prefect, clock or Clock()).resolve(wanted)

    return asyncio.run(resolve())


def one(prefect: Prefect, kind: str, key: str) -> Known | None:
    return ask(prefect, Lookup(kind, key))[Lookup(kind, key)]


def lineage(prefect: Prefect, kind: str, key: str) -> list[tuple[str, str]]:
    known = one(prefect, kind, key)
    assert known is not None
    assert known.lineage[-1] == SERVER
    assert {key.connection for key in known.lineage} == {"prod"}
    return [(key.kind, key.id) for key in known.lineage[:-1]]
