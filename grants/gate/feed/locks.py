"""Locks that one call at a time has among all gates of a database: a session of PostgreSQL holds them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from grants.gate.decision.types import CallRefused, Code, Refusal
from grants.gate.feed.writes import Rejected, Unwritten, Writes

log = structlog.get_logger(__name__)

_TRY = "SELECT pg_try_advisory_lock(hashtextextended('gate ' || %s, 0))"
_RELEASE = "SELECT pg_advisory_unlock(hashtextextended('gate ' || %s, 0))"
_PAUSE, _LONGEST_PAUSE = 0.05, 0.5  # seconds between two tries
OTHERS_FIRST = "Other calls that change the same have not been answered yet."
_BUSY = Refusal(429, Code.BUSY, why=OTHERS_FIRST)
_AWAY = Refusal(503, Code.STALE, why="The database does not say whether another gate is making such a change.")


class Locks:
    """Locks by name, for calls of this gate.

    A session that has a lock gets it again, so the calls of one gate take turns (bounds.turns) before they ask here.
    The database releases the locks of a session that ends: a gate that dies keeps nothing from the others.
    """

    def __init__(self, writes: Writes, seconds: float) -> None:
        """`writes` is nobody else's, since it closes its session after a failure; `seconds` is the longest wait."""
        self._writes, self._seconds = writes, seconds

    @asynccontextmanager
    async def held(self, name: str) -> AsyncIterator[None]:
        """Hold the lock. Raises CallRefused after too long a wait, and where the database cannot be asked."""
        may_be_held, pause = False, _PAUSE
        try:
            try:
                async with asyncio.timeout(self._seconds):
                    may_be_held = True
                    while not await self._try(name):
                        may_be_held = False
                        await asyncio.sleep(pause)
                        pause = min(pause * 2, _LONGEST_PAUSE)
                        may_be_held = True
            except TimeoutError:
                raise CallRefused(_BUSY) from None
            except (Unwritten, Rejected) as error:
                may_be_held = False  # the session is closed
                log.warning("gate_lock_not_asked_for", error=str(error))
                raise CallRefused(_AWAY) from None
            yield
        finally:
            if may_be_held:
                await self._release(name)

    async def _try(self, name: str) -> bool:
        """Try once more where the session had ended unnoticed, as at the first call after PostgreSQL was restarted."""
        try:
            return await self._ask(_TRY, name)
        except Unwritten:
            return await self._ask(_TRY, name)

    async def _release(self, name: str) -> None:
        try:
            if not await self._ask(_RELEASE, name):
                log.warning("gate_lock_was_lost", name=name)  # with its session: another gate may have had it meanwhile
        except (Unwritten, Rejected) as error:
            log.warning("gate_lock_released_with_its_session", error=str(error))

    async def _ask(self, sql: str, name: str) -> bool:
        """Ask to the end, also for a caller who leaves: a lock of which nobody knew would stay."""
        asking = asyncio.create_task(self._writes.call(sql, [name]))
        asking.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody may be waiting any more
        return await asyncio.shield(asking) == (True,)

    async def close(self) -> None:
        await self._writes.close()
