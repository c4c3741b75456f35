"""Every kind of Lookup against a real Prefect server that answers nobody without its auth string."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import uuid4

import pytest

from grants.catalog.levels import Key
from grants.gate.decision.lookup import LookupFailed
from grants.gate.decision.types import Known, Lookup
from grants.gate.prefect.lookups.resolve import Lookups
from grants.gate.prefect.lookups.visible_ids import Granted
from grants.gate.prefect.scopes import Scope
from tests.gate.prefect.world import Upstream, World

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("world")]


def known(world: World, kind: str, key: str) -> Known:
    wanted = Lookup(kind, key)
    found = world.loop.run(world.lookups.resolve([wanted]))[wanted]
    assert found is not None, wanted
    assert found.lineage[-1] == Key("prod", "server", "server")
    return found


def place(world: World, kind: str, key: str) -> set[tuple[str, str]]:
    return {(key.kind, key.id) for key in known(world, kind, key).lineage[:-1]}


def test_all_kinds_have_their_lineage(world: World) -> None:
    alpha, bravo, word = world.alpha, world.bravo, world.alpha.word
    pool, own = {("pool", alpha.pool)}, {("pool", alpha.pool), ("deployment", alpha.own)}
    shared = {("pool", alpha.pool), ("deployment", alpha.shared)}
    queue = world.upstream.do("POST", f"/work_pools/{alpha.pool_name}/queues/filter", {})
    state = world.upstream.do("GET", f"/flow_runs/{alpha.ids['own-run']}")["state_id"]
    slug = "block_type_slug"
    for kind, key, expected in [
        ("flow_run", alpha.ids["own-run"], own),
        ("flow_run", alpha.ids["own-next"], own),
        ("flow_run", alpha.ids["sub-run"], own),
        ("flow_run", alpha.ids["subsub-run"], own),
        ("flow_run", bravo.ids["loose-run"], set()),
        ("flow_run", bravo.ids["on-pool"], {("pool", bravo.pool)}),
        ("flow_run", world.crossed, {("pool", bravo.pool), ("deployment", bravo.own)}),
        ("flow_run", world.crossed_pool, {("pool", bravo.pool)}),
        ("flow_run_place", alpha.ids["sub-run"], own),
        ("task_run", alpha.ids["subsub-task"], own),
        ("task_run_place", alpha.ids["shared-task"], shared),
        ("task_run", bravo.ids["background"], set()),
        ("deployment", alpha.own, own),
        ("deployment_name", f"{word}-flow/{word}-own", own),
        ("flow_deployment", f"{alpha.flow}/{word}-own", own),
        ("pool", alpha.pool_name, pool),
        ("queue", alpha.queue, pool),
        ("pool_queue", f"{alpha.pool_name}/{word}-queue", pool),
        ("flow", alpha.flow, own),
        ("flow_name", f"{word}-flow", own),
        ("flow", world.flow, {*shared, ("pool", bravo.pool), ("deployment", bravo.shared)}),
        ("flow", alpha.ids["sub-flow"], set()),
        ("artifact", alpha.ids["sub-artifact"], own),
        ("artifact_key", f"{word}-shared", shared),
        ("block", world.blocks["alpha"], {("block", world.blocks["alpha"])}),
        ("block_name", f"secret/{word}-secret", {("block", world.blocks["alpha"])}),
        (slug, "secret", set()),
        ("variable", bravo.ids["variable"], set()),
        ("variable_name", world.variable, set()),
        ("flow_run_state", state, set()),
        ("server", "", set()),
    ]:
        assert place(world, kind, key) == expected, (kind, key)
    assert queue


def test_what_is_not_there_is_not_there(world: World) -> None:
    kinds = (
        "flow_run",
        "task_run",
        "deployment",
        "queue",
        "flow",
        "artifact",
        "block",
        "variable",
        "flow_run_state",
        "task_run_state",
    )
    wanted = [
        *(Lookup(kind, str(uuid4())) for kind in kinds for _ in range(2)),
        Lookup("pool", "no such"), Lookup("pool_queue", "no/such"), Lookup("flow_name", "no such"), Lookup("block_type_slug", "no"),
        Lookup("deployment_name", "no/such"), Lookup("flow_deployment", f"{uuid4()}/no"), Lookup("flow_deployment", "no/no"), Lookup("artifact_key", "no"), Lookup("block_name", "secret/no"), Lookup("variable_name", "no"),
    ]  # fmt: skip
    assert set(world.loop.run(world.lookups.resolve(wanted)).values()) == {None}


def test_a_keyring_tells_what_it_is_made_of(world: World) -> None:
    assert known(world, "block", world.blocks["alpha-keyring"]).facts["references"] == (world.blocks["bravo"],)
    assert known(world, "block_name", f"keyring/{world.alpha.word}-keyring").facts["references"] == (
        world.blocks["bravo"],
    )
    assert known(world, "block", world.blocks["bravo"]).facts["references"] == ()


def test_when_a_run_began_is_when_it_first_left_scheduled(world: World) -> None:
    alpha = world.alpha
    assert known(world, "flow_run", alpha.ids["own-next"]).facts["started"] is None
    states = world.upstream.do("GET", f"/flow_run_states/?flow_run_id={alpha.ids['own-run']}")
    pending = next(state["timestamp"] for state in states if state["type"] == "PENDING")
    for kind, key in (
        ("flow_run", "own-run"),
        ("flow_run", "sub-run"),
        ("task_run", "subsub-task"),
        ("task_run", "own-task"),
    ):
        assert known(world, kind, alpha.ids[key]).facts["started"] == pending
    running = known(world, "flow_run", alpha.ids["own-run"]).facts["start_time"]
    assert timedelta(0) < datetime.fromisoformat(running) - datetime.fromisoformat(pending)


def test_a_run_that_starts_is_seen_to_have_started(world: World) -> None:
    lookups = Lookups("prod", world.upstream, clock := Clock())
    run = world.make(f"/deployments/{world.alpha.own}/create_flow_run", name=f"{world.alpha.word}-starting")
    wanted = Lookup("flow_run", run)

    def started() -> object:
        found = world.loop.run(lookups.resolve([wanted]))[wanted]
        assert found is not None
        return found.facts["started"]

    assert started() is None
    world.upstream.do("POST", f"/flow_runs/{run}/set_state", {"state": {"type": "PENDING"}, "force": True})
    clock.now += 1
    began = started()
    assert began is not None
    world.upstream.do("POST", f"/flow_runs/{run}/set_state", {"state": {"type": "RUNNING"}, "force": True})
    clock.now += 1_000
    assert started() == began
    world.upstream.do("DELETE", f"/flow_runs/{run}")


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_without_the_auth_string_nothing_is_known(world: World) -> None:
    upstream = Upstream(world.url, auth="gate:wrong")
    stranger = Lookups("prod", upstream)
    for wanted in (Lookup("deployment", world.alpha.own), Lookup("pool", world.alpha.pool_name)):
        with pytest.raises(LookupFailed):
            world.loop.run(stranger.resolve([wanted]))
    with pytest.raises(LookupFailed):
        world.loop.run(stranger.visible_ids(Granted(all=False, pools=frozenset({world.alpha.pool})), Scope.FLOWS))
    upstream.http.close()


def test_a_queue_and_its_pool_by_visible_ids(world: World) -> None:
    shown = world.loop.run(world.lookups.visible_ids(world.sees(world.alpha), Scope.WORK_QUEUES))
    assert shown.pools == {world.alpha.pool}
    assert world.alpha.queue in shown.queues
    assert world.bravo.queue not in shown.queues
    assert shown.deployments == {world.alpha.own: world.alpha.flow, world.alpha.shared: world.flow}
    assert world.loop.run(world.lookups.visible_ids(world.sees(world.alpha), Scope.FLOWS)).queues == frozenset()
