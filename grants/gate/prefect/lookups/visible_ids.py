"""What a caller may see in lists, by upstream ids, as the orchestrator has it now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple
from uuid import uuid4

from grants.catalog.levels import Key
from grants.gate.decision.types import Found, Json, Lookup, Match, Send, Visible

# Stands where a list of ids would be empty: nobody has it, so it filters everything out, whatever the
# orchestrator takes an empty list for (for events it is no filter at all).
NOBODY = str(uuid4())


class Sight(NamedTuple):
    """`deployments` are the granted ones and those of granted pools, each with its flow; `pools` only the granted."""

    visible: Visible
    pools: frozenset[str] = frozenset()
    deployments: Mapping[str, str] = {}
    queues: frozenset[str] = frozenset()

    def sees(self, lineage: tuple[Key, ...]) -> bool:
        """Whether something with this lineage may be shown."""
        return self.visible.all or any(
            key.id in self.deployments if key.kind == "deployment" else key.kind == "pool" and key.id in self.pools
            for key in lineage
        )


class Call(NamedTuple):
    """A list's call, and everything that decides how it is narrowed."""

    match: Match
    body: Json
    sight: Sight
    found: Found

    def sent(self, body: Json, *, target: str | None = None) -> Send:
        return Send(self.match.route.method, target or self.match.target.raw, body)

    def seen(self, kind: str, ids: Iterable[str]) -> set[str]:
        """Those that were resolved, and may be shown."""
        known = ((key, self.found.get(Lookup(kind, key))) for key in ids)
        return {key for key, what in known if what is not None and self.sight.sees(what.lineage)}
