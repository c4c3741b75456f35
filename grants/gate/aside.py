"""Work that grows with what somebody sent: in the loop while it is little, else in a thread that gives way to the loop.

The interpreter runs one thread at a time and each call into C to its end, so a thread alone is no remedy: what is done
here is bounded before (bodies.py) and made of short calls, between which the loop has its turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from grants.gate.bodies import dump, dump_in_parts, loads, parse
from grants.gate.types import Json, Refusal

LITTLE = 16 * 1024  # bytes that are worked on in the loop: a few ms, whatever they say
GIVES_WAY = 0.001  # seconds after which a thread hands the interpreter over; for sys.setswitchinterval

_THREADS = ThreadPoolExecutor(2, thread_name_prefix="aside")


async def aside[**P, T](size: int, work: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
    """What `work` gives or raises; `size` is of what it works on, in bytes."""
    if size <= LITTLE:
        return work(*args, **named)
    return await asyncio.get_running_loop().run_in_executor(_THREADS, lambda: work(*args, **named))


async def parsed(raw: bytes) -> Json | Refusal:
    """A caller's body."""
    return await aside(len(raw), parse, raw)


async def loaded(raw: bytes) -> Json:
    """An orchestrator's own answer. Raises ValueError."""
    return await aside(len(raw), loads, raw)


async def dumped(body: Json, size: int) -> bytes:
    """`size` is of what it was made from."""
    return await aside(size, dump if size <= LITTLE else dump_in_parts, body)
