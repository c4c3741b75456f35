"""How lists are narrowed is said in their lines, and the table that is served says it of every list."""

from __future__ import annotations

import pytest

from grants.catalog.levels import Level
from grants.gate.decision import types
from grants.gate.decision.table import RouteTable, Unscoped
from grants.gate.decision.types import ANY, Body, Route
from grants.gate.prefect.kind import PREFECT
from grants.gate.prefect.scopes import Scope
from tests.gate.prefect.test_routes import classes, plain


class Odd(types.Scope):
    EMPTY = ""


# Narrowed, though not everybody's: what passes by a grant would still tell of what others have.
NARROWED_BESIDES = {
    "GET /api/flow_runs/{id:uuid}/graph-v2": Scope.GRAPH,
    "GET /api/deployments/{id:uuid}/work_queue_check": Scope.QUEUES_OF_DEPLOYMENT,
    "GET /api/block_documents/{id:uuid}": Scope.BLOCK,
    "GET /api/block_types/slug/{slug}/block_documents/name/{block_document_name}": Scope.BLOCK,
    "GET /api/automations/{id:uuid}": Scope.SERVER,
    "GET /api/automations/related-to/{resource_id}": Scope.SERVER_LIST,
    "GET /api/saved_searches/{id:uuid}": Scope.SERVER,
    "POST /api/ui/schemas/validate": Scope.SCHEMA_VALUES,
}
NOTHING_OF_ANYBODYS = {  # posts that everybody may send
    "POST /api/block_types/filter": "what kinds of blocks there are",
    "POST /api/block_schemas/filter": "the fields of each kind",
}


def test_every_list_of_the_contract_is_narrowed_as_it_is_served() -> None:
    served = {f"{route.method} {plain(route.template)}": route for route in PREFECT.routes}
    lists = [what for what, row in classes().items() if row["gate"] == "R"]
    assert len(lists) > 40
    assert [what for what in lists if served[what].scope is None] == []


def test_what_everybody_may_call_is_narrowed_or_tells_nothing_as_it_is_served() -> None:
    for route in PREFECT.routes:
        if route.need == ANY and route.method == "POST":
            assert (route.scope is None) == (route.name in NOTHING_OF_ANYBODYS), route.name
        if route.need == ANY and route.method == "WS":
            assert route.scope is not None, route.name
    besides = {route.name: route.scope for route in PREFECT.routes if route.need != ANY and route.scope is not None}
    assert besides == NARROWED_BESIDES


@pytest.mark.parametrize(
    "line",
    [
        Route("POST", "/a/filter", ANY, body=Body.JSON),  # everybody's, and says no scope
        Route("GET", "/a", ANY),
        Route("WS", "/a", ANY),
        Route("GET", "/a", ANY, scope=Scope.FLOWS, tells_nothing=True),
        Route("GET", "/a", Level.VIEW, tells_nothing=True),
        Route("GET", "/a", None, tells_nothing=True),
        Route("GET", "/a", None, scope=Scope.FLOWS),  # nobody is known, so nothing can be shown to them
        Route("POST", "/a", ANY, body=Body.STREAM, scope=Scope.FLOWS),  # not read, so not narrowed
        Route("POST", "/a", ANY, scope=Scope.FLOWS),
        Route("GET", "/a", ANY, scope=Odd.EMPTY),  # not true: a scope that is looked at as if it were none
        Route("GET", "/a", ANY, scope="flows"),  # type: ignore[arg-type] (what no kind knows)
    ],
    ids=str,
)
def test_a_list_that_is_not_narrowed_is_not_compiled(line: Route) -> None:
    with pytest.raises(Unscoped):
        RouteTable([line], "p")
