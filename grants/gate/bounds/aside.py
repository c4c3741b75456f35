"""Work that takes longer the more somebody sent: small work in the loop, large work in a thread beside it.

The interpreter runs one thread at a time, and each C call to its end, so a thread alone does not keep the loop free.
The work is therefore bounded before (bodies.py) and made of short calls, between which the loop can run. A caller has
one thread at most, and answers of orchestrators have threads of their own: a caller who sends much waits for itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar

from grants.gate.bounds.turns import Turns
from grants.gate.decision.bodies import dump, dump_in_parts, loads, parse
from grants.gate.decision.types import Json, Refusal

LITTLE = 16 * 1024  # bytes that are worked on in the loop: a few ms, whatever their content
GIVES_WAY = 0.001  # seconds after which a thread yields the interpreter; for sys.setswitchinterval

CALLER = ContextVar("CALLER", default=0)  # the subject for whom the current task works

_OF_CALLERS = ThreadPoolExecutor(2, thread_name_prefix="aside")
_OF_ANSWERS = ThreadPoolExecutor(2, thread_name_prefix="answers")
_TURNS = Turns()


async def aside[**P, T](size: int, work: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
    """Do `work` for the CALLER; give what it gives, raise what it raises. `size` is the bytes that it works on."""
    if size <= LITTLE:
        return work(*args, **named)
    async with _TURNS.of(CALLER.get()):
        working = _OF_CALLERS.submit(work, *args, **named)
        done = asyncio.wrap_future(working)
        try:
            return await asyncio.shield(done)
        except asyncio.CancelledError:
            if not working.cancel():  # a thread does not stop when its caller leaves, who keeps the turn so long
                await asyncio.wait([done])
            raise


async def parsed(raw: bytes) -> Json | Refusal:
    """Parse a caller's body."""
    return await aside(len(raw), parse, raw)


async def loaded(raw: bytes) -> Json:
    """Parse an orchestrator's answer. Raises ValueError."""
    if len(raw) <= LITTLE:
        return loads(raw)
    return await asyncio.get_running_loop().run_in_executor(_OF_ANSWERS, loads, raw)


async def dumped(body: Json, size: int) -> bytes:
    """Serialise a body; `size` is the bytes that it was made from."""
    return await aside(size, dump if size <= LITTLE else dump_in_parts, body)
