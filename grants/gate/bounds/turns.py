"""One after the other, of each caller or for each thing: nobody stands in the queue of the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from grants.gate.decision.types import Code, Refusal, Refused

_TURN = Refusal(429, Code.BUSY, why="Other calls that change the same have not been answered yet.")


@dataclass(slots=True)
class _Queue:
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0


class Turns:
    """Knows those alone who have or await a turn."""

    def __init__(self) -> None:
        self._queues: dict[Hashable, _Queue] = {}

    @asynccontextmanager
    async def of(self, whose: Hashable, seconds: float | None = None) -> AsyncIterator[None]:
        """Raises Refused after having waited for so many `seconds`."""
        queue = self._queues.setdefault(whose, _Queue())
        queue.users += 1
        try:
            try:
                async with asyncio.timeout(seconds):
                    await queue.turn.acquire()
            except TimeoutError:
                raise Refused(_TURN) from None
            try:
                yield
            finally:
                queue.turn.release()
        finally:
            queue.users -= 1
            if not queue.users:
                del self._queues[whose]


async def to_its_end[T](work: Coroutine[Any, Any, T], seconds: float) -> T:
    """What `work` gives or raises; it goes on when its caller leaves, who is held until then or so many `seconds`."""
    doing = asyncio.create_task(work)
    try:
        await asyncio.wait([doing])
    except asyncio.CancelledError:
        await asyncio.wait([doing], timeout=seconds)
        if doing.done() and not doing.cancelled():
            doing.exception()  # nobody is there to hear it
        raise
    finally:
        doing.cancel()
    return doing.result()
