"""Put values of a policy into words for people. Free of Django."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from grants.policy.rulings import Owner, Source


def sources(sources: Sequence[Source]) -> str:
    """Say where people come from: "the owners or team sre"."""
    words = {"owners": "the owners", "team": "team {}", "person": "{}"}
    return " or ".join(words[source.kind].format(source.value) for source in sources) or "nobody"


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
