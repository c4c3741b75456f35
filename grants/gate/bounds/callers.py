"""What each caller has in hand, bounded: so nobody takes what others wait for, with however many credentials.

A caller is a subject. Strangers, on the few routes that are anybody's, have calls by their address, and wait for their
turn at an orchestrator as one together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager

from grants.gate.bounds.turns import Turns
from grants.gate.decision.limits import Limits
from grants.gate.decision.types import CallRefused, Code, Refusal

STRANGERS = 0

type Caller = int | str  # a subject, or a stranger's address

_CALLS = Refusal(429, Code.BUSY, why="Too many of your calls are under way.")
_BODIES = Refusal(429, Code.BUSY, why="Too much of what you send is in hand.")
_FULL = Refusal(503, Code.STALE, why="Too much of what is sent is in hand at this gate.")


class Hand:
    """The bytes of one call's body."""

    def __init__(self, callers: Callers, subject: Caller) -> None:
        self._callers, self._subject, self._bytes = callers, subject, 0

    def take(self, size: int) -> None:
        """Raises CallRefused."""
        self._callers.hold(self._subject, size)
        self._bytes += size

    def empty(self) -> None:
        self._callers.let_go(self._subject, self._bytes)
        self._bytes = 0


class Callers:
    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._calls: Counter[Caller] = Counter()
        self._bytes: Counter[Caller] = Counter()
        self._all_bytes = 0
        self._turns = Turns(limits.turns_each, seconds=limits.turn, why="Your other calls have not been answered yet.")

    @contextmanager
    def call(self, subject: Caller) -> Iterator[Hand]:
        """While one of its calls is under way. Raises CallRefused."""
        if self._calls[subject] >= self.limits.calls_each:
            raise CallRefused(_CALLS)
        self._calls[subject] += 1
        hand = Hand(self, subject)
        try:
            yield hand
        finally:
            hand.empty()
            _less(self._calls, subject, 1)

    @contextmanager
    def holding(self, subject: int, size: int) -> Iterator[None]:
        """While a message of its sockets is looked into. Raises CallRefused."""
        self.hold(subject, size)
        try:
            yield
        finally:
            self.let_go(subject, size)

    def hold(self, subject: Caller, size: int) -> None:
        if self._bytes[subject] + size > self.limits.bodies_each:
            raise CallRefused(_BODIES)
        if self._all_bytes + size > self.limits.bodies:
            raise CallRefused(_FULL)
        self._bytes[subject] += size
        self._all_bytes += size

    def let_go(self, subject: Caller, size: int) -> None:
        _less(self._bytes, subject, size)
        self._all_bytes -= size

    def turn(self, subject: int, connection: str) -> AbstractAsyncContextManager[None]:
        """While an orchestrator works for it, and until it has read the answer. Raises CallRefused after a long wait.

        Who reads slowly, or asks for what takes long, waits for itself: an orchestrator answers one after the other.
        """
        return self._turns.of((subject, connection))


def _less(counted: Counter[Caller], subject: Caller, n: int) -> None:
    counted[subject] -= n
    if counted[subject] <= 0:
        del counted[subject]
