"""Blocks of a real Prefect server: what is secret passes to nobody but who may read all of what comes."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from grants.gate.prefect.lookups.visible_ids import Granted
from tests.gate.prefect.world import AUTH, World

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("world")]


def test_secrets_pass_only_with_secret_on_every_block(world: World) -> None:
    a, b, keyring = world.blocks["alpha"], world.blocks["bravo"], world.blocks["alpha-keyring"]
    value = {a: f"{world.alpha.word}-secret-value".encode(), b: f"{world.bravo.word}-secret-value".encode()}

    def may(*, view: Iterable[str] = (), secret: Iterable[str] = (), everything: bool = False) -> Granted:
        return Granted(everything, blocks=frozenset(view), secrets=frozenset(secret))

    def reads(visible: Granted) -> Iterable[bytes]:
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
