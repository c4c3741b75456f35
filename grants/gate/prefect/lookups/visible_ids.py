"""What a caller may see in lists: what its grants show, and the ids at Prefect that this comes to now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple
from uuid import uuid4

from grants.catalog.levels import Key, Level
from grants.gate.decision.types import Found, Grant, Json, Lookup, Match, Send

# An id that nothing has, for a list of ids that would be empty: it filters everything out, whatever Prefect takes an
# empty list for (for events, for no filter at all).
NOBODY = str(uuid4())


class Granted(NamedTuple):
    """What lists may show: everything, or what belongs to these pools and deployments (ids at Prefect)."""

    all: bool
    pools: frozenset[str] = frozenset()
    deployments: frozenset[str] = frozenset()
    blocks: frozenset[str] = frozenset()  # with `view`
    secrets: frozenset[str] = frozenset()  # with `secret`

    def covers(self, other: Granted) -> bool:
        """Tell whether this shows everything that `other` shows."""
        pairs = zip(self[1:4], other[1:4], strict=True)
        return self.secrets >= other.secrets and (
            self.all or (not other.all and all(mine >= theirs for mine, theirs in pairs))
        )


def visible(live: Sequence[Grant]) -> Granted:
    """Collect what live grants show."""

    def ids(kind: str, level: Level) -> frozenset[str]:
        return frozenset(grant.resource.id for grant in live if grant.resource.kind == kind and level in grant.level)

    return Granted(
        all=bool(ids("server", Level.VIEW)),
        pools=ids("pool", Level.VIEW),
        deployments=ids("deployment", Level.VIEW),
        blocks=ids("block", Level.VIEW),
        secrets=ids("block", Level.SECRET),
    )


def visible_in_drain(had: Sequence[Key]) -> Granted:
    """Collect what grants that drain show: for calls that ask for a grant and narrow the answer, too (a run's graph).

    Lists ask for none, and show what is live alone.
    """
    return Granted(
        all=any(key.kind == "server" for key in had),
        pools=frozenset(key.id for key in had if key.kind == "pool"),
        deployments=frozenset(key.id for key in had if key.kind == "deployment"),
    )


class VisibleIds(NamedTuple):
    """The ids that lists are narrowed to.

    `deployments` are the granted ones and those of granted pools, each with its flow; `pools` only the granted.
    """

    granted: Granted
    pools: frozenset[str] = frozenset()
    deployments: Mapping[str, str] = {}
    queues: frozenset[str] = frozenset()

    def sees(self, lineage: tuple[Key, ...]) -> bool:
        """Tell whether something with this lineage may be shown."""
        return self.granted.all or any(
            key.id in self.deployments if key.kind == "deployment" else key.kind == "pool" and key.id in self.pools
            for key in lineage
        )


class ListCall(NamedTuple):
    """A list's call with everything that decides how it is narrowed."""

    match: Match
    body: Json
    visible_ids: VisibleIds
    found: Found

    def sent(self, body: Json, *, target: str | None = None) -> Send:
        return Send(self.match.route.method, target or self.match.target.raw, body)

    def seen(self, kind: str, ids: Iterable[str]) -> set[str]:
        """Those of `ids` that were resolved and may be shown."""
        known = ((key, self.found.get(Lookup(kind, key))) for key in ids)
        return {key for key, what in known if what is not None and self.visible_ids.sees(what.lineage)}
