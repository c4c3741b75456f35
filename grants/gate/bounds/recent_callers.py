"""The recent callers of each address, so that a client without its key on sockets is counted on its caller."""

from __future__ import annotations

import time
from collections import OrderedDict

from grants.gate.decision.types import Proof

LATELY = 120.0  # seconds
MOST = 10_000


class RecentCallers:
    """What callers have shown, by remote address, for two minutes.

    Behind a proxy all callers have one address: then none of them is named.
    """

    def __init__(self) -> None:
        self._seen: OrderedDict[tuple[str, Proof], float] = OrderedDict()
        self._of: dict[str, set[Proof]] = {}

    def heard(self, remote: str | None, proof: Proof) -> None:
        if remote is None:
            return
        self._seen[remote, proof] = time.monotonic()
        self._seen.move_to_end((remote, proof))
        self._of.setdefault(remote, set()).add(proof)
        self._forget()

    def lately(self, remote: str | None) -> tuple[Proof, ...]:
        """What the one caller from there has shown; nothing where it could be any of several."""
        self._forget()
        found = self._of.get(remote or "", set())
        return tuple(found) if len(found) == 1 else ()

    def _forget(self) -> None:
        oldest = time.monotonic() - LATELY
        while self._seen:
            (remote, proof), at = next(iter(self._seen.items()))
            if at >= oldest and len(self._seen) <= MOST:
                return
            del self._seen[remote, proof]
            self._of[remote].discard(proof)
            if not self._of[remote]:
                del self._of[remote]
