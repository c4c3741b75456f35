"""Know how each provider is from the results of our calls: call it less while it is away, and notice when it is back.

After ROW failures in succession that are the provider's own, it is shut: due bindings wait, and once a second a few are
tried. Every other time these are the least urgent ones: many that fail for a reason of their own must not keep the
others waiting. Any answer opens it again, a refusal, too. While anything is failing, one failed binding is tried each
second; when that succeeds, all failed bindings are due at once.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator

ROW = 6  # failures of the provider's own without a success between them: then it counts as away
TRY_EVERY = 1.0  # seconds, give or take a fifth, so that several workers do not try at one moment
MOST_TRIED = 32  # a second: what fails for a reason of its own must not keep the others waiting
TELL_EVERY = 60.0  # seconds between two log lines about one provider


class Health:
    """One provider, as one worker sees it. Only the thread that uses the database writes it."""

    def __init__(self) -> None:
        self.shut = False
        self.failing = False  # something there has failed, and has not succeeded since
        self.failures = 0  # since they were last logged
        self._reasons: Counter[str] = Counter()
        self._row = 0
        self._tried = 0
        self.urgent_last = False  # in the trial that comes next
        self._next_try = 0.0
        self._next_release = 0.0
        self._next_telling = 0.0

    def failed(self, reason: str, *, its_own: bool, answered: bool = False) -> None:
        self.failures += 1
        self._reasons[reason] += 1
        if not self.failing:
            self.failing = True
            self._wait()
        if answered and self.shut:  # a refusal shows that it is there
            self.shut, self._row = False, 0
        self._row += its_own
        if self._row >= ROW and not self.shut:
            self.shut, self._tried, self.urgent_last = True, 0, True
            self._wait()

    def succeeded(self, *, after_failure: bool) -> bool:
        """Note a success. Returns True when failed bindings are to be tried at once."""
        back = self.shut or after_failure
        self.shut, self._row = False, 0
        if not back or time.monotonic() < self._next_release:
            return False
        self._next_release = time.monotonic() + TRY_EVERY
        return True

    def seconds_to_try(self) -> float | None:
        """Return the seconds until waiting bindings are to be tried; None when none waits."""
        return max(0.0, self._next_try - time.monotonic()) if self.shut or self.failing else None

    def may_try(self) -> int:
        """Return how many waiting bindings may be tried now: while it is shut, twice as many each time."""
        if self.seconds_to_try() != 0.0:
            return 0
        self._wait()
        self.urgent_last = not self.urgent_last
        self._tried = min(max(1, 2 * self._tried), MOST_TRIED) if self.shut else 1
        return self._tried

    def may_tell(self) -> bool:
        """Is it time for a log line? While there is nothing to tell yet, this is asked once a second."""
        now = time.monotonic()
        if now < self._next_telling:
            return False
        self._next_telling = now + TRY_EVERY
        return True

    def told(self) -> dict[str, object]:
        """Return what the log line says of the failures, and forget them."""
        ((reason, _),) = self._reasons.most_common(1)
        told = {"failures": self.failures, "reason": reason, "other_reasons": len(self._reasons) - 1}
        self.failures = 0
        self._reasons.clear()
        self._next_telling = time.monotonic() + TELL_EVERY
        return told

    def _wait(self) -> None:
        self._next_try = time.monotonic() + TRY_EVERY * random.uniform(0.8, 1.2)  # noqa: S311 (no secret)


class Providers:
    """All providers, by the ids of their rows."""

    def __init__(self) -> None:
        self._all: dict[int, Health] = {}

    def __getitem__(self, idp_id: int) -> Health:
        return self._all.setdefault(idp_id, Health())

    def shut(self) -> list[int]:
        return [idp_id for idp_id, health in self._all.items() if health.shut]

    def to_try(self) -> Iterator[tuple[int, Health, int]]:
        """Yield the providers whose waiting bindings may be tried now, and how many of them."""
        for idp_id, health in list(self._all.items()):
            if many := health.may_try():
                yield idp_id, health, many

    def seconds_to_try(self) -> float | None:
        return min((left for each in self._all.values() if (left := each.seconds_to_try()) is not None), default=None)
