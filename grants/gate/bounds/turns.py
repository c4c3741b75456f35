"""Turns by key, of a caller or of a thing that is changed: each key has a queue of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from grants.gate.decision.types import CallRefused, Code, Refusal


@dataclass(slots=True)
class _Queue:
    turns: asyncio.Semaphore
    users: int = 0


class Turns:
    """At most `at_once` tasks of a key have a turn. Only keys in use are kept."""

    def __init__(self, at_once: int = 1, *, seconds: float | None = None, why: str = "") -> None:
        """`seconds` is the longest wait, without end if None; `why` is what the caller is told after it."""
        self._at_once, self._seconds = at_once, seconds
        self._refusal = Refusal(429, Code.BUSY, why=why)
        self._queues: dict[Hashable, _Queue] = {}

    @asynccontextmanager
    async def of(self, whose: Hashable) -> AsyncIterator[None]:
        """Hold a turn of this key. Raises CallRefused after too long a wait."""
        queue = self._queues.get(whose)
        if queue is None:
            queue = self._queues[whose] = _Queue(asyncio.Semaphore(self._at_once))
        queue.users += 1
        try:
            try:
                async with asyncio.timeout(self._seconds):
                    await queue.turns.acquire()
            except TimeoutError:
                raise CallRefused(self._refusal) from None
            try:
                yield
            finally:
                queue.turns.release()
        finally:
            queue.users -= 1
            if not queue.users:
                del self._queues[whose]


async def to_its_end[T](work: Coroutine[Any, Any, T], seconds: float) -> T:
    """Do `work` to its end, also when the caller is cancelled, who then waits for it for at most `seconds`."""
    doing = asyncio.create_task(work)
    try:
        await asyncio.wait([doing])
    except asyncio.CancelledError:
        await asyncio.wait([doing], timeout=seconds)
        if doing.done() and not doing.cancelled():
            doing.exception()  # nobody is left to be told
        raise
    finally:
        doing.cancel()
    return doing.result()
