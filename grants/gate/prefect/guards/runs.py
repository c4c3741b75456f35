"""Bodies of calls that change the state of runs, report on runs, or make runs without a deployment."""

from __future__ import annotations

from grants.catalog.levels import Level
from grants.gate.decision.bodies import parse
from grants.gate.decision.types import Ask, Found, Json, Lookup, Match, Refusal
from grants.gate.prefect.events.claims import claims, on_event
from grants.gate.prefect.guards.deployments import state_need
from grants.gate.prefect.reading.finds import (
    Malformed,
    a_list,
    an_object,
    anywhere,
    fact,
    found_by,
    on,
    on_all,
    on_server,
)
from grants.gate.prefect.reading.hydration import hydration_asks
from grants.gate.prefect.reading.schemas import is_dear, of_modest_size

_LOG = frozenset({"name", "level", "message", "timestamp", "flow_run_id", "task_run_id"})
_ARTIFACT = frozenset({"key", "type", "description", "data", "metadata_", "flow_run_id", "task_run_id"})
_TASK_RUN = frozenset(
    {
        *("id", "state", "name", "flow_run_id", "task_key", "dynamic_key", "cache_key", "cache_expiration"),
        *("task_version", "empirical_policy", "tags", "labels", "task_inputs"),
    }
)
_PATCH = frozenset({"name", "flow_version", "parameters", "empirical_policy", "tags", "infrastructure_pid"})
_CREATE = frozenset(
    {
        *("state", "name", "flow_id", "flow_version", "parameters", "context", "parent_task_run_id"),
        *("infrastructure_document_id", "empirical_policy", "tags", "labels", "idempotency_key", "work_pool_name"),
        *("work_queue_name", "job_variables", "deployment_id"),
    }
)
_UNSTARTED = frozenset({"SCHEDULED", "PENDING"})


# Steering.


def set_state_asks(match: Match, body: Json, found: Found) -> tuple[Ask, ...]:
    """`force` takes no other level: workers, both UIs and the CLI send it with changes that they may make."""
    body = an_object(body, {"state", "force"})
    if body.get("state") is None:
        raise Malformed("The body must hold a state.")
    return (on(match, _run(match), found, state_need(body["state"])),)


def resume_asks(match: Match, body: Json, found: Found) -> tuple[Ask, ...]:
    """Prefect puts variables into the input of a paused run, and prints them in its answer if they do not fit."""
    body = an_object({} if body is None else body, {"run_input"})
    of_modest_size(body.get("run_input"), "What the run is told")
    return (on(match, _run(match), found, Level.RUN), *hydration_asks(match, body.get("run_input")))


def input_asks(match: Match, body: Json, found: Found) -> tuple[Ask, ...]:
    """A paused run's schema is an input of it, and Prefect checks by it what the run is told. Who executes the run
    writes that one; others answer."""
    value = an_object(body, {"key", "value", "sender"}).get("value")
    if not isinstance(value, str):
        raise Malformed("The value of an input is a text.")
    said = parse(value.encode())
    need = Level.WORK if isinstance(said, Refusal) or is_dear(said) else Level.RUN
    return (on(match, _run(match), found, need),)


def patch_asks(match: Match, body: Json, found: Found) -> tuple[Ask, ...]:
    keys = an_object(body, _PATCH | {"job_variables"}).keys()
    of_modest_size(body.get("parameters"), "Parameters")
    asks = []
    if body.get("job_variables") is not None:
        asks.append(on(match, _run(match), found, Level.MANAGE))
    if not asks or keys & _PATCH:
        asks.append(on(match, _run(match), found, Level.WORK))
    return tuple(asks)


# Making.


def create_needs(_match: Match, body: Json) -> tuple[Lookup, ...]:
    return tuple(_places(an_object(body, _CREATE)).values())


def create_asks(match: Match, body: Json, found: Found) -> tuple[Ask, ...]:
    """Making a run on a pool takes `manage` there; of a deployment or below a task `work`; else the server is asked."""
    body = an_object(body, _CREATE)
    of_modest_size([body.get("parameters"), body.get("job_variables")], "Parameters and job variables")
    places = _places(body)
    asks = [on(match, lookup, found, _LEVELS[key]) for key, lookup in places.items()]
    decides = body.get("job_variables") not in (None, {}) or body.get("infrastructure_document_id") is not None
    if decides and "work_pool_name" not in places:
        asks += on_all(match, places.values(), found, Level.MANAGE) or (on_server(match, Level.MANAGE),)
    if body.get("work_queue_name") is not None and "work_pool_name" not in places:
        asks.append(on_server(match, Level.MANAGE))  # a queue without a pool is the default pool's
    if places.keys() == {"work_pool_name"} and not _unstarted(body.get("state")):
        asks.append(on(match, places["work_pool_name"], found, Level.WORK))
    foreign = "deployment_id" in places and body.get("flow_id") != fact(found, places["deployment_id"], "flow_id")
    if not places or foreign or body.get("idempotency_key") is not None:
        # Prefect answers with any run of this flow that has the key already.
        asks.append(on_server(match, Level.WORK))
    return tuple(asks)


_KINDS = {"work_pool_name": "pool", "deployment_id": "deployment", "parent_task_run_id": "task_run"}
_LEVELS = {"work_pool_name": Level.MANAGE, "deployment_id": Level.WORK, "parent_task_run_id": Level.WORK}


def _places(body: dict[str, Json]) -> dict[str, Lookup]:
    """What the new run belongs to."""
    return {key: found_by(kind, body[key], key) for key, kind in _KINDS.items() if body.get(key) is not None}


def _unstarted(state: Json) -> bool:
    if state is None:
        return True
    return state_need(state) == Level.RUN or (state.get("type") in _UNSTARTED and state.get("data") is None)


# Reporting.


def task_run_needs(_match: Match, body: Json) -> tuple[Lookup, ...]:
    return _reported([an_object(body, _TASK_RUN)])


def task_run_asks(match: Match, body: Json, found: Found) -> tuple[Ask, ...]:
    """A task run without a flow run is a background task, which any task worker of the server may execute."""
    return on_all(match, task_run_needs(match, body), found, Level.WORK) or (on_server(match, Level.WORK),)


def artifact_needs(_match: Match, body: Json) -> tuple[Lookup, ...]:
    return _reported([an_object(body, _ARTIFACT)])


def artifact_asks(match: Match, body: Json, found: Found) -> tuple[Ask, ...]:
    return _on_reported(match, artifact_needs(match, body), found) or (on_server(match, Level.WORK),)


def logs_needs(_match: Match, body: Json) -> tuple[Lookup, ...]:
    return _reported([an_object(item, _LOG, "A log") for item in a_list(body, most=10_000)])


def logs_asks(match: Match, body: Json, found: Found) -> tuple[Ask, ...]:
    asks = _on_reported(match, logs_needs(match, body), found)
    if any(item.get("flow_run_id") is None for item in body):  # a line that belongs to no run
        asks += (on_server(match, Level.WORK),)
    return asks or (on_server(match, Level.WORK, *anywhere(match, Level.WORK)),)


def events_needs(_match: Match, body: Json) -> tuple[Lookup, ...]:
    return tuple(lookup for event in a_list(body) for lookup in claims(event).lookups)


def events_asks(match: Match, body: Json, found: Found) -> tuple[Ask, ...]:
    asks = tuple(dict.fromkeys(ask for event in a_list(body) for ask in on_event(match, event, found)))
    return asks or (on_server(match, Level.WORK, *anywhere(match, Level.WORK)),)


def _reported(items: list[dict[str, Json]]) -> tuple[Lookup, ...]:
    return tuple(
        dict.fromkeys(
            found_by(kind, item[key], key)
            for item in items
            for key, kind in (("flow_run_id", "flow_run"), ("task_run_id", "task_run"))
            if item.get(key) is not None
        )
    )


def _on_reported(match: Match, lookups: tuple[Lookup, ...], found: Found) -> tuple[Ask, ...]:
    """Ask for `work` on each run. For a task run that Prefect does not know yet, its flow run is asked."""
    runs = any(lookup.kind == "flow_run" for lookup in lookups)
    known = [lookup for lookup in lookups if not (runs and lookup.kind == "task_run" and found.get(lookup) is None)]
    return on_all(match, known, found, Level.WORK)


def _run(match: Match) -> Lookup:
    return found_by("flow_run", match.params["id"], "id")
