"""The kinds of orchestrators that this gate serves: the only place that names them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from grants.gate.decision.kinds import Kind
from grants.gate.decision.table import RouteTable
from grants.gate.prefect.kind import PREFECT


def registered(*kinds: Kind) -> Mapping[str, Kind]:
    """Kinds by name. Raises where one's routes are no table, before anything is served."""
    for kind in kinds:
        RouteTable(kind.routes, "")
    return MappingProxyType({kind.name: kind for kind in kinds})


KINDS = registered(PREFECT)
