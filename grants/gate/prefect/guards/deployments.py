"""Bodies that define, schedule and run deployments. Job variables take `manage`: they are a shell on the pool."""

from __future__ import annotations

import json

from grants.catalog.levels import Level
from grants.gate.decision.types import Ask, Found, Json, Lookup, Match
from grants.gate.prefect.reading.finds import (
    Malformed,
    a_list,
    a_name,
    an_id,
    an_object,
    fact,
    found_by,
    on,
    on_all,
    on_block,
    on_server,
    wanted,
)
from grants.gate.prefect.reading.hydration import hydration_asks
from grants.gate.prefect.reading.schedules import ahead_judged, schedules_need, today
from grants.gate.prefect.reading.schemas import kept, of_modest_size

AT_ONCE = 100  # flow runs that one call may start

_STATE = frozenset({"type", "name", "message", "data", "state_details"})
_STEERS = frozenset({"CANCELLING", "CANCELLED", "SCHEDULED", "PAUSED"})  # what `run` may move a run to
_RUN = frozenset(
    {
        *("state", "name", "parameters", "enforce_parameter_schema", "context", "infrastructure_document_id"),
        *("empirical_policy", "tags", "idempotency_key", "labels", "parent_task_run_id", "work_queue_name"),
        "job_variables",
    }
)
_OPERATES = frozenset({"paused", "schedules", "concurrency_limit", "concurrency_options"})
_OLD = frozenset({"worker_pool_queue_id", "worker_pool_name", "worker_pool_queue_name", "work_pool_queue_name"})
_UPDATE = _OPERATES | _OLD
_UPDATE |= {"version", "description", "global_concurrency_limit_id", "parameters", "parameter_openapi_schema", "tags"}
_UPDATE |= {"work_queue_name", "work_pool_name", "path", "job_variables", "pull_steps", "entrypoint", "version_info"}
_UPDATE |= {"storage_document_id", "infrastructure_document_id", "enforce_parameter_schema"}
_CREATE = _UPDATE | {"name", "flow_id", "labels"}
_POOL_OPERATES = frozenset({"is_paused", "concurrency_limit"})
_POOL = _POOL_OPERATES | {"description", "base_job_template", "storage_configuration"}
_QUEUE = frozenset({"name", "description", "is_paused", "concurrency_limit", "priority", "last_polled", "filter"})
# An upsert is none of these: its schedules replace all that are there.
_WITH_SCHEDULES = frozenset({
    "/api/deployments/{id:uuid}",
    "/api/deployments/{id:uuid}/schedules",
    "/api/deployments/{id:uuid}/schedules/{schedule_id:uuid}",
})  # fmt: skip
_SCHEDULER = "scheduled "  # how Prefect's own idempotency keys begin


# Running one.


def run_needs(match: Match, body: Json) -> tuple[Lookup, ...]:
    parents = [parent for item in _items(match, body) if (parent := _parent(item)) is not None]
    return (_deployment(match), *parents)


def run_asks(match: Match, body: Json, found: Found) -> tuple[Ask, ...]:
    """Ask for `run`, or for `manage` where an item decides what is executed or where."""
    return tuple(dict.fromkeys(ask for item in _items(match, body) for ask in _run(match, item, found)))


def _items(match: Match, body: Json) -> list[dict[str, Json]]:
    items = a_list(body, most=AT_ONCE) if _bulk(match) else [body]
    if not items:
        raise Malformed("The list of runs is empty.")
    known = [an_object(item, _RUN, "A run") for item in items]
    of_modest_size([item.get("parameters") for item in known], "Parameters")
    return known


def _bulk(match: Match) -> bool:
    return match.route.template.endswith("/bulk")


def _run(match: Match, item: dict[str, Json], found: Found) -> list[Ask]:
    deployment = _deployment(match)
    decides = (
        _decides_variables(item, deployment, found)
        or _decides_queue(item, deployment, found)
        or item.get("infrastructure_document_id") is not None
        or _escapes_schema(item, deployment, found)
    )
    asks = [on(match, deployment, found, Level.MANAGE if decides else Level.RUN)]
    if state_need(item.get("state")) == Level.WORK:
        asks.append(on(match, deployment, found, Level.WORK))
    if (parent := _parent(item)) is not None:  # states of the run are written to that task run
        asks.append(on(match, parent, found, Level.WORK))
    asks += hydration_asks(match, item.get("parameters"))
    if _is_anybodys(item.get("idempotency_key"), match):
        asks.append(on_server(match, Level.VIEW))
    return asks


def _is_anybodys(key: Json, match: Match) -> bool:
    """Prefect answers with the run that has this key already, even if that is another deployment's of the same flow.

    The reply to one tells whose it is (replies.py), the one to many does not; what is scheduled has keys to guess.
    """
    return key is not None and (not isinstance(key, str) or key.startswith(_SCHEDULER) or _bulk(match))


def _decides_variables(item: dict[str, Json], deployment: Lookup, found: Found) -> bool:
    variables = item.get("job_variables")
    return variables not in (None, {}) and not _same(variables, fact(found, deployment, "job_variables"))


def _decides_queue(item: dict[str, Json], deployment: Lookup, found: Found) -> bool:
    queue = item.get("work_queue_name")
    return queue is not None and queue != fact(found, deployment, "work_queue_name")


def _escapes_schema(item: dict[str, Json], deployment: Lookup, found: Found) -> bool:
    """Ask for `manage` where parameters come that Prefect checks by no schema."""
    own = item.get("enforce_parameter_schema")
    if own is not None and own is not True:
        return True
    checked = own is True or fact(found, deployment, "enforce_parameter_schema") is True
    return not checked and item.get("parameters") not in (None, {})


def _parent(item: dict[str, Json]) -> Lookup | None:
    parent = item.get("parent_task_run_id")
    return None if parent is None else found_by("task_run", parent, "parent_task_run_id")


# Defining one.


def upsert_needs(_match: Match, body: Json) -> tuple[Lookup, ...]:
    pool = _pool(body, _CREATE)
    return (_existing(body), pool) if pool is not None else (_existing(body),)


def upsert_asks(match: Match, body: Json, found: Found) -> tuple[Ask, ...]:
    """A POST changes and moves the deployment that has this flow and name already, on whatever pool that is."""
    pool, existing = _pool(body, _CREATE), _existing(body)
    schedules_need(body.get("schedules"), today())
    asks = []
    if found.get(existing) is not None:
        asks.append(on(match, existing, found, Level.MANAGE))
    if pool is not None and fact(found, existing, "work_pool_name") != pool.id:
        asks.append(on(match, pool, found, Level.MANAGE))
    if pool is None and (not asks or body.get("work_queue_name") is not None):
        asks.append(on_server(match, Level.MANAGE))  # a queue without a pool may be that of any pool
    return (*asks, *_reaching_out(match, body, existing, found))


def update_needs(match: Match, body: Json) -> tuple[Lookup, ...]:
    pool = _pool(body, _UPDATE)
    named = (_deployment(match),) if pool is None else (_deployment(match), pool)
    return (*named, _schedules(match)) if _by_slug(body) else named


def update_asks(match: Match, body: Json, found: Found) -> tuple[Ask, ...]:
    deployment, pool = _deployment(match), _pool(body, _UPDATE)
    need = schedules_need(body.get("schedules"), today(), _untouched(match, body, found))
    asks = [on(match, deployment, found, need if body and body.keys() <= _OPERATES else Level.MANAGE)]
    if pool is not None and fact(found, deployment, "work_pool_name") != pool.id:
        asks.append(on(match, pool, found, Level.MANAGE))
    if body.get("work_queue_name") is not None and "work_pool_name" not in body:
        asks.append(on_server(match, Level.MANAGE))  # as above: it also moves a deployment that has a pool
    return (*asks, *_reaching_out(match, body, deployment, found))


def delete_asks(match: Match, _body: Json, found: Found) -> tuple[Ask, ...]:
    deployment = _deployment(match)
    asks = on(match, deployment, found, Level.MANAGE)
    return (asks, on_server(match, Level.ADMIN)) if _shares_limit(deployment, found) else (asks,)


def _reaching_out(match: Match, body: dict[str, Json], deployment: Lookup, found: Found) -> list[Ask]:
    """Ask for the variables that a definition reads, and for limits that are not the deployment's own."""
    kept(body.get("parameter_openapi_schema"), "The parameters' schema")
    of_modest_size([body.get("parameters"), body.get("job_variables")], "Parameters and job variables")
    asks = list(hydration_asks(match, body.get("parameters")))
    limit = body.get("global_concurrency_limit_id")
    takes = limit is not None and an_id(limit, "global_concurrency_limit_id") != fact(found, deployment, "limit_id")
    # Prefect writes a deployment's limit into the limit that it is linked to, and deletes that with the deployment.
    if takes or ("concurrency_limit" in body and _shares_limit(deployment, found)):
        asks.append(on_server(match, Level.ADMIN))
    return asks


def _shares_limit(deployment: Lookup, found: Found) -> bool:
    own = fact(found, deployment, "id")
    return fact(found, deployment, "limit_name") not in (None, f"deployment:{own}")


def alone(match: Match) -> str | None:
    """The deployment whose schedules a call changes: a call is judged with all schedules that are there."""
    changes = match.route.method in {"POST", "PATCH"} and match.route.template in _WITH_SCHEDULES
    return match.params["id"].lower() if changes else None


def schedule_needs(match: Match, _body: Json) -> tuple[Lookup, ...]:
    return (_deployment(match), _schedules(match))


def schedule_asks(match: Match, body: Json, found: Found) -> tuple[Ask, ...]:
    """Judge schedules together with those that the deployment has, for the limit is the deployment's."""
    schedules = body if isinstance(body, list) else [body]
    changed = an_id(match.params["schedule_id"], "schedule_id") if "schedule_id" in match.params else None
    rows = fact(found, _schedules(match), "rows") or ()
    others = [row["schedule"] for row in rows if row["id"] != changed]
    return (on(match, _deployment(match), found, schedules_need(schedules, today(), others)),)


def ahead_asks(match: Match, body: Json, found: Found) -> tuple[Ask, ...]:
    """Judge how far ahead Prefect computes the stored schedules: it does so at once."""
    ahead_judged(body, today())
    return (on(match, _deployment(match), found, Level.OPERATE),)


def _by_slug(body: dict[str, Json]) -> bool:
    """Tell whether Prefect may add an update's schedules to those that are there: it does if each has a slug."""
    schedules = body.get("schedules")
    return (
        isinstance(schedules, list)
        and schedules != []
        and all(isinstance(item, dict) and item.get("slug") is not None for item in schedules)
    )


def _untouched(match: Match, body: dict[str, Json], found: Found) -> list[Json]:
    """The stored schedules that an update leaves as they are: all that it names by no slug, or only names.

    Where a stored one has no slug, Prefect drops them all; another call may take that one away before this arrives.
    """
    if not _by_slug(body):
        return []
    named = [item.get("replaces") or item["slug"] for item in body["schedules"] if item.get("schedule") is not None]
    changed = {slug for slug in named if isinstance(slug, str)}
    return [row["schedule"] for row in fact(found, _schedules(match), "rows") or () if row["slug"] not in changed]


def _schedules(match: Match) -> Lookup:
    return found_by("deployment_schedules", match.params["id"], "id")


def _existing(body: Json) -> Lookup:
    body = an_object(body, _CREATE)
    flow = an_id(body.get("flow_id"), "flow_id")
    return Lookup("flow_deployment", f"{flow}/{a_name(body.get('name'), 'name')}")


def _pool(body: Json, known: frozenset[str]) -> Lookup | None:
    name = an_object(body, known).get("work_pool_name")
    return None if name is None else found_by("pool", name, "work_pool_name")


def pool_update_needs(match: Match, body: Json) -> tuple[Lookup, ...]:
    return (found_by("pool", match.params["name"], "name"), *_blocks(an_object(body, _POOL).get("base_job_template")))


def pool_update_asks(match: Match, body: Json, found: Found) -> tuple[Ask, ...]:
    """Find blocks that are named as defaults: Prefect prints them to a caller whose run's parameters do not fit."""
    kept(body.get("base_job_template"), "The job template")
    pool, *blocks = pool_update_needs(match, body)
    need = Level.OPERATE if body and body.keys() <= _POOL_OPERATES else Level.MANAGE
    return (
        on(match, pool, found, need),
        *(ask for block in blocks for ask in on_block(match, block, found, Level.VIEW)),
    )


def _blocks(template: Json) -> list[Lookup]:
    """The blocks that a job template names at any depth."""
    blocks, left = [], [template]
    while left:
        part = left.pop()
        if isinstance(part, dict):
            reference = part.get("$ref")
            if isinstance(reference, dict) and reference.get("block_document_id") is not None:
                blocks.append(found_by("block", reference["block_document_id"], "block_document_id"))
            left.extend(part.values())
        elif isinstance(part, list):
            left.extend(part)
    return blocks


def queue_asks(match: Match, body: Json, found: Found) -> tuple[Ask, ...]:
    """A queue with a filter is one of the old kind, which hands out the runs of every pool."""
    body = an_object(body, _QUEUE)
    lookups = [lookup for find in match.route.find for lookup in wanted(find, match, body)]
    asks = on_all(match, lookups, found, Level.OPERATE)
    return asks if body.get("filter") is None else (*asks, on_server(match, Level.ADMIN))


# Serving some.


def polled(_match: Match, body: Json) -> tuple[Lookup, ...]:
    """Refuse an empty list, which would mean all deployments."""
    body = an_object(body, {"deployment_ids", "scheduled_before", "limit"})
    ids = a_list(body.get("deployment_ids"), "deployment_ids")
    if not ids:
        raise Malformed("deployment_ids must name at least one deployment.")
    return tuple(found_by("deployment", item, "A deployment") for item in ids)


def polled_asks(match: Match, body: Json, found: Found) -> tuple[Ask, ...]:
    return on_all(match, polled(match, body), found, Level.WORK)


# What runs' guards share.


def state_need(state: Json) -> Level:
    """The level that a new state takes: `run` cancels, reschedules and pauses; results are reported with `work`."""
    if state is None:
        return Level.RUN
    state = an_object(state, _STATE, "A state")
    steers = str(state.get("type")) in _STEERS and state.get("data") is None
    return Level.RUN if steers else Level.WORK


def _deployment(match: Match) -> Lookup:
    return found_by("deployment", match.params["id"], "id")


def _same(one: Json, other: Json) -> bool:
    """Equal as JSON values: Python takes 1, 1.0 and true for equal."""
    return json.dumps(one, sort_keys=True, default=dict) == json.dumps(other, sort_keys=True, default=dict)
