"""What was tried to get past the guards, against a real Prefect server: what it would do, were it let."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from uuid import uuid4

import pytest

from grants.catalog.levels import Key, Level
from grants.gate.decision.check import check
from grants.gate.decision.table import RouteTable
from grants.gate.decision.target import canonical
from grants.gate.decision.types import Allow, Json, Match, Refusal
from grants.gate.prefect.guards.asks import asks, needs
from grants.gate.prefect.kind import PREFECT
from grants.gate.prefect.lookups.visible_ids import Granted
from grants.gate.prefect.routes.table import ROUTES
from tests.gate.prefect.world import Seen, World, leaked, running_world
from tests.gate.worlds import NOW, grant, person, snapshot

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One of its own: what is tried here, others would find in theirs."""
    with running_world(tmp_path_factory.mktemp("broken")) as made:
        yield made


TABLE = RouteTable(ROUTES, "prod")

type May = Mapping[Level, tuple[str, str]]  # what somebody was granted, each on a kind and an id


def call(world: World, may: May, method: str, path: str, body: Json = None) -> Seen:
    """As the gate handles it: judged by what Prefect says of all that is named, then sent, its answer heard."""
    target = canonical(f"/api{path}".encode())
    assert not isinstance(target, Refusal)
    matched = TABLE.match(method, target)
    assert isinstance(matched, Match), matched
    wanted = needs(matched, body)
    if isinstance(wanted, Refusal):
        return Seen(wanted.status, wanted.why.encode())
    found = world.loop.run(world.lookups.resolve(wanted))
    asked = asks(matched, body, found)
    if isinstance(asked, Refusal):
        return Seen(asked.status, asked.why.encode())
    grants = [grant(n, Key("prod", *where), level) for n, (level, where) in enumerate(may.items(), 1)]
    outcome = check(snapshot(grants), person(), asked, NOW)
    if not isinstance(outcome, Allow):
        assert isinstance(outcome, Refusal)
        return Seen(outcome.status, outcome.code.encode())
    answer = world.upstream.send(method, f"/api{path}", body)
    world.lookups.wrote(matched)
    hear = PREFECT.answers.get(matched.route.template)
    if hear is not None and answer.is_success:
        heard = hear(matched, answer.json(), found)
        if isinstance(heard, Refusal):
            return Seen(heard.status, heard.why.encode())
    return Seen(answer.status_code, answer.content)


def deployed(world: World, name: str) -> str:
    alpha = world.alpha
    return world.make("/deployments/", name=name, flow_id=alpha.flow, work_pool_name=alpha.pool_name)


def test_who_may_run_reads_no_variables_by_resuming(world: World) -> None:
    may = {Level.RUN: ("deployment", world.alpha.own)}
    run = world.make(f"/deployments/{world.alpha.own}/create_flow_run", name="paused")

    def paused() -> None:
        keys = {"schema": "schema", "response": "told"}
        state = {"type": "PAUSED", "state_details": {"run_input_keyset": keys, "pause_reschedule": True}}
        said = call(world, may, "POST", f"/flow_runs/{run}/set_state", {"state": state, "force": True})
        assert said.json["status"] == "ACCEPT"

    paused()
    schema = '{"type": "object", "properties": {"x": {"type": "integer"}}}'
    asked = call(world, may, "POST", f"/flow_runs/{run}/input", {"key": "schema", "value": schema})
    assert asked.status == 201
    variable = {"__prefect_kind": "workspace_variable", "variable_name": world.variable}
    value = f"{world.bravo.word}-value".encode()
    for told in ({"x": variable}, {"y": [variable]}, {"y": {"__prefect_kind": "none", "value": variable}}):
        seen = call(world, may, "POST", f"/flow_runs/{run}/resume", {"run_input": told})
        assert seen.status == 403
        assert value not in seen.raw
    assert call(world, may, "GET", f"/flow_runs/{run}/input/told").status == 404
    assert call(world, may, "POST", f"/flow_runs/{run}/resume", {"run_input": {"x": 5}}).json["status"] == "ACCEPT"
    assert call(world, may, "GET", f"/flow_runs/{run}/input/told").raw == b'{"x":5}'


def test_who_manages_one_deployment_reads_no_variables(world: World) -> None:
    """Prefect writes their values into what it keeps."""
    deployment = deployed(world, "reads-variables")
    may = {Level.MANAGE: ("deployment", deployment)}
    parameters = {"x": {"__prefect_kind": "workspace_variable", "variable_name": world.variable}}
    assert call(world, may, "PATCH", f"/deployments/{deployment}", {"parameters": parameters}).status == 403
    upsert = {"name": "reads-variables", "flow_id": world.alpha.flow, "parameters": parameters}
    assert call(world, may, "POST", "/deployments/", upsert).status == 403
    assert f"{world.bravo.word}-value".encode() not in call(world, may, "GET", f"/deployments/{deployment}").raw


def test_a_queue_hands_out_no_runs_of_other_pools(world: World) -> None:
    alpha, bravo = world.alpha, world.bravo
    pool = ("pool", alpha.pool)
    queue = world.make(f"/work_pools/{alpha.pool_name}/queues", name="old-kind")
    for filters in ({"deployment_ids": [bravo.own]}, {"tags": [bravo.word]}, {}):
        by_id, by_name = f"/work_queues/{queue}", f"/work_pools/{alpha.pool_name}/queues/old-kind"
        for path in (by_id, by_name):
            assert call(world, {Level.MANAGE: pool}, "PATCH", path, {"filter": filters}).status == 403
        made = {"name": f"new-{uuid4()}", "filter": filters}
        assert call(world, {Level.MANAGE: pool}, "POST", f"/work_pools/{alpha.pool_name}/queues", made).status == 403
        runs = call(world, {Level.WORK: pool}, "POST", f"/work_queues/{queue}/get_runs", {"limit": 200})
        assert (runs.status, leaked(runs.raw, bravo.canaries)) == (200, [])
    assert call(world, {Level.OPERATE: pool}, "PATCH", by_id, {"priority": 7, "filter": None}).status == 204


def test_a_queues_name_moves_no_deployment_to_another_pool(world: World) -> None:
    """Where there is no default pool, Prefect takes whatever queue has this name."""
    deployment = deployed(world, "stays")
    may = {Level.MANAGE: ("deployment", deployment)}
    seen = call(world, may, "PATCH", f"/deployments/{deployment}", {"work_queue_name": f"{world.bravo.word}-queue"})
    told = call(world, may, "GET", f"/deployments/{deployment}").json
    assert (seen.status, told["work_pool_name"]) == (403, world.alpha.pool_name)
    named = {"work_queue_name": "mine", "work_pool_name": world.alpha.pool_name}
    assert call(world, may, "PATCH", f"/deployments/{deployment}", named).status == 204


def test_a_limit_of_the_servers_is_nobody_elses_to_change(world: World) -> None:
    """Prefect writes a deployment's limit into the limit that it is held to, and deletes that with the deployment."""
    deployment = deployed(world, "held")
    where = ("deployment", deployment)
    limit = world.make("/v2/concurrency_limits/", name=f"everybodys-{world.tag}", limit=2)
    path, take = f"/deployments/{deployment}", {"global_concurrency_limit_id": limit}
    assert call(world, {Level.MANAGE: where}, "PATCH", path, take).status == 403
    assert call(world, {Level.ADMIN: ("server", "server")}, "PATCH", path, take).status == 204
    assert call(world, {Level.MANAGE: where}, "PATCH", path, take).status == 204, "what it is held to already"
    for size in (99, None):
        assert call(world, {Level.MANAGE: where}, "PATCH", path, {"concurrency_limit": size}).status == 403
    upsert = {"name": "held", "flow_id": world.alpha.flow, "concurrency_limit": None}
    assert call(world, {Level.MANAGE: where}, "POST", "/deployments/", upsert).status == 403
    assert call(world, {Level.MANAGE: where}, "DELETE", path).status == 403
    assert world.upstream.do("GET", f"/v2/concurrency_limits/{limit}")["limit"] == 2
    own = deployed(world, "own-limit")
    for size in (3, 5, None, 4):
        may = {Level.OPERATE: ("deployment", own)}
        assert call(world, may, "PATCH", f"/deployments/{own}", {"concurrency_limit": size}).status == 204
    assert call(world, {Level.MANAGE: ("deployment", own)}, "DELETE", f"/deployments/{own}").status == 204


def test_a_template_prints_no_block(world: World) -> None:
    """What a run is refused with holds what the block holds, but for what is secret."""
    name = f"templated-{world.tag}"
    pool = world.make("/work_pools/", name=name, type="process")
    deployment = world.make("/deployments/", name=name, flow_id=world.alpha.flow, work_pool_name=name)
    block = {"type": "object", "default": {"$ref": {"block_document_id": world.blocks["bravo-keyring"]}}}
    variables = {"x": block, "y": {"type": "integer", "default": 1}}
    schema = {"type": "object", "maxProperties": 1, "properties": variables}
    template = {"base_job_template": {"job_configuration": {"x": "{{ x }}"}, "variables": schema}}
    may = {Level.MANAGE: ("pool", pool)}
    changed = call(world, may, "PATCH", f"/work_pools/{name}", template)
    run = call(world, may, "POST", f"/deployments/{deployment}/create_flow_run", {})
    assert b"note of" not in run.raw
    assert (changed.status, run.status) == (403, 201)


def test_the_latest_of_a_key_is_ones_own_or_nothing(world: World) -> None:
    """It is looked up, remembered for a second, and may be somebody else's by the time it is read."""
    alpha, bravo, key = world.alpha, world.bravo, f"report-{world.tag}"

    def posted(of: Any) -> None:
        made = {"key": key, "type": "markdown", "data": f"{of.word} data", "flow_run_id": of.ids["own-run"]}
        world.upstream.do("POST", "/artifacts/", made)

    may = {Level.VIEW: ("pool", alpha.pool)}
    posted(alpha)
    assert call(world, may, "GET", f"/artifacts/{key}/latest").status == 200
    posted(bravo)
    seen = call(world, may, "GET", f"/artifacts/{key}/latest")
    assert seen.status in (403, 503)
    assert not leaked(seen.raw, bravo.canaries)


def test_a_list_of_blocks_shows_none_that_others_are_made_of(world: World) -> None:
    keyring, word = world.blocks["alpha-keyring"], world.bravo.word.encode()
    inner = world.blocks["bravo"].encode()
    for visible, shown in (
        (Granted(all=False, blocks=frozenset({keyring})), []),
        (Granted(all=False, blocks=frozenset({keyring, world.blocks["bravo"]})), [keyring]),
    ):
        by_type = "/block_types/slug/keyring/block_documents"
        for seen in (
            world.call(visible, "POST", "/block_documents/filter", {"block_documents": {"id": {"any_": [keyring]}}}),
            world.call(visible, "GET", by_type, template="/block_types/slug/{slug}/block_documents"),
        ):
            assert [row["id"] for row in seen.json] == shown
            assert shown or (inner not in seen.raw and word not in seen.raw)
