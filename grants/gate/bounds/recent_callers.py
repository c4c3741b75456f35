"""Who called lately from where: to tell a client that shows its key on HTTP alone why its sockets are refused."""

from __future__ import annotations

import time
from collections import OrderedDict

LATELY = 120.0  # seconds
MOST = 10_000


class RecentCallers:
    """Credentials by remote address, for two minutes. Behind a proxy all have one address: then nobody is named."""

    def __init__(self) -> None:
        self._seen: OrderedDict[tuple[str, int], float] = OrderedDict()
        self._of: dict[str, set[int]] = {}

    def heard(self, remote: str | None, credential: int) -> None:
        if remote is None:
            return
        self._seen[remote, credential] = time.monotonic()
        self._seen.move_to_end((remote, credential))
        self._of.setdefault(remote, set()).add(credential)
        self._forget()

    def lately(self, remote: str | None) -> tuple[int, ...]:
        """The one credential that came from there; none where it could be any of several."""
        self._forget()
        found = self._of.get(remote or "", set())
        return tuple(found) if len(found) == 1 else ()

    def _forget(self) -> None:
        oldest = time.monotonic() - LATELY
        while self._seen:
            (remote, credential), at = next(iter(self._seen.items()))
            if at >= oldest and len(self._seen) <= MOST:
                return
            del self._seen[remote, credential]
            self._of[remote].discard(credential)
            if not self._of[remote]:
                del self._of[remote]
