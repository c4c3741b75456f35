"""What is remembered of lookups: asked for once by many, for so long, and forgotten when a write may have moved it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from grants.catalog.levels import Key
from grants.gate.decision.lookup import LookupFailed, RowCache, RowSource
from grants.gate.decision.types import Lookup, Route
from grants.gate.prefect.lookups.invalidation import moved
from grants.gate.prefect.lookups.resolve import Lookups
from grants.gate.prefect.lookups.visible_ids import Granted
from grants.gate.prefect.scopes import Scope
from tests.gate.prefect.answering import SERVER, Clock, Prefect, uid


def test_many_who_ask_at_once_share_one_request_and_many_ids_go_together(prefect: Prefect) -> None:
    runs = [prefect.run(n) for n in range(1, 8)]

    async def story() -> None:
        lookups = Lookups("prod", prefect)
        wanted = [Lookup("flow_run_place", run) for run in runs]
        answers = await asyncio.gather(*(lookups.resolve(wanted) for _ in range(5)))
        assert all(set(answer) == set(wanted) and None not in answer.values() for answer in answers)

    asyncio.run(story())
    assert prefect.asked == ["POST /api/flow_runs/filter"] * 3  # of three rows each


def test_the_histories_of_a_run_and_of_the_runs_above_it_are_asked_for_together(prefect: Prefect) -> None:
    """Fault: each is asked for once the one below it has been answered. They are sent all at once, and once each."""
    runs = [prefect.run(1, state_type="RUNNING", start_time="2026-01-01T10:00:00Z")]
    for n in range(2, 6):
        task = prefect.add("task_runs", 10 + n, flow_run_id=runs[-1])
        runs.append(prefect.run(n, parent_task_run_id=task, state_type="RUNNING", start_time="2026-01-01T10:00:00Z"))
    histories = sorted(f"GET /api/flow_run_states/?flow_run_id={run}" for run in runs)

    def asked() -> list[str]:
        return sorted(one for one in prefect.asked if "flow_run_states" in one)

    async def story() -> None:
        arrived, answered = asyncio.Event(), asyncio.Event()
        lookups = Lookups("prod", prefect)
        await lookups.resolve([Lookup("flow_run_place", runs[-1])])

        def held() -> asyncio.Future[None]:
            arrived.set()
            return asyncio.ensure_future(_wait(answered))

        prefect.delay = held
        looking = asyncio.create_task(lookups.resolve([Lookup("flow_run", runs[-1])]))
        await arrived.wait()
        await asyncio.sleep(0.05)
        assert asked() == histories, "before one of them was answered"
        answered.set()
        await looking
        await lookups.resolve([Lookup("flow_run", run) for run in runs])
        assert asked() == histories

    asyncio.run(story())


def test_one_who_leaves_takes_the_answer_from_nobody(prefect: Prefect) -> None:
    prefect.pool(1, "p")

    async def story() -> None:
        gate = asyncio.Event()
        prefect.delay = lambda: asyncio.ensure_future(_wait(gate))
        lookups = Lookups("prod", prefect)
        first = asyncio.create_task(lookups.resolve([Lookup("pool", "p")]))
        second = asyncio.create_task(lookups.resolve([Lookup("pool", "p")]))
        await asyncio.sleep(0.01)
        first.cancel()
        gate.set()
        assert (await second)[Lookup("pool", "p")] is not None
        with pytest.raises(asyncio.CancelledError):
            await first
        assert len(prefect.asked) == 1

    asyncio.run(story())


async def _wait(event: asyncio.Event) -> None:
    await event.wait()


def test_a_pool_is_believed_for_thirty_seconds_at_most(prefect: Prefect) -> None:
    old, new = prefect.pool(1, "p"), uid(2)
    deployment = prefect.deployment(10, "p")
    clock = Clock()

    async def story() -> None:
        lookups = Lookups("prod", prefect, clock)

        async def pool() -> str:
            known = (await lookups.resolve([Lookup("deployment", deployment)]))[Lookup("deployment", deployment)]
            assert known is not None
            return known.lineage[1].id

        assert await pool() == old
        prefect.rows["work_pools"] = {}
        prefect.pool(2, "p")  # a namesake
        clock.now = 14.9
        assert await pool() == old
        clock.now = 30
        assert await pool() == new

    asyncio.run(story())


def test_what_was_forgotten_on_the_way_is_not_kept(prefect: Prefect) -> None:
    prefect.pool(1, "p")
    prefect.pool(2, "q")
    deployment = prefect.deployment(10, "p")

    async def story() -> None:
        lookups, gate = Lookups("prod", prefect), asyncio.Event()
        answered = dict(prefect.rows["deployments"][deployment])
        prefect.answers[f"/api/deployments/{deployment}"] = (200, answered)
        prefect.delay = lambda: asyncio.ensure_future(_wait(gate))
        asking = asyncio.create_task(lookups.resolve([Lookup("deployment", deployment)]))
        await asyncio.sleep(0.01)
        lookups.wrote(_match("PATCH", "/api/deployments/{id:uuid}"))
        answered = {**answered, "work_pool_name": "q"}
        gate.set()
        await asking
        prefect.answers[f"/api/deployments/{deployment}"] = (200, answered)
        known = (await lookups.resolve([Lookup("deployment", deployment)]))[Lookup("deployment", deployment)]
        assert known is not None
        assert known.lineage[1].id == uid(2)

    asyncio.run(story())


def test_forgetting_before_the_batch_left_loses_nobody() -> None:
    async def fetch(keys: Any) -> dict[str, str]:
        return dict.fromkeys(keys, "new")

    async def story() -> None:
        memory: RowCache[str] = RowCache({"k": RowSource(fetch, lambda _row: 60)})
        loop = asyncio.get_running_loop()
        first = asyncio.Task(memory.get("k", "a"), loop=loop, eager_start=True)
        memory.forget("k")
        second = asyncio.Task(memory.get("k", "a"), loop=loop, eager_start=True)
        async with asyncio.timeout(5):
            assert [await first, await second] == ["new", "new"]
        assert await memory.get("k", "a") == "new"

    asyncio.run(story())


def _match(method: str, template: str) -> Any:
    return type("M", (), {"route": Route(method, template, None)})()


@pytest.mark.parametrize(
    ("method", "template", "kinds"),
    [
        (
            "PATCH",
            "/api/deployments/{id:uuid}",
            {"deployment", "deployment_name", "pool_deployments", "deployment_schedules"},
        ),
        (
            "PATCH",
            "/api/deployments/{id}",
            {"deployment", "deployment_name", "pool_deployments", "deployment_schedules"},
        ),
        ("POST", "/api/deployments/", {"deployment", "deployment_name", "pool_deployments", "deployment_schedules"}),
        (
            "POST",
            "/api/deployments/bulk_delete",
            {"deployment", "deployment_name", "pool_deployments", "deployment_schedules"},
        ),
        ("POST", "/api/deployments/{id:uuid}/schedules", {"deployment_schedules"}),
        ("PATCH", "/api/deployments/{id:uuid}/schedules/{schedule_id:uuid}", {"deployment_schedules"}),
        ("DELETE", "/api/deployments/{id:uuid}/schedules/{schedule_id:uuid}", {"deployment_schedules"}),
        ("POST", "/api/deployments/{id:uuid}/create_flow_run", set()),
        ("POST", "/api/deployments/filter", set()),
        ("DELETE", "/api/work_queues/{id:uuid}", {"queue", "pool_queue", "pool_queues"}),
        ("POST", "/api/work_pools/{work_pool_name}/queues", {"queue", "pool_queue", "pool_queues"}),
        ("DELETE", "/api/work_pools/{name}", {"pool", "pool_id", "pool_deployments", "deployment"}),
        ("POST", "/api/work_pools/{name}/get_scheduled_flow_runs", set()),
        ("PATCH", "/api/flow_runs/{id:uuid}", set()),
        ("POST", "/api/flow_runs/{id:uuid}/set_state", set()),
        ("DELETE", "/api/flow_runs/{id:uuid}", {"flow_run", "begun"}),
        ("PATCH", "/api/block_documents/{id:uuid}", {"block", "block_name"}),
        ("GET", "/api/deployments/{id:uuid}", set()),
        ("WS", "/api/events/in", set()),
    ],
)
def test_writes_forget_what_they_may_have_moved(method: str, template: str, kinds: set[str]) -> None:
    assert kinds <= set(moved(Route(method, template, None)))
    assert bool(kinds) == bool(moved(Route(method, template, None)))


def test_memory_is_bounded_and_keeps_what_is_used() -> None:
    fetched: list[str] = []

    async def fetch(keys: Any) -> dict[str, str]:
        fetched.extend(keys)
        return {key: key for key in keys}

    async def story() -> None:
        memory: RowCache[str] = RowCache({"k": RowSource(fetch, lambda _row: 60, 3)})
        for key in "abcadae":
            await memory.get("k", key)
        assert fetched == list("abcde")
        assert len(memory._held["k"]) == 3
        assert not memory._asked

    asyncio.run(story())


def test_visible_ids_are_pools_deployments_and_queues_of_every_page(prefect: Prefect) -> None:
    pool, other = prefect.pool(1, "p"), prefect.pool(2, "q")
    mine = [prefect.deployment(n, "p", n) for n in range(10, 18)]
    foreign = prefect.deployment(30, "q")
    queues = [
        {"id": uid(60), "name": "own", "work_pool_id": pool},
        {"id": uid(61), "name": "a namesake's", "work_pool_id": uid(5)},
    ]
    prefect.queues = queues
    visible = Granted(all=False, pools=frozenset({pool, uid(77)}), deployments=frozenset({foreign, uid(78)}))
    clock = Clock()

    async def story() -> None:
        lookups = Lookups("prod", prefect, clock)
        shown = await lookups.visible_ids(visible, Scope.WORK_QUEUES)
        assert shown.pools == {pool}  # the other is gone
        assert shown.queues == {uid(60)}
        assert shown.deployments == {**{key: key for key in mine}, foreign: uid(90)}
        asked = len(prefect.asked)
        assert await lookups.visible_ids(visible, Scope.WORK_QUEUES) is shown
        assert len(prefect.asked) == asked
        prefect.rows["deployments"].pop(mine[0])
        clock.now = 30
        assert mine[0] not in (await lookups.visible_ids(visible, Scope.WORK_QUEUES)).deployments
        assert (await lookups.visible_ids(Granted(all=True), Scope.WORK_QUEUES)).deployments == {}
        assert shown.sees((Key("prod", "pool", pool),))
        assert not shown.sees((Key("prod", "pool", other), SERVER))
        assert not shown.sees((Key("prod", "block", pool), SERVER))

    asyncio.run(story())


def test_visible_ids_that_cannot_be_made_out_is_a_failure(prefect: Prefect) -> None:
    prefect.answers["/api/deployments/filter"] = (200, {"detail": "?"})
    pool = prefect.pool(1, "p")

    async def story() -> None:
        with pytest.raises(LookupFailed):
            await Lookups("prod", prefect).visible_ids(Granted(all=False, pools=frozenset({pool})), Scope.FLOWS)

    asyncio.run(story())
