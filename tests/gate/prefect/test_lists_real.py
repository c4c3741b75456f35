"""Two teams, two pools, every list of a real Prefect server: not one name of the other's."""

from __future__ import annotations

import functools
import json
import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from grants.gate.decision.types import Json
from grants.gate.prefect.lists.narrow import _LISTS as LISTS
from grants.gate.prefect.lookups.visible_ids import Granted
from tests.gate.prefect.served import SCOPE_OF
from tests.gate.prefect.world import HISTORY, NOTHING, Seen, World, leaked, token

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("world")]

# Lists that are decided by what their path names, or hold nothing of anybody's.
NOT_NARROWED = {
    ("POST", "/api/block_types/filter"),
    ("POST", "/api/block_schemas/filter"),
    ("GET", "/api/block_capabilities/"),
    ("GET", "/api/observed-states"),
    ("POST", "/api/work_pools/{work_pool_name}/queues/filter"),
    ("POST", "/api/work_pools/{work_pool_name}/workers/filter"),
    ("POST", "/api/work_pools/{name}/get_scheduled_flow_runs"),
    ("POST", "/api/work_queues/{id}/get_runs"),
    ("POST", "/api/deployments/get_scheduled_flow_runs"),  # its body names deployments
    ("GET", "/api/deployments/{id}/schedules"),
    ("POST", "/api/flow_runs/{id}/input/filter"),
    ("GET", "/api/flow_run_states/"),  # its query names a run
    ("GET", "/api/task_run_states/"),
    ("GET", "/api/flow_runs/{id}/graph"),
    ("POST", "/api/concurrency_limits/increment"),
    ("POST", "/api/concurrency_limits/decrement"),
    ("POST", "/api/v2/concurrency_limits/increment"),
    ("POST", "/api/v2/concurrency_limits/decrement"),
    ("GET", "/api/collections/views/{view}"),
}
# What an answer's schema says when there may be several things in it, or a figure about them.
SEVERAL = re.compile(r'"type": "(array|integer|number|object)"|Page|Paginat|anyOf|CountByState')
SINCE = {"task_runs": {"start_time": {"after_": "2020-01-01T00:00:00Z"}}}
EVERYTHING = Granted(all=True)


@functools.cache
def described(world: World) -> Any:
    return world.upstream.http.get("/openapi.json").json()


@functools.cache
def calls(world: World) -> dict[tuple[str, str], tuple[str, Json, dict[str, str]]]:
    """One call of each narrowed route that asks for as much as it can, others' things by name included."""
    flows = [world.flow, world.alpha.flow, world.bravo.flow]
    runs = [team.ids[f"{name}-run"] for team in (world.alpha, world.bravo) for name in ("own", "shared", "sub")]
    special: dict[tuple[str, str], tuple[str, Json, dict[str, str]]] = {
        ("POST", "/api/flow_runs/history"): ("/flow_runs/history", HISTORY, {}),
        ("POST", "/api/task_runs/history"): ("/task_runs/history", HISTORY, {}),
        ("POST", "/api/ui/task_runs/dashboard/counts"): ("/ui/task_runs/dashboard/counts", SINCE, {}),
        ("POST", "/api/ui/flows/next-runs"): ("/ui/flows/next-runs", {"flow_ids": flows}, {}),
        ("POST", "/api/ui/flows/count-deployments"): ("/ui/flows/count-deployments", {"flow_ids": flows}, {}),
        ("POST", "/api/ui/flow_runs/count-task-runs"): ("/ui/flow_runs/count-task-runs", {"flow_run_ids": runs}, {}),
        ("POST", "/api/logs/filter"): ("/logs/filter", {"logs": {"flow_run_id": {"any_": runs}}}, {}),
        ("POST", "/api/events/count-by/{countable}"): ("/events/count-by/resource", {"filter": {}}, {}),
        ("GET", "/api/events/filter/next"): ("/events/filter/next", None, {"page_token": token(world)}),
        ("GET", "/api/deployments/{id}/work_queue_check"): (f"/deployments/{world.alpha.own}/work_queue_check", None, {}),
        ("GET", "/api/automations/related-to/{resource_id}"): (
            f"/automations/related-to/prefect.deployment.{world.alpha.own}", None, {},
        ),
        ("GET", "/api/automations/{id}"): (f"/automations/{world.bravo.ids['automation']}", None, {}),
        ("GET", "/api/saved_searches/{id}"): (f"/saved_searches/{world.bravo.ids['search']}", None, {}),
        ("POST", "/api/block_documents/filter"): ("/block_documents/filter", {"include_secrets": True}, {}),
        ("GET", "/api/block_types/slug/{slug}/block_documents"): (
            "/block_types/slug/secret/block_documents", None, {"include_secrets": "true"},
        ),
        ("GET", "/api/block_types/slug/{slug}/block_documents/name/{block_document_name}"): (
            f"/block_types/slug/secret/block_documents/name/{world.alpha.word}-secret", None, {"include_secrets": "true"},
        ),
        ("GET", "/api/block_documents/{id}"): (f"/block_documents/{world.blocks['alpha']}", None, {}),
        ("GET", "/api/flow_runs/{id}/graph-v2"): (f"/flow_runs/{world.alpha.ids['shared-run']}/graph-v2", None, {}),
        ("POST", "/api/ui/schemas/validate"): ("/ui/schemas/validate", variable_probe(world), {}),
    }  # fmt: skip
    plain = {line: (line[1].removeprefix("/api"), {}, {}) for line in SCOPE_OF if line[0] != "WS"}
    return plain | special


def variable_probe(world: World) -> Json:
    """Values whose error prints a variable."""
    value = {
        "__prefect_kind": "none",
        "value": {"__prefect_kind": "workspace_variable", "variable_name": world.variable},
    }
    return {"schema": {"type": "object", "properties": {"x": {"type": "integer"}}}, "values": {"x": value}}


def through(world: World, visible: Granted, line: tuple[str, str], body: Json = ...) -> Seen:
    path, usual, query = calls(world)[line]
    return world.call(
        visible, line[0], path, usual if body is ... else body, template=line[1].removeprefix("/api"), **query
    )


def test_every_list_of_the_installed_server_is_narrowed_or_named_here(world: World) -> None:
    paths = described(world)["paths"]
    several = set()
    for path, operations in paths.items():
        for method, operation in operations.items():
            answer = operation["responses"].get("200", {}).get("content", {}).get("application/json", {})
            if SEVERAL.search(json.dumps(answer.get("schema", {}))):
                several.add((method.upper(), f"/api{path}"))
    known = {line for line in SCOPE_OF if line[0] != "WS"}
    assert several - known == NOT_NARROWED
    assert known <= {(method.upper(), f"/api{path}") for path, operations in paths.items() for method in operations}


def test_a_lists_keys_are_those_that_the_installed_server_knows(world: World) -> None:
    for (method, path), scope in SCOPE_OF.items():
        if scope in LISTS and method == "POST":
            body = described(world)["paths"][path.removeprefix("/api")]["post"]["requestBody"]["content"][
                "application/json"
            ]
            reference = body["schema"].get("$ref") or body["schema"]["allOf"][0]["$ref"]
            known = set(described(world)["components"]["schemas"][reference.rpartition("/")[2]]["properties"])
            assert known <= set(LISTS[scope].keys) <= known | {"sort", "offset", "limit", "page"}, path


@pytest.mark.parametrize("line", [line for line in SCOPE_OF if line[0] != "WS"], ids=" ".join)
def test_nobody_sees_what_is_anothers(world: World, line: tuple[str, str]) -> None:
    alpha, bravo = world.alpha, world.bravo
    one = Granted(all=False, deployments=frozenset({alpha.own}))
    for visible in (world.sees(alpha), one, NOTHING, Granted(all=False, blocks=frozenset({world.blocks["alpha"]}))):
        seen = through(world, visible, line)
        assert seen.status < 500
        asked = json.dumps(calls(world)[line]).encode()
        found = leaked(seen.raw, [canary for canary in bravo.canaries if canary not in asked])
        assert not found, seen.raw
        assert b"-value" not in seen.raw  # variables' and secrets'
    for visible in (NOTHING, one):
        seen = through(world, visible, line)
        sibling = [
            alpha.shared.encode(),
            alpha.ids["shared-run"].encode(),
            alpha.ids["shared-task"].encode(),
            f"{alpha.word}-shared".encode(),
        ]
        assert not leaked(seen.raw, [canary for canary in sibling if canary not in asked])


@pytest.mark.parametrize("line", [line for line in SCOPE_OF if line[0] != "WS"], ids=" ".join)
def test_who_has_the_servers_view_sees_all_but_secrets(world: World, line: tuple[str, str]) -> None:
    path, body, query = calls(world)[line]
    seen = through(world, EVERYTHING, line)
    assert b"secret-value" not in seen.raw
    if "block" not in path:
        target = f"/api{path}" + (f"?page-token={query['page_token']}" if query else "")
        direct = world.upstream.send(line[0], target, body)
        assert seen.status == direct.status_code
        assert named_in(seen.json) == named_in(direct.json())


def named_in(answer: Json) -> Json:
    """An answer without its figures, which change by the second."""
    return re.findall(r'"(?:id|name|value)": "[^"]*"', json.dumps(answer))


EVERYONES: list[Json] = [
    {"deployments": {"operator": "or_", "name": {"like_": ""}}},
    {"deployments": {"operator": "or_", "id": {"not_any_": []}}},
    {"deployments": {"id": {"any_": None}}},
    {"deployments": {"id": {"any_": []}}},
    {"deployments": {"id": {"not_any_": []}}},
    {"deployments": None},
    {"deployments": {}},
    {"deployments": []},
    {"deployments": "x"},
    {"deployments": {"id": []}},
    {"deployments": {"id": {"any_": "x"}}},
    {"deployments": {"id": {"any_": [1, None, {}]}}},
    {"deployments": {"id": {"any_": ["not-an-id"]}}},
    {"deployments": {"id": {"any_": [], "any": []}}},
    {"Deployments": {}},
    {"work_pools": {"name": {"like_": ""}}},
    {"work_pool": {}},
    {"flow_runs": {"operator": "or_", "id": {"any_": []}, "name": {"like_": ""}}},
    {"flow_runs": {"operator": "OR_", "id": {"any_": []}}},
    {"flow_runs": {"deployment_id": {"operator": "or_", "any_": [], "is_null_": True}}},
    {"flow_runs": {"id": {"any_": None, "not_any_": []}}},
    {"flow_runs": {"parent_task_run_id": {"operator": "or_", "any_": [], "is_null_": True}}},
    {"flow_runs": {"parent_task_run_id": {"is_null_": False}}},
    {"task_runs": {"operator": "or_", "name": {"like_": ""}, "flow_run_id": {"any_": []}}},
    {"task_runs": {"flow_run_id": {"any_": [], "is_null_": True}}},
    {"task_runs": {"flow_run_id": {"any_": [], "is_null_": "yes"}}},
    {"task_runs": {"flow_run_id": {"is_null_": None}}},
    {"artifacts": {"operator": "or_", "key": {"exists_": True}, "flow_run_id": {"any_": []}}},
    {"work_queues": {"operator": "or_", "name": {"startswith_": [""]}}},
    {"work_pool_queues": {"id": {"any_": None}}},
    {"logs": {"operator": "or_", "level": {"ge_": 0}, "flow_run_id": {"any_": []}}},
    {"filter": {"any_resource": None}},
    {"filter": {"any_resource": [{}, {"id": []}, {"id": None}]}},
    {"filter": {"any_resource": {"id_prefix": ["prefect."]}}},
    {"filter": {"resource": {"distinct": True}}},
    {"filter": {"id": {"id": []}}},
    {"filter": {"any_resource": {"id": ["x"] * 900}}},
    {"block_documents": {"operator": "or_", "name": {"like_": ""}}},
    {"block_documents": {"is_anonymous": None}, "include_secrets": "yes"},
    {"limit": 200, "offset": 0, "sort": "NAME_ASC"},
    {"limit": 10**9},
    {"limit": None, "offset": None},
    {"x" * 5_000: 1},
    {"flows": {"name": {"any_": ["y"] * 6_000}}},
    {"flows": {"a": {"b": {"c": {"d": {"e": {"f": {"g": {"h": {"i": {"j": {"k": {"l": {}}}}}}}}}}}}}},
    [], "x", 1, True, [{}], None,
]  # fmt: skip
# Counts are held to their lists below.
POSTED = [line for line in SCOPE_OF if line[0] == "POST" and not line[1].endswith("/count")]


@pytest.mark.parametrize("line", POSTED, ids=" ".join)
def test_hostile_bodies_reveal_nothing(world: World, line: tuple[str, str]) -> None:
    for number, body in enumerate(EVERYONES):
        seen = through(world, world.sees(world.alpha), line, body)
        assert seen.status < 500, (number, seen)
        found = leaked(seen.raw, world.bravo.canaries)
        assert not found, (number, body, seen.raw[:2_000])


def some_filters(world: World) -> st.SearchStrategy[Json]:
    """Bodies such as a client that knows every name and id might make."""
    a, b = world.alpha, world.bravo
    known = [
        *a.ids.values(),
        *b.ids.values(),
        a.own,
        b.own,
        b.shared,
        a.pool,
        b.pool,
        b.queue,
        world.flow,
        world.crossed,
    ]
    some_ids = st.lists(st.sampled_from(known), max_size=4)
    names = st.lists(
        st.sampled_from([b.pool_name, f"{b.word}-own", f"{b.word}-shared-run", "default", b.word]), max_size=3
    )
    flag = st.sampled_from([True, False, None])
    operator = st.sampled_from(["and_", "and_", "and_", "or_"])

    def part(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Json]:
        return st.fixed_dictionaries({}, optional=fields)

    by_id, by_name = part(any_=some_ids, not_any_=some_ids), part(any_=names, like_=st.sampled_from(["", b.word, "-"]))
    nullable = part(any_=some_ids, is_null_=flag, operator=operator)
    tags = part(any_=names, all_=names, is_null_=flag, operator=operator)
    return part(
        flows=part(id=by_id, name=by_name, deployment=part(is_null_=flag), operator=operator),
        flow_runs=part(
            id=by_id, name=by_name, tags=tags, deployment_id=nullable, parent_task_run_id=nullable,
            parent_flow_run_id=part(any_=some_ids, operator=operator), operator=operator,
        ),
        task_runs=part(id=part(any_=some_ids), name=by_name, flow_run_id=nullable, operator=operator),
        deployments=part(id=by_id, name=by_name, tags=tags, operator=operator),
    )  # fmt: skip


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_filter_reveals_what_is_anothers(world: World, data: st.DataObject) -> None:
    visible = data.draw(
        st.sampled_from(
            [world.sees(world.alpha), Granted(all=False, deployments=frozenset({world.alpha.shared})), NOTHING]
        )
    )
    path = data.draw(
        st.sampled_from(["flows", "flow_runs", "deployments", "task_runs", "artifacts", "artifacts/latest"])
    )
    body = data.draw(some_filters(world))
    rows, count = (world.call(visible, "POST", f"/{path}/{what}", body) for what in ("filter", "count"))
    assert rows.status in {200, 403, 422}
    assert count.status == rows.status
    assert not leaked(rows.raw, world.bravo.canaries)
    if rows.status == 200:
        assert count.json == len(rows.json)
