"""Work that grows with what somebody sent: in the loop while it is little, else in a thread that gives way to the loop.

The interpreter runs one thread at a time and each call into C to its end, so a thread alone is no remedy: what is done
here is bounded before (bodies.py) and made of short calls, between which the loop has its turn. A caller has one thread
at most, and what orchestrators answer has threads of its own: whoever sends much waits for itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar

from grants.gate.bounds.turns import Turns
from grants.gate.decision.bodies import dump, dump_in_parts, loads, parse
from grants.gate.decision.types import Json, Refusal

LITTLE = 16 * 1024  # bytes that are worked on in the loop: a few ms, whatever they say
GIVES_WAY = 0.001  # seconds after which a thread hands the interpreter over; for sys.setswitchinterval

CALLER = ContextVar("CALLER", default=0)  # the subject that the work of a task is for

_OF_CALLERS = ThreadPoolExecutor(2, thread_name_prefix="aside")
_OF_ANSWERS = ThreadPoolExecutor(2, thread_name_prefix="answers")
_TURNS = Turns()


async def aside[**P, T](size: int, work: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
    """What `work` gives or raises, for the CALLER; `size` is of what it works on, in bytes."""
    if size <= LITTLE:
        return work(*args, **named)
    async with _TURNS.of(CALLER.get()):
        working = _OF_CALLERS.submit(work, *args, **named)
        done = asyncio.wrap_future(working)
        try:
            return await asyncio.shield(done)
        except asyncio.CancelledError:
            if not working.cancel():  # a thread does not stop for a caller that has left: it is still its turn
                await asyncio.wait([done])
            raise


async def parsed(raw: bytes) -> Json | Refusal:
    """A caller's body."""
    return await aside(len(raw), parse, raw)


async def loaded(raw: bytes) -> Json:
    """An orchestrator's own answer. Raises ValueError."""
    if len(raw) <= LITTLE:
        return loads(raw)
    return await asyncio.get_running_loop().run_in_executor(_OF_ANSWERS, loads, raw)


async def dumped(body: Json, size: int) -> bytes:
    """`size` is of what it was made from."""
    return await aside(size, dump if size <= LITTLE else dump_in_parts, body)
