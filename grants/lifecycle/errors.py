"""Why an action did not happen, in a sentence for the person who tried."""

from __future__ import annotations


class LifecycleError(Exception):
    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class NotAllowed(LifecycleError):
    """The rules say no. Trying again will not help."""


class Conflict(LifecycleError):
    """Somebody or the clock was faster: the thing is no longer as it was."""
