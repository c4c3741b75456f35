"""The kinds of orchestrators that this gate serves: the only place that names them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from grants.gate.decision.kinds import Kind
from grants.gate.decision.table import RouteTable
from grants.gate.prefect.kind import PREFECT


class SameName(Exception):
    """A connection could mean either of two kinds."""


def registered(*kinds: Kind) -> Mapping[str, Kind]:
    """Kinds by name. Raises where one's routes are no table, or two have one name, before anything is served."""
    named = {kind.name: kind for kind in kinds}
    if len(named) < len(kinds):
        raise SameName(*(kind.name for kind in kinds))
    for kind in kinds:
        RouteTable(kind.routes, "")
    return MappingProxyType(named)


KINDS = registered(PREFECT)
