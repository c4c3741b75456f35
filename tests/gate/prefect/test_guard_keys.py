"""The keys that guards take are those that Prefect describes: one missing breaks real clients, one more is unjudged."""

from __future__ import annotations

from typing import Any

import pytest

from grants.catalog.levels import Level
from grants.gate.decision.types import Body, Lookup, Match, Route, Target
from grants.gate.prefect.events import claims as events
from grants.gate.prefect.guards import asks as guards
from grants.gate.prefect.guards import deployments as guards_deployments
from grants.gate.prefect.guards import runs as guards_runs
from grants.gate.prefect.guards import server as guards_rest
from grants.gate.prefect.reading import schedules
from grants.gate.prefect.reading.finds import OVERFLOWN
from tests.adapters.contract_files import description

KEYS = {
    "DeploymentFlowRunCreate": guards_deployments._RUN,
    "DeploymentCreate": guards_deployments._CREATE - guards_deployments._OLD,
    "DeploymentUpdate": guards_deployments._UPDATE - guards_deployments._OLD,
    "DeploymentScheduleCreate": schedules._SCHEDULE,
    "DeploymentScheduleUpdate": schedules._SCHEDULE,
    "WorkPoolUpdate": guards_deployments._POOL,
    "WorkQueueCreate": guards_deployments._QUEUE - {"last_polled"},
    "WorkQueueUpdate": guards_deployments._QUEUE,
    "StateCreate": guards_deployments._STATE,
    "FlowRunCreate": guards_runs._CREATE,
    "FlowRunUpdate": guards_runs._PATCH | {"job_variables"},
    "LogCreate": guards_runs._LOG,
    "ArtifactCreate": guards_runs._ARTIFACT,
    "TaskRunCreate": guards_runs._TASK_RUN,
    "Event": events.KEYS,
    "IntervalSchedule-Input": schedules._KINDS["interval"],
    "CronSchedule": schedules._KINDS["cron"],
    "RRuleSchedule": schedules._KINDS["rrule"],
    "Body_schedule_deployment_deployments__id__schedule_post": schedules._AHEAD,
    "Body_create_flow_run_input_flow_runs__id__input_post": frozenset({"key", "value", "sender"}),
    "Body_validate_obj_ui_schemas_validate_post": frozenset({"schema", "values"}),
}


@pytest.mark.parametrize("name", KEYS)
def test_every_key_of_a_body(name: str) -> None:
    assert KEYS[name] == description("prefect-openapi.json")["components"]["schemas"][name]["properties"].keys()


@pytest.mark.parametrize("path", guards_rest.LIMITS)
def test_every_key_of_a_limit(path: str) -> None:
    operation = description("prefect-openapi.json")["paths"][path.removeprefix("/api")]["post"]
    reference = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    schema = description("prefect-openapi.json")["components"]["schemas"][reference.rpartition("/")[2]]
    assert guards_rest.LIMITS[path] - {"create_if_missing"} == schema["properties"].keys() - {"create_if_missing"}


def test_arithmetic_that_fails_is_a_fault_of_the_body() -> None:
    def judge(*_: object) -> Any:
        raise OverflowError

    call = Match(
        Route("POST", "/api/x", Level.VIEW, body=Body.JSON, guard=judge, needs=judge), {}, Target("", "", (), "")
    )
    assert guards.needs(call, {}) == guards.asks(call, {}, {}) == OVERFLOWN
    assert OVERFLOWN.status == 400


def test_few_of_what_is_told_one_by_one_are_named_in_a_call() -> None:
    def named(kind: str, many: int) -> Any:
        wanted = tuple(Lookup(kind, str(n)) for n in range(many))
        route = Route("POST", "/api/x", Level.WORK, body=Body.JSON, needs=lambda *_: wanted)
        return guards.needs(Match(route, {}, Target("", "", (), "")), {})

    assert len(named("artifact", 100)) == 100
    assert named("artifact", 101).status == 400
    assert len(named("deployment", 1000)) == 1000
    assert named("deployment", 1001).status == 400
