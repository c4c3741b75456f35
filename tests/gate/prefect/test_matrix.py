"""Every route and every escalation × everybody who may call: the table and its guards against hand-written classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID, uuid5

import pytest

from grants.catalog.levels import Key, Level
from grants.gate.decision.check import check
from grants.gate.decision.target import canonical
from grants.gate.decision.types import Allow, Code, Grant, Known, Lookup, Match, Refusal, Snapshot
from grants.gate.prefect.guards.asks import asks, needs
from grants.gate.prefect.routes.table import ROUTES
from tests.gate.prefect.escalation_calls import MALFORMED, MISSING, PASS_MORE
from tests.gate.prefect.escalations import ESCALATIONS
from tests.gate.prefect.matrix import CALLS, PASS, PRINCIPALS, Call
from tests.gate.prefect.served import TABLE
from tests.gate.worlds import NOW, SERVER, grant, person, snapshot

SPACE = UUID("5a5a5a5a-5a5a-45a5-85a5-5a5a5a5a5a5a")


def id_of(name: str) -> str:
    return str(uuid5(SPACE, name))


_IDS = (
    *("artifact", "automation", "block", "block_schema", "block_type", "deployment", "flow", "flow_run"),
    *("flow_run_state", "lease", "limit", "new_id", "queue", "saved_search", "schedule", "task_run", "task_run_state"),
    *("variable", "pool_id", "served", "held", "outer_block", "inner_block", "sibling_deployment", "sibling_flow"),
    *("foreign_flow_run", "foreign_task_run", "foreign_deployment", "foreign_flow", "foreign_pool_id", "foreign_queue"),
)
IDS = {
    **{name: id_of(name) for name in _IDS},
    "foreign_flow_run_plain": id_of("foreign_flow_run").replace("-", ""),
    "block_name": "token",
    "slug": "secret",
    "checksum": "sha256:abc",
    "deployment_name": "prod",
    "flow_name": "etl",
    "foreign_name": "other",
    "sibling_name": "sibling",
    "key": "report",
    "limit_name": "db",
    "new_name": "brand-new",
    "page_token": "e30=",
    "pool": "pool-a",
    "foreign_pool": "pool-b",
    "queue_name": "default",
    "tag": "db",
    "variable_name": "colour",
    "worker": "w1",
}


def key(kind: str, name: str) -> Key:
    return Key("prefect", kind, id_of(name))


POOL, FOREIGN = (key("pool", "pool_id"), SERVER), (key("pool", "foreign_pool_id"), SERVER)


def at(*names: str, above: tuple[Key, ...] = POOL) -> tuple[Key, ...]:
    return (*(key("deployment", name) for name in names), *above)


def deployment(flow: str, pool: str, lineage: tuple[Key, ...], *, enforced: bool = True) -> Known:
    facts = {"job_variables": {"cpu": 1}, "work_queue_name": "default", "work_pool_name": pool, "flow_id": id_of(flow)}
    return Known(lineage, {**facts, "enforce_parameter_schema": enforced})


OWN = deployment("flow", "pool-a", at("deployment"))
SIBLING = deployment("sibling_flow", "pool-a", at("sibling_deployment"))
OTHER = deployment("foreign_flow", "pool-b", at("foreign_deployment", above=FOREIGN))
HELD = Known(at("held"), {**OWN.facts, "id": id_of("held"), "limit_id": id_of("limit"), "limit_name": "everybody's"})
RUN, FOREIGN_RUN = Known(at("deployment"), {}), Known(at("foreign_deployment", above=FOREIGN), {})
BLOCK = Known((key("block", "block"), SERVER), {})
FOUND: Mapping[Lookup, Known] = {
    Lookup("deployment", id_of("deployment")): OWN,
    Lookup("deployment", id_of("sibling_deployment")): SIBLING,
    Lookup("deployment", id_of("foreign_deployment")): OTHER,
    Lookup("deployment", id_of("served")): deployment("flow", "pool-a", at("served"), enforced=False),
    Lookup("deployment", id_of("held")): HELD,
    Lookup("deployment_name", "etl/prod"): OWN,
    Lookup("flow_deployment", f"{id_of('flow')}/prod"): OWN,
    Lookup("flow_deployment", f"{id_of('sibling_flow')}/sibling"): SIBLING,
    Lookup("flow_deployment", f"{id_of('foreign_flow')}/other"): OTHER,
    Lookup("flow", id_of("flow")): Known(at("deployment"), {"name": "etl"}),
    Lookup("flow_name", "etl"): Known(at("deployment"), {"name": "etl"}),
    Lookup("pool", "pool-a"): Known(POOL, {}),
    Lookup("pool", "pool-b"): Known(FOREIGN, {}),
    Lookup("pool_id", id_of("pool_id")): Known(POOL, {}),
    Lookup("pool_id", id_of("foreign_pool_id")): Known(FOREIGN, {}),
    Lookup("queue", id_of("queue")): Known(POOL, {}),
    Lookup("queue", id_of("foreign_queue")): Known(FOREIGN, {}),
    Lookup("pool_queue", "pool-a/default"): Known(POOL, {}),
    Lookup("flow_run", id_of("flow_run")): RUN,
    Lookup("flow_run", id_of("foreign_flow_run")): FOREIGN_RUN,
    Lookup("task_run", id_of("task_run")): RUN,
    Lookup("task_run", id_of("foreign_task_run")): FOREIGN_RUN,
    Lookup("artifact", id_of("artifact")): RUN,
    Lookup("artifact_key", "report"): RUN,
    Lookup("block", id_of("block")): BLOCK,
    Lookup("block_name", "secret/token"): BLOCK,
    Lookup("block", id_of("outer_block")): Known(
        (key("block", "outer_block"), SERVER), {"references": (id_of("block"), id_of("inner_block"))}
    ),
}

_GRANTS: Mapping[str, tuple[Grant, ...]] = {
    "no_grant": (),
    "sibling_deployment": (grant(1, key("deployment", "sibling_deployment"), Level.MANAGE),),
    "sibling_pool": (grant(1, key("pool", "foreign_pool_id"), Level.MANAGE),),
    **{word: (grant(1, POOL[0], Level.of(word)),) for word in ("view", "run", "operate", "manage", "work")},
    "secret": (grant(1, key("block", "block"), Level.SECRET), grant(2, key("block", "outer_block"), Level.SECRET)),
    "admin": (grant(1, SERVER, Level.ADMIN),),
}
WORLDS: Mapping[str, Snapshot] = {name: snapshot(grants) for name, grants in _GRANTS.items()}


def judged(call: Call) -> tuple[Match, Any]:
    target = canonical(call.path.replace(" ", "%20").encode())
    assert not isinstance(target, Refusal), target
    matched = TABLE.match(call.method, target)
    assert isinstance(matched, Match), call
    wanted = needs(matched, call.body)
    if isinstance(wanted, Refusal):
        return matched, wanted
    found = {lookup: FOUND.get(lookup) for lookup in wanted}
    return matched, asks(matched, call.body, found)


def outcome(asked: Any, principal: str) -> str:
    if isinstance(asked, Refusal):
        assert (asked.status, asked.code) == (400, Code.BODY)
        return "400"
    if not asked:
        return "passed"
    if principal == "none":
        return "401"
    result = check(WORLDS[principal], person(), asked, NOW)
    return "passed" if isinstance(result, Allow) else str(result.status) if isinstance(result, Refusal) else "drain"


def test_the_matrix_has_every_line_once() -> None:
    assert sorted((call.method, call.template) for call in CALLS) == sorted(
        (line.method, line.template) for line in ROUTES
    )


@pytest.mark.parametrize("call", CALLS, ids=lambda call: f"{call.method} {call.template}")
def test_every_route_for_everybody(call: Call) -> None:
    matched, asked = judged(call.filled(IDS))
    assert (matched.route.method, matched.route.template) == (call.method, call.template)
    passed = {principal for principal in PRINCIPALS if outcome(asked, principal) == "passed"}
    assert passed == PASS[call.may]


@pytest.mark.parametrize(
    "call", ESCALATIONS, ids=lambda call: f"{call.may}: {call.method} {call.path} {call.body}"[:140]
)
def test_every_escalation_for_everybody(call: Call) -> None:
    matched, asked = judged(call.filled(IDS))
    outcomes = {principal: outcome(asked, principal) for principal in PRINCIPALS}
    if call.may == MALFORMED:
        assert set(outcomes.values()) == {"400"}
    else:
        how = "404" if call.may == MISSING else "passed"
        assert {principal for principal, result in outcomes.items() if result == how} == PASS_MORE[call.may]
        assert not {"400", "drain"} & set(outcomes.values())
        if call.may == MISSING:
            assert "passed" not in outcomes.values()


class Watched(dict[Lookup, Known | None]):
    """What was looked for in it."""

    def __init__(self, found: Mapping[Lookup, Known | None]) -> None:
        super().__init__(found)
        self.seen: set[Lookup] = set()

    def get(self, lookup: Lookup, default: Any = None) -> Any:
        self.seen.add(lookup)
        return super().get(lookup, default)


def test_what_is_looked_up_is_known_before_it_is_asked() -> None:
    """Asks that are made of other lookups than `needs` told would find nothing: 404 for things that are there."""
    for call in (*CALLS, *ESCALATIONS):
        filled = call.filled(IDS)
        target = canonical(filled.path.encode())
        assert not isinstance(target, Refusal)
        matched = TABLE.match(filled.method, target)
        assert isinstance(matched, Match)
        wanted = needs(matched, filled.body)
        if isinstance(wanted, Refusal):
            continue
        found = Watched({lookup: FOUND.get(lookup) for lookup in wanted})
        asks(matched, filled.body, found)
        assert found.seen <= set(wanted)
