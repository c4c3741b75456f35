"""The kinds of orchestrators that this gate serves. No other module of the gate names one."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from grants.gate.decision.kinds import Kind
from grants.gate.decision.table import RouteTable
from grants.gate.prefect.kind import PREFECT


class SameName(Exception):
    """Two kinds have one name, so a connection could mean either."""


def registered(*kinds: Kind) -> Mapping[str, Kind]:
    """Index kinds by name. Raises SameName, and what RouteTable raises for routes that make no table."""
    named = {kind.name: kind for kind in kinds}
    if len(named) < len(kinds):
        raise SameName(*(kind.name for kind in kinds))
    for kind in kinds:
        RouteTable(kind.routes, "")
    return MappingProxyType(named)


KINDS = registered(PREFECT)
