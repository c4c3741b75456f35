"""The one clock: the database's. Moves use stint_now() in SQL; pages read it once and pass it on."""

from accounts.clock import StintNow, now

__all__ = ["StintNow", "now"]
