"""The one clock: the database's. Moves use stint_now() in SQL; pages read it once and pass it on."""

from datetime import datetime

from accounts.clock import StintNow, now
from accounts.request_cache import once_per_request

__all__ = ["StintNow", "now", "of_page"]


def of_page() -> datetime:
    """The time that a page speaks of, the same for all of its parts; for whatever acts, the time it is."""
    return once_per_request("now", now)
