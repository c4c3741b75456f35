"""Put values of a policy into words for people. Free of Django."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from grants.policy.rulings import Owner, Source


def sources(sources: Sequence[Source]) -> str:
    """Say where people come from: "the owners or team sre"."""
    return " or ".join(source.words for source in sources) or "nobody"


def owner(owner: Owner) -> str:
    """Say who the owner is."""
    return f"team {owner.team}" if owner.team else owner.person or "nobody"


def length(length: timedelta) -> str:
    """Say a duration as the policy file writes it, with a blank: "8 h"."""
    minutes = int(length.total_seconds()) // 60
    if not minutes:
        return "none"
    for unit, size in (("d", 1440), ("h", 60)):
        if minutes % size == 0:
            return f"{minutes // size} {unit}"
    return f"{minutes} min"


def duration(of: timedelta) -> str:
    """Say a duration in its two largest units, rounded down: "30 min", "2 h 15 min", "1 day 4 h"."""
    seconds = max(0, int(of.total_seconds()))
    days, rest = divmod(seconds, 86400)
    hours, rest = divmod(rest, 3600)
    minutes, seconds = divmod(rest, 60)
    if days:
        return f"{days} day{'s' if days > 1 else ''}" + (f" {hours} h" if hours else "")
    if hours:
        return f"{hours} h" + (f" {minutes} min" if minutes else "")
    return f"{minutes} min" if minutes else f"{seconds} s"
