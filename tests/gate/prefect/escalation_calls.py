"""What the calls in escalations.py are made with, and who may make which."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

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

UNKNOWN = "99999999-9999-4999-8999-999999999999"
VARIABLE = {"__prefect_kind": "workspace_variable", "variable_name": "secret"}
JINJA = {"__prefect_kind": "jinja", "template": "{{ 9 ** 9 ** 9 }}"}


def posts(may: str, path: str, *bodies: Any, method: str = "POST") -> Iterator[Call]:
    for body in bodies:
        yield Call(method, "", may, f"/api{path}", body)


def patches(may: str, path: str, *bodies: Any) -> Iterator[Call]:
    return posts(may, path, *bodies, method="PATCH")


def gets(may: str, *paths: str) -> Iterator[Call]:
    for path in paths:
        yield Call("GET", "", may, f"/api{path}")


def event(resource: str, *related: tuple[str, str], **more: Any) -> dict[str, Any]:
    return {
        "occurred": "2026-11-24T12:00:00Z",
        "event": "x",
        "id": UNKNOWN,
        "resource": {"prefect.resource.id": resource},
        "related": [{"prefect.resource.id": name, "prefect.resource.role": role} for role, name in related],
        **more,
    }


RUN = "/deployments/{deployment}/create_flow_run"
STATE = "/flow_runs/{flow_run}/set_state"
IN_RUN = ("flow-run", "prefect.flow-run.{flow_run}")
LOG = {"name": "x", "level": 20, "message": "m", "timestamp": "2026-11-24T12:00:00Z"}
SCHEDULE = {"schedule": {"interval": 3600}}
NEVER = {"schedule": {"rrule": "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30"}}
OFTEN = {"schedule": {"interval": 5}}
EVIL = {"type": "object", "properties": {"a": {"type": "string", "pattern": "^(a+)+$"}}}


def nested(depth: int) -> dict[str, Any]:
    inner: dict[str, Any] = {}
    for _ in range(depth):
        inner = {"a": inner}
    return inner


def job_template(block: Any) -> dict[str, Any]:
    default = {"default": {"$ref": {"block_document_id": block}}}
    return {"base_job_template": {"job_configuration": {}, "variables": {"properties": {"x": default}}}}
