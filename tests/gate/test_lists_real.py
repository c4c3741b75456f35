"""Two teams, two pools, every list of a real Prefect server: not one name of the other's, and all of one's own."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from grants.gate.prefect.lookups import Lookups
from grants.gate.prefect.narrow import _LISTS as LISTS
from grants.gate.prefect.narrow import SCOPE_OF, named, narrow
from grants.gate.types import Json, Refusal, Send, Visible
from tests.gate.world import AUTH, Seen, Team, World, leaked, match_of

pytestmark = pytest.mark.real

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
HISTORY = {
    "history_start": "2020-01-01T00:00:00Z",
    "history_end": "2040-01-01T00:00:00Z",
    "history_interval_seconds": 8e7,
}
SINCE = {"task_runs": {"start_time": {"after_": "2020-01-01T00:00:00Z"}}}
NOTHING = Visible(all=False)
EVERYTHING = Visible(all=True)


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
        ("GET", "/api/events/filter/next"): ("/events/filter/next", None, {"page_token": token(world, world.upstream.do)}),
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


def token(world: World, do: Callable[..., Any], **filters: Json) -> str:
    """The page token of somebody who sees everything."""
    page = do("POST", "/events/filter", {"filter": {"event": {"prefix": [world.bravo.word]}, **filters}, "limit": 5})
    return str(page["next_page"]).partition("page-token=")[2].replace("%3D", "=")


def through(world: World, visible: Visible, line: tuple[str, str], body: Json = ...) -> Seen:
    path, usual, query = calls(world)[line]
    return world.call(
        visible, line[0], path, usual if body is ... else body, template=line[1].removeprefix("/api"), **query
    )


def ids(seen: Seen) -> set[str]:
    assert seen.status == 200, seen
    return {row["id"] for row in seen.json}


def test_every_list_of_the_installed_server_is_narrowed_or_named_here(world: World) -> None:
    paths = world.upstream.http.get("/openapi.json").json()["paths"]
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
    described = world.upstream.http.get("/openapi.json").json()
    for (method, path), scope in SCOPE_OF.items():
        if scope in LISTS and method == "POST":
            body = described["paths"][path.removeprefix("/api")]["post"]["requestBody"]["content"]["application/json"]
            reference = body["schema"].get("$ref") or body["schema"]["allOf"][0]["$ref"]
            known = set(described["components"]["schemas"][reference.rpartition("/")[2]]["properties"])
            assert known <= set(LISTS[scope].keys) <= known | {"sort", "offset", "limit", "page"}, path


@pytest.mark.parametrize("line", [line for line in SCOPE_OF if line[0] != "WS"], ids=" ".join)
def test_nobody_sees_what_is_anothers(world: World, line: tuple[str, str]) -> None:
    alpha, bravo = world.alpha, world.bravo
    one = Visible(all=False, deployments=frozenset({alpha.own}))
    for visible in (world.sees(alpha), one, NOTHING, Visible(all=False, blocks=frozenset({world.blocks["alpha"]}))):
        seen = through(world, visible, line)
        assert seen.status < 500
        asked = json.dumps(calls(world)[line]).encode()
        found = leaked(seen.raw, [canary for canary in bravo.canaries if canary not in asked])
        assert not found, seen.raw
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
        assert (seen.status, len(seen.raw)) == (direct.status_code, len(direct.content))


def test_everything_of_ones_own_is_there_and_counts_agree(world: World) -> None:
    alpha, sees = world.alpha, world.sees(world.alpha)

    def listed(what: str, body: Json = None) -> set[str]:
        rows = ids(world.call(sees, "POST", f"/{what}/filter", body))
        assert world.call(sees, "POST", f"/{what}/count", body).json == len(rows)
        return rows

    own = {alpha.ids[f"{name}-{what}"] for name in ("own", "shared") for what in ("run", "next")}
    assert listed("flows") == {alpha.flow, world.flow}
    assert listed("deployments") == {alpha.own, alpha.shared}
    assert listed("flow_runs") == own
    assert listed("work_pools") == {alpha.pool}
    assert listed("artifacts") == {alpha.ids["own-artifact"], alpha.ids["shared-artifact"]}
    assert {alpha.ids["own-task"], alpha.ids["shared-task"]} <= listed("task_runs")
    assert alpha.queue in ids(world.call(sees, "POST", "/work_queues/filter", {}))
    latest = {row["latest_id"] for row in world.call(sees, "POST", "/artifacts/latest/filter", {}).json}
    assert latest == {alpha.ids["own-artifact"], alpha.ids["shared-artifact"]}
    assert world.call(sees, "POST", "/artifacts/latest/count", {}).json == 2
    for what, many in (("flows", 2), ("flow_runs", 4), ("deployments", 2), ("task_runs", 3)):
        page = world.call(sees, "POST", f"/{what}/paginate", {"limit": 1, "page": 2}).json
        assert (page["count"], page["pages"], len(page["results"])) == (many, many, 1)
    history = world.call(sees, "POST", "/flow_runs/history", HISTORY).json
    assert sum(state["count_runs"] for bucket in history for state in bucket["states"]) == 4
    history = world.call(sees, "POST", "/task_runs/history", HISTORY).json
    assert sum(state["count_runs"] for bucket in history for state in bucket["states"]) == 3
    assert {row["id"] for row in world.call(sees, "POST", "/ui/flow_runs/history", {}).json} == own
    assert world.call(sees, "POST", "/ui/task_runs/count", {}).json["COMPLETED"] == 2
    assert world.call(sees, "POST", "/flow_runs/lateness", {}).status == 200


def test_one_deployment_is_one_deployment(world: World) -> None:
    alpha = world.alpha
    one = Visible(all=False, deployments=frozenset({alpha.shared}))
    assert ids(world.call(one, "POST", "/deployments/filter", {})) == {alpha.shared}
    assert ids(world.call(one, "POST", "/flow_runs/filter", {})) == {alpha.ids["shared-run"], alpha.ids["shared-next"]}
    assert ids(world.call(one, "POST", "/flows/filter", {})) == {world.flow}
    assert world.call(one, "POST", "/work_pools/filter", {}).json == []
    assert world.call(one, "POST", "/work_queues/filter", {}).json == []
    both = Visible(all=False, pools=frozenset({alpha.pool}), deployments=frozenset({world.bravo.own}))
    assert ids(world.call(both, "POST", "/deployments/filter", {})) == {alpha.own, alpha.shared, world.bravo.own}


def test_the_uis_flow_page_counts_and_names_ones_own(world: World) -> None:
    alpha, bravo, sees = world.alpha, world.bravo, world.sees(world.alpha)
    flows = {"flow_ids": [world.flow, alpha.flow, bravo.flow]}
    counts = world.call(sees, "POST", "/ui/flows/count-deployments", flows).json
    assert counts == {world.flow: 1, alpha.flow: 1, bravo.flow: 0}
    runs = world.call(sees, "POST", "/ui/flows/next-runs", flows).json
    assert {flow: run and run["id"] for flow, run in runs.items()} == {
        world.flow: alpha.ids["shared-next"], alpha.flow: alpha.ids["own-next"], bravo.flow: None,
    }  # fmt: skip
    direct = world.upstream.do("POST", "/ui/flows/next-runs", {"flow_ids": [alpha.flow]})
    assert direct[alpha.flow] == runs[alpha.flow]
    named_runs = [alpha.ids["own-run"], alpha.ids["sub-run"], bravo.ids["own-run"], world.crossed]
    tasks = world.call(sees, "POST", "/ui/flow_runs/count-task-runs", {"flow_run_ids": named_runs}).json
    assert set(tasks) == {alpha.ids["own-run"], alpha.ids["sub-run"]}


def test_sub_flows_show_where_they_or_their_parents_are_named(world: World) -> None:
    alpha, bravo, sees = world.alpha, world.bravo, world.sees(world.alpha)
    sub, subsub = alpha.ids["sub-run"], alpha.ids["subsub-run"]

    def runs(**filters: Json) -> set[str]:
        body = {"flow_runs": filters}
        rows = ids(world.call(sees, "POST", "/flow_runs/filter", body))
        assert world.call(sees, "POST", "/flow_runs/count", body).json == len(rows)
        return rows

    for nobody in (
        bravo.ids["sub-run"],
        bravo.ids["own-run"],
        bravo.ids["loose-run"],
        world.crossed,
        world.crossed_pool,
    ):
        assert runs(id={"any_": [nobody]}) == set()
        assert runs(id={"any_": [nobody, sub]}) == {sub}
        assert runs(id={"any_": [sub.upper().replace("-", ""), nobody.upper()]}) == {sub}
    assert runs(id={"any_": [sub, subsub, alpha.ids["own-run"]]}) == {sub, subsub, alpha.ids["own-run"]}
    assert runs(parent_flow_run_id={"any_": [alpha.ids["own-run"]]}) == {sub}
    assert runs(parent_task_run_id={"any_": [alpha.ids["own-task"], bravo.ids["own-task"]]}) == {sub}
    assert runs(parent_flow_run_id={"any_": [sub, bravo.ids["sub-run"]]}) == {subsub}
    # What Alpha's run started at Bravo's is Bravo's.
    assert runs(parent_flow_run_id={"any_": [alpha.ids["shared-run"]]}) == set()
    assert ids(
        world.call(
            world.sees(bravo),
            "POST",
            "/flow_runs/filter",
            {"flow_runs": {"parent_flow_run_id": {"any_": [alpha.ids["shared-run"]]}}},
        )
    ) == {world.crossed, world.crossed_pool}
    assert runs(parent_flow_run_id={"any_": []}) == set()
    tasks = {"any_": [sub, bravo.ids["sub-run"]]}
    for body in (
        {"flow_runs": {"id": tasks}},
        {"task_runs": {"flow_run_id": tasks}},
        {"task_runs": {"id": {"any_": [alpha.ids["sub-task"], bravo.ids["sub-task"]]}}},
    ):
        assert ids(world.call(sees, "POST", "/task_runs/filter", body)) == {alpha.ids["sub-task"]}
    for body in ({"flow_runs": {"id": tasks}}, {"artifacts": {"flow_run_id": tasks}}):
        assert ids(world.call(sees, "POST", "/artifacts/filter", body)) == {alpha.ids["sub-artifact"]}


def test_logs_are_those_of_named_runs(world: World) -> None:
    alpha, bravo, sees = world.alpha, world.bravo, world.sees(world.alpha)

    def logs(**filters: Json) -> list[str]:
        seen = world.call(sees, "POST", "/logs/filter", {"logs": filters})
        assert seen.status == 200
        assert not leaked(seen.raw, bravo.canaries)
        return sorted(row["message"] for row in seen.json)

    both = [f"{alpha.word} run", f"{alpha.word} task"]
    assert logs() == []
    assert world.call(sees, "POST", "/logs/filter", {}).json == []
    assert logs(level={"ge_": 0}) == []
    for run in ("own-run", "sub-run", "subsub-run"):
        assert logs(flow_run_id={"any_": [alpha.ids[run], bravo.ids[run]]}) == both
    assert logs(task_run_id={"any_": [alpha.ids["own-task"]]}) == both[1:]  # not the line that Bravo put under it
    assert logs(task_run_id={"any_": [bravo.ids["own-task"]]}) == []
    assert logs(task_run_id={"is_null_": True}) == []
    assert (
        world.call(
            sees,
            "POST",
            "/logs/filter",
            {"logs": {"operator": "or_", "flow_run_id": {"any_": [alpha.ids["own-run"]]}, "level": {"ge_": 0}}},
        ).status
        == 403
    )


def test_events_are_those_of_ones_own(world: World) -> None:
    alpha, bravo, sees = world.alpha, world.bravo, world.sees(world.alpha)

    def events(visible: Visible, body: Json) -> list[str]:
        """All pages, as the UI walks them."""
        page = world.call(visible, "POST", "/events/filter", body)
        names, total = [], page.json["total"]
        while True:
            assert not leaked(page.raw, bravo.canaries)
            names += [event["event"] for event in page.json["events"]]
            if page.json["next_page"] is None:
                break
            following = page.json["next_page"].partition("page-token=")[2]
            page = world.call(visible, "GET", "/events/filter/next", page_token=following)
        assert len(names) == total
        return names

    mine = {"filter": {"event": {"prefix": [alpha.word]}}, "limit": 50}
    assert len(events(sees, mine)) == 61
    assert events(Visible(all=False, deployments=frozenset({alpha.own})), mine) == [f"{alpha.word}.run"]
    for nothing in (
        {"filter": {"event": {"prefix": [bravo.word]}}},
        {"filter": {"any_resource": {"id": [f"prefect.work-pool.{bravo.pool}"]}}},
    ):
        assert events(sees, nothing) == []
    assert events(NOTHING, {}) == []
    assert events(NOTHING, {"filter": {"any_resource": []}}) == []
    named_run = {
        "filter": {
            "any_resource": {
                "id": [f"prefect.flow-run.{alpha.ids['sub-run']}", f"prefect.flow-run.{bravo.ids['sub-run']}"]
            },
            "event": {"prefix": [alpha.word, bravo.word]},
        }
    }
    assert events(sees, named_run) == [f"{alpha.word}.sub"]
    body = {"filter": {"event": {"prefix": [alpha.word]}}}
    counted = world.call(sees, "POST", "/events/count-by/event", body, template="/events/count-by/{countable}").json
    assert sum(count["count"] for count in counted) == 61


def test_a_page_token_is_only_as_good_as_its_bearer(world: World) -> None:
    everything = token(world, world.upstream.do)
    sees = world.sees(world.alpha)
    page = world.call(sees, "GET", "/events/filter/next", page_token=everything)
    assert page.status == 200
    assert page.json["events"] == []
    forged = json.loads(base64.b64decode(base64.b64decode(everything)))
    for change in (
        {"filter": {}}, {"filter": None}, {"filter": {"any_resource": []}}, {"filter": {"any_resource": None}}, {"page_size": 10**9, "filter": {}},
        {"count": -1}, {"offset": True}, {"page_size": "50"}, {"filter": []}, {"filter": {"any_resource": "x"}}, {"count": None},
    ):  # fmt: skip
        text = base64.b64encode(base64.b64encode(json.dumps({**forged, **change}).encode())).decode()
        seen = world.call(sees, "GET", "/events/filter/next", page_token=text)
        assert seen.status in {200, 400, 422}
        assert not leaked(seen.raw, world.bravo.canaries)
        if seen.status == 200:
            assert len(seen.json["events"]) <= 50
    for text in (
        "",
        "x",
        "eA==",
        base64.b64encode(b"[]").decode(),
        base64.b64encode(base64.b64encode(b"[]")).decode(),
        base64.b64encode(base64.b64encode(b"NaN")).decode(),
        "é",
    ):
        assert world.call(sees, "GET", "/events/filter/next", page_token=text).status == 400


def test_subscriptions_are_narrowed_on_a_real_socket(world: World) -> None:
    alpha, bravo = world.alpha, world.bravo

    def backfill(visible: Visible, message: Json) -> list[str]:
        narrowed = subscription(world, visible, "/api/events/out", message)
        assert isinstance(narrowed, Send)
        heard: list[str] = []
        url = str(world.upstream.http.base_url).replace("http", "ws", 1).rstrip("/") + "/api/events/out"
        with connect(url, subprotocols=["prefect"]) as socket:
            socket.send(json.dumps({"type": "auth", "token": AUTH}))
            assert json.loads(socket.recv(10))["type"] == "auth_success"
            socket.send(json.dumps(narrowed.body))
            try:
                while True:
                    text = socket.recv(1.5)
                    assert not leaked(text.encode(), bravo.canaries)
                    heard.append(json.loads(text)["event"]["event"])
            except (TimeoutError, ConnectionClosed):
                return heard

    every = {"type": "filter", "filter": {"event": {"prefix": [alpha.word, bravo.word]}}}
    assert len(backfill(world.sees(alpha), every)) == 61
    assert backfill(NOTHING, every) == []
    run = {"type": "filter", "filter": {"flow_run_id": {"any_": [alpha.ids["sub-run"], bravo.ids["sub-run"]]}}}
    narrowed = subscription(world, world.sees(alpha), "/api/logs/out", run)
    assert isinstance(narrowed, Send)
    assert narrowed.body == {"type": "filter", "filter": {"flow_run_id": {"any_": [alpha.ids["sub-run"]]}}}
    for path in ("/api/events/out", "/api/logs/out"):
        for message in (
            {"type": "quit"},
            [],
            "filter",
            {"filter": {}},
            {"type": "filter", "filter": 1},
            {**every, "more": 1},
        ):
            assert isinstance(subscription(world, world.sees(alpha), path, message), Refusal), message


def subscription(world: World, visible: Visible, path: str, message: Json) -> object:
    match = match_of("WS", path, path)
    wanted = named(match, message, visible)
    if isinstance(wanted, Refusal):
        return wanted
    found = world.loop.run(world.lookups.resolve(wanted))
    return narrow(match, message, world.loop.run(world.lookups.sight(visible)), found)


def test_an_oracle_is_closed(world: World) -> None:
    """A flow that both deploy is there for both: whether a run or a task matches must be one's own."""
    alpha, bravo, sees = world.alpha, world.bravo, world.sees(world.alpha)

    def asks(team: Team) -> Iterable[Json]:
        yield {"flow_runs": {"name": {"any_": [f"{team.word}-shared-run"]}}}
        yield {"flow_runs": {"id": {"any_": [team.ids["shared-run"]]}}}
        yield {"flow_runs": {"deployment_id": {"any_": [team.shared]}}}
        yield {"task_runs": {"name": {"any_": [f"{team.word}-shared-task"]}}}
        yield {"work_pools": {"name": {"any_": [team.pool_name]}}}
        yield {"deployments": {"name": {"any_": [f"{team.word}-shared"]}}}

    for what in ("filter", "count", "paginate"):
        for own, foreign in zip(asks(alpha), asks(bravo), strict=True):
            empty = world.call(sees, "POST", f"/flows/{what}", foreign).json
            full = world.call(sees, "POST", f"/flows/{what}", own).json
            assert empty in ([], 0) or (empty["count"], empty["results"]) == (0, [])
            assert full not in ([], 0)
    for body in (
        {"flow_runs": {"operator": "or_", "name": {"like_": "b"}}},
        {"flow_runs": {"deployment_id": {"operator": "or_", "is_null_": True}}},
    ):
        assert world.call(sees, "POST", "/flows/filter", body).status == 403


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
            [world.sees(world.alpha), Visible(all=False, deployments=frozenset({world.alpha.shared})), NOTHING]
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


def test_secrets_pass_only_with_secret_on_every_block(world: World) -> None:
    a, b, keyring = world.blocks["alpha"], world.blocks["bravo"], world.blocks["alpha-keyring"]
    value = {a: f"{world.alpha.word}-secret-value".encode(), b: f"{world.bravo.word}-secret-value".encode()}

    def may(*, view: Iterable[str] = (), secret: Iterable[str] = (), everything: bool = False) -> Visible:
        return Visible(everything, blocks=frozenset(view), secrets=frozenset(secret))

    def reads(visible: Visible) -> Iterable[bytes]:
        yield world.call(visible, "POST", "/block_documents/filter", {"include_secrets": True}).raw
        yield world.call(
            visible,
            "POST",
            "/block_documents/filter",
            {"include_secrets": "true", "block_documents": {"is_anonymous": None}},
        ).raw
        for slug in ("secret", "keyring"):
            yield world.call(
                visible,
                "GET",
                f"/block_types/slug/{slug}/block_documents",
                template="/block_types/slug/{slug}/block_documents",
                include_secrets="1",
            ).raw
        for document in (a, b, keyring):
            yield world.call(
                visible, "GET", f"/block_documents/{document}", template="/block_documents/{id}", include_secrets="yes"
            ).raw

    for visible in (may(view=[a, b, keyring]), may(everything=True), may(view=[a], everything=True)):
        assert not any(b"secret-value" in raw for raw in reads(visible))
    for visible in (
        may(secret=[a, keyring]),
        may(secret=[a, keyring], view=[b]),
        may(secret=[a, keyring], everything=True),
    ):
        assert not any(value[b] in raw for raw in reads(visible))
    assert [value[a] in raw for raw in reads(may(secret=[a]))] == [True, True, True, False, True, False, False]
    assert [value[b] in raw for raw in reads(may(secret=[b, keyring]))] == [True, True, True, True, False, True, True]
    listed = world.call(may(view=[a]), "POST", "/block_documents/filter", {}).json
    assert [row["id"] for row in listed] == [a]
    mixed = world.call(may(view=[a], secret=[b]), "POST", "/block_documents/filter", {"include_secrets": True})
    assert {row["id"] for row in mixed.json} == {a, b}
    assert b"secret-value" not in mixed.raw


def test_no_other_answer_holds_a_secret(world: World) -> None:
    """Templates, deployments and automations may name a block: none of them is filled in with what it holds."""
    reference = {"$ref": {"block_document_id": world.blocks["bravo"]}}
    variables = {"type": "object", "properties": {"env": {"type": "object", "default": reference}}}
    template = {"job_configuration": {"command": "{{ env }}"}, "variables": variables}
    name = f"{world.alpha.word}-template"
    world.upstream.do("POST", "/work_pools/", {"name": name, "type": "process", "base_job_template": template})
    deployment = world.make(
        "/deployments/", name=name, flow_id=world.alpha.flow, work_pool_name=name,
        job_variables={"env": {"K": "{{ prefect.blocks.secret.x }}"}}, parameters={"p": reference},
    )  # fmt: skip
    run = world.upstream.do("POST", f"/deployments/{deployment}/create_flow_run", {"parameters": {"p": reference}})
    for method, path, body in (
        ("GET", f"/work_pools/{name}", None), ("POST", "/work_pools/filter", {}), ("GET", f"/deployments/{deployment}", None),
        ("GET", f"/flow_runs/{run['id']}", None), ("POST", f"/work_pools/{name}/get_scheduled_flow_runs", {}),
        ("GET", "/block_capabilities/", None), ("POST", "/block_types/filter", {}), ("POST", "/block_schemas/filter", {}),
        ("GET", "/admin/settings", None), ("POST", "/events/filter", {}),
        ("POST", f"/deployments/{deployment}/create_flow_run", {"job_variables": {"env": 5}}),
    ):  # fmt: skip
        answer = world.upstream.send(method, f"/api{path}", body)
        assert b"secret-value" not in answer.content, path
        assert AUTH.encode() not in answer.content, path


def test_a_moved_deployment_moves(world: World) -> None:
    alpha, lookups = world.alpha, Lookups("prod", world.upstream)
    moving = world.make("/deployments/", name="moving", flow_id=world.flow, work_pool_name=alpha.pool_name)
    sees = world.sees(alpha)
    assert moving in world.loop.run(lookups.sight(sees)).deployments
    world.upstream.do("PATCH", f"/deployments/{moving}", {"work_pool_name": world.bravo.pool_name})
    lookups.wrote(match_of("POST", "/api/flows/filter", "/api/flows/filter"))
    assert moving in world.loop.run(lookups.sight(sees)).deployments  # remembered: nothing was written here
    patched = match_of("POST", "/api/flows/filter", "/api/flows/filter")
    patched = patched._replace(route=patched.route._replace(method="PATCH", template="/api/deployments/{id:uuid}"))
    lookups.wrote(patched)
    assert moving not in world.loop.run(lookups.sight(sees)).deployments
    world.upstream.do("DELETE", f"/deployments/{moving}")
