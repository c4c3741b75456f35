"""The bodies of the calls in matrix.py, where an empty one would not be the call that is meant."""

from __future__ import annotations

from typing import Any

_STATE = {"type": "RUNNING", "name": "Running"}
_EVENT = {
    "occurred": "2026-11-24T12:00:00Z",
    "event": "prefect.flow-run.heartbeat",
    "id": "{new_id}",
    "resource": {"prefect.resource.id": "prefect.flow-run.{flow_run}"},
    "related": [{"prefect.resource.id": "prefect.deployment.{deployment}", "prefect.resource.role": "deployment"}],
}
_LOG = {"name": "x", "level": 20, "message": "m", "timestamp": "2026-11-24T12:00:00Z", "flow_run_id": "{flow_run}"}
_SLOTS = {"names": ["x"], "slots": 1}

# Bodies where an empty one would not be the call that is meant.
BODIES: dict[str, Any] = {
    "POST /flows/": {"name": "{flow_name}"},
    "POST /deployments/": {"name": "{new_name}", "flow_id": "{flow}", "work_pool_name": "{pool}"},
    "PATCH /deployments/{id:uuid}": {"description": "x"},
    "POST /deployments/{id:uuid}/create_flow_run/bulk": [{}],
    "POST /deployments/{id:uuid}/schedules": [{"schedule": {"interval": 3600}}],
    "PATCH /deployments/{id:uuid}/schedules/{schedule_id:uuid}": {"active": False},
    "POST /deployments/get_scheduled_flow_runs": {"deployment_ids": ["{deployment}"]},
    "POST /flow_runs/": {"flow_id": "{flow}", "parent_task_run_id": "{task_run}"},
    "PATCH /flow_runs/{id:uuid}": {"infrastructure_pid": "1"},
    "POST /flow_runs/{id:uuid}/set_state": {"state": {"type": "CANCELLING"}, "force": True},
    "POST /flow_runs/{id:uuid}/input": {"key": "k", "value": "1"},
    "POST /flow_runs/{id:uuid}/input/filter": {"prefix": "k"},
    "POST /flow_runs/history": {
        "history_start": "2026-11-24T12:00:00Z",
        "history_end": "2026-11-24T13:00:00Z",
        "history_interval_seconds": 60,
    },
    "POST /task_runs/history": {
        "history_start": "2026-11-24T12:00:00Z",
        "history_end": "2026-11-24T13:00:00Z",
        "history_interval_seconds": 60,
    },
    "POST /task_runs/": {"flow_run_id": "{flow_run}", "task_key": "k", "dynamic_key": "0"},
    "POST /task_runs/{id:uuid}/set_state": {"state": _STATE},
    "POST /logs/": [_LOG],
    "POST /artifacts/": {"key": "k", "flow_run_id": "{flow_run}"},
    "POST /events": [_EVENT],
    "POST /events/count-by/{countable}": {"filter": {}},
    "PATCH /work_pools/{name}": {"description": "x"},
    "POST /work_pools/": {"name": "{new_name}", "type": "process"},
    "POST /work_pools/{work_pool_name}/workers/heartbeat": {"name": "w"},
    "POST /work_pools/{work_pool_name}/queues": {"name": "{new_name}"},
    "POST /work_queues/": {"name": "{new_name}"},
    "POST /concurrency_limits/increment": {"names": ["x"], "task_run_id": "{task_run}"},
    "POST /concurrency_limits/decrement": {"names": ["x"], "task_run_id": "{task_run}"},
    "POST /v2/concurrency_limits/increment": _SLOTS,
    "POST /v2/concurrency_limits/increment-with-lease": _SLOTS,
    "POST /v2/concurrency_limits/decrement": _SLOTS,
    "POST /v2/concurrency_limits/decrement-with-lease": {"lease_id": "{lease}"},
    "POST /ui/flows/count-deployments": {"flow_ids": ["{flow}"]},
    "POST /ui/flows/next-runs": {"flow_ids": ["{flow}"]},
    "POST /ui/flow_runs/count-task-runs": {"flow_run_ids": ["{flow_run}"]},
    "POST /ui/task_runs/dashboard/counts": {"task_runs": {}},
    "POST /ui/schemas/validate": {"schema": {}, "values": {}},
    "POST /templates/validate": "x",
    "POST /automations/templates/validate": "x",
}
