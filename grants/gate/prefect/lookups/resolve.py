"""Resolve the ids and names in calls by asking the Prefect server itself.

| kind of Lookup | id | lineage | facts |
|---|---|---|---|
| server | "" | server | |
| flow_run | id | deployment, its pool, the pool it runs on; a sub-flow's: its parent's | state_type, start_time, expected_start_time, deployment_id, parent_task_run_id, work_pool_name, flow_id, started |
| flow_run_place, task_run_place | id | as flow_run, task_run | flow_run_id; cheaper: for lists |
| task_run | id | its flow run's | flow_run_id, state_type, task_key, started |
| flow_run_children, task_run_children | id | server | runs: {id: lineage} of the sub-flow runs of a flow run, of a task run |
| deployment, deployment_name, flow_deployment | id, "flow/deployment", "flow id/deployment" | deployment, pool | id, name, flow_id, job_variables, work_queue_name, work_pool_name, enforce_parameter_schema, infrastructure_document_id, limit_id, limit_name |
| deployment_schedules | id | server | rows: the id, the slug and the schedule of each |
| pool | name | pool | id, name, type |
| queue, pool_queue | id, "pool/queue" | pool | id, name, work_pool_name |
| flow, flow_name | id, name | all its deployments, their pools | id, name |
| artifact, artifact_key | id, key (the latest) | its flow run's | id, key, flow_run_id, task_run_id |
| block, block_name | id, "type/name" | block | id, name, slug, references: ids of the blocks that it is made of |
| block_type_slug, variable, variable_name | slug, id, name | server | id, name |
| flow_run_state, task_run_state | id | server: a state names no run that could be believed | type |

Every lineage ends at the server; a run without deployment, pool and parent, and a background task, have nothing else.
What may change of a run but not of where it belongs (state_type) is up to 5 minutes old once it began.
`started` is when the run left SCHEDULED first (ISO; None: not yet), a sub-flow's that of the earliest run above it.
"""  # noqa: E501 (a table)

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from typing import NamedTuple

from grants.catalog.levels import Key
from grants.gate.decision import types
from grants.gate.decision.ids import canonical_id
from grants.gate.decision.lookup import Asked, LookupFailed, RowCache
from grants.gate.decision.types import Found, Known, Lookup, Match
from grants.gate.prefect.lookups.invalidation import moved
from grants.gate.prefect.lookups.rows import Row, Rows
from grants.gate.prefect.lookups.visible_ids import Granted, VisibleIds
from grants.gate.prefect.scopes import NEEDS_QUEUES

_DEEPEST = 32  # sub-flows in sub-flows; deeper ones count as the server's
_VISIBLE_SECONDS = 15.0  # beside the 15 s that the rows may be old
_MOST_VISIBLE = 2_000
_MAKE_VISIBLE = frozenset({"pool_id", "deployment", "pool_deployments", "pool_queues"})  # what _look() reads

_IDS = frozenset({
    "flow_run", "flow_run_place", "flow_run_children", "task_run", "task_run_place", "task_run_children", "deployment",
    "deployment_schedules", "queue", "flow", "artifact", "block", "variable", "flow_run_state", "task_run_state",
})  # fmt: skip


class _RunPlace(NamedTuple):
    lineage: tuple[Key, ...]
    runs: tuple[Row, ...]  # from the flow run that was asked for up to the one with a deployment or pool


class Lookups:
    """The lookups at one Prefect server. Raises LookupFailed where it gives no answer."""

    def __init__(self, connection: str, upstream: Asked, clock: Callable[[], float] = time.monotonic) -> None:
        self._connection = connection
        self._clock = clock
        self._memory: RowCache[Row] = RowCache(Rows(upstream).tables(), clock)
        self._visible: OrderedDict[tuple[Granted, bool], tuple[VisibleIds, float]] = OrderedDict()
        self._server = Key(connection, "server", "server")

    async def resolve(self, wanted: Collection[Lookup]) -> Found:
        """Resolve each lookup; None where Prefect has no such thing."""
        ordered = list(dict.fromkeys(wanted))
        known = await asyncio.gather(*map(self._known, ordered), return_exceptions=True)
        for answer in known:
            if isinstance(answer, BaseException):
                raise answer
        return {
            lookup: answer
            for lookup, answer in zip(ordered, known, strict=True)
            if not isinstance(answer, BaseException)
        }

    async def visible_ids(self, visible: Granted, scope: types.Scope) -> VisibleIds:
        """Give the ids that `visible` shows. Queues are looked up only where `scope` needs them."""
        queues = scope in NEEDS_QUEUES
        if visible.all:
            return VisibleIds(visible)
        held = self._visible.get((visible, queues))
        if held is not None and self._clock() < held[1]:
            self._visible.move_to_end((visible, queues))
            return held[0]
        until = self._clock() + _VISIBLE_SECONDS
        seen = await self._look(visible, queues=queues)
        self._visible[visible, queues] = seen, until
        while len(self._visible) > _MOST_VISIBLE:
            self._visible.popitem(last=False)
        return seen

    def wrote(self, match: Match) -> None:
        """Forget what a write may have changed. To be called when it was answered, whatever the answer."""
        kinds = moved(match.route)
        for kind in kinds:
            self._memory.forget(kind)
        if not _MAKE_VISIBLE.isdisjoint(kinds):
            self._visible.clear()

    # What the caller may see.

    async def _look(self, visible: Granted, *, queues: bool) -> VisibleIds:
        pools = await self._rows("pool_id", visible.pools)
        rows = await self._rows("deployment", visible.deployments)
        covered = await self._rows("pool_deployments", pools)
        places = [f"{key}/{pool['name']}" for key, pool in pools.items()] if queues else ()
        deployments = {**rows}
        for row in covered.values():
            deployments |= row["deployments"]
        return VisibleIds(
            visible,
            frozenset(pools),
            {key: row["flow_id"] for key, row in deployments.items()},
            frozenset[str]().union(*(row["queues"] for row in (await self._rows("pool_queues", places)).values())),
        )

    async def _rows(self, kind: str, keys: Collection[str]) -> dict[str, Row]:
        rows = await asyncio.gather(*(self._memory.get(kind, key) for key in keys))
        return {key: row for key, row in zip(keys, rows, strict=True) if row is not None}

    # One lookup.

    async def _known(self, lookup: Lookup) -> Known | None:
        kind, key = lookup
        if kind == "server":
            return Known((self._server,), {})
        if kind in _IDS:
            known_id = canonical_id(key)
            if known_id is None:
                return None
            key = known_id
        if kind in {"flow_run", "flow_run_place"}:
            return await self._flow_run(key, exact=kind == "flow_run")
        if kind in {"task_run", "task_run_place"}:
            return await self._task_run(key, exact=kind == "task_run")
        if kind in {"flow_run_children", "task_run_children"}:
            return await self._children(kind, key)
        row = await self._memory.get(kind, key)
        return None if row is None else Known((*await self._lineage(kind, row), self._server), _facts(row))

    async def _lineage(self, kind: str, row: Row) -> tuple[Key, ...]:
        """The lineage of a row that is no run, without the server."""
        if kind in {"deployment", "deployment_name", "flow_deployment"}:
            return await self._deployment(row)
        if kind == "pool":
            return (self._key("pool", row["id"]),)
        if kind in {"queue", "pool_queue"}:
            return (self._key("pool", row["pool"]),) if row["pool"] else ()
        if kind in {"block", "block_name"}:
            return (self._key("block", row["id"]),)
        if kind in {"artifact", "artifact_key"} and row["flow_run"]:
            place = await self._place(row["flow_run"])
            return place.lineage[:-1] if place else ()
        if kind in {"flow", "flow_name"}:
            return await self._flow(row["id"])
        return ()

    async def _flow(self, flow: str) -> tuple[Key, ...]:
        """All deployments of a flow, then their pools: a grant on any of them shows the flow."""
        row = await self._memory.get("flow_deployments", flow)
        deployments = (row or {"deployments": {}})["deployments"].values()
        lineages = await asyncio.gather(*map(self._deployment, deployments))
        keys = dict.fromkeys(key for lineage in lineages for key in lineage)
        return (*(key for key in keys if key.kind == "deployment"), *(key for key in keys if key.kind == "pool"))

    async def _deployment(self, row: Row) -> tuple[Key, ...]:
        """A deployment and its pool, whose name Prefect resolves: a pool of that name in the catalog does not count."""
        own = self._key("deployment", row["id"])
        pool = await self._memory.get("pool", row["work_pool_name"]) if row["work_pool_name"] else None
        return (own, self._key("pool", pool["id"])) if pool else (own,)

    # Runs.

    async def _place(self, run: str) -> _RunPlace | None:
        """Find where a flow run belongs: to its deployment and pools, else to the run that it is a sub-flow of."""
        runs: list[Row] = []
        at: str | None = run
        while at is not None and len(runs) < _DEEPEST:  # so a circle ends, too
            row = await self._memory.get("flow_run", at)
            if row is None:
                break
            runs.append(row)
            own = await self._own(row)
            if own:
                return _RunPlace((*own, self._server), tuple(runs))
            task = await self._memory.get("task_run", row["parent"]) if row["parent"] else None
            at = task["flow_run"] if task else None
        return _RunPlace((self._server,), tuple(runs)) if runs else None

    async def _own(self, run: Row) -> tuple[Key, ...]:
        deployment = await self._memory.get("deployment", run["deployment"]) if run["deployment"] else None
        lineage = await self._deployment(deployment) if deployment else ()
        pool = (self._key("pool", run["pool"]),) if run["pool"] else ()
        return tuple(dict.fromkeys((*lineage, *pool)))  # it may run on a pool that its deployment no longer uses

    async def _flow_run(self, run: str, *, exact: bool) -> Known | None:
        place = await self._place(run)
        if place is None:
            return None
        row = place.runs[0]
        facts = {
            "flow_run_id": row["id"],
            "deployment_id": row["deployment"],
            "parent_task_run_id": row["parent"],
            "flow_id": row["flow"],
            **{name: row[name] for name in ("state_type", "start_time", "expected_start_time", "work_pool_name")},
        }
        return Known(place.lineage, {**facts, "started": await self._started(place.runs)} if exact else facts)

    async def _started(self, runs: tuple[Row, ...]) -> str | None:
        begun = await self._rows("begun", [run["id"] for run in runs if run["began"]])
        return min((row["began"] for row in begun.values() if row["began"]), default=None, key=datetime.fromisoformat)

    async def _task_run(self, task: str, *, exact: bool) -> Known | None:
        row = await self._memory.get("task_run", task)
        if row is None:
            return None
        run = await self._flow_run(row["flow_run"], exact=exact) if row["flow_run"] else None
        facts = {"flow_run_id": row["flow_run"], "state_type": row["state_type"], "task_key": row["task_key"]}
        if exact:
            facts["started"] = run.facts["started"] if run else None
        return Known(run.lineage if run else (self._server,), facts)

    async def _children(self, kind: str, parent: str) -> Known:
        asked_at = self._clock()
        row = await self._memory.get("children_of_run" if kind == "flow_run_children" else "children_of_task", parent)
        runs = row["runs"] if row else []
        for run in runs:
            self._memory.put("flow_run", run["id"], run, asked_at)
        places = await asyncio.gather(*(self._place(run["id"]) for run in runs))
        lineages = {run["id"]: place.lineage for run, place in zip(runs, places, strict=True) if place}
        return Known((self._server,), {"runs": lineages})

    def _key(self, kind: str, key: str) -> Key:
        return Key(self._connection, kind, key)


def _facts(row: Row) -> Mapping[str, object]:
    named = {"flow_run": "flow_run_id", "task_run": "task_run_id", "pool": "work_pool_id"}
    return {named.get(name, name): value for name, value in row.items() if name != "deployments"}


__all__ = ["LookupFailed", "Lookups"]
