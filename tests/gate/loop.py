"""Running a test's coroutine as the gate runs: on uvloop where there is one."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


def run[T](test: Coroutine[Any, Any, T], *, seconds: float = 60) -> T:
    async def bounded() -> T:
        async with asyncio.timeout(seconds):
            return await test

    try:
        import uvloop  # noqa: PLC0415 (Windows has none)
    except ImportError:
        return asyncio.run(bounded())
    return uvloop.run(bounded())
