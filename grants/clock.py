"""The one clock is the database's. State changes use stint_now() in SQL; a page reads it once and passes it on."""

from datetime import datetime

from accounts.clock import StintNow, now
from accounts.request_cache import once_per_request

__all__ = ["StintNow", "now", "of_page"]


def of_page() -> datetime:
    """Return the time that is the same for all parts of a page; for an action, the present time."""
    return once_per_request("now", now)
