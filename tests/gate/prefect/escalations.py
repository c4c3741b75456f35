"""Calls whose body or query asks for more than their route, and who may make them: by hand, as in matrix.py.

More of the world: `{served}` is a deployment of the pool that does not enforce its parameters' schema; `{foreign_*}`
are on the sibling pool; `{outer_block}` is made of `{block}` and another; the deployment's job variables are
{"cpu": 1}, its queue is `default`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from uuid import UUID

from tests.gate.prefect.matrix import PASS, Call

NOBODY: frozenset[str] = frozenset()
MALFORMED, MISSING = "malformed", "missing"  # 400 for everybody; 404 for who deploys or works here
PASS_MORE = {
    **PASS,
    "nobody": NOBODY,
    "admin": frozenset({"admin"}),
    "run with variables": frozenset({"work", "admin"}),
    "sibling pool": frozenset({"sibling_pool", "admin"}),
    "sibling deployment": frozenset({"sibling_deployment", "manage", "admin"}),
    MISSING: PASS["a worker or deployer"],
    MALFORMED: NOBODY,
}

_UUID = "99999999-9999-4999-8999-999999999999"
_VARIABLE = {"__prefect_kind": "workspace_variable", "variable_name": "secret"}
_TEMPLATE = {"__prefect_kind": "jinja", "template": "{{ 9 ** 9 ** 9 }}"}


def _post(may: str, path: str, *bodies: Any, method: str = "POST") -> Iterator[Call]:
    for body in bodies:
        yield Call(method, "", may, f"/api{path}", body)


def _patch(may: str, path: str, *bodies: Any) -> Iterator[Call]:
    return _post(may, path, *bodies, method="PATCH")


def _get(may: str, *paths: str) -> Iterator[Call]:
    for path in paths:
        yield Call("GET", "", may, f"/api{path}")


def _event(resource: str, *related: tuple[str, str], **more: Any) -> dict[str, Any]:
    return {
        "occurred": "2026-11-24T12:00:00Z",
        "event": "x",
        "id": _UUID,
        "resource": {"prefect.resource.id": resource},
        "related": [{"prefect.resource.id": name, "prefect.resource.role": role} for role, name in related],
        **more,
    }


_RUN = "/deployments/{deployment}/create_flow_run"
_STATE = "/flow_runs/{flow_run}/set_state"
_IN_RUN = ("flow-run", "prefect.flow-run.{flow_run}")
_LOG = {"name": "x", "level": 20, "message": "m", "timestamp": "2026-11-24T12:00:00Z"}
_SCHEDULE = {"schedule": {"interval": 3600}}
_NEVER = {"schedule": {"rrule": "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30"}}
_OFTEN = {"schedule": {"interval": 5}}
_EVIL = {"type": "object", "properties": {"a": {"type": "string", "pattern": "^(a+)+$"}}}


def _nested(depth: int) -> dict[str, Any]:
    inner: dict[str, Any] = {}
    for _ in range(depth):
        inner = {"a": inner}
    return inner


def _template(block: Any) -> dict[str, Any]:
    default = {"default": {"$ref": {"block_document_id": block}}}
    return {"base_job_template": {"job_configuration": {}, "variables": {"properties": {"x": default}}}}


ESCALATIONS: tuple[Call, ...] = (
    # Running a deployment: `run` is not a shell on its pool.
    *_post(
        "run",
        _RUN,
        {},
        {"job_variables": None, "work_queue_name": None, "parameters": {}},
        {"job_variables": {}},
        {"job_variables": {"cpu": 1}, "work_queue_name": "default"},
        {"parameters": {"a": 1}, "enforce_parameter_schema": True},
        {"parameters": {"a": {"__prefect_kind": "json", "value": "1"}}, "enforce_parameter_schema": None},
        {"state": {"type": "SCHEDULED", "message": "Run from the UI"}, "idempotency_key": "mine"},
    ),
    *_post(
        "manage",
        _RUN,
        {"job_variables": {"command": "sh -c id"}},
        {"job_variables": {"cpu": True}},
        {"job_variables": {"cpu": 1.0}},
        {"job_variables": {"cpu": 1, "env": {}}},
        {"job_variables": [1]},
        {"work_queue_name": "other"},
        {"work_queue_name": ""},
        {"infrastructure_document_id": _UUID},
        {"enforce_parameter_schema": False},
        {"enforce_parameter_schema": 0},
        {"enforce_parameter_schema": "false", "parameters": {"a": 1}},
    ),
    *_post("manage", "/deployments/{served}/create_flow_run", {"parameters": {"a": 1}}),
    *_post(
        "run", "/deployments/{served}/create_flow_run", {}, {"parameters": {"a": 1}, "enforce_parameter_schema": True}
    ),
    *_post(
        "run with variables",
        _RUN,
        {"parameters": {"a": _VARIABLE}},
        {"parameters": {"a": [{"b": {"__prefect_kind": "none", "value": _VARIABLE}}]}},
    ),
    # A template runs in the server, for as long as it likes.
    *_post(
        "admin",
        _RUN,
        {"parameters": {"a": _TEMPLATE}},
        {"parameters": {"a": {"__prefect_kind": "none", "value": [_VARIABLE, _TEMPLATE]}}},
        {"parameters": {"a": {"__prefect_kind": ["odd"], "value": 1}}},
    ),
    *_post("admin", "/flow_runs/{flow_run}/resume", {"run_input": {"a": _TEMPLATE}}),
    *_patch("admin", "/deployments/{deployment}", {"parameters": {"a": _TEMPLATE}}),
    *_post(
        MALFORMED,
        _RUN,
        {"parameters": {"a": [1] * 20_001}},
        {"parameters": {"a": _nested(40)}},
        {"parameters": _nested(40)},
    ),
    *_post(MALFORMED, _RUN + "/bulk", [{"parameters": {"a": [1] * 201}}] * 100),
    *_post(
        "work",
        _RUN,
        {"state": {"type": "COMPLETED"}},
        {"state": {"type": "SCHEDULED", "data": {"x": 1}}},
        {"parent_task_run_id": "{task_run}"},
    ),
    *_post("nobody", _RUN, {"parent_task_run_id": "{foreign_task_run}"}),
    *_post("admin", _RUN, {"idempotency_key": "scheduled {foreign_deployment} 2026-11-24T12:00:00Z"}),
    *_post("nobody", _RUN, {"state": {"type": "RUNNING"}, "job_variables": {"command": "sh"}}),
    *_post(
        MALFORMED,
        _RUN,
        None,
        [],
        "x",
        {"infra_overrides": {"command": "sh"}},
        {"work_pool_name": "x"},
        {"state": "COMPLETED"},
        {"state": {"type": "SCHEDULED", "kind": 1}},
        {"parent_task_run_id": "x"},
    ),
    *_post("manage", f"{_RUN}/bulk", [{}, {"job_variables": {"command": "sh"}}], [{"work_queue_name": "other"}, {}]),
    *_post("run", f"{_RUN}/bulk", [{}, {"job_variables": {}}]),
    *_post("admin", f"{_RUN}/bulk", [{}, {"idempotency_key": "guessed"}]),
    *_post(MALFORMED, f"{_RUN}/bulk", [], {}, [{}] * 101, [[]], [{"x": 1}]),
    # Runs that nobody deployed.
    *_post("manage", "/flow_runs/", {"flow_id": "{flow}", "work_pool_name": "{pool}"}),
    *_post(
        "manage", "/flow_runs/", {"flow_id": "{flow}", "work_pool_name": "{pool}", "job_variables": {"command": "sh"}}
    ),
    *_post("manage", "/flow_runs/", {"flow_id": "{flow}", "work_pool_name": "{pool}", "state": {"type": "PENDING"}}),
    *_post("sibling pool", "/flow_runs/", {"flow_id": "{flow}", "work_pool_name": "{foreign_pool}"}),
    *_post("work", "/flow_runs/", {"flow_id": "{flow}", "deployment_id": "{deployment}", "job_variables": {}}),
    *_post(
        "nobody",
        "/flow_runs/",
        {"flow_id": "{flow}"},
        {"flow_id": "{flow}", "work_pool_name": "{pool}", "state": {"type": "COMPLETED"}},
        {"flow_id": "{foreign_flow}", "deployment_id": "{deployment}"},
        {"flow_id": "{flow}", "deployment_id": "{deployment}", "job_variables": {"command": "sh"}},
        {"flow_id": "{flow}", "deployment_id": "{deployment}", "work_queue_name": "default"},
        {"flow_id": "{flow}", "deployment_id": "{deployment}", "idempotency_key": "x"},
        {"flow_id": "{flow}", "deployment_id": "{foreign_deployment}"},
        {"flow_id": "{flow}", "deployment_id": "{deployment}", "parent_task_run_id": "{foreign_task_run}"},
        {"flow_id": "{flow}", "parent_task_run_id": "{foreign_task_run}"},
        {"flow_id": "{flow}", "parent_task_run_id": "{task_run}", "job_variables": {"command": "sh"}},
        {"flow_id": "{flow}", "parent_task_run_id": "{task_run}", "infrastructure_document_id": _UUID},
    ),
    *_post(MALFORMED, "/flow_runs/", None, [], {"flow_id": "{flow}", "id": _UUID}, {"work_pool_name": "a/b"}),
    # Steering and reporting.
    *_post("run", _STATE, *({"state": {"type": kind}} for kind in ("CANCELLING", "CANCELLED", "SCHEDULED", "PAUSED"))),
    *_post(
        "work",
        _STATE,
        *(
            {"state": {"type": kind}, "force": True}
            for kind in ("PENDING", "RUNNING", "COMPLETED", "FAILED", "CRASHED")
        ),
        {"state": {"type": "cancelled"}},
        {"state": {"type": ["CANCELLED"]}},
        {"state": {"type": "PAUSED", "data": {"type": "reference"}}},
        {"state": {}},
    ),
    *_post("run", "/flow_runs/{flow_run}/resume", None, {}, {"run_input": None}, {"run_input": {"a": 1}}),
    *_post("run with variables", "/flow_runs/{flow_run}/resume", {"run_input": {"a": _VARIABLE}}),
    *_post(MALFORMED, "/flow_runs/{flow_run}/resume", [], {"input": {}}),
    *_post(MALFORMED, _STATE, {}, {"state": None}, {"state": {"type": "PAUSED"}, "x": 1}, [{"state": {}}]),
    *_patch("manage", "/flow_runs/{flow_run}", {"job_variables": {"command": "sh"}}, {"job_variables": {}}),
    *_patch("nobody", "/flow_runs/{flow_run}", {"job_variables": {"command": "sh"}, "name": "x"}),
    *_patch("work", "/flow_runs/{flow_run}", {}, {"job_variables": None, "name": "x"}, {"parameters": {}}),
    *_patch(MALFORMED, "/flow_runs/{flow_run}", {"work_queue_name": "x"}, []),
    *_post("work", "/logs/", [{**_LOG, "flow_run_id": "{flow_run}", "task_run_id": "{task_run}"}] * 2),
    *_post("work", "/logs/", [{**_LOG, "flow_run_id": "{flow_run}", "task_run_id": _UUID}]),
    *_post("a worker", "/logs/", []),
    *_post(
        "nobody",
        "/logs/",
        [{**_LOG, "flow_run_id": "{flow_run}"}, {**_LOG, "flow_run_id": "{foreign_flow_run}"}],
        [{**_LOG, "flow_run_id": "{flow_run}", "task_run_id": "{foreign_task_run}"}],
        [{**_LOG, "flow_run_id": "{flow_run}"}, _LOG],
        [_LOG],
    ),
    *_post(MALFORMED, "/logs/", {**_LOG}, [{**_LOG, "worker_id": _UUID}], [{**_LOG, "flow_run_id": "x"}]),
    *_post(
        "work", "/artifacts/", {"flow_run_id": "{flow_run}", "task_run_id": "{task_run}"}, {"task_run_id": "{task_run}"}
    ),
    *_post("nobody", "/artifacts/", {"key": "k"}, {"flow_run_id": "{foreign_flow_run}"}),
    *_post("nobody", "/artifacts/", {"flow_run_id": "{flow_run}", "task_run_id": "{foreign_task_run}"}),
    *_post("nobody", "/task_runs/", {"task_key": "k", "dynamic_key": "0"}, {"flow_run_id": "{foreign_flow_run}"}),
    # Events: what they claim is what they write.
    *_post(
        "work",
        "/events",
        [_event("prefect.task-run.{task_run}", _IN_RUN, payload={"task_run": {"name": "x"}, "validated_state": {}})],
        [_event(f"prefect.task-run.{_UUID}", _IN_RUN)],
        [_event("my.own.thing", _IN_RUN, ("deployment", "prefect.deployment.{deployment}"))],
        [_event("prefect.worker.process.w", ("work-pool", "prefect.work-pool.{pool_id}"))],
    ),
    *_post("a worker", "/events", [], [_event("my.own.thing")], [_event("s3://bucket/key", ("tag", "prefect.tag.x"))]),
    *_post("a worker", "/events", [_event(f"prefect.flow-runs.{_UUID}")], [_event("PREFECT.flow-run.x")]),
    *_post(
        "nobody",
        "/events",
        [_event("prefect.flow-run.{foreign_flow_run}")],
        [_event("prefect.flow-run.{foreign_flow_run_plain}")],
        [_event("prefect.flow-run.{{foreign_flow_run}}")],
        [_event("prefect.flow-run.urn:uuid:{foreign_flow_run}")],
        [_event("prefect.task-run.{foreign_task_run}", _IN_RUN)],
        [_event("prefect.task-run.{task_run}", _IN_RUN, payload={"task_run": {"id": "{foreign_task_run}"}})],
        [_event("prefect.task-run.{task_run}", _IN_RUN, payload={"task_run": {"flow_run_id": "{foreign_flow_run}"}})],
        [_event("prefect.task-run.{task_run}", _IN_RUN, payload={"task_run": {"flow_run_id": None}})],
        [_event(f"prefect.task-run.{_UUID}")],  # a background task
        [_event(f"prefect.task-run.{_UUID}", ("friend", "prefect.flow-run.{flow_run}"))],  # the same
        [_event("my.own.thing", ("flow-run", "prefect.flow-run.{foreign_flow_run}"))],
        [_event("my.own.thing", ("friend", "prefect.flow-run.{foreign_flow_run}"))],
        [_event("my.own.thing"), _event("prefect.flow-run.{foreign_flow_run}")],
        [_event("prefect.deployment.{foreign_deployment}", _IN_RUN)],
        [_event("my.own.thing", _IN_RUN, ("work-pool", "prefect.work-pool.{foreign_pool_id}"))],
        [_event("prefect.work-queue.{foreign_queue}")],
        [_event("prefect.automation.{automation}")],
        [_event("prefect.flow.{flow}")],
    ),
    *_post(
        MALFORMED,
        "/events",
        _event("x"),
        [_event("prefect.flow-run.x")],
        [_event("prefect.task-run.")],
        [_event("x", ("flow-run", "my.run"))],
        [_event("x", payload=[])],
        [_event("x", payload={"task_run": "x"})],
        [_event("x", payload={"task_run": {"id": "x"}})],
        [_event("x", account=_UUID)],
        [{**_event("x"), "resource": {"prefect.resource.id": 1}}],
        [{**_event("x"), "resource": {}}],
        [{**_event("x"), "resource": [["prefect.resource.id", "prefect.flow-run.{foreign_flow_run}"]]}],
        [{**_event("x"), "related": {}}],
        [{**_event("x"), "related": [{"prefect.resource.role": "flow-run"}]}],
    ),
    # Defining.
    *_post("manage", "/deployments/", {"name": "{deployment_name}", "flow_id": "{flow}", "work_pool_name": "{pool}"}),
    *_post("manage", "/deployments/", {"name": "{deployment_name}", "flow_id": "{flow}"}),
    *_post("admin", "/deployments/", {"name": "{deployment_name}", "flow_id": "{flow}", "work_queue_name": "q"}),
    *_post(
        "admin", "/deployments/", {"name": "{deployment_name}", "flow_id": "{flow}", "work_pool_name": "{foreign_pool}"}
    ),
    *_post(
        "admin", "/deployments/", {"name": "{foreign_name}", "flow_id": "{foreign_flow}", "work_pool_name": "{pool}"}
    ),
    *_post(
        "sibling deployment",
        "/deployments/",
        {"name": "{sibling_name}", "flow_id": "{sibling_flow}", "work_pool_name": "{pool}"},
    ),
    *_post("sibling pool", "/deployments/", {"name": "new", "flow_id": "{flow}", "work_pool_name": "{foreign_pool}"}),
    *_post("admin", "/deployments/", {"name": "new", "flow_id": "{flow}"}),
    *_post(
        "admin",
        "/deployments/",
        {"name": "new", "flow_id": "{flow}", "work_pool_name": "{pool}", "global_concurrency_limit_id": _UUID},
        {"name": "new", "flow_id": "{flow}", "work_pool_name": "{pool}", "parameters": {"a": [_VARIABLE]}},
    ),
    *_post(MISSING, "/deployments/", {"name": "new", "flow_id": "{flow}", "work_pool_name": "nowhere"}),
    *_post(MALFORMED, "/deployments/", {}, [], {"name": "a/b", "flow_id": "{flow}"}, {"name": "a", "flow_id": "x"}),
    *_post(MALFORMED, "/deployments/", {"name": "a", "flow_id": "{flow}", "pool": "x"}),
    *_patch(
        "operate",
        "/deployments/{deployment}",
        {"paused": True},
        {"concurrency_limit": 1, "concurrency_options": {}},
        {"schedules": [{"active": True, "parameters": {}}]},
        {"schedules": None},
    ),
    *_patch(
        "manage",
        "/deployments/{deployment}",
        {},
        {"paused": True, "entrypoint": "x"},
        {"job_variables": {}},
        {"work_pool_name": "{pool}"},
        {"work_pool_name": None},
        {"enforce_parameter_schema": False},
        {"global_concurrency_limit_id": None},
        {"schedules": [{"active": True}, {"parameters": {"a": 1}}]},
        {"work_queue_name": "q", "work_pool_name": "{pool}"},
        {"work_queue_name": "q", "work_pool_name": None},
    ),
    *_patch(
        "admin",
        "/deployments/{deployment}",
        {"work_pool_name": "{foreign_pool}"},
        {"work_queue_name": "q"},  # of the default pool
        {"global_concurrency_limit_id": _UUID},
        {"parameters": {"a": _VARIABLE}},
    ),
    *_patch("admin", "/deployments/{held}", {"concurrency_limit": 9}, {"concurrency_limit": None}),
    *_patch("operate", "/deployments/{held}", {"paused": True}),
    *_patch("manage", "/deployments/{held}", {"global_concurrency_limit_id": "{limit}"}),
    Call("DELETE", "", "admin", "/api/deployments/{held}"),
    *_patch("admin", "/deployments/{foreign_deployment}", {"work_pool_name": "{pool}"}),
    *_patch(
        MALFORMED,
        "/deployments/{deployment}",
        [],
        {"is_schedule_active": True},
        {"schedules": [{"x": 1}]},
        {"schedules": {}},
    ),
    *_post("operate", "/deployments/{deployment}/schedules", [_SCHEDULE], [{**_SCHEDULE, "parameters": {}}]),
    *_post("manage", "/deployments/{deployment}/schedules", [_SCHEDULE, {**_SCHEDULE, "parameters": {"a": 1}}]),
    *_patch("manage", "/deployments/{deployment}/schedules/{schedule}", {"parameters": {"a": 1}}),
    # Schedules that Prefect would work out for ever, or that its scheduler would stop at, wherever they come in.
    *_post(MALFORMED, "/deployments/{deployment}/schedules", [_NEVER], [_SCHEDULE, _NEVER], [_SCHEDULE] * 26),
    *_patch(MALFORMED, "/deployments/{deployment}/schedules/{schedule}", _NEVER),
    *_patch(MALFORMED, "/deployments/{deployment}", {"schedules": [_NEVER]}, {"paused": True, "schedules": [_NEVER]}),
    *_post(MALFORMED, "/deployments/", {"name": "new", "flow_id": "{flow}", "schedules": [_NEVER]}),
    *_post("manage", "/deployments/{deployment}/schedules", [_OFTEN]),
    *_patch("manage", "/deployments/{deployment}/schedules/{schedule}", _OFTEN),
    *_patch("manage", "/deployments/{deployment}", {"schedules": [_SCHEDULE, _OFTEN]}),
    *_patch("operate", "/deployments/{deployment}", {"schedules": [_SCHEDULE]}),
    *_post("operate", "/deployments/{deployment}/schedule", {"max_runs": 100, "start_time": "2026-11-24T12:00:00Z"}),
    *_post(
        MALFORMED, "/deployments/{deployment}/schedule", {"max_runs": 10**9}, {"start_time": "9000-01-01"}, {"x": 1}
    ),
    *_patch(MALFORMED, "/deployments/{deployment}", {"parameter_openapi_schema": {"allOf": [{}] * 1_001}}),
    *_patch(MALFORMED, "/work_pools/{pool}", {"base_job_template": {"variables": {"allOf": [{}] * 1_001}}}),
    *_post("run", "/flow_runs/{flow_run}/input", {"key": "k", "value": '{"approved": true}', "sender": None}),
    *_post(
        "work",
        "/flow_runs/{flow_run}/input",
        *({"key": "k", "value": json.dumps(value)} for value in (_EVIL, {"allOf": [{}]}, [{}] * 301, {"a": [_EVIL]})),
        {"key": "k", "value": '{"a": 1, "a": 2}'},
        {"key": "k", "value": '{"\\u0070attern": "x"}'},
    ),
    *_post(
        MALFORMED, "/flow_runs/{flow_run}/input", {"key": "k", "value": _EVIL}, {"key": "k", "value": "1", "x": 1}, []
    ),
    *_post(
        "nobody", "/deployments/get_scheduled_flow_runs", {"deployment_ids": ["{deployment}", "{foreign_deployment}"]}
    ),
    *_post(MALFORMED, "/deployments/get_scheduled_flow_runs", {"deployment_ids": []}, {}, {"deployment_ids": None}, []),
    *_patch("operate", "/work_pools/{pool}", {"is_paused": True}, {"concurrency_limit": 1, "is_paused": False}),
    *_patch("manage", "/work_pools/{pool}", {}, {"base_job_template": {}}, {"is_paused": True, "description": "x"}),
    *_patch(MALFORMED, "/work_pools/{pool}", [], {"name": "x"}, _template("x"), _template(1)),
    *_patch("manage", "/work_pools/{pool}", _template(None)),
    *_patch("admin", "/work_pools/{pool}", _template("{block}"), _template("{outer_block}")),
    *_patch("operate", "/work_queues/{queue}", {}, {"is_paused": True, "filter": None}),
    *_patch("operate", "/work_pools/{pool}/queues/{queue_name}", {"priority": 1}),
    *_post("operate", "/work_pools/{pool}/queues", {"name": "q", "filter": None}),
    *_patch("admin", "/work_queues/{queue}", {"filter": {}}, {"filter": {"deployment_ids": [_UUID]}}),
    *_patch("admin", "/work_pools/{pool}/queues/{queue_name}", {"filter": {"tags": []}}),
    *_post("admin", "/work_pools/{pool}/queues", {"name": "q", "filter": {"tags": ["x"]}}),
    *_patch(MALFORMED, "/work_queues/{queue}", [], {"work_pool_id": _UUID}),
    # Secrets, in any spelling.
    *_get(
        "server",
        "/block_documents/{block}",
        "/block_documents/{block}?include_secrets=false",
        "/block_documents/{block}?INCLUDE_SECRETS=true",
        "/block_types/slug/{slug}/block_documents/name/{block_name}?include_secrets=False",
    ),
    *_get(
        "secret",
        "/block_documents/{block}?include_secrets=1",
        "/block_documents/{block}?include_secrets=",
        "/block_documents/{block}?include_secrets=yes",
        "/block_documents/{block}?include_secrets=false&include_secrets=true",
        "/block_documents/{block}?include_secrets=true&include_secrets=false",
        "/block_documents/{block}?%69nclude_secrets=true",
        "/block_documents/{block}?x&include%5Fsecrets=TRUE",
    ),
    *_get("nobody", "/block_documents/{outer_block}?include_secrets=true"),
    *_get("server", "/block_documents/{outer_block}"),
    # The rest.
    *_post("a worker", "/v2/concurrency_limits/increment", {"names": ["x"], "slots": 1, "create_if_missing": False}),
    *_post(
        "nobody",
        "/v2/concurrency_limits/increment",
        *({"names": ["x"], "slots": 1, "create_if_missing": value} for value in (True, 1, 0, "false")),
    ),
    *_post("nobody", "/concurrency_limits/decrement", {"names": ["x"], "task_run_id": "{foreign_task_run}"}),
    *_post("a worker", "/concurrency_limits/decrement", {"names": ["x"], "task_run_id": _UUID}),
    *_post("a worker", "/v2/concurrency_limits/decrement", {"names": ["deployment:{deployment}", "x"], "slots": 1}),
    *_post("nobody", "/v2/concurrency_limits/increment", {"names": ["deployment:{foreign_deployment}"], "slots": 1}),
    *_post(MALFORMED, "/v2/concurrency_limits/increment", {"names": "x", "slots": 1}),
    *_post("server", "/ui/schemas/validate", {"schema": {}, "values": {"a": _VARIABLE}}),
    *_post("a runner", "/ui/schemas/validate", {"schema": {}, "values": {"a": 1}}),
    *_post(MALFORMED, "/logs/", [{**_LOG, "flow_run_id": str(UUID(int=n))} for n in range(1_001)]),
    *_post(MALFORMED, "/templates/validate", {"template": "x"}, ["x"]),
    *_post(MALFORMED, "/block_types/filter", {"block_types": {"name": {"like_": "%a" * 9}}}, _nested(13)),
    *_get("server", "/automations/related-to/x", "/automations/related-to/prefect.deployment.x"),
    Call("DELETE", "", "server", "/api/automations/owned-by/prefect.work-pool.x"),
    Call("DELETE", "", "sibling pool", "/api/automations/owned-by/prefect.deployment.{foreign_deployment}"),
    *_get(
        MALFORMED,
        "/flow_run_states/?flow_run_id={flow_run}&flow_run_id={foreign_flow_run}",
        "/flow_run_states/",
        "/flow_run_states/?flow_run_id=x",
    ),
    # What does not exist is told to who deploys or works here, whether it reads or writes.
    *_get(MISSING, "/deployments/name/no/such", "/work_pools/nowhere", "/flows/name/nothing", f"/flow_runs/{_UUID}"),
    *_get(MISSING, "/block_types/slug/secret/block_documents/name/none?include_secrets=true"),
    *_post(MISSING, f"/flow_runs/{_UUID}/set_state", {"state": {"type": "CANCELLED"}}),
    *_patch(MISSING, "/work_pools/nowhere", {"description": "x"}),
    Call("DELETE", "", MISSING, f"/api/deployments/{_UUID}"),
)
