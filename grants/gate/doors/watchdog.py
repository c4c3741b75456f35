"""Log and count when something blocks the loop: meanwhile no call is answered and no access ended."""

from __future__ import annotations

import asyncio
import time

import structlog

from grants.gate.doors.metrics import LAG

log = structlog.get_logger(__name__)

LOOKS = 0.1  # seconds
HELD = 0.05  # seconds: a longer block is logged


async def watch() -> None:
    """Until cancelled, sleep and measure how late the sleep ends."""
    while True:
        due = time.monotonic() + LOOKS
        await asyncio.sleep(LOOKS)
        late = max(0.0, time.monotonic() - due)
        LAG.observe(late)
        if late > HELD:
            log.warning("loop_held", milliseconds=round(late * 1000))
