"""What kept a Prefect server busy for seconds or for ever, through the gate: it is not sent, or not as it came, and the
server answers the next call."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from grants.catalog.levels import Level
from grants.gate.decision.limits import COMPUTED
from grants.gate.prefect.lookups.visible_ids import Granted
from tests.gate.prefect.test_break_real import call, deployed
from tests.gate.prefect.world import NOTHING, Seen, World, running_world

pytestmark = pytest.mark.real

EVIL = "^(a+)+$"
VALUE = {"a": "a" * 40 + "!"}
VALIDATE = "/ui/schemas/validate"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One of its own: what is tried here, others would wait for."""
    with running_world(tmp_path_factory.mktemp("busy")) as made:
        yield made


@pytest.fixture(autouse=True)
def answers(world: World) -> Iterator[None]:
    """Prefect still does, whatever was tried. (Each call of these tests is given up after a minute.)"""
    yield
    assert world.upstream.send("GET", "/api/ready").status_code == 200
    assert world.upstream.do("GET", f"/deployments/{world.alpha.own}")["id"] == world.alpha.own


@pytest.mark.parametrize("visible", [NOTHING, Granted(all=True)], ids=["nobody", "all"])
def test_no_regular_expression_of_a_callers_is_tried(world: World, visible: Granted) -> None:
    told = {"type": "string", "pattern": EVIL}
    for schema in (
        {"type": "object", "properties": {"a": told}},
        {"type": "object", "properties": {"a": {"anyOf": [told, {"type": "null"}]}}},
        {"type": "object", "properties": {"a": {"$ref": "#/$defs/x"}}, "$defs": {"x": told}},
        {"type": "object", "additionalProperties": told},
        {"type": "object", "patternProperties": {EVIL: {}}},
    ):
        seen = world.call(visible, "POST", VALIDATE, {"schema": schema, "values": VALUE})
        assert (seen.status, seen.json["valid"]) == (200, True)
    wrong = world.call(
        visible, "POST", VALIDATE, {"schema": {"properties": {"a": {"type": "integer"}}}, "values": VALUE}
    )
    assert (wrong.status, wrong.json["valid"]) == (200, False)
    assert (
        call(
            world, {Level.VIEW: ("deployment", world.alpha.own)}, "POST", VALIDATE, {"schema": {}, "values": {}}
        ).status
        == 403
    )


def test_the_largest_schemas_that_pass_are_checked(world: World) -> None:
    wide = {"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(290)}}
    deep = {"type": "object", "properties": {"a": {"items": {"allOf": [{"type": "integer"}] * 100}}}}
    for schema, values in ((wide, {"p1": "x"}), (deep, {"a": [0] * 900})):
        body = {"schema": schema, "values": values}
        assert len(json.dumps(body)) <= COMPUTED
        assert world.call(NOTHING, "POST", VALIDATE, body).status == 200


def test_no_schedule_that_never_comes_is_stored(world: World) -> None:
    deployment = deployed(world, f"scheduled-{world.tag}")
    where, path = {Level.OPERATE: ("deployment", deployment)}, f"/deployments/{deployment}"
    for schedule in (
        {"rrule": "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30"}, {"rrule": "FREQ=SECONDLY"}, {"cron": "0 0 30 2 *"},
        {"rrule": "FREQ=DAILY;INTERVAL=0"}, {"interval": 1e11}, {"rrule": "FREQ=DAILY", "timezone": None},
    ):  # fmt: skip
        for seen in (
            call(world, where, "POST", f"{path}/schedules", [{"schedule": schedule}]),
            call(world, where, "PATCH", path, {"schedules": [{"schedule": schedule}]}),
        ):
            assert seen.status == 400, schedule
            assert seen.raw.endswith(b".")  # a sentence
    assert world.upstream.do("GET", f"{path}/schedules") == []
    assert call(world, where, "POST", f"{path}/schedule", {"start_time": "9000-01-01T00:00:00Z"}).status == 400


def test_schedules_that_come_are_stored_and_worked_out(world: World) -> None:
    deployment = deployed(world, f"comes-{world.tag}")
    where, path = {Level.OPERATE: ("deployment", deployment)}, f"/deployments/{deployment}"
    usual: list[dict[str, Any]] = [
        {"schedule": {"cron": "0 6 * * 1-5", "timezone": "Europe/Berlin", "day_or": True}, "active": True},
        {"schedule": {"interval": 3600.0, "anchor_date": "2026-01-01T00:00:00+00:00", "timezone": "UTC"}},
        {"schedule": {"rrule": "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1", "timezone": "UTC"}},
    ]
    assert call(world, where, "POST", f"{path}/schedules", usual).status == 201
    stored = world.upstream.do("GET", f"{path}/schedules")
    assert len(stored) == len(usual)
    again = {"schedule": stored[-1]["schedule"], "active": True}
    assert call(world, where, "PATCH", f"{path}/schedules/{stored[-1]['id']}", again).status == 204, (
        "as Prefect tells it"
    )
    assert call(world, where, "POST", f"{path}/schedule", {"max_runs": 5}).status == 200
    assert world.upstream.do("POST", "/flow_runs/count", {"deployments": {"id": {"any_": [deployment]}}}) > 0


def test_schedules_one_by_one_are_no_more_than_all_at_once(world: World) -> None:
    deployment = deployed(world, f"one-by-one-{world.tag}")
    where, path = {Level.OPERATE: ("deployment", deployment)}, f"/deployments/{deployment}"
    start = f"DTSTART:{datetime.now(UTC).year - 6}0101T000000"
    busy = {"schedule": {"rrule": f"{start}\nRRULE:FREQ=MINUTELY;INTERVAL=48"}, "active": False}
    assert call(world, where, "POST", f"{path}/schedules", [busy]).status == 201
    assert call(world, where, "POST", f"{path}/schedules", [busy]).status == 400
    rare = {"schedule": {"cron": "0 0 * * *"}}
    assert call(world, where, "POST", f"{path}/schedules", [rare]).status == 201
    first, second = sorted(world.upstream.do("GET", f"{path}/schedules"), key=lambda row: "cron" in row["schedule"])
    assert call(world, where, "PATCH", f"{path}/schedules/{first['id']}", busy).status == 204, "in place of itself"
    assert call(world, where, "PATCH", f"{path}/schedules/{second['id']}", busy).status == 400
    assert call(world, where, "PATCH", f"{path}/schedules/{second['id']}", {"active": False}).status == 204


def test_schedules_that_are_added_by_their_slugs_count_with_those_that_are_there(world: World) -> None:
    """Prefect adds what an update names by new slugs. Fault: it is judged as if it took the place of all."""
    deployment = deployed(world, f"by-slug-{world.tag}")
    where, path = {Level.OPERATE: ("deployment", deployment)}, f"/deployments/{deployment}"

    def sent(*slugs: str) -> Seen:
        schedules = [{"slug": slug, "schedule": {"interval": 3600}, "active": False} for slug in slugs]
        return call(world, where, "PATCH", path, {"schedules": schedules})

    first = [f"first-{n}" for n in range(25)]
    assert sent(*first).status == 204
    assert sent(*[f"second-{n}" for n in range(25)]).status == 400
    assert sent("one-more").status == 400
    assert sent(*first).status == 204, "in place of themselves"
    paused = [{"slug": slug, "active": False} for slug in first]
    assert call(world, where, "PATCH", path, {"schedules": paused}).status == 204, "named alone, and none is new"
    assert len(world.upstream.do("GET", f"{path}/schedules")) == 25


def test_no_template_of_a_callers_is_made(world: World) -> None:
    forever = {"a": {"__prefect_kind": "jinja", "template": "{{ 9 ** 9 ** 9 }}"}}
    where, path = ("deployment", world.alpha.own), f"/deployments/{world.alpha.own}"
    assert call(world, {Level.RUN: where}, "POST", f"{path}/create_flow_run", {"parameters": forever}).status == 403
    assert call(world, {Level.MANAGE: where}, "PATCH", path, {"parameters": forever}).status == 403
    assert (
        call(
            world, {Level.WORK: ("pool", world.alpha.pool)}, "POST", f"{path}/create_flow_run", {"parameters": forever}
        ).status
        == 403
    )
    for path in ("/templates/validate", "/automations/templates/validate"):
        assert call(world, {Level.MANAGE: where}, "POST", path, "{{ x }}").status == 403
        assert call(world, {Level.ADMIN: ("server", "server")}, "POST", path, "{{ x }}").status == 204


def test_who_steers_a_run_writes_no_schema_for_it(world: World) -> None:
    """Prefect checks by a run's input what a paused run is told: both could be the same caller's."""
    where = {Level.RUN: ("deployment", world.alpha.own)}
    run = world.make(f"/deployments/{world.alpha.own}/create_flow_run", name="told")
    keys = {"run_input_keyset": {"schema": "schema", "response": "told"}, "pause_reschedule": True}
    state = {"state": {"type": "PAUSED", "state_details": keys}, "force": True}
    assert call(world, where, "POST", f"/flow_runs/{run}/set_state", state).json["status"] == "ACCEPT"
    schema = {"type": "object", "properties": {"a": {"type": "string", "pattern": EVIL}}}
    made = call(world, where, "POST", f"/flow_runs/{run}/input", {"key": "schema", "value": json.dumps(schema)})
    told = call(world, where, "POST", f"/flow_runs/{run}/resume", {"run_input": VALUE})
    assert (made.status, told.json["status"]) == (403, "REJECT")
