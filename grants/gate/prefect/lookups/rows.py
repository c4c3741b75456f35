"""How the gate reads a Prefect server: batches of rows, of which only the fields that are used are kept.

Ids are checked before they reach a URL; a name that Prefect could not have is one that it does not have.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote

from grants.gate.decision.ids import canonical_id
from grants.gate.decision.lookup import Asked, LookupFailed, RowSource
from grants.gate.decision.types import Json

type Row = Mapping[str, Json]
type Fetch = Callable[[Sequence[str]], Awaitable[Mapping[str, Row]]]

MOST_PAGES = 500
MOST_CHILDREN = 1_000  # of one run; the oldest show

_NAME = re.compile(r"[^/\\;#%?<>&\x00-\x1f\x7f]{1,500}")

_TOGETHER = 8

# Seconds for which a row is kept:
_BRIEF = 1.0  # one that is about to change
_SHORT = 15.0  # one that may change; two of these follow each other (deployment -> pool), which makes 30 s
_LONG = 300.0  # a run's, of which only fields are used that never change


def segment(name: str) -> str | None:
    """Encode a name as one segment of a canonical target; None for a name that Prefect could not have."""
    if not _NAME.fullmatch(name) or name in {".", ".."}:
        return None
    try:
        return quote(name, safe="-._~!$&'()*+,=:@")
    except UnicodeEncodeError:
        return None


class Rows:
    """The kinds of rows of a Prefect server, for a RowCache."""

    def __init__(self, upstream: Asked) -> None:
        self._upstream = upstream

    def tables(self) -> dict[str, RowSource[Row]]:
        def table(fetch: Fetch, seconds: float = _SHORT, most: int = 20_000) -> RowSource[Row]:
            return RowSource(fetch, lambda _row: seconds, most)

        return {
            "flow_run": RowSource(self._by_ids("flow_runs", _flow_run), _while_unstarted),
            "begun": RowSource(_apart(self._begun), _while_unstarted),
            "task_run": table(self._by_ids("task_runs", _task_run), _LONG),
            "deployment": table(self._by_ids("deployments", _deployment)),
            "deployment_name": table(self._pairs("/api/deployments/name/{}/{}", _deployment)),
            "deployment_schedules": table(self._each_list("/api/deployments/{}/schedules", _schedule), 0.0, most=1),
            "flow_deployment": table(_apart(self._flow_deployment), _BRIEF),
            "pool": table(self._each("/api/work_pools/{}", _pool)),
            "pool_id": table(self._by_ids("work_pools", _pool)),
            "pool_deployments": table(self._deployments_of("work_pools"), most=2_000),
            "pool_queues": table(_apart(self._queues), most=2_000),
            "queue": table(self._each("/api/work_queues/{}", _queue)),
            "pool_queue": table(self._pairs("/api/work_pools/{}/queues/{}", _queue)),
            "flow": table(self._each("/api/flows/{}", _flow)),
            "flow_name": table(self._each("/api/flows/name/{}", _flow)),
            "flow_deployments": table(self._deployments_of("flows"), most=5_000),
            "children_of_run": table(self._children("parent_flow_run_id"), _BRIEF, most=1_000),
            "children_of_task": table(self._children("parent_task_run_id"), _BRIEF, most=1_000),
            "artifact": table(self._each("/api/artifacts/{}", _artifact), _LONG),
            "artifact_key": table(self._each("/api/artifacts/{}/latest", _artifact), _BRIEF),
            "block": table(self._each("/api/block_documents/{}", _block)),
            "block_name": table(self._pairs("/api/block_types/slug/{}/block_documents/name/{}", _block)),
            "block_type_slug": table(self._each("/api/block_types/slug/{}", _named)),
            "variable": table(self._each("/api/variables/{}", _named)),
            "variable_name": table(self._each("/api/variables/name/{}", _named)),
            "flow_run_state": table(self._each("/api/flow_run_states/{}", _state), _LONG),
            "task_run_state": table(self._each("/api/task_run_states/{}", _state), _LONG),
        }

    async def _get(self, target: str) -> Json | None:
        status, body = await self._upstream.json("GET", target)
        if status == 404:
            return None
        if status != 200 or body is None:
            raise LookupFailed(f"{target.split('/')[2]}: {status}")
        return body

    async def _list(self, target: str, body: Row, most: int = MOST_PAGES * 200) -> list[Json]:
        """Read all pages of a list, without a limit: a server refuses a limit above its own, which may be low."""
        rows: list[Json] = []
        for _ in range(MOST_PAGES):
            status, page = await self._upstream.json("POST", target, {**body, "offset": len(rows)})
            if status != 200 or not isinstance(page, list):
                raise LookupFailed(f"{target}: {status}")
            rows += page
            if not page or len(rows) >= most:
                return rows[:most]
        raise LookupFailed(f"{target}: more than the gate reads")

    def _each(self, target: str, read: Callable[[Json], Row]) -> Fetch:
        """Fetch rows that Prefect gives one by one, by an id or a name in the path."""

        async def one(key: str) -> Row | None:
            part = segment(key)
            body = await self._get(target.format(part)) if part else None
            row = None if body is None else read(body)
            if row is not None and key not in (row.get(name) for name in ("id", "name", "key", "slug")):
                raise LookupFailed(f"{target}: something else came")
            return row

        return _apart(one)

    def _each_list(self, target: str, read: Callable[[Json], Row]) -> Fetch:
        """Fetch lists that Prefect gives for an id in the path: {"rows": all of them}."""

        async def one(key: str) -> Row | None:
            body = await self._get(target.format(segment(key)))
            if body is not None and not isinstance(body, list):
                raise LookupFailed(f"{target}: no list came")
            return None if body is None else {"rows": tuple(map(read, body))}

        return _apart(one)

    def _pairs(self, target: str, read: Callable[[Json], Row]) -> Fetch:
        """Fetch rows that Prefect gives one by one, by two names: "first/second"."""

        async def one(key: str) -> Row | None:
            first, _, second = key.partition("/")
            parts = segment(first), segment(second)
            body = await self._get(target.format(*parts)) if all(parts) else None
            return None if body is None else read(body)

        return _apart(one)

    def _by_ids(self, what: str, read: Callable[[Json], Row]) -> Fetch:
        """Fetch rows by id: one by GET, several by one filter."""
        several = self._filtered(what, read)
        # GET finds a pool only by its name.
        one = several if what == "work_pools" else self._each(f"/api/{what}/{{}}", read)

        async def fetch(keys: Sequence[str]) -> Mapping[str, Row]:
            return await (several if len(keys) > 1 else one)(keys)

        return fetch

    def _filtered(self, what: str, read: Callable[[Json], Row]) -> Fetch:
        async def fetch(keys: Sequence[str]) -> Mapping[str, Row]:
            bodies = await self._list(f"/api/{what}/filter", {what: {"id": {"any_": list(keys)}}}, most=len(keys))
            return {row["id"]: row for row in map(read, bodies)}

        return fetch

    def _deployments_of(self, what: str) -> Fetch:
        """Fetch the deployments of a pool or a flow, by its id: {"deployments": {id: deployment's row}}."""

        async def one(key: str) -> Row:
            body = {what: {"id": {"any_": [key]}}, "sort": "CREATED_DESC"}
            rows = [_deployment(row) for row in await self._list("/api/deployments/filter", body)]
            return {"deployments": {row["id"]: row for row in rows}}

        return _apart(one)

    async def _flow_deployment(self, key: str) -> Row | None:
        """The deployment that a POST of this flow and name, "flow id/name", would change instead of making one."""
        flow, _, name = key.partition("/")
        if canonical_id(flow) is None:
            return None
        body = {"flows": {"id": {"any_": [flow]}}, "deployments": {"name": {"any_": [name]}}}
        rows = [_deployment(row) for row in await self._list("/api/deployments/filter", body)]
        return next((row for row in rows if (row["flow_id"], row["name"]) == (canonical_id(flow), name)), None)

    async def _queues(self, key: str) -> Row | None:
        """The queues of a pool that is given as "id/name"; those of another pool of this name are left out."""
        pool, _, name = key.partition("/")
        part = segment(name)
        if part is None:
            return None
        rows = [_queue(row) for row in await self._list(f"/api/work_pools/{part}/queues/filter", {})]
        return {"queues": frozenset(row["id"] for row in rows if row["pool"] == pool)}

    def _children(self, parent: str) -> Fetch:
        async def one(key: str) -> Row:
            body = {"flow_runs": {parent: {"any_": [key]}}, "sort": "EXPECTED_START_TIME_ASC"}
            rows = await self._list("/api/flow_runs/filter", body, most=MOST_CHILDREN)
            return {"runs": [_flow_run(row) for row in rows]}

        return _apart(one)

    async def _begun(self, key: str) -> Row:
        """When a run first left SCHEDULED, by its history, which Prefect gives of one run at a time."""
        states = await self._get(f"/api/flow_run_states/?flow_run_id={key}")
        if not isinstance(states, list):
            raise LookupFailed("flow_run_states")
        times = [_time(state, "timestamp") for state in states if _text(state, "type") != "SCHEDULED"]
        return {"began": min((time for time in times if time), default=None, key=datetime.fromisoformat)}


def _apart(one: Callable[[str], Awaitable[Row | None]]) -> Fetch:
    """Fetch a batch by one request for each row, a few at a time."""

    async def fetch(keys: Sequence[str]) -> Mapping[str, Row]:
        rows: list[Row | None] = []
        for start in range(0, len(keys), _TOGETHER):
            rows += await asyncio.gather(*map(one, keys[start : start + _TOGETHER]))
        return {key: row for key, row in zip(keys, rows, strict=True) if row is not None}

    return fetch


def _while_unstarted(row: Row) -> float:
    return _LONG if row["began"] else _BRIEF


# Readers: a field that is not as Prefect writes it is not believed.


def _field(body: Json, name: str, *kinds: type) -> Any:
    value = body.get(name) if isinstance(body, Mapping) else LookupFailed
    if value is not None and not isinstance(value, kinds):
        raise LookupFailed(f"{name} is not what it should be")
    return value


def _text(body: Json, name: str) -> str:
    value: str | None = _field(body, name, str)
    if value is None:
        raise LookupFailed(f"{name} is missing")
    return value


def _maybe_id(body: Json, name: str) -> str | None:
    value = _field(body, name, str)
    if value is None:
        return None
    known = canonical_id(value)
    if known is None:
        raise LookupFailed(f"{name} is no id")
    return known


def _id(body: Json, name: str = "id") -> str:
    value = _maybe_id(body, name)
    if value is None:
        raise LookupFailed(f"{name} is missing")
    return value


def _time(body: Json, name: str) -> str | None:
    value: str | None = _field(body, name, str)
    if value is not None and datetime.fromisoformat(value).tzinfo is None:
        raise LookupFailed(f"{name} has no zone")
    return value


def _flow_run(body: Json) -> Row:
    state = _field(body, "state", Mapping)
    state_type, start = _field(body, "state_type", str), _time(body, "start_time")
    left = _time(state, "timestamp") if state and state_type != "SCHEDULED" else None
    return {
        "id": _id(body),
        "deployment": _maybe_id(body, "deployment_id"),
        "pool": _maybe_id(body, "work_pool_id"),
        "work_pool_name": _field(body, "work_pool_name", str),
        "parent": _maybe_id(body, "parent_task_run_id"),
        "flow": _maybe_id(body, "flow_id"),
        "state_type": state_type,
        "start_time": start,
        "expected_start_time": _time(body, "expected_start_time"),
        "began": start or left,  # about: PENDING came before
    }


def _task_run(body: Json) -> Row:
    return {
        "id": _id(body),
        "flow_run": _maybe_id(body, "flow_run_id"),
        "state_type": _field(body, "state_type", str),
        "task_key": _field(body, "task_key", str),
    }


def _deployment(body: Json) -> Row:
    limit = _field(body, "global_concurrency_limit", Mapping)
    return {
        "id": _id(body),
        "flow_id": _id(body, "flow_id"),
        "name": _text(body, "name"),
        "work_pool_name": _field(body, "work_pool_name", str),
        "work_queue_name": _field(body, "work_queue_name", str),
        "job_variables": _field(body, "job_variables", Mapping),
        "enforce_parameter_schema": _field(body, "enforce_parameter_schema", bool),
        "infrastructure_document_id": _maybe_id(body, "infrastructure_document_id"),
        "limit_id": _id(limit) if limit else None,
        "limit_name": _text(limit, "name") if limit else None,
    }


def _schedule(body: Json) -> Row:
    return {
        "id": _id(body),
        "slug": _field(body, "slug", str),
        "schedule": _field(body, "schedule", Mapping),
    }


def _pool(body: Json) -> Row:
    return {"id": _id(body), "name": _text(body, "name"), "type": _field(body, "type", str)}


def _queue(body: Json) -> Row:
    return {
        "id": _id(body),
        "name": _text(body, "name"),
        "pool": _maybe_id(body, "work_pool_id"),
        "work_pool_name": _field(body, "work_pool_name", str),
    }


def _flow(body: Json) -> Row:
    return {"id": _id(body), "name": _text(body, "name")}


def _named(body: Json) -> Row:
    return {"id": _id(body), "name": _text(body, "name"), "slug": _field(body, "slug", str)}


def _artifact(body: Json) -> Row:
    return {
        "id": _id(body),
        "key": _field(body, "key", str),
        "flow_run": _maybe_id(body, "flow_run_id"),
        "task_run": _maybe_id(body, "task_run_id"),
    }


def _state(body: Json) -> Row:
    return {"id": _id(body), "type": _text(body, "type")}


def _block(body: Json) -> Row:
    block_type = _field(body, "block_type", Mapping)
    return {
        "id": _id(body),
        "name": _field(body, "name", str),
        "slug": _field(block_type, "slug", str) if block_type else None,
        "references": tuple(sorted(references(body) - {_id(body)})),
    }


def references(body: Json) -> frozenset[str]:
    """The ids of a block document and of all blocks that it is made of. Raises LookupFailed where one is missing."""
    ids, left = set(), [body]
    while left:
        document = left.pop()
        ids.add(_id(document))
        for reference in (_field(document, "block_document_references", Mapping) or {}).values():
            inner = _field(reference, "block_document", Mapping)
            if inner is None:
                raise LookupFailed("a block's reference is missing")
            left.append(inner)
    return frozenset(ids)
