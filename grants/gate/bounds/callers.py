"""Bounds on the calls, bytes and turns of each caller, so that none takes what others wait for.

A caller is a subject, however many credentials it has. Unauthenticated callers, on the few public routes, are counted
by their address, and wait together for their turn at an orchestrator.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager

from grants.gate.bounds.turns import Turns
from grants.gate.decision.limits import Limits
from grants.gate.decision.types import CallRefused, Code, Refusal

STRANGERS = 0

type Caller = int | str  # a subject, or the address of an unauthenticated caller

_CALLS = Refusal(429, Code.BUSY, why="Too many of your calls are under way.")
_BODIES = Refusal(429, Code.BUSY, why="Your calls send too much at once.")
_FULL = Refusal(503, Code.STALE, why="The calls at this gate together send too much at once.")


class Hand:
    """The bytes of one call's body that are in memory."""

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
        """Count one of its calls while it is under way. Raises CallRefused for one too many."""
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
        """Count a message of its sockets while it is in memory. Raises CallRefused for too many bytes."""
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
        """Hold one of its turns until it has read the answer. Raises CallRefused after too long a wait.

        A caller who reads slowly, or asks for what takes long, waits for itself and keeps the orchestrator from nobody.
        """
        return self._turns.of((subject, connection))


def _less(counted: Counter[Caller], subject: Caller, n: int) -> None:
    counted[subject] -= n
    if counted[subject] <= 0:
        del counted[subject]
