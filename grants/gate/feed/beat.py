"""The gate's sign of life in the database, which the portal shows. It says that the gate runs, not that it can decide.

A gate that is stopped removes it. So an old one belongs to a gate that has died or is cut off.
"""

from __future__ import annotations

import asyncio

import structlog

from grants.gate.feed.writes import Rejected, Unwritten, Writes

log = structlog.get_logger(__name__)

SECONDS = 10.0
_BEAT = "SELECT gate_beat(%s, %s, %s)"


class Beat:
    def __init__(self, writes: Writes, name: str, version: str) -> None:
        self._writes, self._name, self._version = writes, name, version

    async def run(self) -> None:
        """Until cancelled, write it. Nothing depends on it: what fails is written again."""
        while True:
            await self._tell(alive=True)
            await asyncio.sleep(SECONDS)

    async def end(self) -> None:
        """Remove it."""
        await self._tell(alive=False)

    async def _tell(self, *, alive: bool) -> None:
        try:
            row = await self._writes.call(_BEAT, [self._name, self._version, alive])
        except (Unwritten, Rejected) as error:
            log.warning("gate_beat_not_written", error=str(error))
        else:
            if row == (False,):
                log.warning("gate_beat_not_written", error="a hundred gates have one; those silent for a day go")
