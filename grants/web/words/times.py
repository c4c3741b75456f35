"""How time reads on a page. Pure: `now` and the zone come from the caller."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from grants.policy.wording import duration


def left(until: datetime, now: datetime) -> str:
    """Say what is left until then: "22 min left", under five minutes with seconds. stint.js does the same."""
    rest = until - now
    if rest <= timedelta(0):
        return "ended"
    if timedelta(minutes=1) <= rest < timedelta(minutes=5):
        minutes, seconds = divmod(int(rest.total_seconds()), 60)
        return f"{minutes} min {seconds} s left"
    return f"{duration(rest)} left"


def ago(at: datetime, now: datetime) -> str:
    """Say how long ago, in one unit: "just now", "12 min ago", "2 h ago", "3 days ago"."""
    since = now - at
    if since < timedelta(minutes=1):
        return "just now"
    if since < timedelta(hours=1):
        return f"{since // timedelta(minutes=1)} min ago"
    if since < timedelta(days=1):
        return f"{since // timedelta(hours=1)} h ago"
    days = since.days
    return f"{days} day{'s' if days > 1 else ''} ago"


def clock(at: datetime, zone: tzinfo) -> str:
    """Say the time of day in `zone`: "18:23"."""
    return at.astimezone(zone).strftime("%H:%M")


def day(at: datetime, now: datetime, zone: tzinfo) -> str:
    """Say the day in `zone`: "today", "yesterday", "tomorrow", "24 Nov", "24 Nov 2025"."""
    there, today = at.astimezone(zone).date(), now.astimezone(zone).date()
    near = {0: "today", 1: "tomorrow", -1: "yesterday"}.get((there - today).days)
    if near:
        return near
    return f"{there.day} {there:%b}" + ("" if there.year == today.year else f" {there.year}")


def when(at: datetime, now: datetime, zone: tzinfo) -> str:
    """Say a moment in `zone`: "18:23 today", "18:23 tomorrow", "24 Nov 18:23"."""
    word = day(at, now, zone)
    return f"{clock(at, zone)} {word}" if word.isalpha() else f"{word} {clock(at, zone)}"


def zone_word(zone: tzinfo) -> str:
    """Name a zone by its city: "Berlin", "New York", "UTC"."""
    if isinstance(zone, ZoneInfo):
        return zone.key.rsplit("/", 1)[-1].replace("_", " ")
    return "UTC" if zone is UTC else str(zone)
