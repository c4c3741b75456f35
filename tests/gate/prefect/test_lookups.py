"""Lookups against a Prefect that says what the test wants: what is asked, how often, and what a bad answer comes to."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from grants.gate.decision.lookup import LookupFailed
from grants.gate.decision.types import Json, Lookup
from grants.gate.prefect.lookups import resolve as module
from grants.gate.prefect.lookups.resolve import Lookups
from tests.gate.prefect.answering import Prefect, ask, lineage, one, uid


def test_a_lineage_is_what_the_server_says(prefect: Prefect) -> None:
    pool, other = prefect.pool(1, "p"), prefect.pool(2, "q")
    deployment, served = prefect.deployment(10, "p"), prefect.deployment(11, None)
    prefect.deployment(12, "q")
    mine = [("deployment", deployment), ("pool", pool)]
    assert lineage(prefect, "deployment", deployment) == mine
    assert lineage(prefect, "deployment", served) == [("deployment", served)]
    assert lineage(prefect, "deployment_name", f"flow/{prefect.rows['deployments'][deployment]['name']}") == mine
    assert lineage(prefect, "pool", "p") == [("pool", pool)]
    run = prefect.run(20, deployment_id=deployment, work_pool_id=pool)
    assert lineage(prefect, "flow_run", run) == mine
    moved_away = prefect.run(21, deployment_id=deployment, work_pool_id=other)
    assert lineage(prefect, "flow_run", moved_away) == [*mine, ("pool", other)]
    assert lineage(prefect, "flow_run", prefect.run(22, work_pool_id=other)) == [("pool", other)]
    assert lineage(prefect, "flow_run", prefect.run(23)) == []
    task = prefect.add("task_runs", 30, flow_run_id=run)
    sub = prefect.run(24, parent_task_run_id=task)
    subtask = prefect.add("task_runs", 31, flow_run_id=sub)
    for kind, key in (("flow_run", sub), ("task_run", task), ("task_run", subtask), ("flow_run_place", sub)):
        assert lineage(prefect, kind, key) == mine
    assert lineage(prefect, "artifact", prefect.add("artifacts", 40, flow_run_id=sub)) == mine
    assert lineage(prefect, "artifact", prefect.add("artifacts", 41, flow_run_id=None)) == []
    assert lineage(prefect, "task_run", prefect.add("task_runs", 32, flow_run_id=None)) == []
    assert lineage(prefect, "queue", prefect.add("work_queues", 50, work_pool_id=pool)) == [("pool", pool)]
    flow = prefect.add("flows", 90)
    assert lineage(prefect, "flow", flow) == [
        ("deployment", deployment),
        ("deployment", served),
        ("deployment", uid(12)),
        ("pool", pool),
        ("pool", other),
    ]
    prefect.add("variables", 60)
    assert lineage(prefect, "variable_name", "variables-60") == []
    assert lineage(prefect, "server", "") == []


def test_facts_are_those_that_guards_look_at(prefect: Prefect) -> None:
    prefect.pool(1, "p")
    known = one(prefect, "deployment", prefect.deployment(10, "p"))
    assert known is not None
    assert (known.facts["job_variables"], known.facts["work_pool_name"], known.facts["flow_id"]) == (
        {"a": 1},
        "p",
        uid(90),
    )
    assert known.facts["enforce_parameter_schema"] is True
    assert "deployments" not in known.facts


def test_a_run_began_when_it_first_left_scheduled_and_a_sub_flow_with_what_is_above_it(prefect: Prefect) -> None:
    pool = prefect.pool(1, "p")
    deployment = prefect.deployment(10, "p")
    waiting = prefect.run(20, deployment_id=deployment, work_pool_id=pool)
    run = prefect.run(21, deployment_id=deployment, state_type="RUNNING", start_time="2026-01-01T10:00:05Z")
    prefect.states[run] = [
        {"type": "RUNNING", "timestamp": "2026-01-01T10:00:05Z"},
        {"type": "PENDING", "timestamp": "2026-01-01T12:00:00+02:00"},
        {"type": "SCHEDULED", "timestamp": "2026-01-01T09:00:00Z"},
    ]
    sub = prefect.run(
        22,
        parent_task_run_id=prefect.add("task_runs", 30, flow_run_id=run),
        state_type="RUNNING",
        start_time="2026-01-01T11:00:00Z",
    )
    prefect.states[sub] = [{"type": "RUNNING", "timestamp": "2026-01-01T11:00:00Z"}]
    started = {
        key: known.facts["started"]
        for (_, key), known in ask(prefect, *(Lookup("flow_run", key) for key in (waiting, run, sub))).items()
        if known
    }
    assert started == {waiting: None, run: "2026-01-01T12:00:00+02:00", sub: "2026-01-01T12:00:00+02:00"}
    task = one(prefect, "task_run", uid(30))
    assert task is not None
    assert task.facts["started"] == "2026-01-01T12:00:00+02:00"
    # What ran under a run but belongs to a deployment began for itself.
    own = prefect.run(23, parent_task_run_id=uid(30), deployment_id=deployment)
    known = one(prefect, "flow_run", own)
    assert known is not None
    assert known.facts["started"] is None


def test_climbing_ends(prefect: Prefect) -> None:
    a, b = uid(20), uid(21)
    prefect.run(20, parent_task_run_id=prefect.add("task_runs", 30, flow_run_id=b))
    prefect.run(21, parent_task_run_id=prefect.add("task_runs", 31, flow_run_id=a))
    assert lineage(prefect, "flow_run", a) == []
    for n in range(100, 100 + module._DEEPEST + 1):
        prefect.run(n, parent_task_run_id=prefect.add("task_runs", 1000 + n, flow_run_id=uid(n + 1)))
    pool = prefect.pool(1, "p")
    prefect.run(100 + module._DEEPEST + 1, work_pool_id=pool)
    assert lineage(prefect, "flow_run", uid(105)) == [("pool", pool)]
    assert lineage(prefect, "flow_run", uid(100)) == []
    gone = prefect.run(50, parent_task_run_id=uid(999))
    assert lineage(prefect, "flow_run", gone) == []
    assert lineage(prefect, "flow_run", prefect.run(51, deployment_id=uid(998))) == []


def test_what_is_not_there_is_asked_again(prefect: Prefect) -> None:
    async def story() -> None:
        lookups = Lookups("prod", prefect)
        wanted = Lookup("pool", "late")
        assert (await lookups.resolve([wanted]))[wanted] is None
        prefect.pool(1, "late")
        assert (await lookups.resolve([wanted]))[wanted] is not None
        await lookups.resolve([wanted])
        assert len(prefect.asked) == 2

    asyncio.run(story())


@pytest.mark.parametrize(
    "key",
    [
        "",
        "x",
        "../x",
        f"{uid(1)}/..",
        f"{uid(1)}?x=1",
        f" {uid(1)}",
        f"{uid(1)}\n",
        "urn:uuid:" + uid(1),
        "{" + uid(1) + "}",
        uid(1)[:-1],
        "é" * 36,
    ],
)
def test_what_is_no_id_or_name_never_reaches_a_url(prefect: Prefect, key: str) -> None:
    ids = ("flow_run", "task_run", "deployment", "queue", "artifact", "block", "flow", "flow_run_children", "variable")
    found = ask(prefect, *(Lookup(kind, key) for kind in ids))
    assert set(found.values()) == {None}
    assert prefect.asked == []


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "a\\b", "a%2fb", "a?b", "a#b", "a;b", "a\x00", "a\nb", "\ud800", "x" * 501]
)
def test_a_name_that_prefect_could_not_have_is_not_asked_for(prefect: Prefect, name: str) -> None:
    found = ask(
        prefect,
        Lookup("pool", name),
        Lookup("pool_queue", f"{name}/q"),
        Lookup("deployment_name", f"f/{name}"),
        Lookup("block_name", f"{name}/"),
    )
    assert set(found.values()) == {None}
    assert prefect.asked == []


def test_names_are_encoded_canonically_and_ids_spelled_one_way(prefect: Prefect) -> None:
    ask(
        prefect,
        Lookup("pool", "a b:é~'"),
        Lookup("flow_run", uid(0xABCDEF).upper()),
        Lookup("flow_run", uid(0xABCDEF).replace("-", "")),
    )
    assert prefect.asked == ["GET /api/work_pools/a%20b:%C3%A9~'", f"GET /api/flow_runs/{uid(0xABCDEF)}"]


@pytest.mark.parametrize(
    ("target", "answer"),
    [
        ("/api/deployments/" + uid(10), (500, {})),
        ("/api/deployments/" + uid(10), (401, {"exception_message": "Unauthorized"})),
        ("/api/deployments/" + uid(10), (200, None)),
        ("/api/deployments/" + uid(10), (200, [])),
        ("/api/deployments/" + uid(10), (200, {"id": uid(10)})),
        ("/api/deployments/" + uid(10), (200, {"id": "x", "name": "d", "flow_id": uid(90), "work_pool_name": "p"})),
        ("/api/deployments/" + uid(10), (200, {"id": uid(10), "name": "d", "flow_id": uid(90), "work_pool_name": 5})),
        ("/api/deployments/" + uid(10), (200, {"id": uid(11), "name": "d", "flow_id": uid(90), "work_pool_name": "p"})),
        ("/api/work_pools/p", (200, {"id": uid(1), "name": "q", "type": "process"})),
        ("/api/work_pools/p", (500, {})),
        ("/api/work_pools/p", (200, {"id": None, "name": "p"})),
        ("/api/work_pools/p", (200, "<html>")),
    ],
)
def test_an_answer_that_cannot_be_believed_is_a_failure_and_not_remembered(
    prefect: Prefect, target: str, answer: tuple[int, Json]
) -> None:
    prefect.pool(1, "p")
    prefect.deployment(10, "p")
    prefect.answers[target] = answer

    async def story() -> None:
        lookups = Lookups("prod", prefect)
        with pytest.raises(LookupFailed):
            await lookups.resolve([Lookup("deployment", uid(10))])
        del prefect.answers[target]
        assert (await lookups.resolve([Lookup("deployment", uid(10))]))[Lookup("deployment", uid(10))] is not None

    asyncio.run(story())


def test_a_transports_error_is_a_failure_for_all_who_wait(prefect: Prefect) -> None:
    def fail() -> asyncio.Future[None]:
        raise OSError("gone")

    prefect.delay = fail

    async def story() -> list[Any]:
        lookups = Lookups("prod", prefect)
        return await asyncio.gather(*(lookups.resolve([Lookup("pool", "p")]) for _ in range(3)), return_exceptions=True)

    results = asyncio.run(story())
    assert [type(result) for result in results] == [LookupFailed] * 3
    assert len(prefect.asked) == 1
