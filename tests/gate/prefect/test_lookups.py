"""Lookups against a Prefect that says what the test wants: what is asked, how often, and what a bad answer comes to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from grants.catalog.levels import Key
from grants.gate.decision.lookup import LookupFailed, Memory, Table
from grants.gate.decision.types import Json, Known, Lookup, Route
from grants.gate.prefect.lookups import resolve as module
from grants.gate.prefect.lookups.invalidation import moved
from grants.gate.prefect.lookups.resolve import Lookups
from grants.gate.prefect.lookups.visible_ids import Granted

SERVER = Key("prod", "server", "server")


def uid(n: int) -> str:
    return str(UUID(int=n))


class Prefect:
    """Rows by kind; lists filter by id. Counts what it was asked."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, Any]] = {}
        self.states: dict[str, list[Json]] = {}
        self.asked: list[str] = []
        self.answers: dict[str, tuple[int, Json]] = {}
        self.queues: list[Json] = []
        self.delay: Callable[[], asyncio.Future[None]] | None = None

    def add(self, what: str, n: int, **fields: Any) -> str:
        self.rows.setdefault(what, {})[uid(n)] = {"id": uid(n), "name": f"{what}-{n}", **fields}
        return uid(n)

    async def json(self, method: str, target: str, body: Json = None) -> tuple[int, Json]:
        self.asked.append(f"{method} {target}")
        if self.delay is not None:
            await self.delay()
        if target in self.answers:
            return self.answers[target]
        _, _, what, rest = target.split("/", 3)
        if what == "flow_run_states":
            return 200, self.states.get(rest.partition("=")[2], [])
        if method == "GET":
            row = next(
                (
                    row
                    for row in self.rows.get(what, {}).values()
                    if rest.rpartition("/")[2] in (row["id"], row["name"])
                ),
                None,
            )
            return (404, {"detail": "no"}) if row is None else (200, row)
        if rest.endswith("queues/filter"):
            return 200, self.queues[body["offset"] :]
        return 200, self.select(what, body)[body["offset"] : body["offset"] + 3]  # a server of three rows a page

    def select(self, what: str, body: Json) -> list[Any]:
        rows = list(self.rows.get(what, {}).values())
        wanted = body.get(what, {}).get("id", {}).get("any_")
        flow, pool = (body.get(name, {}).get("id", {}).get("any_") for name in ("flows", "work_pools"))
        names = {row["name"] for row in self.rows.get("work_pools", {}).values() if row["id"] in (pool or ())}
        if what == "deployments":
            rows = [
                row
                for row in rows
                if (flow is None or row["flow_id"] in flow) and (pool is None or row["work_pool_name"] in names)
            ]
        return [row for row in rows if wanted is None or row["id"] in wanted]

    def pool(self, n: int, name: str = "") -> str:
        return self.add("work_pools", n, **({"name": name} if name else {}), type="process")

    def deployment(self, n: int, pool: str | None, flow: int = 90) -> str:
        return self.add(
            "deployments",
            n,
            flow_id=uid(flow),
            work_pool_name=pool,
            job_variables={"a": 1},
            enforce_parameter_schema=True,
        )

    def run(self, n: int, **fields: Any) -> str:
        state = {"type": "SCHEDULED", "timestamp": "2026-01-01T00:00:00Z"}
        return self.add(
            "flow_runs",
            n,
            **{"state_type": "SCHEDULED", "state": state, "deployment_id": None, "parent_task_run_id": None, **fields},
        )


@pytest.fixture
def prefect() -> Prefect:
    return Prefect()


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def ask(prefect: Prefect, *wanted: Lookup, clock: Clock | None = None) -> dict[Lookup, Known | None]:
    async def resolve() -> Any:
        return await Lookups("prod", prefect, clock or Clock()).resolve(wanted)

    return asyncio.run(resolve())


def one(prefect: Prefect, kind: str, key: str) -> Known | None:
    return ask(prefect, Lookup(kind, key))[Lookup(kind, key)]


def lineage(prefect: Prefect, kind: str, key: str) -> list[tuple[str, str]]:
    known = one(prefect, kind, key)
    assert known is not None
    assert known.lineage[-1] == SERVER
    assert {key.connection for key in known.lineage} == {"prod"}
    return [(key.kind, key.id) for key in known.lineage[:-1]]


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


def test_many_who_ask_at_once_share_one_request_and_many_ids_go_together(prefect: Prefect) -> None:
    runs = [prefect.run(n) for n in range(1, 8)]

    async def story() -> None:
        lookups = Lookups("prod", prefect)
        wanted = [Lookup("flow_run_place", run) for run in runs]
        answers = await asyncio.gather(*(lookups.resolve(wanted) for _ in range(5)))
        assert all(set(answer) == set(wanted) and None not in answer.values() for answer in answers)

    asyncio.run(story())
    assert prefect.asked == ["POST /api/flow_runs/filter"] * 3  # of three rows each


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
        memory: Memory[str] = Memory({"k": Table(fetch, lambda _row: 60)})
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
            {"deployment", "deployment_name", "pool_deployments", "flow_deployments"},
        ),
        ("PATCH", "/api/deployments/{id}", {"deployment", "deployment_name", "pool_deployments", "flow_deployments"}),
        ("POST", "/api/deployments/", {"deployment", "deployment_name", "pool_deployments", "flow_deployments"}),
        (
            "POST",
            "/api/deployments/bulk_delete",
            {"deployment", "deployment_name", "pool_deployments", "flow_deployments"},
        ),
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
        memory: Memory[str] = Memory({"k": Table(fetch, lambda _row: 60, 3)})
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
        shown = await lookups.visible_ids(visible)
        assert shown.pools == {pool}  # the other is gone
        assert shown.queues == {uid(60)}
        assert shown.deployments == {**{key: key for key in mine}, foreign: uid(90)}
        asked = len(prefect.asked)
        assert await lookups.visible_ids(visible) is shown
        assert len(prefect.asked) == asked
        prefect.rows["deployments"].pop(mine[0])
        clock.now = 30
        assert mine[0] not in (await lookups.visible_ids(visible)).deployments
        assert (await lookups.visible_ids(Granted(all=True))).deployments == {}
        assert shown.sees((Key("prod", "pool", pool),))
        assert not shown.sees((Key("prod", "pool", other), SERVER))
        assert not shown.sees((Key("prod", "block", pool), SERVER))

    asyncio.run(story())


def test_visible_ids_that_cannot_be_made_out_is_a_failure(prefect: Prefect) -> None:
    prefect.answers["/api/deployments/filter"] = (200, {"detail": "?"})
    pool = prefect.pool(1, "p")

    async def story() -> None:
        with pytest.raises(LookupFailed):
            await Lookups("prod", prefect).visible_ids(Granted(all=False, pools=frozenset({pool})))

    asyncio.run(story())
