"""Prefect's table as it is served, and its lists: method and template without converters, and how each is narrowed."""

from __future__ import annotations

from grants.gate.decision.table import RouteTable, plain
from grants.gate.prefect.kind import PREFECT
from grants.gate.prefect.scopes import Scope

TABLE = RouteTable(PREFECT.routes, "prefect")
SCOPE_OF = {
    (route.method, plain(route.template)): route.scope for route in PREFECT.routes if isinstance(route.scope, Scope)
}
