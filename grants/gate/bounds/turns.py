"""One after the other, of each caller or for each thing: nobody stands in the queue of the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass(slots=True)
class _Queue:
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0


class Turns:
    """Knows those alone who have or await a turn."""

    def __init__(self) -> None:
        self._queues: dict[Hashable, _Queue] = {}

    @asynccontextmanager
    async def of(self, whose: Hashable) -> AsyncIterator[None]:
        queue = self._queues.setdefault(whose, _Queue())
        queue.users += 1
        try:
            async with queue.turn:
                yield
        finally:
            queue.users -= 1
            if not queue.users:
                del self._queues[whose]
