"""Lists show only what the caller may see: what is asked of Prefect is cut down, its answer only
where that cannot be helped, so that counts, pages and limits are those of the visible rows.

`named` says which ids to resolve first; `narrow` gets them back as `found`. Both are pure. The door relays the first
answer of a Fold that is not 2xx as it is, and folds only when all are.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import NamedTuple

from grants.gate.decision.types import Answer, Code, Fold, Found, Json, Lookup, Match, Narrowed, Refusal, Send
from grants.gate.prefect.lists import blocks, events
from grants.gate.prefect.lists.filters import (
    MOST_NAMED,
    Filter,
    Unnarrowable,
    held_to,
    history_within_bounds,
    ids,
    malformed,
    model,
    named_ids,
    refuse_other_keys,
    shaped,
)
from grants.gate.prefect.lookups.visible_ids import Granted, ListCall, VisibleIds
from grants.gate.prefect.reading.finds import OVERFLOWN, Malformed, an_object
from grants.gate.prefect.reading.hydration import reads_variables
from grants.gate.prefect.reading.schemas import checked_by
from grants.gate.prefect.scopes import Scope, scope_of

_PAGING = frozenset({"sort", "offset", "limit", "page"})
_HISTORY = frozenset({"history_start", "history_end", "history_interval_seconds"})
_RUNS = frozenset({"flows", "flow_runs", "task_runs", "deployments"})
_POOLED = _RUNS | {"work_pools"}

# Ids that bound a list where a body names them: model, field, and how each is resolved.
_FLOW_RUN = ("flow_runs", "id", "flow_run_place")
_SUB_FLOWS_OF_RUN = ("flow_runs", "parent_flow_run_id", "flow_run_children")
_SUB_FLOWS_OF_TASK = ("flow_runs", "parent_task_run_id", "task_run_children")
_TASKS_OF_RUN = ("task_runs", "flow_run_id", "flow_run_place")
_TASK_RUN = ("task_runs", "id", "task_run_place")
_ARTIFACTS_OF_RUN = ("artifacts", "flow_run_id", "flow_run_place")
_LOGS_OF_RUN = ("logs", "flow_run_id", "flow_run_place")
_LOGS_OF_TASK = ("logs", "task_run_id", "task_run_place")

type _Path = tuple[str, str, str]


class _List(NamedTuple):
    """A list that Prefect narrows itself, once its body says to what."""

    keys: Collection[str]  # that the route knows
    within: Callable[[ListCall, Filter], Filter]
    names: tuple[_Path, ...] = ()


def named(match: Match, body: Json, visible: Granted) -> tuple[Lookup, ...] | Refusal:
    """The ids in a list's body that decide what the caller may see of it; to be resolved for `narrow`."""
    scope = scope_of(match)
    if visible.all:
        return ()
    try:
        if scope in events.LINES:
            return events.named(match, body)
        if scope is Scope.TASK_RUNS_OF_RUNS:
            return tuple(Lookup("flow_run_place", run) for run in _few(shaped(body), "flow_run_ids"))
        if scope is Scope.GRAPH:
            return (Lookup("flow_run_children", _run_of(match)),)
        if scope is Scope.LOGS_OUT:
            return tuple(_lookups(_logs_of(body), _LISTS[Scope.LOGS].names))
        if scope not in _LISTS:
            return ()
        return tuple(_lookups(shaped(body), _LISTS[scope].names))
    except Unnarrowable as no:
        return no.refusal
    except OverflowError:
        return OVERFLOWN


def narrow(match: Match, body: Json, visible_ids: VisibleIds, found: Found) -> Narrowed:
    """Give what is sent or answered in place of a list's call, or a refusal."""
    scope, call = scope_of(match), ListCall(match, body, visible_ids, found)
    try:
        if scope in blocks.LINES:
            return blocks.LINES[scope](call)  # a caller who may see everything may still not read secrets
        if scope is Scope.SCHEMA_VALUES:
            return _schema_values(call)
        if scope in {Scope.FLOW_RUN_HISTORY, Scope.TASK_RUN_HISTORY}:
            history_within_bounds(shaped(body))
        if visible_ids.granted.all:
            return call.sent(body if body is None else shaped(body))
        if scope in events.LINES:
            return events.LINES[scope](call)
        if scope in _LISTS:
            return _listed(call, _LISTS[scope])
        return _OTHERS[scope](call)
    except Unnarrowable as no:
        return no.refusal
    except OverflowError:
        return OVERFLOWN


def _listed(call: ListCall, line: _List) -> Narrowed:
    body = shaped(call.body)
    refuse_other_keys(body, line.keys)
    return call.sent(line.within(call, body))


def _lookups(body: Filter, names: tuple[_Path, ...]) -> list[Lookup]:
    wanted = []
    for name, field, kind in names:
        keys = named_ids(body, name, field)
        wanted += [Lookup(kind, key) for key in keys or ()]
        if keys is not None and (name, field, kind) == _FLOW_RUN and _SUB_FLOWS_OF_RUN in names:
            break  # bounded by themselves: their parents do not matter
    return wanted


def _few(body: Filter, key: str) -> list[str]:
    refuse_other_keys(body, {key})
    few = ids(body.get(key))
    if len(few) > MOST_NAMED:
        raise malformed(f"At most {MOST_NAMED} ids can be named in one call.")
    return few


# Lists that Prefect narrows.


def _deployments(call: ListCall, body: Filter) -> Filter:
    return held_to(body, "deployments", "id", call.visible_ids.deployments)


def _flows(call: ListCall, body: Filter) -> Filter:
    """Prefect looks for runs apart from deployments: unless both are restricted, it tells of others' runs."""
    if body.get("flow_runs") is not None or body.get("task_runs") is not None:
        body = held_to(body, "flow_runs", "deployment_id", call.visible_ids.deployments)
    return _deployments(call, body)


def _flow_runs(call: ListCall, body: Filter) -> Filter:
    """Sub-flows have no deployment: they show where their ids, or those of runs above them, are named."""
    runs = named_ids(body, *_FLOW_RUN[:2])
    if runs is not None:
        return held_to(body, "flow_runs", "id", call.seen("flow_run_place", runs))
    for name, field, kind in (_SUB_FLOWS_OF_RUN, _SUB_FLOWS_OF_TASK):
        parents = named_ids(body, name, field)
        if parents is not None:
            return held_to(body, "flow_runs", "id", _children(call, kind, parents))
    return _deployments(call, body)


def _children(call: ListCall, kind: str, parents: list[str]) -> set[str]:
    """The children that may be shown: one with a deployment or a pool of its own belongs there, not to its parent."""
    known = [call.found.get(Lookup(kind, parent)) for parent in parents]
    runs = [item for what in known if what is not None for item in what.facts["runs"].items()]
    return {run for run, lineage in runs if call.visible_ids.sees(lineage)}


def _task_runs(call: ListCall, body: Filter) -> Filter:
    bounded = False
    for name, field, kind in (_FLOW_RUN, _TASKS_OF_RUN, _TASK_RUN):
        keys = named_ids(body, name, field)
        if keys is not None:
            body, bounded = held_to(body, name, field, call.seen(kind, keys)), True
            if field == "flow_run_id":  # is_null_ takes precedence over any_ there
                body = _with(body, name, field, is_null_=False)
    return body if bounded else _deployments(call, body)


def _artifacts(call: ListCall, body: Filter) -> Filter:
    bounded = False
    for name, field, kind in (_FLOW_RUN, _ARTIFACTS_OF_RUN):
        keys = named_ids(body, name, field)
        if keys is not None:
            body, bounded = held_to(body, name, field, call.seen(kind, keys)), True
    return body if bounded else _deployments(call, body)


def _logs(call: ListCall, body: Filter) -> Filter:
    """Logs of runs that are named, or whose tasks are. A line may claim any task, so its run decides."""
    runs, tasks = named_ids(body, *_LOGS_OF_RUN[:2]), named_ids(body, *_LOGS_OF_TASK[:2])
    if runs is not None:
        allowed = call.seen("flow_run_place", runs)
    else:
        seen = call.seen("task_run_place", tasks or ())
        known = [call.found[Lookup("task_run_place", task)] for task in seen]
        allowed = {what.facts["flow_run_id"] for what in known if what is not None} - {None}
    return held_to(body, "logs", "flow_run_id", allowed)


def _with(body: Filter, name: str, field: str, **more: Json) -> Filter:
    outer = model(body, name)
    return {**body, name: {**outer, field: {**model(outer, field), **more}}}


_LISTS: dict[Scope, _List] = {
    Scope.FLOWS: _List(_POOLED | _PAGING, _flows),
    Scope.FLOW_RUNS: _List(
        _POOLED | {"work_pool_queues"} | _PAGING, _flow_runs, (_FLOW_RUN, _SUB_FLOWS_OF_RUN, _SUB_FLOWS_OF_TASK)
    ),
    Scope.FLOW_RUN_HISTORY: _List(
        _POOLED | {"work_queues"} | _HISTORY, _flow_runs, (_FLOW_RUN, _SUB_FLOWS_OF_RUN, _SUB_FLOWS_OF_TASK)
    ),
    Scope.UI_FLOW_RUN_HISTORY: _List(_POOLED | _PAGING, _flow_runs, (_FLOW_RUN, _SUB_FLOWS_OF_RUN, _SUB_FLOWS_OF_TASK)),
    Scope.DEPLOYMENTS: _List(_POOLED | {"work_pool_queues"} | _PAGING, _deployments),
    Scope.TASK_RUNS: _List(_RUNS | _PAGING, _task_runs, (_FLOW_RUN, _TASKS_OF_RUN, _TASK_RUN)),
    Scope.TASK_RUN_HISTORY: _List(_RUNS | _HISTORY, _task_runs, (_FLOW_RUN, _TASKS_OF_RUN, _TASK_RUN)),
    Scope.TASK_RUN_DASHBOARD: _List(_POOLED | {"work_queues"}, _task_runs, (_FLOW_RUN, _TASKS_OF_RUN, _TASK_RUN)),
    Scope.ARTIFACTS: _List(_RUNS | {"artifacts"} | _PAGING, _artifacts, (_FLOW_RUN, _ARTIFACTS_OF_RUN)),
    Scope.LOGS: _List({"logs"} | _PAGING, _logs, (_LOGS_OF_RUN, _LOGS_OF_TASK)),
    Scope.WORK_POOLS: _List(
        {"work_pools"} | _PAGING, lambda call, body: held_to(body, "work_pools", "id", call.visible_ids.pools)
    ),
    Scope.WORK_QUEUES: _List(
        {"work_queues"} | _PAGING, lambda call, body: held_to(body, "work_queues", "id", call.visible_ids.queues)
    ),
}


# The others.


def _logs_of(message: Json) -> Filter:
    """A subscription's message as the body of a list."""
    body = shaped(message)
    refuse_other_keys(body, {"type", "filter"})
    if body.get("type") != "filter":
        raise malformed("The first message after the sign-in is a filter.")
    return {"logs": body.get("filter")}


def _logs_out(call: ListCall) -> Narrowed:
    return call.sent({"type": "filter", "filter": _logs(call, _logs_of(call.body))["logs"]})


def _task_runs_of_runs(call: ListCall) -> Narrowed:
    runs = _few(shaped(call.body), "flow_run_ids")
    seen = call.seen("flow_run_place", runs)
    return call.sent({"flow_run_ids": [run for run in runs if run in seen]}) if seen else Answer({})


def _deployments_of_flows(call: ListCall) -> Narrowed:
    """Prefect counts those of all callers, so the gate counts."""
    counts = dict.fromkeys(_few(shaped(call.body), "flow_ids"), 0)
    for flow in call.visible_ids.deployments.values():
        if flow in counts:
            counts[flow] += 1
    return Answer(counts)


def _next_runs_of_flows(call: ListCall) -> Narrowed:
    """Prefect names the next run of any deployment, so the gate asks flow by flow."""
    flows = _few(shaped(call.body), "flow_ids")
    mine: dict[str, list[str]] = {}
    for deployment, flow in call.visible_ids.deployments.items():
        mine.setdefault(flow, []).append(deployment)
    asked = [flow for flow in flows if flow in mine]

    def fold(answers: Collection[Json]) -> Json:
        next_runs: dict[str, Json] = dict.fromkeys(flows)
        for flow, rows in zip(asked, answers, strict=True):
            next_runs[flow] = {key: rows[0][key] for key in _NEXT_RUN} if rows else None
        return next_runs

    return Fold(tuple(_next_run(flow, mine[flow]) for flow in asked), fold) if asked else Answer(dict.fromkeys(flows))


_NEXT_RUN = ("id", "flow_id", "name", "state_name", "state_type", "next_scheduled_start_time")


def _next_run(flow: str, deployments: list[str]) -> Send:
    scheduled = {
        "state": {"type": {"any_": ["SCHEDULED"]}},
        "next_scheduled_start_time": {"after_": "1970-01-01T00:00:00Z"},  # one without would come first on SQLite
    }
    filters = {
        "flows": {"id": {"any_": [flow]}},
        "deployments": {"id": {"any_": sorted(deployments)}},
        "flow_runs": scheduled,
    }
    order = {"sort": "NEXT_SCHEDULED_START_TIME_ASC", "limit": 1}
    return Send("POST", "/api/flow_runs/filter", {**filters, **order})


def _queues_of_deployment(call: ListCall) -> Narrowed:
    queues = call.visible_ids.queues
    return Fold((call.sent(call.body),), lambda answers: [row for row in answers[0] if row["id"] in queues])


def _schema_values(call: ListCall) -> Narrowed:
    """Prefect puts variables into the values that it checks, and prints them in errors. What could keep it busy is
    left out of the schema: the run itself is checked by the deployment's."""
    if reads_variables(call.body) and not call.visible_ids.granted.all:
        return Refusal(
            403, Code.LIST, why="Values that come from variables are checked only for callers who may read variables."
        )
    try:
        body = an_object(call.body, {"schema", "values"})
        values = body.get("values")
        return call.sent({"schema": checked_by(body.get("schema"), values), "values": values})
    except Malformed as why:
        return Refusal(400, Code.BODY, why=str(why))


def _graph(call: ListCall) -> Narrowed:
    """A run's graph names the flows of the runs that it started: those that the caller may not see are renamed."""
    shown = _children(call, "flow_run_children", [_run_of(call.match)])

    def fold(answers: Collection[Json]) -> Json:
        (graph,) = answers
        for key, node in graph["nodes"]:
            if node["kind"] == "flow-run" and key not in shown:
                node["label"] = "a run elsewhere"
        return graph

    return Fold((call.sent(call.body),), fold)


def _run_of(match: Match) -> str:
    return match.target.path.split("/")[3]


def _server_only(_call: ListCall) -> Narrowed:
    return Refusal(403, Code.NO_GRANT)


_OTHERS: dict[Scope, Callable[[ListCall], Narrowed]] = {
    Scope.LOGS_OUT: _logs_out,
    Scope.TASK_RUNS_OF_RUNS: _task_runs_of_runs,
    Scope.DEPLOYMENTS_OF_FLOWS: _deployments_of_flows,
    Scope.NEXT_RUNS_OF_FLOWS: _next_runs_of_flows,
    Scope.QUEUES_OF_DEPLOYMENT: _queues_of_deployment,
    Scope.SERVER_LIST: lambda _call: Answer([]),
    Scope.SERVER_COUNT: lambda _call: Answer(0),
    Scope.SERVER: _server_only,
    Scope.GRAPH: _graph,
}
