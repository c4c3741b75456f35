"""What is one's own is all there, its counts agree, and nothing of a list tells of what is not shown."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from grants.gate.decision.types import Json
from grants.gate.prefect.lookups.resolve import Lookups
from grants.gate.prefect.lookups.visible_ids import Granted
from grants.gate.prefect.scopes import Scope
from tests.gate.prefect.world import HISTORY, Team, World, ids, leaked, match_of

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("world")]


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
    assert sum(world.call(sees, "POST", "/ui/task_runs/count", {}).json.values()) == 3
    assert world.call(sees, "POST", "/flow_runs/lateness", {}).status == 200


def test_one_deployment_is_one_deployment(world: World) -> None:
    alpha = world.alpha
    one = Granted(all=False, deployments=frozenset({alpha.shared}))
    assert ids(world.call(one, "POST", "/deployments/filter", {})) == {alpha.shared}
    assert ids(world.call(one, "POST", "/flow_runs/filter", {})) == {alpha.ids["shared-run"], alpha.ids["shared-next"]}
    assert ids(world.call(one, "POST", "/flows/filter", {})) == {world.flow}
    assert world.call(one, "POST", "/work_pools/filter", {}).json == []
    assert world.call(one, "POST", "/work_queues/filter", {}).json == []
    both = Granted(all=False, pools=frozenset({alpha.pool}), deployments=frozenset({world.bravo.own}))
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


def test_a_graph_names_ones_own(world: World) -> None:
    alpha, bravo, sees = world.alpha, world.bravo, world.sees(world.alpha)

    def labels(visible: Granted, run: str) -> set[str]:
        template = "/flow_runs/{id}/graph-v2"
        graph = world.call(visible, "GET", f"/flow_runs/{run}/graph-v2", template=template).json
        return {node["label"] for _, node in graph["nodes"]}

    sub = {f"{alpha.word}-sub-flow / {alpha.word}-sub-run"}
    crossed = {f"{bravo.word}-flow / {bravo.word}-{name}" for name in ("crossed", "crossed-pool")}
    assert labels(sees, alpha.ids["own-run"]) == sub
    assert labels(sees, alpha.ids["shared-run"]) == {"a run elsewhere"}
    assert labels(Granted(all=True), alpha.ids["shared-run"]) == crossed
    both = Granted(all=False, pools=frozenset({alpha.pool, bravo.pool}))
    assert labels(both, alpha.ids["shared-run"]) == crossed


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


def test_a_moved_deployment_moves(world: World) -> None:
    alpha, lookups = world.alpha, Lookups("prod", world.upstream)
    moving = world.make("/deployments/", name="moving", flow_id=world.flow, work_pool_name=alpha.pool_name)
    sees = world.sees(alpha)
    assert moving in world.loop.run(lookups.visible_ids(sees, Scope.FLOWS)).deployments
    world.upstream.do("PATCH", f"/deployments/{moving}", {"work_pool_name": world.bravo.pool_name})
    lookups.wrote(match_of("POST", "/api/flows/filter", "/api/flows/filter"))
    assert (
        moving in world.loop.run(lookups.visible_ids(sees, Scope.FLOWS)).deployments
    )  # remembered: nothing was written here
    patched = match_of("POST", "/api/flows/filter", "/api/flows/filter")
    patched = patched._replace(route=patched.route._replace(method="PATCH", template="/api/deployments/{id:uuid}"))
    lookups.wrote(patched)
    assert moving not in world.loop.run(lookups.visible_ids(sees, Scope.FLOWS)).deployments
    world.upstream.do("DELETE", f"/deployments/{moving}")
