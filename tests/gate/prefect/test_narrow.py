"""What is asked of Prefect instead of what the caller asked: one table per kind of list."""

from __future__ import annotations

import base64
import json
from typing import Any
from uuid import UUID

import pytest

from grants.catalog.levels import Key
from grants.gate.decision.table import plain
from grants.gate.decision.types import (
    Answer,
    Body,
    Code,
    Fold,
    Found,
    Json,
    Known,
    Lookup,
    Match,
    Refusal,
    Route,
    Send,
    Target,
)
from grants.gate.prefect.lists.narrow import named, narrow
from grants.gate.prefect.lookups.visible_ids import NOBODY, Granted, VisibleIds
from grants.gate.prefect.reading.hydration import reads_variables
from grants.gate.prefect.scopes import Scope
from tests.gate.prefect.served import SCOPE_OF


def uid(n: int) -> str:
    return str(UUID(int=n))


P, D, E, Q, RUN, SUB, FOREIGN, TASK, FLOW = (uid(n) for n in range(1, 10))
SERVER = Key("prod", "server", "server")
MINE = (Key("prod", "deployment", D), Key("prod", "pool", P), SERVER)
THEIRS = (Key("prod", "deployment", uid(90)), Key("prod", "pool", uid(91)), SERVER)
VISIBLE = Granted(all=False, pools=frozenset({P}), deployments=frozenset({E}))
SHOWN = VisibleIds(VISIBLE, frozenset({P}), {D: FLOW, E: FLOW}, frozenset({Q}))
NOTHING = VisibleIds(Granted(all=False))
ALL = VisibleIds(Granted(all=True))
FOUND: Found = {
    Lookup("flow_run_place", RUN): Known(MINE, {}),
    Lookup("flow_run_place", SUB): Known(MINE, {}),
    Lookup("flow_run_place", FOREIGN): Known(THEIRS, {}),
    Lookup("flow_run_children", RUN): Known((SERVER,), {"runs": {SUB: MINE, FOREIGN: THEIRS}}),
    Lookup("task_run_children", TASK): Known((SERVER,), {"runs": {SUB: MINE, uid(99): (SERVER,)}}),
    Lookup("task_run_place", TASK): Known(MINE, {"flow_run_id": RUN}),
    Lookup("task_run_place", FOREIGN): Known(THEIRS, {"flow_run_id": FOREIGN}),
}


def match_of(path: str, query: tuple[tuple[str, str], ...] = ()) -> Match:
    method = next(method for method, template in SCOPE_OF if template == f"/api/{path}")
    route = Route(method, f"/api/{path}", None, body=Body.JSON, scope=SCOPE_OF[method, f"/api/{path}"])
    return Match(route, {}, Target(f"/api/{path}", f"/api/{path}", query, f"/api/{path}"))


def sent(path: str, body: Json, shown: VisibleIds = SHOWN) -> Json:
    match = match_of(path)
    wanted = named(match, body, shown.granted)
    assert not isinstance(wanted, Refusal)
    outcome = narrow(match, body, shown, {key: known for key, known in FOUND.items() if key in wanted})
    assert isinstance(outcome, Send), outcome
    assert (outcome.method, outcome.target) == (match.route.method, match.target.raw)
    return outcome.body


def refused(path: str, body: Json) -> tuple[int, Code]:
    match = match_of(path)
    wanted = named(match, body, VISIBLE)
    outcome = wanted if isinstance(wanted, Refusal) else narrow(match, body, SHOWN, {})
    assert isinstance(outcome, Refusal), outcome
    assert outcome.why
    return outcome.status, outcome.code


def any_(*keys: str) -> Json:
    return {"any_": list(keys)}


BY_DEPLOYMENT = {"deployments": {"id": any_(D, E)}}


@pytest.mark.parametrize(
    ("path", "body", "asked"),
    [
        ("flow_runs/filter", None, BY_DEPLOYMENT),
        ("flow_runs/filter", {"limit": 3, "offset": 2, "sort": "ID_DESC"}, {"limit": 3, "offset": 2, "sort": "ID_DESC", **BY_DEPLOYMENT}),
        ("flow_runs/count", {"deployments": {"name": any_("x")}}, {"deployments": {"name": any_("x"), "id": any_(D, E)}}),
        ("flow_runs/filter", {"deployments": {"id": any_(D, FOREIGN)}}, {"deployments": {"id": any_(D)}}),
        ("flow_runs/filter", {"deployments": {"id": any_(D.upper())}}, {"deployments": {"id": any_(D)}}),
        ("flow_runs/filter", {"deployments": {"id": any_(FOREIGN)}}, {"deployments": {"id": any_(NOBODY)}}),
        ("flow_runs/filter", {"deployments": {"id": {"not_any_": [D]}}}, {"deployments": {"id": {"not_any_": [D], **any_(D, E)}}}),
        ("flow_runs/filter", {"flow_runs": {"operator": "or_", "id": any_(RUN)}}, {"flow_runs": {"operator": "or_", "id": any_(RUN)}, **BY_DEPLOYMENT}),
        ("flow_runs/filter", {"flow_runs": {"id": any_(RUN, FOREIGN)}}, {"flow_runs": {"id": any_(RUN)}}),
        ("flow_runs/filter", {"flow_runs": {"id": any_(FOREIGN)}}, {"flow_runs": {"id": any_(NOBODY)}}),
        ("flow_runs/filter", {"flow_runs": {"id": any_()}}, {"flow_runs": {"id": any_(NOBODY)}}),
        ("flow_runs/filter", {"flow_runs": {"id": {"not_any_": [RUN]}}}, {"flow_runs": {"id": {"not_any_": [RUN]}}, **BY_DEPLOYMENT}),
        ("flow_runs/filter", {"flow_runs": {"parent_flow_run_id": any_(RUN)}}, {"flow_runs": {"parent_flow_run_id": any_(RUN), "id": any_(SUB)}}),
        ("flow_runs/count", {"flow_runs": {"parent_task_run_id": any_(TASK), "id": {"not_any_": []}}}, {"flow_runs": {"parent_task_run_id": any_(TASK), "id": {"not_any_": [], **any_(SUB)}}}),
        ("flow_runs/filter", {"flow_runs": {"parent_task_run_id": any_(uid(98))}}, {"flow_runs": {"parent_task_run_id": any_(uid(98)), "id": any_(NOBODY)}}),
        ("flow_runs/filter", {"flow_runs": {"parent_task_run_id": {"is_null_": True}}}, {"flow_runs": {"parent_task_run_id": {"is_null_": True}}, **BY_DEPLOYMENT}),
        ("ui/flow_runs/history", {}, BY_DEPLOYMENT),
        ("deployments/paginate", {"page": 2}, {"page": 2, **BY_DEPLOYMENT}),
        ("flows/filter", {}, BY_DEPLOYMENT),
        ("flows/count", {"flow_runs": {}}, {"flow_runs": {"deployment_id": any_(D, E)}, **BY_DEPLOYMENT}),
        ("flows/count", {"task_runs": {"name": any_("t")}}, {"task_runs": {"name": any_("t")}, "flow_runs": {"deployment_id": any_(D, E)}, **BY_DEPLOYMENT}),
        ("flows/filter", {"flow_runs": {"deployment_id": any_(FOREIGN, D)}}, {"flow_runs": {"deployment_id": any_(D)}, **BY_DEPLOYMENT}),
        ("task_runs/filter", {}, BY_DEPLOYMENT),
        ("task_runs/count", {"flow_runs": {"id": any_(SUB, FOREIGN)}}, {"flow_runs": {"id": any_(SUB)}}),
        ("task_runs/filter", {"task_runs": {"flow_run_id": {"is_null_": "on", **any_(SUB)}}}, {"task_runs": {"flow_run_id": {"is_null_": False, **any_(SUB)}}}),
        ("task_runs/filter", {"task_runs": {"id": any_(TASK, FOREIGN)}}, {"task_runs": {"id": any_(TASK)}}),
        ("task_runs/filter", {"task_runs": {"operator": "or_", "id": any_(TASK)}}, {"task_runs": {"operator": "or_", "id": any_(TASK)}, **BY_DEPLOYMENT}),
        ("artifacts/latest/filter", {}, BY_DEPLOYMENT),
        ("artifacts/filter", {"artifacts": {"flow_run_id": any_(SUB, FOREIGN)}}, {"artifacts": {"flow_run_id": any_(SUB)}}),
        ("logs/filter", {}, {"logs": {"flow_run_id": any_(NOBODY)}}),
        ("logs/filter", {"logs": {"flow_run_id": any_(RUN, FOREIGN)}}, {"logs": {"flow_run_id": any_(RUN)}}),
        ("logs/filter", {"logs": {"task_run_id": any_(TASK, FOREIGN)}}, {"logs": {"task_run_id": any_(TASK, FOREIGN), "flow_run_id": any_(RUN)}}),
        ("work_pools/filter", {}, {"work_pools": {"id": any_(P)}}),
        ("work_pools/count", {"work_pools": {"id": any_(uid(91))}}, {"work_pools": {"id": any_(NOBODY)}}),
        ("work_queues/filter", {"limit": 1}, {"limit": 1, "work_queues": {"id": any_(Q)}}),
        ("ui/flow_runs/count-task-runs", {"flow_run_ids": [FOREIGN, RUN]}, {"flow_run_ids": [RUN]}),
    ],
)  # fmt: skip
def test_a_list_is_cut_down(path: str, body: Json, asked: Json) -> None:
    assert sent(path, body) == asked


def test_nothing_visible_is_never_an_empty_list_of_ids() -> None:
    for (method, template), scope in SCOPE_OF.items():
        if method != "POST" or scope is Scope.SCHEMA_VALUES:
            continue
        outcome = narrow(
            match_of(template.removeprefix("/api/")),
            {"flow_ids": [FLOW]}
            if "ui/flows" in template
            else {"flow_run_ids": [RUN]}
            if "count-task" in template
            else {},
            NOTHING,
            {},
        )
        if isinstance(outcome, Send):
            text = json.dumps(outcome.body)
            assert NOBODY in text, template
            assert "[]" not in text, template
        else:
            assert outcome in (Answer([]), Answer(0), Answer({}), Answer({FLOW: 0}), Answer({FLOW: None})), template


def test_the_callers_body_is_left_as_it_was() -> None:
    body = {"deployments": {"id": {"any_": [D, FOREIGN]}}, "flow_runs": {"id": {"any_": [RUN, FOREIGN]}}}
    before = json.loads(json.dumps(body))
    sent("flow_runs/filter", body)
    assert body == before


@pytest.mark.parametrize(
    ("path", "body", "why"),
    [
        ("flow_runs/filter", {"deployments": {"operator": "or_"}}, (403, Code.LIST)),
        ("flow_runs/filter", {"deployments": {"operator": "OR"}}, (403, Code.LIST)),
        ("flows/filter", {"flow_runs": {"operator": "or_"}}, (403, Code.LIST)),
        ("flows/filter", {"flow_runs": {"deployment_id": {"operator": "or_", "is_null_": True}}}, (403, Code.LIST)),
        ("logs/filter", {"logs": {"operator": "or_"}}, (403, Code.LIST)),
        ("work_pools/filter", {"work_pools": {"operator": "or_"}}, (403, Code.LIST)),
        ("work_queues/filter", {"work_queues": {"operator": "or_"}}, (403, Code.LIST)),
        ("block_documents/filter", {"block_documents": {"operator": "or_"}}, (403, Code.LIST)),
        ("task_runs/filter", {"work_pools": {"name": {"any_": ["mine"]}}}, (400, Code.LIST)),
        ("artifacts/filter", {"work_pools": {}}, (400, Code.LIST)),
        ("flow_runs/filter", {"work_queues": {}}, (400, Code.LIST)),
        ("flow_runs/history", {"work_pool_queues": {}}, (400, Code.LIST)),
        ("events/filter", {"filters": {}}, (400, Code.LIST)),
        ("block_documents/filter", {"Include_secrets": True}, (400, Code.LIST)),
        ("ui/flows/next-runs", {"flow_ids": [], "x": 1}, (400, Code.LIST)),
        ("flow_runs/filter", [], (400, Code.BODY)),
        ("flow_runs/filter", "x", (400, Code.BODY)),
        ("flow_runs/filter", {"deployments": []}, (400, Code.BODY)),
        ("flow_runs/filter", {"deployments": {"id": "x"}}, (400, Code.BODY)),
        ("flow_runs/filter", {"deployments": {"id": any_("x")}}, (400, Code.BODY)),
        ("flow_runs/filter", {"deployments": {"id": {"any_": [None]}}}, (400, Code.BODY)),
        ("flow_runs/filter", {"deployments": {"id": {"any_": {}}}}, (400, Code.BODY)),
        ("flow_runs/filter", {"flow_runs": {"id": any_(*(uid(n) for n in range(201)))}}, (400, Code.BODY)),
        ("flow_runs/filter", {"flows": {"name": {"any_": ["x"] * 5_001}}}, (400, Code.BODY)),
        ("flow_runs/filter", json.loads('{"flows":' * 13 + "1" + "}" * 13), (400, Code.BODY)),
        ("ui/flows/next-runs", {"flow_ids": [uid(n) for n in range(201)]}, (400, Code.BODY)),
        ("ui/flows/count-deployments", {}, (400, Code.BODY)),
        ("ui/flow_runs/count-task-runs", None, (400, Code.BODY)),
        ("events/filter", {"filter": []}, (400, Code.BODY)),
        ("events/filter", {"filter": {"any_resource": "x"}}, (400, Code.BODY)),
        ("events/filter", {"filter": {"any_resource": [1]}}, (400, Code.BODY)),
        ("events/out", {"type": "quit"}, (400, Code.BODY)),
        ("logs/out", {"type": "filter", "filter": {}, "backfill": True}, (400, Code.LIST)),
        ("logs/out", {"type": "filter", "filter": {"operator": "or_"}}, (403, Code.LIST)),
        ("ui/schemas/validate", {"values": [{"__prefect_kind": "workspace_variable"}]}, (403, Code.LIST)),
    ],
)  # fmt: skip
def test_what_cannot_be_narrowed_is_refused(path: str, body: Json, why: tuple[int, Code]) -> None:
    assert refused(path, body) == why


def test_what_is_the_servers_is_empty_or_refused() -> None:
    for (method, template), scope in SCOPE_OF.items():
        outcome = narrow(match_of(template.removeprefix("/api/")), {}, SHOWN, {})
        if scope is Scope.SERVER_LIST:
            assert outcome == Answer([])
        if scope is Scope.SERVER_COUNT:
            assert outcome == Answer(0)
        if scope is Scope.SERVER:
            assert isinstance(outcome, Refusal), (method, template)


def test_who_sees_all_is_passed_as_it_came_but_for_secrets() -> None:
    body = {"anything": [1, {"operator": "or_"}], "include_secrets": True}
    for (method, template), scope in SCOPE_OF.items():
        if scope is Scope.SCHEMA_VALUES:
            continue  # cut down for everybody
        match = match_of(template.removeprefix("/api/"), (("include_secrets", "true"),))
        assert named(match, body, ALL.granted) == ()
        outcome = narrow(match, body, ALL, {})
        assert isinstance(outcome, Send)
        if scope not in {Scope.BLOCK, Scope.BLOCKS, Scope.BLOCKS_OF_TYPE}:
            assert outcome == Send(method, match.target.raw, body)
        else:
            assert (
                outcome.body["include_secrets"] is False
                if method == "POST"
                else outcome.target.endswith("?include_secrets=false")
            )


def test_the_next_runs_are_asked_for_flow_by_flow() -> None:
    other = uid(77)
    outcome = narrow(match_of("ui/flows/next-runs"), {"flow_ids": [other, FLOW]}, SHOWN, {})
    assert isinstance(outcome, Fold)
    (send,) = outcome.sends
    assert send.body["deployments"] == {"id": any_(D, E)}
    assert send.body["flows"] == {"id": any_(FLOW)}
    row = {
        "id": RUN,
        "flow_id": FLOW,
        "name": "n",
        "state_name": "Scheduled",
        "state_type": "SCHEDULED",
        "next_scheduled_start_time": "t",
        "parameters": {"p": "q"},
    }
    shown = {name: value for name, value in row.items() if name != "parameters"}
    assert outcome.fold([[row]]) == {other: None, FLOW: shown}
    assert outcome.fold([[]]) == {other: None, FLOW: None}
    assert narrow(match_of("ui/flows/count-deployments"), {"flow_ids": [other, FLOW]}, SHOWN, {}) == Answer(
        {other: 0, FLOW: 2}
    )


BOUND = {"id": [f"prefect.work-pool.{P}", f"prefect.deployment.{D}", f"prefect.deployment.{E}"]}


@pytest.mark.parametrize(
    ("asked", "resources"),
    [
        (None, [BOUND]),
        ([], [BOUND]),
        ({"id": ["x"]}, [{"id": ["x"]}, BOUND]),
        ([{"id": ["x"]}, {"id_prefix": ["y"]}], [{"id": ["x"]}, {"id_prefix": ["y"]}, BOUND]),
        ([{"id": ["x"]}, {**BOUND, "labels": None}], [{"id": ["x"]}, BOUND]),
        ({"id": [f"prefect.flow-run.{SUB}", f"prefect.flow-run.{FOREIGN}"]}, [{"id": [f"prefect.flow-run.{SUB}", f"prefect.flow-run.{FOREIGN}"]}, {"id": [*BOUND["id"], f"prefect.flow-run.{SUB}"]}]),
    ],
)  # fmt: skip
def test_events_have_to_involve_what_is_visible(asked: Json, resources: Json) -> None:
    filters = {"any_resource": asked, "order": "ASC"}
    assert sent("events/filter", {"filter": filters, "limit": 5}) == {
        "filter": {"order": "ASC", "any_resource": resources},
        "limit": 5,
    }
    assert sent("events/count-by/{countable}", {"filter": filters})["filter"]["any_resource"] == resources
    message = {"type": "filter", "backfill": False, "filter": filters}
    assert sent("events/out", message) == {**message, "filter": {"order": "ASC", "any_resource": resources}}
    token = {"filter": filters, "count": 7, "page_size": 500, "offset": 50}
    text = base64.b64encode(base64.b64encode(json.dumps(token).encode())).decode()
    match = match_of("events/filter/next", (("page-token", text), ("other", "1")))
    outcome = narrow(match, None, SHOWN, FOUND)
    assert isinstance(outcome, Send)
    path, _, value = outcome.target.partition("?page-token=")
    assert path == "/api/events/filter/next"
    decoded = json.loads(base64.b64decode(base64.b64decode(value.replace("%3D", "="))))
    assert decoded == {**token, "page_size": 50, "filter": {"order": "ASC", "any_resource": resources}}


def test_two_page_tokens_are_no_page_token() -> None:
    text = base64.b64encode(base64.b64encode(b'{"filter":{},"count":1,"page_size":1,"offset":0}')).decode()
    for query in ((), (("page-token", text), ("page-token", text)), (("page-token", "A" * (2 << 20)),)):
        assert isinstance(narrow(match_of("events/filter/next", query), None, SHOWN, {}), Refusal)


def test_values_that_read_variables_are_told_at_any_depth() -> None:
    read = {"__prefect_kind": "workspace_variable", "variable_name": "v"}
    assert reads_variables({"values": {"a": [{"b": {"__prefect_kind": "json", "value": read}}]}})
    assert not reads_variables({"values": {"a": ["workspace_variable", {"__prefect_kind": "json", "value": "{}"}]}})
    assert not reads_variables(None)


def test_every_scope_has_a_route_and_a_template_loses_its_converters() -> None:
    assert set(SCOPE_OF.values()) == set(Scope)
    assert plain("/api/flows/{id:uuid}/x/{resource_id:str}") == "/api/flows/{id}/x/{resource_id}"
    assert all(plain(template) == template for _, template in SCOPE_OF)


@pytest.mark.parametrize(
    "body",
    [
        {"flows": {"name": {"like_": "%a" * 9}}},
        {"flows": {"name": {"any_": ["x" * 1_001]}}},
        {"flows": {"id": {"any_": ["x"] * 5_001}}},
        {"flows": {"and_": [[[[[[[[[[[[1]]]]]]]]]]]]}},
        [],
    ],
    ids=["wildcards", "text", "parts", "depth", "list"],
)  # fmt: skip
@pytest.mark.parametrize(
    "path", ["flows/filter", "logs/filter", "events/filter", "variables/filter", "block_documents/filter"]
)
def test_what_makes_a_filter_costly_is_refused_to_everybody(path: str, body: Any) -> None:
    outcome = narrow(match_of(path), body, ALL, {})
    assert isinstance(outcome, Refusal)
    assert (outcome.status, outcome.code) == (400, Code.BODY)


@pytest.mark.parametrize("path", ["flow_runs/history", "task_runs/history"])
@pytest.mark.parametrize("shown", [ALL, SHOWN], ids=["all", "some"])
def test_a_history_has_few_intervals(path: str, shown: VisibleIds) -> None:
    def asked(start: Any, end: Any, seconds: Any) -> int:
        body = {"history_start": start, "history_end": end, "history_interval_seconds": seconds}
        outcome = narrow(match_of(path), body, shown, {})
        return outcome.status if isinstance(outcome, Refusal) else 200

    day = "2026-11-27T12:00:00.000Z", "2026-11-28T12:00:00+00:00"
    assert asked(*day, 86.4) == 200
    assert asked(*day, 3600) == 200
    for seconds in (86, 0.001, 0, -1, float("nan"), "PT1S", True, 10**400, -(10**400)):
        assert asked(*day, seconds) == 400
    for start, end in ((0, day[1]), (day[0], "2026-11-28T12:00:00"), ("x", day[1]), ("0001-01-01T00:00:00Z", day[1])):
        assert asked(start, end, 3600) == 400
