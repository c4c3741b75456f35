"""Which writes change what the gate remembers: the kinds of rows to forget, by the route of a call."""

from __future__ import annotations

from collections.abc import Collection

from grants.gate.decision.table import plain
from grants.gate.decision.types import Route

_SCHEDULES = ("deployment_schedules",)
_DEPLOYMENTS = ("deployment", "deployment_name", "flow_deployment", "pool_deployments", "flow_deployments", *_SCHEDULES)
_POOLS = ("pool", "pool_id", "pool_queues", "pool_deployments", "deployment", "deployment_name", "flow_deployment",
          "flow_deployments")  # fmt: skip
_QUEUES = ("queue", "pool_queue", "pool_queues")
_RUNS = ("flow_run", "begun", "children_of_run", "children_of_task")
_TASKS = ("task_run", *_RUNS)
_FLOWS = ("flow", "flow_name", *_DEPLOYMENTS)

# Rows under these paths are changed by POST to the collection, PATCH, PUT and DELETE. (POST below an id starts, pauses
# and reads; where it changes rows, it has a line of its own.)
_UNDER = {
    "deployments": _DEPLOYMENTS,
    "work_pools": (*_POOLS, *_QUEUES),
    "work_queues": (*_QUEUES, *_POOLS),
    "flows": _FLOWS,
    "flow_runs": _RUNS,
    "task_runs": _TASKS,
    "artifacts": ("artifact", "artifact_key"),
    "block_documents": ("block", "block_name"),
    "block_types": ("block", "block_name", "block_type_slug"),
    "variables": ("variable", "variable_name"),
}
_ALSO = {
    ("POST", "/api/work_pools/{work_pool_name}/queues"): _QUEUES,
    ("POST", "/api/deployments/bulk_delete"): _DEPLOYMENTS,
    ("POST", "/api/deployments/{id}/schedules"): _SCHEDULES,
    ("PATCH", "/api/deployments/{id}/schedules/{schedule_id}"): _SCHEDULES,
    ("DELETE", "/api/deployments/{id}/schedules/{schedule_id}"): _SCHEDULES,
    ("POST", "/api/flows/bulk_delete"): _FLOWS,
    ("POST", "/api/flow_runs/bulk_delete"): _RUNS,
    ("POST", "/api/flow_runs/bulk_set_state"): _RUNS,
}
# Calls of every step of every run, which change nothing that a lineage depends on: the start of a run is remembered
# only once it has begun.
_STILL = {
    ("POST", "/api/flow_runs/"),
    ("POST", "/api/task_runs/"),
    ("PATCH", "/api/flow_runs/{id}"),
    ("PATCH", "/api/flow_runs/{id}/labels"),
    ("PATCH", "/api/task_runs/{id}"),
    ("DELETE", "/api/flow_runs/{id}/input/{key}"),
    ("DELETE", "/api/work_pools/{work_pool_name}/workers/{name}"),
    ("POST", "/api/flows/"),
    ("POST", "/api/artifacts/"),
}


def moved(route: Route) -> Collection[str]:
    """Give the kinds of rows that a call of this route may have changed."""
    line = route.method, plain(route.template)
    parts = route.template.removeprefix("/api/").strip("/").split("/")
    if line in _STILL or route.method in {"GET", "WS"}:
        return ()
    if line in _ALSO:
        return _ALSO[line]
    return () if route.method == "POST" and len(parts) > 1 else _UNDER.get(parts[0], ())
