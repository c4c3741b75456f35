"""Tells when something holds the loop: meanwhile nobody is answered, nothing is cut, and what is known grows old."""

from __future__ import annotations

import asyncio
import time

import structlog

from grants.gate.doors.metrics import LAG

log = structlog.get_logger(__name__)

LOOKS = 0.1  # seconds
HELD = 0.05  # seconds that nothing may take


async def watch() -> None:
    """Until cancelled: sleep, and see how much later than it should be that is."""
    while True:
        due = time.monotonic() + LOOKS
        await asyncio.sleep(LOOKS)
        late = max(0.0, time.monotonic() - due)
        LAG.observe(late)
        if late > HELD:
            log.warning("loop_held", milliseconds=round(late * 1000))
