"""Waiting for what others do: other processes, threads, a provider."""

from __future__ import annotations

import time
from collections.abc import Callable


def until(
    holds: Callable[[], bool], why: str | Callable[[], str] = "", *, seconds: float = 60, pause: float = 0.02
) -> float:
    """How long it took, in seconds. Raises AssertionError with `why` when it is not so for this long."""
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < seconds, (
            f"not within {seconds:.0f} s: {why if isinstance(why, str) else why()}"
        )
        time.sleep(pause)
    return time.monotonic() - began
