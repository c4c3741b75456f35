"""Check days in filters, and find when a day begins."""

from __future__ import annotations

from datetime import date, datetime, time

from django.utils import timezone

_EARLIEST, _LATEST = date(2000, 1, 1), date(2999, 12, 31)  # at the ends of the calendar a time zone would overflow


def is_plausible(day: date) -> bool:
    return _EARLIEST <= day <= _LATEST


def midnight(day: date) -> datetime:
    """The beginning of a day in the active time zone."""
    return datetime.combine(day, time.min, tzinfo=timezone.get_current_timezone())
